"""`python -m mjxhand.randomize`: the table of domain randomisation, in Markdown."""

import sys
from collections.abc import Sequence

from mjxhand import cli
from mjxhand.config import ConfigError
from mjxhand.randomize import markdown


@cli.main_guard
def main(argv: Sequence[str] | None = None) -> int:
    """Command line."""
    argv = sys.argv[1:] if argv is None else argv
    if {"-h", "--help"} & set(argv):
        print(__doc__)
        return 0
    if argv:
        raise ConfigError(f"{argv[0]}: python -m mjxhand.randomize has no arguments")
    print(markdown(), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
