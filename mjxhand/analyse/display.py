"""What a running analysis shows: a bar on a terminal, plain lines elsewhere."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

from mjxhand.progress import PLAIN_INTERVAL, clock, count

Show = Callable[[float], None]


class Display:
    """Shows stages, one after the other.

    Args:
        quiet: show nothing.
    """

    def __init__(self, *, quiet: bool = False, console: Console | None = None):
        self._quiet = quiet
        self._console = console or Console(highlight=False)
        self.seconds: dict[str, float] = {}
        """How long each stage that has ended took, by its title."""

    def say(self, text: str) -> None:
        """One line."""
        if not self._quiet:
            self._console.print(text, soft_wrap=True)

    @contextmanager
    def stage(self, title: str, total: float) -> Iterator[Show]:
        """A stage of `total` parts; yields a function that is told how many are done."""
        start = time.monotonic()
        if not self._quiet and self._console.is_terminal:
            columns = (
                TextColumn("[cyan]{task.description:<28}"),
                BarColumn(),
                TaskProgressColumn(),
                TimeRemainingColumn(),
            )
            with Progress(*columns, console=self._console) as bar:
                task = bar.add_task(title, total=total)
                yield lambda done: bar.update(task, completed=done)
        else:
            yield self._plain(title, total, start)
        self.seconds[title] = time.monotonic() - start
        if not (self._quiet or self._console.is_terminal):
            self.say(f"{title}: {clock(self.seconds[title])}")

    def _plain(self, title: str, total: float, start: float) -> Show:
        shown = start

        def show(done: float) -> None:
            nonlocal shown
            now = time.monotonic()
            if self._quiet or now - shown < PLAIN_INTERVAL or done <= 0:
                return
            shown = now
            left = clock((now - start) * (total - done) / done)
            far = f"{count(done)} of {count(total)}" if total > 1 else f"{done:.0%}"
            self.say(f"{title}: {far} · {left} left")

        return show
