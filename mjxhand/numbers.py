"""What happens when a number is none: found, counted, and training stopped in time."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
from jax.experimental import checkify

from mjxhand.config import ConfigError


class NotANumber(ConfigError):
    """An operation gave NaN. The message is one line: which, and where."""


def checked(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, compiled with a check after every operation.

    Raises (when called):
        NotANumber: names the first operation that gave NaN, in the order of the program.
    """
    compiled = jax.jit(checkify.checkify(function, errors=checkify.nan_checks))

    def call(*args: Any) -> Any:
        error, result = compiled(*args)
        found = error.get_exception()
        if found is not None:
            raise NotANumber(f"{_words(found)}: {_place(found)}")
        return result

    return call


def _words(found: Any) -> str:
    """What checkify says, of the first device that has something to say."""
    several = getattr(found, "error_mapping", None)  # one per device
    return str(next(iter(several.values())) if several else found).rstrip(".")


def _place(found: Any) -> str:
    """Innermost line of the traced program that is neither JAX's nor another library's."""
    frames = getattr(found.traceback_info, "frames", [])
    own = [f for f in frames if "site-packages" not in f.file_name]
    if not own:
        return "at a place unknown"
    frame = own[0]
    return f"{frame.file_name}, line {frame.line_num}, in {frame.function_name}"


class SkippedSteps:
    """Counts updates in a row whose loss or gradient was no number.

    Args:
        limit: after so many, training stops.
    """

    def __init__(self, limit: int):
        self.limit = limit
        self.in_a_row = 0

    def count(self, skipped_steps: float) -> bool:
        """Count one update, which left out so many gradient steps; whether that is enough."""
        self.in_a_row = self.in_a_row + 1 if skipped_steps else 0
        return self.too_many

    @property
    def too_many(self) -> bool:
        """Whether training should stop."""
        return self.in_a_row >= self.limit

    def advice(self, update: int, out: str | Path) -> str:
        """What to tell whoever trained, in one line."""
        return (
            f"update {update}: loss or gradient was no number in {self.in_a_row} updates in "
            "a row, whose steps were left out; weights and statistics are sound and saved: "
            f"find the cause with --resume {out} --debug-nans, or start anew with a smaller "
            "--ppo.learning-rate"
        )
