"""`python -m mjxhand.analyse`."""

import sys

from mjxhand.analyse import extra  # noqa: F401  # isort: skip  # first: what is missing
from mjxhand.analyse.command import main

if __name__ == "__main__":
    sys.exit(main())
