"""The command lines: their options, their presets, their way to fail in one line."""

import errno
import functools
import io
import math
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

import jax
import tyro

from mjxhand import distributed, idle, presets, pretrained, runs, tasks
from mjxhand.arguments import build, option_types, split, suggest, value_of
from mjxhand.checkpoint import CheckpointError
from mjxhand.checks import RANGES
from mjxhand.command_options import EvaluateOptions, RenderOptions, TrainOptions
from mjxhand.config import Config, ConfigError
from mjxhand.runs import read_config as read_config

T = TypeVar("T")
PRESET_NAMES = ", ".join(presets.PRESETS)
FULL = (errno.ENOSPC, errno.EDQUOT)
"""Of a disk or a quota; the system does not say in which file."""
ALIASES = {
    "--task": "--env.task",
    "--atlas": "--network.atlas",
    "--from": "--network.weights",
}


@dataclass(frozen=True)
class _Config(Config):
    """A whole run."""

    preset: Annotated[str, tyro.conf.Suppress] = ""
    """On the command line a preset is a word, not an option."""


@dataclass(frozen=True)
class _Train:
    options: Annotated[TrainOptions, tyro.conf.arg(name="")]
    config: Annotated[_Config, tyro.conf.arg(name="")]


def parse_config(
    argv: Sequence[str], prog: str = "python -m mjxhand.train"
) -> tuple[Config, TrainOptions]:
    """Configuration and options of a training run.

    Raises:
        ConfigError: one line: what was wrong, what to do.
    """
    argv = [_unalias(argument) for argument in argv]
    options = option_types(_Train)
    del options["--preset"]
    if any(a.partition("=")[0] == "--preset" for a in argv):
        raise ConfigError(f"a preset is given as a word, such as: {prog} smoke")
    args, words = split(argv, options)
    if len(words) > 1:
        raise ConfigError(f"one preset at a time, not {' and '.join(words)}")
    resume = value_of("--resume", args)
    default = presets.default_preset() if resume is None else None
    name = words[0] if words else default
    if name is not None and name not in presets.PRESETS:
        hint = suggest(name, presets.PRESETS) or f": choose {PRESET_NAMES}"
        if name in tasks.TASKS:
            hint += f"; a task is given as --task {name}"
        raise ConfigError(f"unknown preset {name!r}{hint}")
    given = {_dotted(a): a.partition("=")[2] for a in args}
    base = (
        presets.fitted(presets.PRESETS[name or ""], given)
        if resume is None
        else read_config(resume)
    )
    if resume is not None and (Path(resume) / pretrained.FILE).exists():
        raise ConfigError(
            f"{resume} holds a policy without its optimiser, which cannot go on: begin a "
            f"run with its weights, --from {resume} --out DIR"
        )
    if resume is not None and name not in (None, base.preset):
        raise ConfigError(
            f"{resume} was started from preset {base.preset}, not {name}: leave it out"
        )
    out = f"runs/{base.preset}" if resume is None else resume
    start = _Train(
        TrainOptions(preset=base.preset, out=out, resume=resume), _Config(**vars(base))
    )
    parsed = build(_Train, args, prog, start)
    config = Config(**vars(parsed.config))
    if resume is None:
        idle.refuse(given, config)
    else:
        runs.check_resumed(base, config)
        if parsed.options.out != resume:
            raise ConfigError("--resume continues in its own folder: leave out --out")
    if (
        parsed.options.until_seconds is not None
        and not parsed.options.until_seconds > 0
    ):
        raise ConfigError(
            f"--until-seconds is {parsed.options.until_seconds:g}: give a positive time"
        )
    return config, parsed.options


def parse_cluster(argv: Sequence[str]) -> distributed.Cluster | None:
    """The processes that share a training run; None: this one is alone.

    Apart from `parse_config`, because JAX is not to look for devices before it is known.

    Raises:
        ConfigError: one line: what was wrong, what to do.
    """
    args, _ = split([_unalias(argument) for argument in argv], option_types(_Train))
    given = {name: value_of(name, args) for name in distributed.OPTIONS}
    coordinator, *numbers = (None if v == "None" else v for v in given.values())
    count, index = (None if n is None else int(n) for n in numbers)
    return distributed.find(coordinator, count, index)


def _dotted(argument: str) -> str:
    """Name of the setting that an option is for: `env.max_goals` of `--env.max-goals=3`."""
    return argument.partition("=")[0].removeprefix("--").replace("-", "_")


def _unalias(argument: str) -> str:
    """An option's full name for its short one, with or without a value."""
    name, equals, value = argument.partition("=")
    return ALIASES.get(name, name) + equals + value


def prepare_out(options: TrainOptions, config: Config) -> Path:
    """The run's folder, with its `config.json` written. See `runs.prepare`.

    Raises:
        ConfigError: it cannot be had, or another process trains in it.
    """
    return runs.prepare(options.out, config, resume=options.resume is not None)


