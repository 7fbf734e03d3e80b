"""Contacts of capsules with capsules and boxes, in MJX's form: for the `jax` back end.

MJX treats a box as any convex polyhedron and compares a capsule with all of its twelve edges.
Here the point of the capsule's axis that is nearest to a box is found from the slope of the
distance, which rises along the axis in straight pieces. Vectors are columns, `[3, n]`, so that
the pairs lie side by side in memory.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
from mujoco import mjx

Array = jax.Array

SAME_PLACE = 1e-5
"""Two contacts of a pair nearer than this along the capsule, m, are one."""
APART = 1.0
"""Distance of a contact that there is none of, m."""

_CAPSULE, _BOX = int(mujoco.mjtGeom.mjGEOM_CAPSULE), int(mujoco.mjtGeom.mjGEOM_BOX)


class Touch(NamedTuple):
    """Candidates for contacts, of which those with `dist` below the margin are."""

    dist: Array  # f32[n] m, negative: depth
    pos: Array  # f32[3, n] m, half way between the surfaces
    normal: Array  # f32[3, n] unit, from the first geom to the second


class Kind(NamedTuple):
    """The pairs of one condim, as indices into the model's explicit pairs and its geoms."""

    pairs: np.ndarray  # int[n] of every candidate
    capsules: np.ndarray  # int[c, 2] capsule and capsule: the first c candidates
    # Boxes, each with its capsules, of which each makes two candidates.
    boxes: tuple[tuple[int, np.ndarray], ...]
    slots: int  # contacts that are kept


def collider(model: mujoco.MjModel) -> Callable[[Any, Any], Any]:
    """`mjx.collision`, or where all that may touch are explicit pairs of a capsule with a
    capsule or a box, its like with the functions below: (mjx.Model, mjx.Data) -> mjx.Data.

    Of each condim the deepest `max_contact_points` are kept (a numeric of the model; without
    it, all). The geoms are told in MJX's order, the one of the smaller type first.
    """
    geoms = np.stack([model.pair_geom1, model.pair_geom2], 1)
    types = model.geom_type[geoms]
    geoms = np.take_along_axis(geoms, np.argsort(types, 1, kind="stable"), 1)
    types = model.geom_type[geoms]
    masks = (model.geom_contype | model.geom_conaffinity).any()
    known = np.isin(types, (_CAPSULE, _BOX)).all() and (types[:, 0] == _CAPSULE).all()
    if masks or not known:
        return mjx.collision
    most = np.inf
    if "max_contact_points" in [model.numeric(i).name for i in range(model.nnumeric)]:
        most = model.numeric("max_contact_points").data[0]
    kinds = [
        _kind(np.flatnonzero(model.pair_dim == condim), geoms, types, most)
        for condim in np.unique(model.pair_dim)
    ]
    return lambda m, d: _collide(kinds, geoms, m, d) if kinds else d


def _kind(pairs: np.ndarray, geoms: np.ndarray, types: np.ndarray, most: float) -> Kind:
    with_box = types[pairs, 1] == _BOX
    alike, order = pairs[~with_box], [pairs[~with_box]]
    boxes = []
    for box in np.unique(geoms[pairs[with_box], 1]):
        of = pairs[with_box & (geoms[pairs, 1] == box)]
        boxes.append((int(box), geoms[of, 0]))
        order += [of, of]
    candidates = np.concatenate(order)
    slots = int(min(most, len(candidates)))
    return Kind(candidates, geoms[alike], tuple(boxes), slots)


def _collide(kinds: list[Kind], geoms: np.ndarray, m, d):
    kept = []
    for kind in kinds:
        found = [_with_boxes(m, d, box, capsules) for box, capsules in kind.boxes]
        if len(kind.capsules):
            found.insert(0, _with_capsules(m, d, *kind.capsules.T))
        touch = Touch(*(jnp.concatenate(x, -1) for x in zip(*found, strict=True)))
        pair = jnp.asarray(kind.pairs)
        if kind.slots < len(kind.pairs):
            _, deepest = jax.lax.top_k(-touch.dist, kind.slots)
            touch = Touch(*(x[..., deepest] for x in touch))
            pair = pair[deepest]
        kept.append((touch, pair))
    touch = Touch(
        *(jnp.concatenate(x, -1) for x in zip(*(k[0] for k in kept), strict=True))
    )
    pair = jnp.concatenate([k[1] for k in kept])
    geom = jnp.asarray(geoms)[pair]
    contact = d._impl.contact.replace(
        dist=touch.dist,
        pos=touch.pos.T,
        frame=_frames(touch.normal),
        includemargin=m.pair_margin[pair],
        friction=jnp.maximum(m.pair_friction[pair], mujoco.mjMINVAL),
        solref=m.pair_solref[pair],
        solreffriction=m.pair_solreffriction[pair],
        solimp=m.pair_solimp[pair],
        geom=geom,
        geom1=geom[:, 0],
        geom2=geom[:, 1],
    )
    return d.tree_replace({"_impl.contact": contact})


