"""`python -m mjxhand.atlas show [NAME]` and `python -m mjxhand.atlas refresh --out DIR`."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import tyro

from mjxhand import atlas, cli
from mjxhand.arguments import build, option_types, split, suggest
from mjxhand.atlas import figure, show
from mjxhand.atlas.refresh import AtlasError, RefreshOptions, refresh
from mjxhand.config import ConfigError, NetworkConfig
from mjxhand.storage import write_text_atomically

COMMANDS = ("show", "refresh")
PROG = "python -m mjxhand.atlas"


@dataclass(frozen=True)
class ShowOptions:
    """Print a brain: areas, units, pathways, parameters, sources."""

    name: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="[NAME]")] = (
        "angorapy_v2"
    )
    """angorapy_v2, derived, a folder of tables, or a table's file."""
    figure: str | None = None
    """File to draw the network to: .png, .svg or .pdf."""
    table: str | None = None
    """File to write the network's table to, to edit or to train on with --atlas."""
    task: str = "reorient"
    """Task whose senses and actions are counted."""
    cell: Literal["lstm", "gru", "rnn"] = "lstm"
    """Recurrent cell."""
    units_scale: float = 1.0
    """Scale of every area's number of units."""
    recurrent: str = "table"
    """Recurrent areas, as for training."""
    feedback: str = "table"
    """Pathways back, as for training."""
    budget: float | None = None
    """Units of all layers together, for `derived` and folders."""
    multiple: float | None = None
    """Units are a multiple of this, for `derived` and folders."""
    min_streamlines: float | None = None
    """Streamlines that a pathway needs, for `derived` and folders."""
    kept: bool = True
    """Whether pathways are kept that lie below the threshold."""


def _shown(options: ShowOptions, copy: Path) -> show.Shown:
    """The brain, derived anew if a rule is given on the command line."""
    rules = ("budget", "multiple", "min_streamlines")
    given = {n: getattr(options, n) for n in rules if getattr(options, n) is not None}
    name = options.name
    cfg = NetworkConfig(
        atlas=name,
        cell=options.cell,
        units_scale=options.units_scale,
        recurrent=options.recurrent,
        feedback=options.feedback,
    )
    if not given and options.kept:
        return show.build(name, cfg, options.task)
    if name != "derived" and not Path(name).is_dir():
        raise ConfigError(f"{name} is not derived from tables: leave out the rules")
    tables = atlas.load(None if name == "derived" else name)
    wiring = atlas.derive(tables, kept=options.kept, **given)
    copy.write_text(atlas.render(wiring), encoding="utf-8")
    shown = show.build(name, replace(cfg, atlas=str(copy)), options.task)
    least = given.get("min_streamlines", tables.rules["min_streamlines"])
    tables = replace(tables, rules=tables.rules | {"min_streamlines": least})
    return replace(shown, atlas=tables)


def run_show(argv: Sequence[str]) -> int:
    """`show`."""
    import tempfile

    args, words = split(argv, option_types(ShowOptions))
    if len(words) > 1:
        raise ConfigError(f"one brain at a time, not {' and '.join(words)}")
    options = build(ShowOptions, [*args, *words], f"{PROG} show")
    with tempfile.TemporaryDirectory() as temporary:
        shown = _shown(options, Path(temporary) / "table.tsv")
    print(show.text(shown))
    if options.figure:
        figure.draw(shown, Path(options.figure))
        print(f"\nfigure: {options.figure}")
    if options.table:
        try:
            text = atlas.render(shown.wiring, *atlas.notes(options.name))
            write_text_atomically(Path(options.table), text)
        except OSError as error:
            problem = error.strerror or error
            raise ConfigError(f"cannot write {options.table}: {problem}") from None
        print(f"\ntable: {options.table}")
    return 0


def run_refresh(argv: Sequence[str]) -> int:
    """`refresh`: exit code 3 without network or siibra, 4 if regions are missing."""
    args, words = split(argv, option_types(RefreshOptions))
    if words:
        raise ConfigError(f"refresh takes no {words[0]!r}: {PROG} refresh --out DIR")
    options = build(RefreshOptions, args, f"{PROG} refresh")
    try:
        out = refresh(options)
    except AtlasError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return error.code
    print(
        f"atlas: {out}; look at it with {PROG} show {out}, train on it with --atlas {out}"
    )
    return 0


@cli.main_guard
def main(argv: list[str] | None = None) -> int:
    """Command line of `python -m mjxhand.atlas`."""
    argv = sys.argv[1:] if argv is None else argv
    command = argv[0] if argv else ""
    if command in ("-h", "--help"):
        print(f"{__doc__}\n\nOptions: {PROG} show --help, {PROG} refresh --help")
        return 0
    if command not in COMMANDS:
        problem = f"unknown command {command!r}{suggest(command, COMMANDS)}"
        problem = problem if command else "no command"
        raise ConfigError(f"{problem}: {PROG} {{{','.join(COMMANDS)}}}")
    return {"show": run_show, "refresh": run_refresh}[command](argv[1:])


if __name__ == "__main__":
    sys.exit(main())