def parse_dir(cls: type[T], argv: Sequence[str], prog: str) -> T:
    """Options of a command on one run folder: a dataclass whose first field is `dir: Dir`.

    Raises:
        ConfigError: one line: what was wrong, what to do.
    """
    args, words = split(argv, option_types(cls))
    if len(words) != 1 and not {"-h", "--help"} & set(args):
        problem = (
            f"one folder at a time, not {len(words)}" if words else "no run folder"
        )
        raise ConfigError(f"{problem}: {prog} DIR")
    return build(cls, [*args, *words], prog)


def parse_evaluate(argv: Sequence[str]) -> EvaluateOptions:
    """Options of `python -m mjxhand.evaluate`."""
    options = parse_dir(EvaluateOptions, argv, "python -m mjxhand.evaluate")
    if options.episodes < 1:
        raise ConfigError(f"--episodes is {options.episodes}: give at least 1")
    refuse_seed(options.seed)
    if options.json is not None:
        refuse_unwritable("--json", options.json)
    return options


def parse_render(argv: Sequence[str]) -> RenderOptions:
    """Options of `python -m mjxhand.render`."""
    options = parse_dir(RenderOptions, argv, "python -m mjxhand.render")
    for name in ("width", "height", "fps", "seconds"):
        if not getattr(options, name) > 0:
            raise ConfigError(f"--{name} is {getattr(options, name)}: must be positive")
    if math.isinf(options.seconds):
        raise ConfigError(f"--seconds is {options.seconds}: give a finite number")
    refuse_seed(options.seed)
    if options.width % 2 or options.height % 2:
        raise ConfigError(
            f"a film of {options.width} x {options.height} pixels cannot be coded: "
            "--width and --height must be even"
        )
    return options


def refuse_seed(seed: int) -> None:
    """Refuse a seed that a training run could not have either.

    Raises:
        ConfigError: it is out of range.
    """
    low, high, _ = RANGES["seed"]
    if not low <= seed <= high:
        raise ConfigError(
            f"--seed is {seed}: it must be at least {low} and at most {high}"
        )


def only_help(argv: Sequence[str], prog: str, text: str | None) -> bool:
    """For a command without options: whether help was asked for, and is printed.

    Raises:
        ConfigError: anything else was given.
    """
    if {"-h", "--help"} & set(argv):
        print(text)
        return True
    if argv:
        raise ConfigError(f"{prog} takes no options")
    return False


def refuse_unwritable(option: str, path: str | Path) -> None:
    """Refuse a file to write that is a folder, or in a folder that is not there.

    Raises:
        ConfigError: so that nothing is lost when all is done.
    """
    path = Path(path)
    if path.is_dir() or not path.parent.is_dir():
        raise ConfigError(f"{option} is {path}: give a file in a folder that is there")


def keep_compiled_programs() -> None:
    """Keep compiled programs between commands, unless the user chose a place or none."""
    if distributed.CACHE not in os.environ:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        jax.config.update("jax_compilation_cache_dir", str(cache / "mjxhand" / "jax"))


def say(text: str) -> None:
    """Print a line, unless the terminal is gone: what was done is done."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        raise
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        _silence()


def _silence() -> None:
    """What is still buffered must go somewhere, or Python complains at its exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _show_what_can_be_shown() -> None:
    """A terminal whose encoding lacks a character (±) gets a question mark, not an error."""
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="replace")


def _refuse_64_bits() -> None:
    """Refuse JAX's 64 bits, with which the types of what goes round a loop would change."""
    if jax.config.jax_enable_x64:
        raise ConfigError(
            "jax_enable_x64 is on: mjxhand computes in 32 bits; turn it off "
            "(JAX_ENABLE_X64=0)"
        )


def _platform_problem() -> str:
    """What is wrong with the platform that the user chose for JAX; empty: nothing.

    Asked for only when something has failed: JAX looks for devices when it first needs one.
    """
    platforms = os.environ.get("JAX_PLATFORMS", "")
    if not platforms:
        return ""
    try:
        jax.devices()
    except (
        RuntimeError,
        AssertionError,
    ):  # the latter where the CUDA plug-in is missing
        return f"JAX_PLATFORMS is {platforms}: unset it, or install JAX for it"
    return ""


def main_guard(main: Callable[..., int]) -> Callable[..., int]:
    """For every command: programs are kept; errors meant for users become one line on
    stderr and exit code 2; Ctrl-C becomes 130; a reader of the output that has left (`head`)
    ends the command without a word, with 141 as a shell reports it."""

    @functools.wraps(main)
    def guarded(*args: Any, **kwargs: Any) -> int:
        try:
            _show_what_can_be_shown()
            _refuse_64_bits()
            keep_compiled_programs()
            code = main(*args, **kwargs)
            sys.stdout.flush()  # here, where a reader that has left is noticed
            return code
        except (ConfigError, CheckpointError) as error:
            print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
            return 2
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            return 130
        except BrokenPipeError:
            _silence()
            return 141
        except (RuntimeError, AssertionError):
            problem = _platform_problem()
            if not problem:
                raise
            print(f"error: {problem}", file=sys.stderr)
            return 2
        except OSError as error:  # a full disk, a folder that may not be written
            if error.filename is None and error.errno not in FULL:
                raise
            where = "" if error.filename is None else f"{error.filename}: "
            print(f"error: {where}{error.strerror}", file=sys.stderr)
            return 2

    return guarded
