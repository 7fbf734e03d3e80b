"""What a run writes: `metrics.jsonl` and TensorBoard events."""

import json
import math
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from mjxhand.config import ConfigError
from mjxhand.storage import write_text_atomically

FILE = "metrics.jsonl"
FLUSH_SECONDS = 10.0
"""How far TensorBoard may lag behind."""


class Metrics:
    """Appends one JSON object per update to `metrics.jsonl`, and the same to TensorBoard.

    A disk that is full or gone stops neither: each says so once on stderr, and the lines that
    could not be written are, as soon as they can.

    Args:
        run_dir: folder of the run.
        resume_at: updates done before; lines of later ones, and damaged ones, are dropped, so
            that no update is there twice. Updates whose line is missing are told on stderr.
    """

    def __init__(self, run_dir: str | Path, resume_at: int = 0):
        self.path = Path(run_dir) / FILE
        try:
            _keep_until(self.path, resume_at)
            # Unbuffered: a line is with the system, whatever becomes of this process.
            self._file = self.path.open("ab", buffering=0)
        except OSError as error:
            raise ConfigError(f"cannot write {self.path}: {error.strerror}") from None
        self._waiting: list[str] = []
        self._warned = False
        self._board: _Board | None = None
        try:
            self._board = _Board(Path(run_dir), resume_at)
        except OSError as error:
            _no_board(error)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def write(self, line: Mapping[str, Any]) -> None:
        """Write one update's numbers; `line["update"]` counts from 1. NaN becomes null."""
        finite = {name: _finite(value) for name, value in line.items()}
        self._waiting.append(json.dumps(finite, allow_nan=False) + "\n")
        try:
            self._append()
        except OSError as error:
            if not self._warned:
                print(
                    f"warning: cannot write {self.path} ({error.strerror}); training goes "
                    "on, and its lines are kept until they can be written",
                    file=sys.stderr,
                )
            self._warned = True
        if self._board is None:
            return
        try:
            self._board.write(finite)
        except OSError as error:
            self._board = _no_board(error)

    def _append(self) -> None:
        """Append all waiting lines, or none."""
        size = os.fstat(self._file.fileno()).st_size
        left = memoryview("".join(self._waiting).encode())
        try:
            while left:
                left = left[self._file.write(left) :]
        except OSError:
            os.ftruncate(self._file.fileno(), size)
            raise
        self._waiting.clear()

    def sync(self) -> None:
        """Wait until the lines are on the disk itself, as far as it takes them."""
        try:
            self._append()
            os.fsync(self._file.fileno())
        except OSError:
            pass  # `write` says so

    def close(self) -> None:
        """Close both files."""
        self.sync()
        if self._waiting:
            print(
                f"warning: {len(self._waiting)} lines of {self.path} are lost",
                file=sys.stderr,
            )
        self._file.close()
        if self._board is not None:
            try:
                self._board.close()
            except OSError as error:
                _no_board(error)


class _Board:
    """TensorBoard events, written by the thread that calls.

    tensorboardX's own SummaryWriter writes in a thread of its own; when that dies of a full
    disk, the next calls wait for it for ever.
    """

    def __init__(self, run_dir: Path, resume_at: int):
        from tensorboardX.event_file_writer import EventsWriter
        from tensorboardX.proto.event_pb2 import Event, SessionLog
        from tensorboardX.proto.summary_pb2 import Summary

        self._event, self._summary = Event, Summary
        self._writer = EventsWriter(str(run_dir / "events"))
        self._flushed = -math.inf
        # Later points of an earlier, killed process are hidden from this step on.
        start = SessionLog(status=SessionLog.START)
        self._add(Event(step=resume_at + 1, session_log=start))

    def write(self, line: Mapping[str, int | float | None]) -> None:
        """One update's numbers; raises OSError."""
        values = [
            self._summary.Value(
                tag=name if "/" in name else f"run/{name}", simple_value=value
            )
            for name, value in line.items()
            if value is not None and name != "update"
        ]
        summary = self._summary(value=values)
        self._add(self._event(step=line["update"], summary=summary))

    def _add(self, event: Any) -> None:
        event.wall_time = time.time()
        self._writer.write_event(event)
        if time.monotonic() - self._flushed > FLUSH_SECONDS:
            self._writer.flush()
            self._flushed = time.monotonic()

    def close(self) -> None:
        self._writer.close()


def read(run_dir: str | Path) -> list[dict[str, Any]]:
    """The whole lines of a run's `metrics.jsonl`, each of another update, in order.

    A half-written or damaged line is left out; where a resumed run repeated an update, its
    last line counts.
    """
    return [line for _, line in _lines(Path(run_dir) / FILE)]


def _finite(value: Any) -> int | float | None:
    number = value if isinstance(value, int) else float(value)
    return number if math.isfinite(number) else None


def _lines(path: Path) -> list[tuple[str, dict[str, Any]]]:
    """Whole lines of a metrics file as text and object, by update."""
    if not path.exists():
        return []
    whole = {}
    for raw in path.read_bytes().split(b"\n")[
        :-1
    ]:  # what follows the last is half a line
        try:
            text = raw.decode()
            line = json.loads(text, parse_constant=_refuse)
        except (ValueError, RecursionError):
            continue
        update = line.get("update") if isinstance(line, dict) else None
        if isinstance(update, int) and not isinstance(update, bool) and update > 0:
            whole[update] = (text + "\n", line)
    return [whole[update] for update in sorted(whole)]


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _keep_until(path: Path, update: int) -> None:
    lines = _lines(path)
    kept = [text for text, line in lines if line["update"] <= update]
    if len(kept) < update:
        print(
            f"warning: {path} lacks the lines of {update - len(kept)} of the {update} "
            "updates before",
            file=sys.stderr,
        )
    if path.exists():
        write_text_atomically(path, "".join(kept))


def _no_board(error: OSError) -> None:
    print(f"warning: no TensorBoard events ({error})", file=sys.stderr)
