"""`python -m mjxhand.analyse`."""

import sys

try:
    from mjxhand.analyse.command import main
except ModuleNotFoundError as error:
    # The libraries are an extra: say which is missing, in the one line of every error.
    if (error.name or "").partition(".")[0] not in (
        "scipy",
        "pandas",
        "matplotlib",
        "threadpoolctl",
    ):
        raise
    print(
        f"error: {error.name} is missing: pip install 'mjxhand[analysis]'",
        file=sys.stderr,
    )
    sys.exit(2)

if __name__ == "__main__":
    sys.exit(main())
