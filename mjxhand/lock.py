"""One training process for one run folder: two would delete each other's work."""

import functools
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mjxhand.config import ConfigError

try:
    import fcntl
except ImportError:  # this system has no such locks
    fcntl = None

FILE = ".lock"


@contextmanager
def held(folder: str | Path) -> Iterator[None]:
    """Hold the lock of a run folder; the system takes it back when the process ends, however.

    (A file server takes back that of a machine which died when it notices, minutes later.)
    Where there are no such locks, one line on stderr says so.

    Raises:
        ConfigError: another process holds it, or the folder cannot be written.
    """
    path = Path(folder) / FILE
    try:
        file = path.open("ab")
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}") from None
    with file:
        _take(file.fileno(), path)
        yield


def _take(number: int, path: Path) -> None:
    problem = "not on this system"
    if fcntl is not None:
        try:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            raise ConfigError(
                f"{path.parent} is being trained by another process: wait until it ends, "
                "stop it, or choose another folder"
            ) from None
        except OSError as error:  # a file system without locks, as on some clusters
            problem = os.strerror(error.errno or 0)
    _warn(path, problem)


@functools.cache  # once
def _warn(path: Path, problem: str) -> None:
    print(
        f"warning: {path} cannot be locked ({problem}): let no other process train in "
        "this folder",
        file=sys.stderr,
    )
