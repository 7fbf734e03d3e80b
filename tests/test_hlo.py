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
import ahead
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


def test_a_kernel_moves_what_it_reads_and_writes():
    """A product of [64, 32] and [32, 16] reads both and writes [64, 16]."""
    a, b = jnp.ones((64, 32)), jnp.ones((32, 16))
    text = jax.jit(jnp.dot).lower(a, b).compile().as_text()
    (kernel,) = hlo.kernels(text)
    assert (kernel.times, kernel.target) == (1, "")
    assert kernel.bytes == 4 * (64 * 32 + 32 * 16 + 64 * 16)


def test_a_loop_moves_the_slices_it_takes_and_replaces():
    """Each turn reads one row of `xs` and writes one of the result, not the whole of them."""

    @jax.jit
    def function(xs):
        return jax.lax.scan(lambda y, x: (y + x, jnp.sin(y)), xs[0], xs)[1]

    length, width = 50, 4096
    found = hlo.kernels(function.lower(jnp.ones((length, width))).compile().as_text())
    row, whole = 4 * width, 4 * width * length
    looped = sum(k.times * k.bytes for k in found if k.times == length)
    # Four rows at least: of xs and y read, of y and the result written.
    assert 4 * whole <= looped <= 10 * whole
    assert max(k.bytes for k in found if k.times == length) <= 6 * row


def test_scratch_of_a_library_is_not_moved():
    """What XLA writes of a call to cuBLAS: result and scratch in one tuple."""
    text = """
ENTRY %main (a: f32[8,4], b: f32[4,2]) -> f32[8,2] {
  %a = f32[8,4]{1,0} parameter(0)
  %b = f32[4,2]{1,0} parameter(1)
  %call = (f32[8,2]{1,0}, s8[4194304]{0}) custom-call(%a, %b), custom_call_target="__cublas$gemm"
  ROOT %result = f32[8,2]{1,0} get-tuple-element(%call), index=0
}
"""
    assert hlo.kernels(text) == [
        hlo.Kernel("call", "__cublas$gemm", 1, 4 * (32 + 8 + 16))
    ]


def test_a_gpu_that_is_not_there_needs_the_plugin(monkeypatch):
    def no_plugin(**_):
        raise NotImplementedError("topology not implemented for cuda")

    monkeypatch.setattr(ahead.topologies, "get_topology_desc", no_plugin)
    monkeypatch.setattr(ahead.jax.config, "update", lambda *_: None)
    with pytest.raises(SystemExit, match=r"pip install 'jax\[cuda13\]=="):
        ahead.device("h200")


def test_origin_of_an_operation_is_the_file_that_wrote_it():
    @jax.jit
    def function(x):
        return jnp.dot(x, x)

    found = hlo.origins(function.lower(jnp.ones((64, 64))).compile().as_text())
    (origin,) = {o for o in found.values() if "dot_general" in o.op_name}
    assert origin.files[0].endswith("test_hlo.py")
