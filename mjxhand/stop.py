"""Leaving a long run without losing it."""

import signal


class Stop:
    """Asked for by Ctrl-C or SIGTERM: finish the update, save, leave. Twice: leave at once."""

    def __init__(self):
        self.asked = False
        self._previous = {}

    def __enter__(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            self._previous[number] = signal.signal(number, self._ask)
        return self

    def __exit__(self, *_):
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _ask(self, number, frame):
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