def _frames(normal: Array) -> Array:
    """f32[n, 3, 3] with the normals as first rows: MuJoCo's `mju_makeFrame`."""
    across = jnp.where(jnp.abs(normal[1]) < 0.5, 1, 2)
    tangent = (jnp.arange(3)[:, None] == across) - normal * jnp.where(
        across == 1, normal[1], normal[2]
    )
    tangent /= _length(tangent)
    frame = jnp.stack([normal, tangent, jnp.cross(normal, tangent, axis=0)])
    return jnp.moveaxis(frame, 2, 0)


def _with_capsules(m, d, first: np.ndarray, second: np.ndarray) -> Touch:
    """One candidate for each two capsules, at the nearest points of their axes."""
    one, along_one = _axes(m, d, first)
    two, along_two = _axes(m, d, second)
    s, t = nearest_on_segments(one, along_one, two, along_two)
    one, two = one + s * along_one, two + t * along_two
    radius_one, radius_two = m.geom_size[first, 0], m.geom_size[second, 0]
    apart = two - one
    gap = _length(apart)
    level = jnp.array([[1.0], [0.0], [0.0]])  # MuJoCo's choice for axes that meet
    normal = jnp.where(gap > 0, apart / jnp.where(gap > 0, gap, 1.0), level)
    dist = gap - radius_one - radius_two
    return Touch(dist, one + normal * (radius_one + dist / 2), normal)


def _with_boxes(m, d, box: int, capsules: np.ndarray) -> Touch:
    """Two candidates for each capsule with a box: all first ones, then all second ones."""
    centre, along = _axes(m, d, capsules)
    place, turn = d.geom_xpos[box][:, None], d.geom_xmat[box]
    touch = capsules_on_box(
        _turned(turn.T, centre - place),
        _turned(turn.T, along),
        m.geom_size[capsules, 0],
        m.geom_size[box][:, None],
    )
    pos = place + _turned(turn, touch.pos)
    return Touch(touch.dist, pos, _turned(turn, touch.normal))


def _axes(m, d, capsules: np.ndarray) -> tuple[Array, Array]:
    """Centres and half axes of capsules in the world, f32[3, n] m."""
    return d.geom_xpos[capsules].T, (
        d.geom_xmat[capsules, :, 2].T * m.geom_size[capsules, 1]
    )


def nearest_on_segments(
    one: Array, along_one: Array, two: Array, along_two: Array
) -> tuple[Array, Array]:
    """Where on two segments, from -1 to 1, their nearest points are.

    Args: centres and half axes f32[3, n], no axis of length 0. The method: Ericson, Real-Time
    Collision Detection (2005), 5.1.9. Of parallel segments, one of the nearest pairs.
    """
    between = two - one
    square_one, square_two = (along_one**2).sum(0), (along_two**2).sum(0)
    both = (along_one * along_two).sum(0)
    to_two, to_one = (along_one * between).sum(0), (along_two * between).sum(0)
    free = jnp.maximum(square_one * square_two - both**2, mujoco.mjMINVAL)
    s = jnp.clip((to_two * square_two - to_one * both) / free, -1, 1)
    t = jnp.clip((s * both - to_one) / square_two, -1, 1)
    return jnp.clip((t * both + to_two) / square_one, -1, 1), t


