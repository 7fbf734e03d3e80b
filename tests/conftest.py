"""Shared by all tests: eight CPU devices, compiling in less time, a tiny configuration."""

import os
import tempfile
from pathlib import Path

# Before JAX starts: sharding is tested on eight devices wherever the tests run.
os.environ.setdefault(
    "JAX_COMPILATION_CACHE_DIR", str(Path(tempfile.gettempdir()) / "mjxhand-jax-cache")
)
# Most of the suite's time is XLA's, which compiles a few hundred programs that run for a moment
# each. With less of LLVM's optimisation `train smoke --no-film` from an empty cache takes 41 s of
# processor time where it took 53; what is computed is the same program.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=1")

import mjxhand  # noqa: F401, I001  chooses the off-screen renderer before MuJoCo is imported
import jax
import pytest

from mjxhand.config import Config
from mjxhand.presets import PRESETS

jax.config.update("jax_num_cpu_devices", 8)


@pytest.fixture
def smoke() -> Config:
    """The smallest preset."""
    return PRESETS["smoke"]
