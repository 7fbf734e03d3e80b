"""A recording on disk: shards of plain arrays, listed in a manifest that is written last.

    OUT/recording/manifest.json     how it was made, and every whole shard
    OUT/recording/00000.npz         arrays [N, T, ...]: N environments, T control steps
    OUT/recording/N-carry.npz       where shard N, the next, goes on

Data only: nothing is pickled. A shard is whole or not there. The last axis but the features
is time, so that a window ahead of a step is a slice; the steps that follow a shard's last one
are the first of the next shard.
"""

import hashlib
import json
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mjxhand import runs
from mjxhand.checks import flatten
from mjxhand.config import Config, ConfigError
from mjxhand.storage import write_text_atomically

FORMAT = 1
MANIFEST = "manifest.json"
AREA, CONTROL, SENSE = "area/", "control/", "sense/"
"""Prefixes of the arrays: the network's areas, the control network's, the senses."""

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Settings:
    """How a recording is made; a recording goes on only under the same settings."""

    steps: int  # control steps over all environments, rounded up to whole shards
    envs: int  # N, environments at once
    length: int  # T, control steps of a shard
    seed: int
    update: int  # of the policy that acts
    impl: str  # physics back end
    dtype: str  # of the areas and of touch: float16 or float32
    control: bool  # whether an untrained network saw the same senses

    @property
    def shards(self) -> int:
        """Shards of the whole recording."""
        return -(-self.steps // (self.envs * self.length))


class Recording:
    """Reads a recording. Holds no arrays: every call reads the shard it asks for.

    Raises:
        ConfigError: no whole recording there.
    """

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)
        manifest = read_manifest(self.folder)
        if manifest is None:
            raise ConfigError(f"{folder} holds no recording (no {MANIFEST})")
        self.manifest = manifest
        self.settings = Settings(**manifest["settings"])
        self.names: list[str] = manifest["shards"]
        self.config: Config = runs.config_from_json(
            json.dumps(manifest["config"]), f"{folder}/{MANIFEST}"
        )
        if not self.names:
            raise ConfigError(f"{folder} holds no whole shard yet: record first")

    def __len__(self) -> int:
        return len(self.names)

    def is_of(self, config: Config) -> bool:
        """Whether it was made of the run with this configuration.

        What a run may change when it is resumed does not count; of the files that it names,
        what they hold does: a run that was moved has its copies elsewhere.
        """
        held = self.manifest.get("files")
        if held is None:  # an older version recorded it
            return self.config == config
        return _meant(self.config, held) == _meant(config, contents(config))

    @property
    def step_seconds(self) -> float:
        """Duration of a control step, seconds."""
        return self.config.control_seconds

    @property
    def samples(self) -> int:
        """Recorded control steps, over all environments."""
        return len(self) * self.settings.envs * self.settings.length

    @property
    def sizes(self) -> dict[str, int]:
        """Width of every array, by name (1: a number per step)."""
        return self.manifest["sizes"]

    def of_kind(self, prefix: str) -> list[str]:
        """Names that begin with a prefix, without it: `of_kind(AREA)` gives the areas."""
        return [n.removeprefix(prefix) for n in self.sizes if n.startswith(prefix)]

    def read(self, shard: int, names: Iterable[str], ahead: int = 0) -> Arrays:
        """Arrays `[N, T + ahead, ...]` of a shard by name, floats as float32.

        Args:
            ahead: steps of the following shards to append; fewer where the recording ends.
        """
        names = list(names)
        kept = [self._load(shard, names, self.settings.length)]
        following = shard + 1
        while ahead > 0 and following < len(self):
            kept.append(self._load(following, names, ahead))
            ahead -= self.settings.length
            following += 1
        if len(kept) == 1:
            return kept[0]
        return {n: np.concatenate([k[n] for k in kept], axis=1) for n in names}

    def shards(self, names: Iterable[str], ahead: int = 0) -> Iterator[Arrays]:
        """`read` of every shard in turn."""
        names = list(names)
        for shard in range(len(self)):
            yield self.read(shard, names, ahead)

    def mean(self, name: str) -> np.ndarray:
        """Mean of an array over all recorded steps, `[size]`."""
        total = sum(
            arrays[name].mean((0, 1), dtype=np.float64)
            for arrays in self.shards([name])
        )
        return np.asarray(total) / len(self)

    def _load(self, shard: int, names: list[str], steps: int) -> Arrays:
        path = self.folder / self.names[shard]
        try:
            with np.load(path, allow_pickle=False) as file:
                missing = [n for n in names if n not in file]
                if missing:
                    there = ", ".join(file.files)
                    raise ConfigError(f"{path} holds no {missing[0]!r}; only: {there}")
                return {n: _wide(file[n][:, :steps]) for n in names}
        except (OSError, ValueError, zipfile.BadZipFile) as error:
            raise ConfigError(f"cannot read {path}: {error}") from None


def contents(config: Config) -> dict[str, str]:
    """SHA-256 of each file that a configuration names, by the setting's dotted name."""
    network = config.network
    named = {
        "network.atlas": network.atlas,
        "network.vision_stream": network.vision_stream,
    }
    files = {name: Path(value) for name, value in named.items()}
    return {
        name: hashlib.sha256(path.read_bytes()).hexdigest()
        for name, path in files.items()
        if path.is_file()
    }


def _meant(config: Config, held: dict[str, str]) -> dict[str, Any]:
    """What a recording depends on: values of settings, and sums of the files they name."""
    values = {name: value for name, (_, value) in flatten(config).items()} | held
    # The back end is among `Settings`.
    return {name: v for name, v in values.items() if name not in runs.RESUMABLE}


def _wide(array: np.ndarray) -> np.ndarray:
    return array.astype(np.float32) if array.dtype == np.float16 else array


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """The manifest of a recording; None where there is none.

    Raises:
        ConfigError: it cannot be read, or another version wrote it.
    """
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot read {path}: {error}") from None
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise ConfigError(f"{path} is not of format {FORMAT}: record again elsewhere")
    try:
        Settings(**manifest["settings"])
    except (KeyError, TypeError) as error:
        raise ConfigError(f"cannot read {path}: its settings: {error}") from None
    return manifest


def write_manifest(
    folder: Path,
    settings: Settings,
    config: Config,
    sizes: dict[str, int],
    shards: list[str],
) -> None:
    """Write the list of whole shards; the mark that they are."""
    manifest = {
        "format": FORMAT,
        "settings": asdict(settings),
        "config": json.loads(runs.config_to_json(config)),
        "files": contents(config),
        "sizes": sizes,
        "shards": shards,
    }
    write_text_atomically(folder / MANIFEST, json.dumps(manifest, indent=1) + "\n")
