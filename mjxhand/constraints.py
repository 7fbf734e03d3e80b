"""The constraints of one MJX state by kind: what `newton.solve` minimises over.

The same rows as `mjx.make_constraint`, not spread out: friction loss and joint limits touch
one dof each, and the 2 (condim - 1) edges of a contact's friction pyramid are sums and
differences of condim directions. Formulas: MuJoCo documentation, chapter Computation,
"Constraint model".
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
from mujoco import mjx

from mjxhand.config import ConfigError

Array = jax.Array


class Layout(NamedTuple):
    """The kinds in MJX's order of rows; fixed by the model."""

    friction_dof: slice  # the F dofs with friction loss
    limit_joint: slice  # the L limited joints, one dof each,
    limit_dof: slice  # their dofs
    limit_qpos: slice  # and their places in qpos
    limit_tendon: np.ndarray  # int[T] limited tendons
    frictionless: int  # contacts of condim 1
    pyramids: tuple[tuple[int, int], ...]  # (contacts, condim), condim rising
    moves: np.ndarray  # bool[nbody, nv] whether a dof moves a body


class Rows(NamedTuple):
    """Constraint i of a kind acts on J_i qacc - aref_i with weight D_i, MuJoCo's efc_*.

    A row that is not active has weight 0. K directions: tendon limits, frictionless contacts,
    then the normal and the tangents, each times its friction, of each pyramid's contacts.
    """

    friction_aref: Array  # f32[F]
    friction_weight: Array  # f32[F]
    friction_loss: Array  # f32[F] N m
    limit_sign: (
        Array  # f32[L] the row's one entry: 1 at the lower limit, -1 at the upper
    )
    limit_aref: Array  # f32[L]
    limit_weight: Array  # f32[L]
    directions: Array  # f32[K, nv]
    aref: Array  # f32[K]
    plain_weight: Array  # f32[T + frictionless]
    pyramid_weight: tuple[
        Array, ...
    ]  # f32[contacts] each: all edges of one weigh the same


def layout(model: mujoco.MjModel) -> Layout:
    """The kinds of rows that this model has.

    Raises:
      ConfigError: it has some that are not known here.
    """
    known = (
        not model.neq
        and model.opt.cone == mujoco.mjtCone.mjCONE_PYRAMIDAL
        and not (model.tendon_frictionloss > 0).any()
    )
    limited = np.flatnonzero(model.jnt_limited)
    slide_or_hinge = (mujoco.mjtJoint.mjJNT_SLIDE, mujoco.mjtJoint.mjJNT_HINGE)
    if not (known and np.isin(model.jnt_type[limited], slide_or_hinge).all()):
        raise ConfigError(
            "physics.impl is 'jax', which knows friction loss of dofs, limits of hinges,"
            " slides and tendons, and contacts with pyramidal cones; this model has other"
            " constraints: use native"
        )
    condims = mjx.make_data(model, impl="jax")._impl.contact.dim
    moves = np.zeros((model.nbody, model.nv), bool)
    for body in range(1, model.nbody):
        moves[body] = moves[model.body_parentid[body]]
        moves[body] |= model.dof_bodyid == body
    return Layout(
        friction_dof=_run(np.flatnonzero(model.dof_frictionloss > 0)),
        limit_joint=_run(limited),
        limit_dof=_run(model.jnt_dofadr[limited]),
        limit_qpos=_run(model.jnt_qposadr[limited]),
        limit_tendon=np.flatnonzero(model.tendon_limited),
        frictionless=int((condims == 1).sum()),
        pyramids=tuple(
            (int((condims == condim).sum()), condim)
            for condim in (3, 4, 6)
            if (condims == condim).any()
        ),
        moves=moves,
    )


def _run(indices: np.ndarray) -> slice:
    """Consecutive indices as a slice, which costs nothing."""
    start = int(indices[0]) if indices.size else 0
    if not np.array_equal(indices, np.arange(start, start + indices.size)):
        raise ConfigError(
            "physics.impl is 'jax', which wants dofs with friction loss, and limited"
            " joints, to follow one another; here others stand between: use native"
        )
    return slice(start, start + indices.size)


def make_rows(lay: Layout, m: mjx.Model, d: mjx.Data) -> Rows:
    """The rows at `d`, whose positions, tendons, contacts and velocities are up to date."""
    dof = lay.friction_dof
    friction_b, _, friction_weight = _reference(
        m, m.dof_solref[dof], m.dof_solimp[dof], jnp.zeros(dof.stop - dof.start),
        m.dof_invweight0[dof],
    )  # fmt: skip

    joint, joint_dof = lay.limit_joint, lay.limit_dof
    limit_sign, limit_pos = _nearer_limit(
        d.qpos[lay.limit_qpos], m.jnt_range[joint], m.jnt_margin[joint]
    )
    limit_b, limit_pull, limit_weight = _reference(
        m, m.jnt_solref[joint], m.jnt_solimp[joint], limit_pos,
        m.dof_invweight0[joint_dof],
    )  # fmt: skip

    tendon = _tendon_limits(lay, m, d)
    contacts = _contacts(lay, m, d)
    directions, b, pull = (
        jnp.concatenate(pair) for pair in zip(tendon[:3], contacts[:3], strict=True)
    )
    frictionless, *pyramids = contacts[3]
    return Rows(
        friction_aref=-friction_b * d.qvel[dof],
        friction_weight=friction_weight,
        friction_loss=m.dof_frictionloss[dof],
        limit_sign=limit_sign,
        limit_aref=-limit_b * limit_sign * d.qvel[joint_dof] - limit_pull,
        limit_weight=jnp.where(limit_pos < 0, limit_weight, 0.0),
        directions=directions,
        aref=-b * (directions @ d.qvel) - pull,
        plain_weight=jnp.concatenate([tendon[3], frictionless]),
        pyramid_weight=tuple(pyramids),
    )


