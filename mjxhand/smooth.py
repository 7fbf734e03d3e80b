"""Positions, inertia and bias forces of a model in MJX, without a walk over its tree.

What `mjx.kinematics`, `com_pos`, `crb`, `com_vel` and `rne` find body by body, level by level,
is found here for all bodies at once, by a few products with matrices that say which dof moves
which body: less than half the kernels on a GPU, and half the time to compile. Formulas:
Featherstone, Rigid Body Dynamics Algorithms (2008), chapters 5 and 6, with motions and forces at
the centre of mass of each tree, as in MuJoCo: [turn, shift] and [torque, force].
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import mujoco
import numpy as np

from mjxhand.config import ConfigError
from mjxhand.rotations import normalize

Array = jax.Array
HINGE, FREE = mujoco.mjtJoint.mjJNT_HINGE, mujoco.mjtJoint.mjJNT_FREE


class Tree(NamedTuple):
    """Who is whose parent, and what moves what; fixed by the model."""

    above: tuple[np.ndarray, ...]
    """int[nbody] each: the body 1, 2, 4, ... generations up, until all of these are the world."""
    hinge: np.ndarray  # int[nbody] joint that turns a body about one axis, -1: none
    free: tuple[tuple[int, int], ...]  # body and place in qpos of each free joint
    dof_body: np.ndarray  # int[nv]
    root: np.ndarray  # int[nbody] the body at the root of its tree
    moves: np.ndarray  # f32[nbody, nv] 1 where a dof moves a body
    before: (
        np.ndarray
    )  # f32[nv, nv] 1 where dof j moves the frame in which axis i stands
    within: np.ndarray  # f32[nbody, nbody] 1 where body j is i or hangs from it
    shifts: np.ndarray  # f32[nv, 3] world axis of the dofs that shift, else 0
    geom_mat: np.ndarray  # f32[ngeom, 3, 3] in their bodies
    site_mat: np.ndarray  # f32[nsite, 3, 3]


class Bodies(NamedTuple):
    """What does not change while the model does not."""

    frames: tuple[Array, Array, Array]
    """f32[nbody, 3, 4]: a body's frame in its parent's is the first, plus the second times the
    sine of its hinge's angle, plus the third times 1 less its cosine."""
    inertia: Array  # f32[nbody, 3, 3] about its centre of mass, in its frame
    axes: Array  # f32[nv, 3] of dofs that turn, in their bodies; else 0
    anchors: Array  # f32[nv, 3] of the dofs, in their bodies
    subtree_mass: Array  # f32[nbody]


def tree(model: mujoco.MjModel) -> Tree:
    """The tree of a model.

    Raises:
      ConfigError: it has joints that are not known here.
    """
    if (
        not np.isin(model.jnt_type, (HINGE, FREE)).all()
        or (model.body_jntnum > 1).any()
    ):
        raise ConfigError(
            "physics.impl is 'jax', which knows one hinge or free joint per body; this"
            " model has other joints: use native"
        )
    parent, generation, above = model.body_parentid, model.body_parentid, []
    while generation.any():
        above.append(generation)
        generation = generation[generation]
    moves = np.zeros((model.nbody, model.nv), np.float32)
    within = np.eye(model.nbody, dtype=np.float32)
    for body in range(1, model.nbody):
        moves[body] = moves[parent[body]] + (model.dof_bodyid == body)
    for body in range(model.nbody - 1, 0, -1):
        within[parent[body]] += within[body]
    hinge = np.full(model.nbody, -1)
    free, shifts = [], np.zeros((model.nv, 3), np.float32)
    before = moves[parent[model.dof_bodyid]]
    for joint, (kind, body) in enumerate(
        zip(model.jnt_type, model.jnt_bodyid, strict=True)
    ):
        if kind == HINGE:
            hinge[body] = joint
        else:
            dof = model.jnt_dofadr[joint]
            free.append((int(body), int(model.jnt_qposadr[joint])))
            shifts[dof : dof + 3] = np.eye(3)
            # It shifts along axes of the world, and turns about its own.
            before[dof + 3 : dof + 6, dof : dof + 3] = 1
    return Tree(
        above=tuple(above),
        hinge=hinge,
        free=tuple(free),
        dof_body=model.dof_bodyid,
        root=model.body_rootid,
        moves=moves,
        before=before,
        within=within,
        shifts=shifts,
        geom_mat=_matrices(model.geom_quat),
        site_mat=_matrices(model.site_quat),
    )


