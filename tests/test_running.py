"""Running statistics against NumPy's over all samples, against brax's, and when they are many."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from brax.training.acme import running_statistics as theirs

from mjxhand import running

AXIS = "devices"


def batches(num: int):
    """Dicts of two streams [2 devices, T = 3, N = 4, ...], far from mean 0."""
    rng = np.random.default_rng(0)
    return [
        {
            "touch": rng.exponential(3, (2, 3, 4, 5)).astype("f4"),
            "pose": rng.normal(7 + i, 0.1, (2, 3, 4, 2)).astype("f4"),
        }
        for i in range(num)
    ]


@pytest.fixture
def state():
    return running.init(jax.tree.map(lambda x: jnp.asarray(x[0, 0, 0]), batches(1)[0]))


def updated(state, given):
    """After batches that two devices share; what both came to."""
    step = jax.jit(jax.vmap(lambda s, x: running.update(s, x, AXIS), axis_name=AXIS))
    both = jax.tree.map(lambda x: jnp.stack([x, x]), state)
    for batch in given:
        both = step(both, batch)
    return [jax.tree.map(lambda x, i=i: np.asarray(x[i]), both) for i in range(2)]


def test_mean_and_deviation_are_those_of_all_samples(state):
    given = batches(4)
    one, other = updated(state, given)
    jax.tree.map(np.testing.assert_array_equal, one, other)
    assert (one.count.hi, one.count.lo) == (0, 4 * 2 * 3 * 4)
    for name, size in (("touch", 5), ("pose", 2)):
        samples = np.concatenate([b[name].reshape(-1, size) for b in given]).astype(
            "f8"
        )
        np.testing.assert_allclose(one.mean[name], samples.mean(0), rtol=1e-5)
        np.testing.assert_allclose(one.std[name], samples.std(0), rtol=1e-4)


def test_they_are_those_of_brax(state):
    given = batches(3)
    ours, _ = updated(state, given)
    brax = theirs.init_state(jax.tree.map(jnp.asarray, state.mean))
    for batch in given:
        whole = jax.tree.map(lambda x: jnp.asarray(x.reshape(-1, x.shape[-1])), batch)
        brax = theirs.update(brax, whole)
    # The same names, so that checkpoints from when they were brax's load.
    paths = [
        [
            jax.tree_util.keystr(path)
            for path, _ in jax.tree_util.tree_leaves_with_path(x)
        ]
        for x in (ours, brax)
    ]
    assert sorted(paths[0]) == sorted(paths[1])
    for name in ("mean", "std", "summed_variance"):
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6),
            getattr(ours, name),
            getattr(brax, name),
        )
    sample = jax.tree.map(lambda x: x[0, 0], given[0])
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5),
        running.normalize(sample, ours, 2.0),
        theirs.normalize(sample, brax, 2.0),
    )


def test_more_than_32_bits_are_counted(state):
    full = state.replace(
        count=running.Count(hi=jnp.uint32(1), lo=jnp.uint32(2**32 - 1))
    )
    after, _ = updated(full, batches(1))
    assert (after.count.hi, after.count.lo) == (2, 23)
    # 24 samples among 8.6 billions do not move the mean.
    assert np.abs(after.mean["pose"]).max() < 1e-6


def test_constant_senses_are_not_divided_by_nothing(state):
    still = jax.tree.map(np.ones_like, batches(1)[0])
    after, _ = updated(state, [still, still])
    sample = jax.tree.map(lambda x: x[0, 0], still)
    normalized = running.normalize(sample, after, 10.0)
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(normalized))
    assert after.std["touch"] == pytest.approx(1e-6)


def test_a_batch_of_another_shape_is_refused(state):
    batch = jax.tree.map(lambda x: x[0], batches(1)[0])
    batch["pose"] = batch["pose"][..., :1]
    with pytest.raises(ValueError, match="shape"):
        jax.vmap(lambda x: running.update(state, x, AXIS), axis_name=AXIS)(batch)


def test_the_package_does_not_bring_mjx_along():
    """It takes longer to import than all else, and C MuJoCo does not need it."""
    heavy = {"brax", "warp", "mujoco.mjx"}
    code = f"""import sys, mjxhand.train, mjxhand.evaluate
env = mjxhand.make("reorient", impl="native")
print({heavy} & set(sys.modules))"""
    told = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert told.stdout.strip() == "set()"
