"""Rotations: hand-worked values, scipy as the reference, laws of SO(3)."""

import math
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from scipy.spatial.transform import Rotation

from mjxhand import rotations

KEY = jax.random.PRNGKey(0)
QUARTER_Z = jnp.array([np.sqrt(0.5), 0.0, 0.0, np.sqrt(0.5)])
IDENTITY = jnp.array([1.0, 0.0, 0.0, 0.0])


def scipy(q):
    return Rotation.from_quat(np.asarray(q, np.float64), scalar_first=True)


def random_turns(num, seed):
    """Orientations uniform on SO(3), f32[num, 4]."""
    quats = Rotation.random(num, np.random.default_rng(seed)).as_quat(scalar_first=True)
    return jnp.asarray(quats, jnp.float32)


def test_angle_by_hand():
    assert np.isclose(rotations.angle_between(QUARTER_Z, IDENTITY), np.pi / 2)
    half = rotations.multiply(QUARTER_Z, QUARTER_Z)
    assert np.isclose(rotations.angle_between(half, IDENTITY), np.pi, atol=1e-6)
    assert rotations.angle_between(IDENTITY, IDENTITY) == 0.0


def test_angle_is_blind_to_sign_and_symmetric():
    q = random_turns(500, seed=0)
    p = random_turns(500, seed=1)
    angle = rotations.angle_between(q, p)
    assert np.allclose(angle, rotations.angle_between(-q, p), atol=1e-6)
    assert np.allclose(angle, rotations.angle_between(p, q), atol=1e-6)
    assert np.all((angle >= 0) & (angle <= np.pi + 1e-6))
    reference = (scipy(q) * scipy(p).inv()).magnitude()
    assert np.allclose(angle, reference, atol=2e-6)


def test_half_turns_are_not_more_than_pi():
    """float32's π is more than π; and NumPy's double precision is taken without a warning."""
    basis = np.eye(4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for q in basis:
            angles = [float(rotations.angle_between(q, p)) for p in basis]
            assert sorted(angles)[0] == 0
            assert all(3.141592 < angle <= math.pi for angle in sorted(angles)[1:])


def test_small_angles_keep_their_digits():
    tiny = rotations.from_axis_angle(jnp.array([0.0, 0.0, 1.0]), jnp.float32(1e-4))
    assert np.isclose(rotations.angle_between(tiny, IDENTITY), 1e-4, rtol=1e-3)


def test_against_scipy():
    q = random_turns(200, seed=0)
    p = random_turns(200, seed=1)
    v = jax.random.normal(KEY, (200, 3))
    product = scipy(rotations.multiply(q, p)).as_matrix()
    assert np.allclose(product, (scipy(q) * scipy(p)).as_matrix(), atol=1e-5)
    assert np.allclose(rotations.rotate(q, v), scipy(q).apply(v), atol=1e-5)
    assert np.allclose(rotations.log(q), scipy(q).as_rotvec(), atol=1e-4)
    assert np.allclose(rotations.log(-q), rotations.log(q), atol=1e-5)


def test_log_of_identity_is_zero():
    assert np.array_equal(rotations.log(IDENTITY), np.zeros(3))


def test_normalize_and_canonical():
    assert np.allclose(rotations.normalize(3.0 * QUARTER_Z), QUARTER_Z)
    assert np.array_equal(rotations.normalize(jnp.zeros(4)), IDENTITY)
    assert np.array_equal(
        rotations.canonical(jnp.array([0.0, -1.0, 0.0, 0.0])), [0.0, 1.0, 0.0, 0.0]
    )
    assert np.all(rotations.canonical(-QUARTER_Z) == QUARTER_Z)


def test_a_random_axis_is_uniform_on_the_sphere():
    axis = np.asarray(rotations.random_axis(KEY, (20_000,)))
    assert np.allclose(np.linalg.norm(axis, axis=-1), 1.0, atol=1e-5)
    for i in range(3):  # Archimedes: each coordinate is uniform
        assert stats.kstest(axis[:, i], stats.uniform(-1, 2).cdf).pvalue > 0.01


def test_a_random_quaternion_is_uniform_on_so3():
    quat = np.asarray(rotations.random_quaternion(KEY, (20_000,)))
    assert np.allclose(np.linalg.norm(quat, axis=-1), 1.0, atol=1e-5)
    assert quat[:, 0].min() >= 0
    turn = scipy(quat)
    angle, axis = turn.magnitude(), turn.as_rotvec()
    axis /= angle[:, None]
    assert stats.kstest(angle, lambda t: (t - np.sin(t)) / np.pi).pvalue > 0.01
    # After any turn it is as uniform: Haar measure.
    moved = (scipy(QUARTER_Z) * turn).magnitude()
    assert stats.kstest(moved, lambda t: (t - np.sin(t)) / np.pi).pvalue > 0.01
    for i in range(3):
        assert stats.kstest(axis[:, i], stats.uniform(-1, 2).cdf).pvalue > 0.01
    assert rotations.random_quaternion(KEY).shape == (4,)


@pytest.mark.parametrize("inverse", [False, True])
def test_interpolation_is_that_of_jax(inverse):
    tables = rotations._ANGLES, rotations._HAAR_CDF
    xs, ys = tables[::-1] if inverse else tables
    between = np.random.default_rng(0).uniform(xs[0], xs[-1], 5000)
    x = jnp.asarray(np.concatenate([between, xs]), jnp.float32)
    x = jnp.clip(x, 0, jnp.asarray(xs)[-1])
    np.testing.assert_array_equal(
        jax.jit(jax.vmap(lambda x: rotations._interpolate(x, xs, ys)))(x),
        jax.jit(lambda x: jnp.interp(x, jnp.asarray(xs), jnp.asarray(ys)))(x),
    )


def test_a_random_angle_loops_over_nothing():
    """A loop of a few scalars is dozens of kernels on a GPU."""
    keys = jax.random.split(jax.random.PRNGKey(0), 8)
    draw = jax.vmap(lambda key: rotations.random_angle(key, 0.4, 2.0))
    on_gpu = jax.jit(draw).trace(keys).lower(lowering_platforms=("cuda",))
    assert "stablehlo.while" not in on_gpu.as_text()


def test_random_angle_is_the_haar_density_cut_to_the_interval():
    keys = jax.random.split(KEY, 20_000)
    low, high = 0.4, 1.2
    draw = jax.vmap(lambda k: rotations.random_angle(k, low, high))
    angle = np.asarray(draw(keys))
    assert angle.min() >= low
    assert angle.max() <= high
    haar = lambda t: (t - np.sin(t)) / np.pi  # noqa: E731
    cdf = lambda t: (haar(t) - haar(low)) / (haar(high) - haar(low))  # noqa: E731
    assert stats.kstest(angle, cdf).pvalue > 0.01