def _matrices(quats: np.ndarray) -> np.ndarray:
    found = np.zeros((len(quats), 9))
    for matrix, quat in zip(found, quats, strict=True):
        mujoco.mju_quat2Mat(matrix, quat)
    return found.reshape(-1, 3, 3).astype(np.float32)


def bodies(of: Tree, m: Any) -> Bodies:
    """What can be found of `m` (mjx.Model) once, for all physics steps with it."""
    turned = _matrix(jnp.asarray(m.body_quat))
    has = of.hinge >= 0
    axis = jnp.where(has[:, None], jnp.asarray(m.jnt_axis)[of.hinge], 0)
    anchor = jnp.where(has[:, None], jnp.asarray(m.jnt_pos)[of.hinge], 0)
    # Rodrigues: a turn by t is 1 + sin(t) K + (1 - cos(t)) K K, with K v = axis x v.
    cross = jnp.cross(axis[:, None], jnp.eye(3)[None]).mT
    sine = _times(turned, cross)
    cosine = _times(sine, cross)

    def about_anchor(turn: Array) -> Array:
        return jnp.concatenate([turn, -_apply(turn, anchor)[..., None]], -1)

    still = jnp.concatenate([turned, jnp.asarray(m.body_pos)[..., None]], -1)
    own = _matrix(jnp.asarray(m.body_iquat))
    joint = m.dof_jntid
    turns = jnp.asarray(m.jnt_axis)[joint]
    for body, _ in of.free:
        (dofs,) = np.nonzero(of.dof_body == body)
        turns = turns.at[dofs].set(np.concatenate([np.zeros((3, 3)), np.eye(3)]))
    return Bodies(
        frames=(still, about_anchor(sine), about_anchor(cosine)),
        inertia=_times(own * m.body_inertia[:, None], own.mT),
        axes=turns,
        anchors=anchor[of.dof_body],
        subtree_mass=of.within @ m.body_mass,
    )


def positions(of: Tree, fixed: Bodies, m: Any, d: Any) -> Any:
    """`d` (mjx.Data) with bodies and geoms where qpos puts them, cdof and the inertia M."""
    qpos = d.qpos
    joint = np.maximum(of.hinge, 0)
    place = m.jnt_qposadr[joint]
    angle = (qpos[place] - m.qpos0[place]) * (of.hinge >= 0)
    still, sine, cosine = fixed.frames
    half = jnp.sin(0.5 * angle)
    frames = still + jnp.sin(angle)[:, None, None] * sine
    frames += (2 * half**2)[:, None, None] * cosine
    for body, start in of.free:
        quat = normalize(qpos[start + 3 : start + 7])
        qpos = qpos.at[start + 3 : start + 7].set(quat)
        frame = jnp.concatenate([_matrix(quat), qpos[start : start + 3, None]], 1)
        frames = frames.at[body].set(frame)
    # In the parent's frame, in that of the one before, two before that, ... in the world.
    for up in of.above:
        higher = frames[up]
        frames = _times(higher[..., :3], frames).at[..., 3].add(higher[..., 3])
    xmat, xpos = frames[..., :3], frames[..., 3]

    xipos = xpos + _apply(xmat, m.body_ipos)
    mass = fixed.subtree_mass[:, None]
    centre = of.within @ (m.body_mass[:, None] * xipos)
    centre = jnp.where(
        mass < mujoco.mjMINVAL, xipos, centre / jnp.maximum(mass, mujoco.mjMINVAL)
    )
    turn = _apply(xmat[of.dof_body], fixed.axes)
    anchor = xpos[of.dof_body] + _apply(xmat[of.dof_body], fixed.anchors)
    arm = centre[of.root[of.dof_body]] - anchor
    cdof = jnp.concatenate([turn, of.shifts + jnp.cross(turn, arm)], 1)

    geom = m.geom_bodyid
    d = d.replace(
        qpos=qpos,
        xpos=xpos,
        xmat=xmat,
        xipos=xipos,
        subtree_com=centre,
        geom_xpos=xpos[geom] + _apply(xmat[geom], m.geom_pos),
        geom_xmat=_times(xmat[geom], of.geom_mat),
        cdof=cdof,
    )
    mass, about, first = _inertias(of, fixed, m, d)
    parts = jnp.concatenate([about.reshape(-1, 9), first, mass[:, None]], 1)
    parts = of.moves.T @ parts  # of all that a dof moves
    about, first, mass = parts[:, :9].reshape(-1, 3, 3), parts[:, 9:12], parts[:, 12:]
    turn, shift = cdof[:, :3], cdof[:, 3:]
    torque = _apply(about, turn) + jnp.cross(first, shift)
    force = mass * shift - jnp.cross(first, turn)
    # Dof i's force on dof j, where j moves what i moves.
    lower = jnp.concatenate([torque, force], 1) @ cdof.T
    later = _later(of)
    full = jnp.where(later, lower, jnp.where(later.T, lower.T, 0))
    return d.tree_replace({"_impl.M": full + jnp.diag(m.dof_armature)})


