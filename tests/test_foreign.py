"""Numpy functions called by name from compiled programs."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mjxhand import foreign


def divide(args, results):
    a, b = args
    if (b == 0).any():
        raise ZeroDivisionError("a divisor is 0")
    results[0][...] = a // b
    results[1][...] = (a % b).sum(-1)


foreign.register("test_divide", divide)


def quotient(a, b):
    results = (
        jax.ShapeDtypeStruct(a.shape, a.dtype),
        jax.ShapeDtypeStruct(a.shape[:-1], a.dtype),
    )
    return jax.ffi.ffi_call("test_divide", results, vmap_method="broadcast_all")(a, b)


@pytest.mark.parametrize("dtype", [jnp.int32, jnp.float32])
def test_fills_results_under_jit_vmap_and_scan(dtype):
    a = jnp.array([[7, 8, 9], [20, 30, 41]], dtype)
    b = jnp.array([2, 3, 4], dtype)

    @jax.jit
    def twice(a):
        return jax.lax.scan(
            lambda a, _: jax.vmap(quotient, in_axes=(0, None))(a, b), a, length=2
        )

    last, rests = twice(a)
    # 7 8 9 → 3 2 2 (rests 1 2 1) → 1 0 0 (rests 1 2 2); 20 30 41 → 10 10 10 → 5 3 2
    np.testing.assert_array_equal(last, [[1, 0, 0], [5, 3, 2]])
    np.testing.assert_array_equal(rests, [[4, 1], [5, 3]])


def test_an_empty_batch_is_no_error():
    whole, rest = quotient(jnp.zeros((0, 3)), jnp.ones((0, 3)))
    assert whole.shape == (0, 3)
    assert rest.shape == (0,)


def test_an_exception_ends_the_program_and_says_why():
    with pytest.raises(Exception, match="ZeroDivisionError: a divisor is 0"):
        jax.block_until_ready(quotient(jnp.ones((1, 2)), jnp.array([[1.0, 0.0]])))


PROGRAM = """
import jax, jax.numpy as jnp
from mjxhand import foreign

def negate(args, results):
    results[0][...] = -args[0]

hits = []
jax.monitoring.register_event_listener(
    lambda name, **_: hits.append(name) if name.endswith("cache_hits") else None
)
foreign.register("test_negate", negate)

@jax.jit
def f(x):
    return jax.ffi.ffi_call("test_negate", x)(x) + 1

x = jax.device_put(jnp.zeros(3).at[0].set(4))
before = len(hits)
print(f(x).tolist(), len(hits) - before)
"""


def test_another_process_takes_the_compiled_program_from_the_cache(tmp_path):
    env = os.environ | {
        "JAX_COMPILATION_CACHE_DIR": str(tmp_path),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }

    def run():
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM],
            env=env,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.strip()

    assert run() == "[-3.0, 1.0, 1.0] 0"
    assert run() == "[-3.0, 1.0, 1.0] 1"
