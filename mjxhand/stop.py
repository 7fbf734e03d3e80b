"""Leaving a training run in good order when a person or a scheduler asks for it."""

import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Self

GRACE = 25.0
"""Seconds in which an update must end after a scheduler's signal: SLURM kills after 30."""
SCHEDULER = [
    getattr(signal, name) for name in ("SIGTERM", "SIGUSR1") if hasattr(signal, name)
]


class Stop:
    """Asked for by Ctrl-C, SIGTERM or SIGUSR1: finish the update, save, leave.

    Ctrl-C twice leaves at once. After a scheduler's signal, an update that takes longer than
    `grace` is given up: `late` is called from another thread, and the process ends with exit
    code 0. JAX may hold the main thread for minutes (a compilation), in which Python handles
    no signal; the thread hears of it all the same.

    Args:
        late: what to do before a late exit; it must not need the main thread.
        grace: seconds from signal to late exit.
        finish: whether Ctrl-C lets what runs come to its end.
    """

    def __init__(
        self,
        late: Callable[[], None] = lambda: None,
        grace: float = GRACE,
        finish: bool = True,
    ):
        self.asked = not finish
        self._late = late
        self._grace = grace
        self._left = threading.Event()
        self._previous = {}

    def __enter__(self) -> Self:
        self._heard, self._wake = socket.socketpair()
        self._wake.setblocking(False)
        self._previous_fd = signal.set_wakeup_fd(
            self._wake.fileno(), warn_on_full_buffer=False
        )
        for number in (signal.SIGINT, *SCHEDULER):
            self._previous[number] = signal.signal(number, self._ask)
        self._thread = threading.Thread(target=self._watch, name="stop", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._left.set()
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._previous_fd)
        self._wake.close()  # ends the thread, if it still waits for a signal
        self._thread.join()
        self._heard.close()

    def _ask(self, number: int, frame: FrameType | None) -> None:
        # A scheduler may send several; a person who asks twice is in a hurry.
        if self.asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.asked = True

    def _watch(self) -> None:
        # The socket stays open as long as signals may be written to it.
        while numbers := self._heard.recv(64):
            if set(numbers) & set(SCHEDULER):
                break
        else:
            return
        if not self._left.wait(self._grace):
            self._late()
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(0)
