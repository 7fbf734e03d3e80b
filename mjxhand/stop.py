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
"""Seconds in which an update must end after a program's signal: SLURM kills after 30."""
HURRY = 2.0
"""Seconds in which Python must hear of a second Ctrl-C."""
PROGRAMS = [
    getattr(signal, name)
    for name in ("SIGTERM", "SIGUSR1", "SIGHUP")
    if hasattr(signal, name)
]
"""Sent by those who do not wait: a scheduler, or a terminal that is closed."""
HANGUP = getattr(signal, "SIGHUP", None)


class Stop:
    """Asked for by Ctrl-C, SIGTERM, SIGUSR1 or SIGHUP: finish the update, save, leave.

    SIGHUP, of a terminal that is closed, stays ignored where it was: `nohup`. Ctrl-C twice
    leaves at once: by KeyboardInterrupt, or, where the main thread does not hear of it within
    `HURRY`, with exit code 130. After one of the others, an update that takes longer than
    `grace` is given up: `late` is called from another thread, and the process ends with exit
    code 0. JAX may hold the main thread for minutes (a compilation), in which Python handles
    no signal; the thread hears of it all the same.

    Args:
        late: what to do before a late exit; it must not need the main thread.
        grace: seconds from a signal other than Ctrl-C to the late exit.
        finish: whether Ctrl-C lets what runs come to its end.
    """

    def __init__(
        self,
        late: Callable[[], None] = lambda: None,
        grace: float = GRACE,
        finish: bool = True,
    ):
        self.asked = not finish
        self._presses = 0 if finish else 1
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
        for number in (signal.SIGINT, *PROGRAMS):
            if number == HANGUP and signal.getsignal(number) == signal.SIG_IGN:
                continue
            self._previous[number] = signal.signal(number, self._ask)
        self._thread = threading.Thread(target=self._watch, name="stop", daemon=True)
        self._thread.start()
        return self

    def ends(self) -> None:
        """What runs is at its end: no late exit any more, however long saving takes."""
        self._left.set()

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
            self._left.set()  # on the way out: no need to be thrown out
            raise KeyboardInterrupt
        self.asked = True

    def _watch(self) -> None:
        # The socket stays open as long as signals may be written to it.
        while numbers := self._heard.recv(64):
            if set(numbers) & set(PROGRAMS):
                self._leave(self._grace, self._late, 0)
                return
            # Python joins two that come in one long call of JAX.
            self._presses += numbers.count(signal.SIGINT)
            if self._presses > 1:
                self._leave(HURRY, lambda: print("interrupted", file=sys.stderr), 130)
                return

    def _leave(self, seconds: float, say: Callable[[], None], code: int) -> None:
        """End the process, unless the main thread is on its way out by then."""
        if not self._left.wait(seconds):
            try:
                say()
                sys.stdout.flush()
                sys.stderr.flush()
            finally:  # also where the terminal is gone, and nothing can be said
                os._exit(code)
