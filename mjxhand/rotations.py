"""Rotations as unit quaternions (w, x, y, z), MuJoCo's order.

q and -q are the same rotation: every function here that measures or compares is blind to
the sign, and every function that returns a quaternion to be *observed* fixes it.
"""

import jax
import jax.numpy as jnp
import numpy as np

# Angles at which `_HAAR_CDF` is tabulated. 4,097 points keep the inversion within 1e-3 rad.
_ANGLES = np.linspace(0.0, np.pi, 4097)

_MOST = np.nextafter(np.float32(np.pi), np.float32(0))
"""The largest angle: float32's π is larger than π."""


def _haar_cdf(angle):
    """P(rotation angle ≤ `angle`) for a rotation uniform on SO(3): (θ - sin θ)/π.

    Reference: Miles, R. E. (1965), On random rotations in R³, Biometrika 52.
    """
    return (angle - np.sin(angle)) / np.pi


_HAAR_CDF = _haar_cdf(_ANGLES)


def multiply(q: jax.Array, p: jax.Array) -> jax.Array:
    """Hamilton product q p: first rotate by p, then by q. `[..., 4]`."""
    w1, x1, y1, z1 = jnp.moveaxis(q, -1, 0)
    w2, x2, y2, z2 = jnp.moveaxis(p, -1, 0)
    return jnp.stack(
        [
            w1 * w2 - x1 * x2 - y1 * y2 - z1 * z2,
            w1 * x2 + x1 * w2 + y1 * z2 - z1 * y2,
            w1 * y2 - x1 * z2 + y1 * w2 + z1 * x2,
            w1 * z2 + x1 * y2 - y1 * x2 + z1 * w2,
        ],
        axis=-1,
    )


def conjugate(q: jax.Array) -> jax.Array:
    """Inverse of a unit quaternion, `[..., 4]`."""
    return jnp.asarray(q) * np.array([1.0, -1.0, -1.0, -1.0], np.float32)


def normalize(q: jax.Array) -> jax.Array:
    """`q` scaled to unit length, `[..., 4]`; the zero quaternion becomes the identity."""
    norm = jnp.linalg.norm(q, axis=-1, keepdims=True)
    identity = jnp.array([1.0, 0.0, 0.0, 0.0], q.dtype)
    return jnp.where(norm > 1e-12, q / jnp.maximum(norm, 1e-12), identity)


def canonical(q: jax.Array) -> jax.Array:
    """The one of q and -q whose first non-zero component is positive, `[..., 4]`."""
    w, x, y, z = jnp.moveaxis(q, -1, 0)
    first = jnp.where(w != 0, w, jnp.where(x != 0, x, jnp.where(y != 0, y, z)))
    return jnp.where(first[..., None] < 0, -q, q)


def angle_between(q: jax.Array, p: jax.Array) -> jax.Array:
    """Geodesic distance of two orientations in radians, `[..., 4]` → `[...]`, in [0, π].

        θ = 2 atan2(|v|, |w|) with (w, v) = q p*

    atan2 rather than arccos |w|: exact near 0, where arccos loses half the digits.
    Equal for q and -q.
    """
    r = multiply(q, conjugate(p))
    half = jnp.arctan2(jnp.linalg.norm(r[..., 1:], axis=-1), jnp.abs(r[..., 0]))
    return jnp.minimum(2.0 * half, _MOST)


def log(q: jax.Array) -> jax.Array:
    """Rotation vector (axis times angle, |·| ≤ π) of a unit quaternion, `[..., 3]`."""
    q = canonical(q)
    norm = jnp.linalg.norm(q[..., 1:], axis=-1, keepdims=True)
    angle = 2.0 * jnp.arctan2(norm, q[..., :1])
    # angle / norm → 2 as the rotation vanishes.
    return q[..., 1:] * jnp.where(norm > 1e-7, angle / jnp.maximum(norm, 1e-7), 2.0)


