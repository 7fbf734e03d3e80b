"""Run folders: their configuration as JSON, and the refusal to overwrite one.

A run whose network comes from outside the package keeps its own copy, `network.tsv`, and one
of a pretrained visual stream, `vision.npz`. They are read ever after: the folder can be moved,
and their sources changed.
"""

import json
import shutil
from dataclasses import asdict, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from mjxhand import atlas, lock, pretrained, vision_file
from mjxhand.arguments import suggest
from mjxhand.arrays import check_path
from mjxhand.checks import expected, fits, flatten
from mjxhand.config import Config, ConfigError
from mjxhand.storage import write_text_atomically

T = TypeVar("T")
CONFIG = "config.json"
EVALUATION = "evaluation.json"
NETWORK = "network.tsv"
VISION = vision_file.FILE
FORMAT = 5
"""Version of run folders, in `config.json`; those without one are 1."""
ADDED: dict[str, tuple[int, Any]] = {
    "ppo.max_skipped_updates": (2, 5),
    "env.randomize": (2, "none"),
    "curriculum.threshold_start": (2, None),
    "curriculum.threshold_steps": (2, 10_000_000),
    "env.vision": (2, "pose"),
    "env.cameras": (2, "palm"),
    "env.frame_size": (2, 64),
    "network.vision_stream": (2, ""),
    "network.freeze_vision": (2, False),
    "ppo.pose_weight": (2, 0.0),
    "network.weights": (3, ""),
    "env.hold_wrist": (3, False),
    "env.pose_encoding": (4, "absolute"),
    "env.target_lead": (4, None),
    "curriculum.onward": (4, 0.0),
    "curriculum.keep_state": (4, 0.0),
    "scene.object_damping": (5, 0.01),
}
"""Fields that older folders lack: the format that brought each, and the value that means what
older versions did. Who adds a field to the configuration adds it here, and adds one to FORMAT
if a version with the present one is out."""

# What may change when a run is resumed: nothing that its learner or actors depend on.
RESUMABLE = (
    "total_steps",
    "checkpoint_updates",
    "evaluate_episodes",
    "film",
    "film_seconds",
    "physics.impl",
    "physics.threads",
    "ppo.max_skipped_updates",
)


def config_to_json(config: Config) -> str:
    """The configuration as indented JSON text, with the format of run folders."""
    return json.dumps({"format": FORMAT} | asdict(config), indent=1) + "\n"


def config_from_json(text: str, where: str = CONFIG) -> Config:
    """The configuration that `config_to_json` wrote, also that of an older version.

    Raises:
        ConfigError: not JSON; of a newer version; an unknown or missing field; a value of
            another type.
    """
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{where} is not JSON ({error})") from None
    if isinstance(data, dict):
        version = data.pop("format", 1)
        if type(version) is not int or not 1 <= version <= FORMAT:
            raise ConfigError(
                f"{where} is of format {version!r}, this version reads 1 to {FORMAT}: "
                "update mjxhand"
            )
        _fill(data, version)
    return _from_dict(Config, data, where, "")


def _fill(data: dict[str, Any], version: int) -> None:
    """Give a configuration of an older format the fields that it lacks."""
    for name, (since, value) in ADDED.items():
        *groups, last = name.split(".")
        inner: Any = data
        for group in groups:
            inner = inner.get(group) if isinstance(inner, dict) else None
        if since > version and isinstance(inner, dict):
            inner.setdefault(last, value)


def _from_dict(cls: type[T], data: Any, where: str, prefix: str) -> T:
    if not isinstance(data, dict):
        raise ConfigError(f"{where}: {prefix.rstrip('.') or 'it'} is not an object")
    names = [field.name for field in fields(cls)]  # type: ignore[arg-type]
    missing = [name for name in names if name not in data]
    for name in data:
        if name not in names:
            hint = suggest(name, names)
            raise ConfigError(f"{where} has an unknown field {prefix}{name}{hint}")
    if missing:
        raise ConfigError(f"{where} lacks the field {prefix}{missing[0]}")
    hints = get_type_hints(cls)
    values = {}
    for name, value in data.items():
        hint = hints[name]
        if is_dataclass(hint):
            value = _from_dict(hint, value, where, f"{prefix}{name}.")  # type: ignore[arg-type]
        elif not fits(value, hint):
            raise ConfigError(
                f"{where}: {prefix}{name} is {value!r}, not {expected(hint)}"
            )
        elif isinstance(value, str) and "\0" in value:
            raise ConfigError(f"{where}: {prefix}{name} holds a NUL: no file has one")
        values[name] = value
    return cls(**values)


