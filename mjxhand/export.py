"""`python -m mjxhand.export RUN FOLDER`: a run small enough to go on elsewhere.

FOLDER is a run folder like any other, for `train --resume FOLDER` on another machine: its
configuration, its metrics, and the newest whole checkpoint's learner (weights, optimiser,
normaliser, counters) in files of at most 15 MiB. The environments stay behind and start anew
there, unless `--with-environments` takes them along: then the curve is the same to the bit.
"""

import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from mjxhand import cli, runs
from mjxhand.arguments import build, option_types, split
from mjxhand.checkpoint import CheckpointError, Checkpoints
from mjxhand.command_options import Dir
from mjxhand.config import ConfigError
from mjxhand.metrics import FILE

PROG = "python -m mjxhand.export"


@dataclass(frozen=True)
class Options:
    """Copy what a run needs to go on on another machine."""

    dir: Dir
    """Folder of the run."""
    to: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="FOLDER")]
    """New folder."""
    with_environments: bool = False
    """Take the environments' states along too, so that the run goes on exactly."""


def export(run: Path, to: Path, *, with_environments: bool = False) -> int:
    """Copy the newest whole checkpoint of `run` into the new run folder `to`; its update.

    Raises:
        ConfigError: no run, no environments to take along, or `to` is in use or cannot be
            written.
        CheckpointError: no checkpoint is whole.
    """
    config = runs.read_config(run)
    checkpoints = Checkpoints(run)
    update = checkpoints.latest()
    if update is None:
        raise CheckpointError(f"no whole checkpoint in {checkpoints.folder}")
    parts = checkpoints.arrays(update)
    if not with_environments:
        parts.pop("actors", None)
    elif "actors" not in parts:
        raise ConfigError(
            f"update {update} of {run} holds no environments: leave out --with-environments"
        )
    runs.prepare(to, config)
    try:
        if (run / FILE).exists():
            shutil.copyfile(run / FILE, to / FILE)
    except OSError as error:
        raise ConfigError(f"cannot write to the folder {to}: {error}") from None
    with Checkpoints(to) as copy:
        copy.save(update, **parts)
    return update


@cli.main_guard
def main(argv: Sequence[str] | None = None) -> int:
    """Command line."""
    argv = sys.argv[1:] if argv is None else argv
    args, words = split(argv, option_types(Options))
    if len(words) != 2 and "--help" not in args:
        raise ConfigError(f"give a run and a new folder: {PROG} RUN FOLDER")
    options = build(Options, [*args, *words], PROG)
    update = export(
        Path(options.dir),
        Path(options.to),
        with_environments=options.with_environments,
    )
    files = [p.stat().st_size for p in Path(options.to).rglob("*") if p.is_file()]
    print(
        f"{options.to}: update {update}, {sum(files) / 2**20:.1f} MiB in {len(files)} "
        f"files, the largest {max(files) / 2**20:.1f} MiB; go on with: "
        f"python -m mjxhand.train --resume {options.to}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
