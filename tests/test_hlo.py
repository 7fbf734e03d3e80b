"""The benchmarks' reading of compiled programs, against programs whose answer is known."""

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "benchmarks"))
import hlo


def compiled(function, *args, devices=4):
    mesh = Mesh(np.array(jax.devices()[:devices]), ("device",))
    mapped = jax.shard_map(
        function, mesh=mesh, in_specs=P("device"), out_specs=P(), check_vma=False
    )
    return jax.jit(mapped).lower(*args).compile().as_text()


def test_reductions_count_as_often_as_their_loops_run():
    """Once 3 floats, and in a loop of 5 in a loop of 7 two half-floats."""

    def function(x):
        def inner(y, _):
            return jax.lax.psum(jnp.sin(y), "device"), None

        def outer(y, _):
            return jax.lax.scan(inner, y, None, length=5)[0], None

        y = jax.lax.scan(outer, x[0, :2].astype(jnp.float16), None, length=7)[0]
        return jax.lax.psum(x[0], "device"), y

    found = hlo.collectives(compiled(function, jnp.ones((4, 3))))
    assert {c.kind for c in found} == {"all-reduce"}
    once = sum(c.times * c.bytes for c in found if "while" not in c.op_name)
    looped = [c for c in found if "while" in c.op_name]
    assert once == 3 * 4
    assert sum(c.times for c in looped) == 35
    # XLA's CPU back end may widen half-floats to reduce them.
    assert {c.bytes for c in looped} <= {2 * 2, 2 * 4}


def test_a_loop_of_unknown_length_is_refused():
    def function(x):
        return jax.lax.while_loop(
            lambda y: y.sum() < 100, lambda y: jax.lax.psum(y, "device"), x
        )

    with pytest.raises(ValueError, match="unknown length"):
        hlo.collectives(compiled(function, jnp.ones((4, 3))))


def test_operations_count_as_often_as_their_loops_run():
    """A product and a sum in a loop of 5 in a loop of 7; what is fused is one operation."""

    @jax.jit
    def function(x):
        def inner(y, _):
            return jnp.sin(jnp.dot(y, y)) + 1.0, None

        def outer(y, _):
            return jax.lax.scan(inner, y, None, length=5)[0], None

        return jax.lax.scan(outer, x, None, length=7)[0]

    found = hlo.operations(function.lower(jnp.ones((64, 64))).compile().as_text())
    # The product, the fused rest, and at most a copy, a comparison and the loops' counters.
    assert 2 * 35 <= found <= 7 * 35


def test_origin_of_an_operation_is_the_file_that_wrote_it():
    @jax.jit
    def function(x):
        return jnp.dot(x, x)

    found = hlo.origins(function.lower(jnp.ones((64, 64))).compile().as_text())
    (origin,) = {o for o in found.values() if "dot_general" in o.op_name}
    assert origin.files[0].endswith("test_hlo.py")