def from_axis_angle(axis: jax.Array, angle: jax.Array) -> jax.Array:
    """Quaternion of the turn by `angle` `[...]` rad about the unit `axis` `[..., 3]`."""
    half = 0.5 * angle[..., None]
    return jnp.concatenate([jnp.cos(half), jnp.sin(half) * axis], axis=-1)


def from_matrix(matrix: jax.Array) -> jax.Array:
    """Unit quaternion of a rotation matrix, `[..., 3, 3]` → `[..., 4]`, canonical.

    4 q qᵀ has its entries from sums and differences of the matrix's; the row whose diagonal
    entry is largest, scaled to unit length, is q (Shepperd 1978, J. Guidance and Control 1).
    """
    m = [[matrix[..., i, j] for j in range(3)] for i in range(3)]
    trace = m[0][0] + m[1][1] + m[2][2]
    w = [m[2][1] - m[1][2], m[0][2] - m[2][0], m[1][0] - m[0][1]]
    rows = [jnp.stack([1.0 + trace, *w], axis=-1)]
    for i in range(3):
        row = [m[i][j] + m[j][i] for j in range(3)]
        row[i] = 1.0 + 2.0 * m[i][i] - trace
        rows.append(jnp.stack([w[i], *row], axis=-1))
    outer = jnp.stack(rows, axis=-2)
    largest = jnp.argmax(jnp.diagonal(outer, axis1=-2, axis2=-1), axis=-1)
    q = jnp.take_along_axis(outer, largest[..., None, None], axis=-2)[..., 0, :]
    return canonical(normalize(q))


def rotate(q: jax.Array, vector: jax.Array) -> jax.Array:
    """`vector` `[..., 3]` turned by the unit quaternion `q` `[..., 4]`."""
    w, u = q[..., :1], q[..., 1:]
    t = 2.0 * jnp.cross(u, vector)
    return vector + w * t + jnp.cross(u, t)


def random_axis(key: jax.Array, shape: tuple[int, ...] = ()) -> jax.Array:
    """Unit vectors uniform on the sphere, `shape + (3,)`."""
    x = jax.random.normal(key, (*shape, 3))
    return x / jnp.maximum(jnp.linalg.norm(x, axis=-1, keepdims=True), 1e-12)


def random_quaternion(key: jax.Array, shape: tuple[int, ...] = ()) -> jax.Array:
    """Orientations uniform on SO(3) (Haar measure), `shape + (4,)`, canonical.

    A direction uniform on the 3-sphere is a uniform rotation.
    Reference: Shoemake, K. (1992), Uniform random rotations, Graphics Gems III.
    """
    # A normalised Gaussian has no preferred direction; none is short enough to lose digits.
    return canonical(normalize(jax.random.normal(key, (*shape, 4))))


def random_angle(
    key: jax.Array, low: jax.Array | float, high: jax.Array | float
) -> jax.Array:
    """Angle in [low, high] ⊂ [0, π] rad with the density of a uniform rotation's angle.

    The density is (1 - cos θ)/π, cut to the interval; drawn by inverting its
    distribution function. With a uniform axis and [low, π] the turn is uniform on SO(3)
    given that it is larger than `low`.
    """
    u = jax.random.uniform(key)
    below, up_to = (_interpolate(x, _ANGLES, _HAAR_CDF) for x in (low, high))
    u = below * (1.0 - u) + up_to * u
    return jnp.clip(_interpolate(u, _HAAR_CDF, _ANGLES), low, high)


def _interpolate(x: jax.Array | float, xs: np.ndarray, ys: np.ndarray) -> jax.Array:
    """`jnp.interp` for x in [xs[0], xs[-1]], to the bit.

    That searches in a loop, whose 13 turns would be some 40 kernels on a GPU; here they are laid
    out, and become part of one.
    """
    at, value = jnp.asarray(xs), jnp.asarray(ys)
    place = jnp.searchsorted(at, x, side="right", method="scan_unrolled")
    right = jnp.clip(place, 1, at.size - 1)
    left = right - 1
    share = (x - at[left]) / (at[right] - at[left])
    return value[left] + share * (value[right] - value[left])
