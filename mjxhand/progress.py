"""The display of a running training: live on a wide terminal, plain lines elsewhere."""

import math
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from mjxhand.config import Config

# Columns that the table needs.
MIN_WIDTH = 80
# Seconds between two lines where there is no live display.
PLAIN_INTERVAL = 10.0
# Updates over which what is shown is averaged (one holds few ended episodes, or none).
WINDOW = 20
PER_EPISODE = ("goals_per_episode", "drop_rate", "time_out_rate")
# Counts that should be 0, in words.
TROUBLES = {
    "invalid_states": "invalid state",
    "skipped_steps": "skipped gradient step",
}
OVERFLOW = "overflow_rate"
# Share of control steps with full contact buffers from which the display mentions it.
MAX_OVERFLOW = 0.01

Line = Mapping[str, Any]


class Output(Console):
    """A console that leaves it to the program what to do when its reader has left."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


class Display:
    """Shows a run: live on a terminal of 80 columns or more, else a line every ten seconds.

    Args:
        config: of the run.
        title: what is trained, in one line.
        quiet: show nothing.
    """

    def __init__(
        self,
        config: Config,
        title: str,
        *,
        quiet: bool = False,
        console: Console | None = None,
    ):
        self._total = config.num_updates
        self._steps = config.total_steps
        self._curriculum = config.curriculum.enabled
        self._goal_angle_max = config.env.goal_angle_max
        self._title = title
        self._quiet = quiet
        self._console = console or Output(highlight=False)
        self._start = time.monotonic()
        self._first: int | None = None  # updates done when this process began
        self._shown = -math.inf
        self._last: Line | None = None
        self._recent: deque[Line] = deque(maxlen=WINDOW)
        self._pending = False
        self._live: Live | None = None

    def __enter__(self) -> Self:
        if self._quiet:
            return self
        with self._output():
            if self._has_room():
                waiting = f"{self._title}\ncompiling and settling the hand …"
                live = Live(
                    Text(waiting, "dim"), console=self._console, refresh_per_second=4
                )
                live.start()
                self._live = live
            else:
                self._console.print(self._title, soft_wrap=True)
        return self

    def __exit__(self, *_: object) -> None:
        with self._output():
            if self._live is not None:
                self._live.stop()
            elif self._pending and self._last is not None and not self._quiet:
                self._print(self._last)

    def _has_room(self) -> bool:
        """Whether there is a terminal that can show a table in place."""
        console = self._console
        plain = not console.is_terminal or console.is_dumb_terminal
        return not plain and console.width >= MIN_WIDTH

    @contextmanager
    def _output(self) -> Iterator[None]:
        """Where the terminal is gone nothing more is shown; a reader that left is told of."""
        try:
            yield
        except BrokenPipeError:
            raise
        except OSError:
            self._quiet, self._live = True, None

    def show(self, line: Line) -> None:
        """Show the metrics of the update that has just ended."""
        if self._first is None:
            self._first = int(line["update"]) - 1
            # The first update holds the compilation: the clock for the rate starts after it.
            self._start = time.monotonic()
        self._recent.append(line)
        line = smooth(self._recent)
        self._last, self._pending = line, True
        if self._quiet:
            return
        with self._output():
            if self._live is not None:
                self._live.update(self._panel(line))
            elif time.monotonic() - self._shown >= PLAIN_INTERVAL:
                self._print(line)

    def _print(self, line: Line) -> None:
        self._shown, self._pending = time.monotonic(), False
        self._console.print(self._plain(line), soft_wrap=True)

    def _eta(self, line: Line) -> str:
        done = int(line["update"]) - (self._first or 0) - 1
        left = self._total - int(line["update"])
        if left <= 0:
            return "0:00"
        if not done:
            return "…"
        return clock((time.monotonic() - self._start) / done * left)

    def _plain(self, line: Line) -> str:
        parts = [
            f"update {line['update']}/{self._total}",
            f"{count(line['env_steps'])} steps",
            f"{_number(line, 'sps', '{:,.0f}')} steps/s",
            f"{_number(line, 'goals_per_episode', '{:.2f}')} goals/episode",
            f"{_percent(line, 'drop_rate')} dropped",
        ]
        if self._curriculum:
            parts.append(f"goals up to {_number(line, 'goal_angle_max', '{:.2f}')} rad")
        kl = _number(line, "policy/kl", "{:.4f}")
        parts += [f"KL {kl}", f"{self._eta(line)} left"]
        return " · ".join([*parts, *(f"! {trouble}" for trouble in troubles(line))])

    def _panel(self, line: Line) -> Group:
        """Title, bar, and a table of what the eye looks for."""
        head = Table.grid(padding=(0, 1))
        head.add_row(
            ProgressBar(total=self._total, completed=int(line["update"]), width=30),
            Text(f"{line['update']}/{self._total} updates"),
            Text(f"{self._eta(line)} left", "bold"),
        )
        row = ("out of time", _percent(line, "time_out_rate"))
        if self._curriculum:
            angle = _number(line, "goal_angle_max", "{:.2f}")
            row = ("goals up to", f"{angle} of {self._goal_angle_max:.2f} rad")
        rows = [
            ("env steps", f"{count(line['env_steps'])} of {count(self._steps)}"),
            ("goals/episode", _number(line, "goals_per_episode", "{:.2f}")),
            ("simulated", _number(line, "simulated_years", "{:.3g}") + " years"),
            ("dropped", _percent(line, "drop_rate")),
            ("speed", _number(line, "sps", "{:,.0f}") + " steps/s"),
            row,
            ("learning rate", _number(line, "policy/learning_rate", "{:.1e}")),
            ("KL", _number(line, "policy/kl", "{:.4f}")),
        ]
        table = Table.grid(padding=(0, 2))
        for left, right in zip(rows[::2], rows[1::2], strict=True):
            cells = (left[0], left[1], right[0], right[1])
            table.add_row(
                *(Text(c, "" if i % 2 else "dim") for i, c in enumerate(cells))
            )
        parts = [Text(self._title, "bold cyan"), head, table, _rewards(line)]
        for trouble in troubles(line):
            parts.append(Text(f"! {trouble}", "bold red"))
        return Group(*parts)


def smooth(lines: Sequence[Line]) -> dict[str, Any]:
    """The last line with its rates averaged over `lines`, per episode where they are that."""
    shown = dict(lines[-1])
    for name in PER_EPISODE:
        known = [
            (line[name], line.get("episodes", 1))
            for line in lines
            if math.isfinite(line.get(name, math.nan))
        ]
        weight = sum(episodes for _, episodes in known)
        total = sum(value * episodes for value, episodes in known)
        shown[name] = total / weight if weight else math.nan
    for name in TROUBLES:
        shown[name] = sum(line.get(name) or 0.0 for line in lines)
    shown[OVERFLOW] = sum(line.get(OVERFLOW) or 0.0 for line in lines) / len(lines)
    seconds = [1.0 / line["sps"] for line in lines if line.get("sps", 0.0) > 0.0]
    if seconds:
        shown["sps"] = len(seconds) / sum(seconds)
    return shown


def troubles(line: Line) -> list[str]:
    """What went wrong in the updates that `line` sums, in words; nothing if nothing did."""
    told = [
        f"{number:.0f} {word}{'s' * (number != 1)} in the last {WINDOW} updates"
        for name, word in TROUBLES.items()
        if (number := line.get(name) or 0.0)
    ]
    share = line.get(OVERFLOW) or 0.0
    if share > MAX_OVERFLOW:
        told.append(f"contacts perhaps dropped in {100 * share:.2g} % of steps")
    return told


def _rewards(line: Line) -> Text:
    """The reward terms, the costs in red."""
    text = Text("reward/step", "dim")
    for name, value in line.items():
        if name.startswith("reward/"):
            colour = "green" if value > 0 else "red" if value < 0 else "dim"
            text.append(f"  {name.removeprefix('reward/')} ", "none")
            text.append(f"{value:+.4f}", colour)
    return text


def _number(line: Line, name: str, form: str) -> str:
    value = line.get(name)
    return "–" if value is None or not math.isfinite(value) else form.format(value)


def _percent(line: Line, name: str) -> str:
    value = line.get(name)
    return _number({name: None if value is None else 100 * value}, name, "{:.0f} %")


def count(number: float) -> str:
    """A large number in three digits: 1.31 M."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.3g} {letter}"
    return f"{number:.0f}"


def clock(seconds: float) -> str:
    """Minutes and seconds, hours if needed: 4:05, 1:02:03."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute}:{second:02d}"