def read_config(run: str | Path) -> Config:
    """Configuration of a run folder.

    Raises:
        ConfigError: there is none, or it cannot be read.
    """
    path = Path(run) / CONFIG
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        hint = _instead(run)
        raise ConfigError(f"{run} holds no run (there is no {path}){hint}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {path}: {error}") from None
    config = config_from_json(text, str(path))
    copy = Path(run) / VISION
    if config.network.vision_stream and copy.exists():
        config = _with(config, vision_stream=str(copy))
    copy = Path(run) / NETWORK
    if config.network.atlas in atlas.PRESETS or not copy.exists():
        return config
    return _with(config, atlas=str(copy))


def _instead(run: str | Path) -> str:
    """What was meant by a name that is no run folder, if one can tell."""
    if str(run).startswith(pretrained.PREFIX):
        return ": it has no checkpoints; training begins with its weights by --from"
    meant = [f"{pretrained.PREFIX}{run}"] if str(run) in pretrained.names() else []
    if (Path("runs") / run / CONFIG).exists():
        meant.append(str(Path("runs") / run))
    return f": did you mean {' or '.join(meant)}?" if meant else ""


def _with(config: Config, **changes: str) -> Config:
    return replace(config, network=replace(config.network, **changes))


def check_resumed(before: Config, after: Config) -> None:
    """Refuse to resume with another value of what the state of a run depends on."""
    now = flatten(after)
    for name, (_, value) in flatten(before).items():
        new = now[name][1]
        if new != new:
            continue  # NaN, also where it was NaN before: refused by `checks.check`
        if new != value and name == "network.weights":
            raise ConfigError(
                "--from begins a new run with the weights of another, --resume goes on with "
                "one: leave out --from, or give --out DIR instead of --resume"
            )
        if new != value and name not in RESUMABLE:
            option = "--" + name.replace("_", "-")
            shown = "nothing" if value == "" else value
            raise ConfigError(
                f"{option} cannot change when a run is resumed (it has {shown}): leave it "
                "out, or start a new run with --out"
            )


def check_length(config: Config, done: int) -> None:
    """Refuse to make a run shorter than the updates that it has done."""
    if config.num_updates < done:
        least = (done - 1) * config.steps_per_update + 1
        raise ConfigError(
            f"update {done} is done, and {config.total_steps} control steps are "
            f"{config.num_updates}: --total-steps must be at least {least}"
        )


def prepare(out: str | Path, config: Config, *, resume: bool = False) -> Path:
    """Make a run's folder, or open the one that is resumed, and write its `config.json`.

    Raises:
        ConfigError: the folder holds another run or other files, or cannot be written; another
            process has it; no command could read it under its name.
    """
    path = Path(out)
    _refuse_name(out)
    try:
        if not resume:
            _refuse_used(path)
            if config.network.vision_stream:
                vision_file.read(config.network.vision_stream)
            path.mkdir(parents=True, exist_ok=True)
        with lock.held(path):
            if not resume:
                _refuse_used(path)  # by another that began at the same time
                _keep_network(path, config)
                if config.network.vision_stream:
                    stream = vision_file.locate(config.network.vision_stream)
                    shutil.copyfile(stream, path / VISION)
            else:  # `read_config` put the copies' paths in the names' place
                kept = json.loads((path / CONFIG).read_text(encoding="utf-8"))[
                    "network"
                ]
                names = {n: kept[n] for n in ("atlas", "vision_stream") if n in kept}
                config = _with(config, **names)
            write_text_atomically(path / CONFIG, config_to_json(config))
    except OSError as error:
        problem = error.strerror or str(error)
        raise ConfigError(f"cannot write to the folder {out}: {problem}") from None
    return path


def _keep_network(path: Path, config: Config) -> None:
    """Copy the table of a network that is not the package's own."""
    source = config.network.atlas
    if config.network.name != "fpn" or source in atlas.PRESETS:
        return
    wiring = atlas.find(source)
    text = atlas.render(wiring, *atlas.notes(source))
    if atlas.parse(text, f"the copy of {source}") != wiring:
        raise ConfigError(
            f"network.atlas is {source!r}: the run's copy, {NETWORK}, would give another "
            "network"
        )
    write_text_atomically(path / NETWORK, text)


def _refuse_name(out: str | Path) -> None:
    """Refuse a folder under whose name nothing would be found again."""
    pretrained.refuse_name(out)
    try:
        check_path(Path(out))
    except ValueError as error:
        raise ConfigError(str(error)) from None


def _refuse_used(path: Path) -> None:
    if path.is_dir():
        if (path / CONFIG).exists() or (path / "checkpoints").exists():
            raise ConfigError(
                f"{path} already holds a run: continue it with --resume {path}, or "
                "choose another --out"
            )
        # A kill while the first file was written leaves its hidden half; of a run whose
        # files somebody deleted the hidden lock may be left.
        ours = (f".{CONFIG}.tmp", lock.FILE)
        if any(p.name not in ours for p in path.iterdir()):
            raise ConfigError(f"{path} is not empty: choose another --out")
    elif path.exists():
        raise ConfigError(f"{path} is a file: choose another --out")
