"""Keeps what the libraries print at import and start away from every command's answer.

- MJX says on stdout that Warp, an extra here, is absent.
- XLA warns on stderr at each program that it loads from the compilation cache that
  `prefer-no-gather` is no feature of the processor: true, and without meaning, since that
  is a hint to its compiler. Its real errors are Python exceptions as well.
"""

import contextlib
import importlib.util
import io
import os
from collections.abc import Iterator

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # read when JAX is first imported


@contextlib.contextmanager
def importing_mjx() -> Iterator[None]:
    """Around the first import of `mujoco.mjx`, which is where it is needed: it takes long."""
    if importlib.util.find_spec("warp") is None:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    else:
        yield