def _later(of: Tree) -> np.ndarray:
    """bool[nv, nv]: dof j is i, or one before it on the way to the root."""
    chain = of.moves[of.dof_body] > 0
    return chain & (np.arange(len(chain))[:, None] >= np.arange(len(chain)))


def _inertias(of: Tree, fixed: Bodies, m: Any, d: Any) -> tuple[Array, Array, Array]:
    """Mass, inertia about the tree's centre of mass and first moment of each body."""
    arm = d.xipos - d.subtree_com[of.root]
    first = m.body_mass[:, None] * arm
    own = _times(_times(d.xmat, fixed.inertia), d.xmat.mT)
    square = (first * arm).sum(-1)[:, None, None] * jnp.eye(3)
    about = own + square - first[..., None] * arm[:, None]
    return jnp.asarray(m.body_mass), about, first


def bias(of: Tree, fixed: Bodies, m: Any, d: Any) -> Array:
    """Coriolis, centrifugal and gravity forces, MuJoCo's qfrc_bias: f32[nv].

    Args:
      d: mjx.Data after `positions`.
    """
    moved = d.cdof * d.qvel[:, None]
    velocity = np.concatenate([of.moves, of.before]) @ moved
    cvel, frame = velocity[: len(of.moves)], velocity[len(of.moves) :]
    change = _cross_motion(frame, d.cdof) * d.qvel[:, None]
    acceleration = of.moves @ change
    falls = not m.opt.disableflags & mujoco.mjtDisableBit.mjDSBL_GRAVITY
    gravity = jnp.asarray(m.opt.gravity) * falls
    mass, about, first = _inertias(of, fixed, m, d)

    def momentum(motion: Array) -> tuple[Array, Array]:
        turn, shift = motion[:, :3], motion[:, 3:]
        torque = _apply(about, turn) + jnp.cross(first, shift)
        return torque, mass[:, None] * shift - jnp.cross(first, turn)

    torque, force = momentum(acceleration.at[:, 3:].add(-gravity))
    turning, pushing = momentum(cvel)
    turn, shift = cvel[:, :3], cvel[:, 3:]
    torque += jnp.cross(turn, turning) + jnp.cross(shift, pushing)
    force += jnp.cross(turn, pushing)
    return (d.cdof * (of.moves.T @ jnp.concatenate([torque, force], 1))).sum(-1)


def place_sites(of: Tree, m: Any, d: Any) -> Any:
    """`d` with sites where its bodies put them; sensors alone are at sites."""
    body = m.site_bodyid
    pos = d.xpos[body] + _apply(d.xmat[body], m.site_pos)
    # Else XLA would find them anew for every contact that a touch sensor looks at.
    pos, mat = jax.lax.optimization_barrier((pos, _times(d.xmat[body], of.site_mat)))
    return d.replace(site_xpos=pos, site_xmat=mat)


def _cross_motion(by: Array, motion: Array) -> Array:
    """How motions [n, 6] change that are carried along by others."""
    turn, shift = by[:, :3], by[:, 3:]
    of_shift = jnp.cross(turn, motion[:, 3:]) + jnp.cross(shift, motion[:, :3])
    return jnp.concatenate([jnp.cross(turn, motion[:, :3]), of_shift], 1)


def _matrix(quat: Array) -> Array:
    """Rotation matrices [..., 3, 3] of unit quaternions [..., 4]."""
    w, v = quat[..., :1, None], quat[..., 1:]
    cross = jnp.cross(v[..., None, :], jnp.eye(3)).mT
    outer = v[..., None] * v[..., None, :]
    square = jnp.sum(v * v, -1)[..., None, None]
    return (w**2 - square) * jnp.eye(3) + 2 * outer + 2 * w * cross


# Sums and not products: of so small ones libraries make a slow call each.
def _times(a: Array, b: Array | np.ndarray) -> Array:
    """[..., 3, 3] times [..., 3, n]."""
    return (a[..., None] * b[..., None, :, :]).sum(-2)


def _apply(matrix: Array | np.ndarray, vector: Array) -> Array:
    """[..., 3, 3] times [..., 3]."""
    return (matrix * vector[..., None, :]).sum(-1)
