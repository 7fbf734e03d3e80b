"""The libraries that only analyses need: the extra `analysis` of the package."""

import importlib.util
import sys

LIBRARIES = ("scipy", "pandas", "matplotlib", "threadpoolctl")


def check() -> None:
    """End a command of ours in the one line of every error if a library is missing.

    A program that imports an analysis is left to Python's own ImportError.
    """
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    if spec is None or spec.name.partition(".")[0] != "mjxhand":
        return
    for name in LIBRARIES:
        if importlib.util.find_spec(name) is None:
            print(
                f"error: {name} is missing: pip install 'mjxhand[analysis]'",
                file=sys.stderr,
            )
            sys.exit(2)


check()