def capsules_on_box(centre: Array, along: Array, radius: Array, size: Array) -> Touch:
    """Two candidates for each of n capsules, in the frame of a box: f32[2 n] and f32[3, 2 n].

    The first is at the point of the axis that is nearest to the box. The second is at the far
    end of the axis' part over the same face, or along the same edge, so that a capsule which
    lies on a face rests on two points. Where the axis enters the box the first is at one of
    the ends of the part inside.

    Args:
      centre, along: centres and half axes f32[3, n], m.
      radius: f32[n].
      size: half sizes of the box f32[3, 1].
    """
    enter, leave = _slabs(centre, along, size)
    t = _nearest_to_box(centre, along, size, enter, leave)
    first = _spheres_on_box(centre + t * along, radius, size)
    # The face that the first lies on: along the largest part of its normal. If nothing of the
    # axis is over it, the edge: the one that runs along the smallest part.
    part = jnp.abs(first.normal)
    face = part == part.max(0)
    edge = (part == part.min(0)) & ~face
    low, high = _common(enter, leave, ~face)
    low_edge, high_edge = _common(enter, leave, edge)
    over = low < high
    low, high = jnp.where(over, low, low_edge), jnp.where(over, high, high_edge)
    far = jnp.where(t - low > high - t, low, high)
    second = _spheres_on_box(centre + far * along, radius, size)
    is_another = (low < high) & (jnp.abs(far - t) * _length(along) > SAME_PLACE)
    second = second._replace(dist=jnp.where(is_another, second.dist, APART))
    return Touch(*(jnp.concatenate(x, -1) for x in zip(first, second, strict=True)))


def _slabs(centre: Array, along: Array, size: Array) -> tuple[Array, Array]:
    """From where to where, within -1 to 1, the axis is between each two faces, f32[3, n]."""
    still = along == 0
    step = jnp.where(still, 1.0, along)
    low, high = (-size - centre) / step, (size - centre) / step
    enter = jnp.clip(jnp.minimum(low, high), -1, 1)
    leave = jnp.clip(jnp.maximum(low, high), -1, 1)
    # An axis that runs along two faces is between them all the way or nowhere.
    always = jnp.where(jnp.abs(centre) <= size, 1.0, -1.0)
    return jnp.where(still, -always, enter), jnp.where(still, always, leave)


def _common(enter: Array, leave: Array, of: Array) -> tuple[Array, Array]:
    """The part that lies in all slabs of `of` bool[3, n], f32[n] each; empty: low >= high."""
    return jnp.where(of, enter, -1.0).max(0), jnp.where(of, leave, 1.0).min(0)


def _nearest_to_box(
    centre: Array, along: Array, size: Array, enter: Array, leave: Array
) -> Array:
    """Where on the axis, from -1 to 1, it is nearest to the box, f32[n].

    The square of the distance is convex, and its slope linear between the ends of the axis
    and of the slabs: where it changes its sign is found from the two ends beside.
    """
    end = jnp.ones_like(enter[:1])
    knots = jnp.concatenate([-end, end, enter, leave])  # [8, n]
    place = centre[:, None] + knots * along[:, None]  # [3, 8, n]
    beyond = place - jnp.clip(place, -size[:, None], size[:, None])
    slope = (beyond * along[:, None]).sum(0)
    falls = slope < 0
    # If it falls nowhere both are the lower end, if everywhere both the upper.
    before = jnp.where(falls, knots, -1.0).max(0)
    after = jnp.where(falls, 1.0, knots).min(0)
    slope_before = jnp.where(falls, slope, -1.0).max(0)
    slope_after = jnp.where(falls, 1.0, slope).min(0)
    return before + (after - before) * slope_before / (slope_before - slope_after)


def _spheres_on_box(place: Array, radius: Array, size: Array) -> Touch:
    """One candidate for each sphere at `place` f32[3, n]; the normal points to the box."""
    out = place - jnp.clip(place, -size, size)
    gap = _length(out)
    depth = jnp.abs(place) - size
    nearest = jnp.arange(3)[:, None] == depth.argmax(0)
    face = jnp.where(nearest, jnp.where(place < 0, -1.0, 1.0), 0.0)
    outside = gap > 0
    outward = jnp.where(outside, out / jnp.where(outside, gap, 1.0), face)
    gap = jnp.where(outside, gap, depth.max(0))
    dist = gap - radius
    return Touch(dist, place - outward * (gap + radius) / 2, -outward)


def _length(columns: Array) -> Array:
    return jnp.sqrt((columns**2).sum(0))


def _turned(matrix: Array, columns: Array) -> Array:
    """`matrix @ columns` as sums, which XLA joins with what is around them."""
    return (matrix[:, :, None] * columns[None]).sum(1)
