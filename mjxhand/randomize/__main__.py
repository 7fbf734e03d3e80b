"""`python -m mjxhand.randomize`: the table of domain randomisation, in Markdown."""

import sys
from collections.abc import Sequence

from mjxhand import cli
from mjxhand.randomize import markdown


@cli.main_guard
def main(argv: Sequence[str] | None = None) -> int:
    """Command line."""
    argv = sys.argv[1:] if argv is None else argv
    if cli.only_help(argv, "python -m mjxhand.randomize", __doc__):
        return 0
    print(markdown(), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