def _reference(m, solref, solimp, pos, invweight) -> tuple[Array, Array, Array]:
    """b, k·imp·pos and weight 1/R of rows at distance `pos` ("Parameters of the solver").

    solref f32[n, 2], solimp f32[n, 5], pos and invweight f32[n].
    """
    dmin, dmax, width, mid, power = jnp.moveaxis(jnp.asarray(solimp), -1, 0)
    dmin, dmax, mid = (
        jnp.clip(x, mujoco.mjMINIMP, mujoco.mjMAXIMP) for x in (dmin, dmax, mid)
    )
    power = jnp.maximum(1, power)
    x = jnp.abs(pos) / jnp.maximum(width, mujoco.mjMINVAL)
    rising = x**power / mid ** (power - 1)
    levelling = 1 - (1 - x) ** power / (1 - mid) ** (power - 1)
    inside = dmin + jnp.where(x < mid, rising, levelling) * (dmax - dmin)
    impedance = jnp.where(x > 1, dmax, jnp.clip(inside, dmin, dmax))

    first, second = jnp.asarray(solref)[..., 0], jnp.asarray(solref)[..., 1]
    time = first
    if not m.opt.disableflags & mjx.DisableBit.REFSAFE:
        time = jnp.maximum(first, 2 * m.opt.timestep)
    stiffness = jnp.where(first > 0, 1 / (dmax * time * second) ** 2, -first / dmax**2)
    damping = jnp.where(second > 0, 2 / (dmax * time), -second / dmax)
    resistance = jnp.maximum(invweight * (1 - impedance) / impedance, mujoco.mjMINVAL)
    return damping, stiffness * impedance * pos, 1 / resistance


def _nearer_limit(value, limits, margin) -> tuple[Array, Array]:
    """Sign of the row and distance to the nearer end of f32[n, 2]."""
    below, above = value - limits[:, 0], limits[:, 1] - value
    return jnp.where(below < above, 1.0, -1.0), jnp.minimum(below, above) - margin


def _tendon_limits(lay: Layout, m, d):
    """Directions, b, pull and weight of the tendons' limits."""
    i = lay.limit_tendon
    sign, pos = _nearer_limit(d.ten_length[i], m.tendon_range[i], m.tendon_margin[i])
    b, pull, weight = _reference(
        m, m.tendon_solref_lim[i], m.tendon_solimp_lim[i], pos, m.tendon_invweight0[i]
    )
    return d._impl.ten_J[i] * sign[:, None], b, pull, jnp.where(pos < 0, weight, 0.0)


def _contacts(lay: Layout, m, d):
    """Directions, b and pull of all kinds, and of each kind the weights of its contacts."""
    contact = d._impl.contact
    bodies = jnp.asarray(m.geom_bodyid)[contact.geom]
    moves = jnp.asarray(lay.moves, jnp.float32)
    side = moves[bodies[:, 1]] - moves[bodies[:, 0]]  # [n, nv]
    # Motion of a point is its dof's shift and turn at one place: MJX has them at the centre
    # of mass of the dof's tree, here they are at that of the first, for one product of all.
    centre = d.subtree_com[m.body_rootid[m.dof_bodyid]]
    here, turn = centre[0], d.cdof[:, :3]
    shift = d.cdof[:, 3:] + jnp.cross(turn, here - centre)
    motion = jnp.concatenate([turn, shift], 1)  # [nv, 6]
    invweight = m.body_invweight0[bodies, 0].sum(1)
    pos = contact.dist - contact.includemargin

    def kind(start: int, num: int, condim: int):
        of = slice(start, start + num)
        frame = contact.frame[of]
        lines = frame[:, : min(condim, 3)]
        # A line's moment times the turn and the line times the shift: the motion along it.
        arm = (contact.pos[of] - here)[:, None]
        wrench = jnp.concatenate([jnp.cross(arm, lines), lines], -1)
        if condim > 3:
            about = frame[:, : condim - 3]
            about = jnp.concatenate([about, jnp.zeros_like(about)], -1)
            wrench = jnp.concatenate([wrench, about], 1)
        weighs = invweight[of]
        if condim > 1:
            friction = contact.friction[of, : condim - 1]
            scale = jnp.concatenate([jnp.ones((num, 1)), friction], 1)
            wrench *= scale[..., None]
            squared = friction[:, 0] ** 2
            weighs = (weighs + squared * weighs) * 2 * squared / m.opt.impratio
        b, pull, weight = _reference(
            m, contact.solref[of], contact.solimp[of], pos[of], weighs
        )
        # Only the normal is pulled towards a distance; edges share their normal's.
        normal = jnp.zeros((num, condim)).at[:, 0].set(pull)
        return (
            wrench.reshape(num * condim, 6),
            jnp.repeat(b, condim),
            normal.reshape(-1),
            jnp.where(pos[of] < 0, weight, 0.0),
        )

    kinds, start = [], 0
    for num, condim in ((lay.frictionless, 1), *lay.pyramids):
        kinds.append(kind(start, num, condim))
        start += num
    condims = [1] * lay.frictionless
    condims += [condim for num, condim in lay.pyramids for _ in range(num)]
    of = np.repeat(np.arange(start), condims)
    directions = jnp.concatenate([k[0] for k in kinds]) @ motion.T * side[of]
    b, pull = (jnp.concatenate([k[i] for k in kinds]) for i in (1, 2))
    return directions, b, pull, tuple(k[3] for k in kinds)
