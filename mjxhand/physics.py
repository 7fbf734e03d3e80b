"""One control step of the hand and cube, on any of three back ends.

`jax`: MJX, on CPU, GPU or TPU. `warp`: MJX's Warp implementation, on NVIDIA (and on a
CPU, for tests). `native`: C MuJoCo in threads, called from the compiled program. All
three step the same small state, so a policy moves freely between them.
"""

import copy
import dataclasses
import hashlib
from collections.abc import Callable, Sequence
from functools import partial

import chex
import jax
import jax.numpy as jnp
import mujoco
import numpy as np

from mjxhand import foreign
from mjxhand.config import ConfigError, PhysicsConfig
from mjxhand.native import ThreadedStepper
from mjxhand.scene import CUBE_START, Scene

Array = jax.Array | np.ndarray


@chex.dataclass(frozen=True)
class PhysicsState:
    """State of one environment's physics (no batch axis; `vmap` adds it)."""

    qpos: Array  # f32[31] m, rad, quaternion; hand then cube
    qvel: Array  # f32[30] m/s, rad/s
    qacc_warmstart: Array  # f32[30] where the constraint solver starts
    sensordata: Array  # f32[S] as of the last physics step, see Scene.sensors


@dataclasses.dataclass(frozen=True)
class Physics:
    """A back end; `impl` is the resolved name."""

    impl: str
    step: Callable[[PhysicsState, Array], PhysicsState]
    """(state, ctrl f32[20]) → state one control step later, ctrl held. Works under jit,
    vmap, scan and shard_map."""


def make_physics(scene: Scene, cfg: PhysicsConfig = PhysicsConfig()) -> Physics:
    """The back end that `cfg` names; `auto` is native on a CPU, else jax.

    Raises:
      ConfigError: if `warp` is asked for and not installed, or a number makes no sense.
    """
    if cfg.substeps < 1:
        raise ConfigError(f"physics.substeps is {cfg.substeps}: it must be at least 1")
    if cfg.threads < 0:
        raise ConfigError(f"physics.threads is {cfg.threads}: it must be 0 or more")
    impl = cfg.impl
    if impl == "auto":
        impl = "native" if jax.default_backend() == "cpu" else "jax"
    make = {"native": _native_step, "jax": _jax_step, "warp": _warp_step}
    if impl not in make:
        raise ConfigError(
            f"physics.impl is {impl!r}: choose one of auto, {', '.join(make)}"
        )
    return Physics(impl=impl, step=make[impl](scene.mj_model, cfg))


def _native_step(model: mujoco.MjModel, cfg: PhysicsConfig):
    stepper = ThreadedStepper(model, cfg.substeps, cfg.threads)
    shapes = tuple(
        jax.ShapeDtypeStruct((n,), jnp.float32)
        for n in (model.nq, model.nv, model.nv, model.nsensordata)
    )

    def on_host(*args: Array) -> tuple[np.ndarray, ...]:
        after = stepper.step(*(np.asarray(arg) for arg in args))
        return tuple(x.astype(np.float32) for x in after)

    def in_place(args: Sequence[np.ndarray], results: Sequence[np.ndarray]) -> None:
        for result, after in zip(results, stepper.step(*args), strict=True):
            result[...] = after

    # broadcast_all: under vmap the host sees the whole batch in one call.
    call = partial(jax.pure_callback, on_host, shapes, vmap_method="broadcast_all")
    if jax.default_backend() == "cpu":
        name = f"mjxhand_native_{_fingerprint(model, cfg)}"
        foreign.register(name, in_place)
        call = jax.ffi.ffi_call(name, shapes, vmap_method="broadcast_all")

    def step(state: PhysicsState, ctrl: Array) -> PhysicsState:
        args = (state.qpos, state.qvel, state.qacc_warmstart, ctrl)
        args = tuple(jnp.asarray(x, jnp.float32) for x in args)
        qpos, qvel, warmstart, sensordata = _vary_like(call(*args), args)
        return PhysicsState(
            qpos=qpos, qvel=qvel, qacc_warmstart=warmstart, sensordata=sensordata
        )

    return step


def _fingerprint(model: mujoco.MjModel, cfg: PhysicsConfig) -> str:
    """The same for the same model and settings, in any process."""
    content = np.empty(mujoco.mj_sizeModel(model), np.uint8)
    mujoco.mj_saveModel(model, None, content)
    told = f"{mujoco.__version__} {cfg.substeps} {cfg.threads}"
    return hashlib.sha256(content.tobytes() + told.encode()).hexdigest()[:16]


def _vary_like(after: Sequence[Array], before: Sequence[Array]) -> tuple[Array, ...]:
    """Mark what a callback returned as differing between devices where its inputs do.

    `shard_map` cannot see through a callback and would take its results for replicated.
    """
    axes = frozenset().union(*(jax.typeof(x).vma for x in before))
    if not axes:
        return tuple(after)
    return tuple(jax.lax.pcast(x, tuple(axes), to="varying") for x in after)


def _jax_step(model: mujoco.MjModel, cfg: PhysicsConfig):
    # Imported here: it takes seconds, and the native back end does not need it.
    from mujoco import mjx

    from mjxhand import constraints, newton

    model_on_host = _to_host(mjx.put_model(model, impl="jax"))
    template = _to_host(mjx.make_data(model, impl="jax"))
    layout = constraints.layout(model)
    integrators = {
        mujoco.mjtIntegrator.mjINT_EULER: mjx.euler,
        mujoco.mjtIntegrator.mjINT_IMPLICITFAST: mjx.implicit,
    }
    integrate = integrators[mujoco.mjtIntegrator(model.opt.integrator)]

    def substep(m, d):
        """`mjx.step` of such a model: our solver, no sensors, no outer forces."""
        d = mjx.com_pos(m, mjx.kinematics(m, d))
        d = mjx.factor_m(m, mjx.crb(m, mjx.tendon(m, d)))
        d = mjx.transmission(m, mjx.collision(m, d))
        d = mjx.fwd_actuation(m, mjx.fwd_velocity(m, d))
        qfrc_smooth = d.qfrc_passive - d.qfrc_bias + d.qfrc_actuator
        factor = (d._impl.qLD, False)
        solution = newton.solve(
            layout,
            constraints.make_rows(layout, m, d),
            mass=d._impl.M,
            qfrc_smooth=qfrc_smooth,
            qacc_smooth=jax.scipy.linalg.cho_solve(factor, qfrc_smooth),
            qacc_warmstart=d.qacc_warmstart,
            iterations=model.opt.iterations,
            ls_iterations=model.opt.ls_iterations,
        )
        d = d.replace(
            qfrc_smooth=qfrc_smooth,
            qacc=solution.qacc,
            qfrc_constraint=solution.qfrc_constraint,
        ).tree_replace({"_impl.efc_force": solution.efc_force})
        return integrate(m, d)

    def step(state: PhysicsState, ctrl: Array) -> PhysicsState:
        m = _to_device(model_on_host)
        data = _load(_to_device(template), state, ctrl)
        data, _ = jax.lax.scan(
            lambda d, _: (substep(m, d), None), data, length=cfg.substeps
        )
        # mjx.step leaves positions, contacts and forces of the instant before the last
        # integration: what mj_step's sensors read.
        data = mjx.sensor_acc(m, mjx.sensor_vel(m, mjx.sensor_pos(m, data)))
        return _unload(data)

    return step


WARP_CONTACTS = 64
"""Contact candidates per environment of the Warp back end: all pairs are 46."""
WARP_CONSTRAINTS = 320
"""Constraint rows per environment of the Warp back end."""


def _warp_step(model: mujoco.MjModel, cfg: PhysicsConfig):
    try:
        import warp  # noqa: F401  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise ConfigError(
            "physics.impl is 'warp', which is not installed: pip install 'mjxhand[warp]'"
        ) from error
    from mujoco import mjx
    from mujoco.mjx.third_party.mujoco_warp import OverflowType

    def put(model: mujoco.MjModel):
        # Its report of each solve that stops at `iterations`, as ours are meant to, goes;
        # those of full buffers stay.
        put = mjx.put_model(model, impl="warp")
        told = put.opt._impl.warn_overflow & ~int(OverflowType.ITERATIONS)
        return put.tree_replace({"opt._impl.warn_overflow": told})

    loud, quiet = put(model), put(_without_sensors(model))

    def step_batch(num_envs: int, state: PhysicsState, ctrl: Array) -> PhysicsState:
        # Warp's contact buffer is one for all environments, so its size is theirs.
        template = mjx.make_data(
            model,
            impl="warp",
            naconmax=WARP_CONTACTS * num_envs,
            njmax=WARP_CONSTRAINTS,
        )

        def one(state: PhysicsState, ctrl: Array) -> PhysicsState:
            data, _ = jax.lax.scan(
                lambda d, _: (mjx.step(quiet, d), None),
                _load(template, state, ctrl),
                length=cfg.substeps - 1,
            )
            return _unload(mjx.step(loud, data))

        return jax.vmap(one)(state, ctrl)

    @jax.custom_batching.custom_vmap
    def step(state: PhysicsState, ctrl: Array) -> PhysicsState:
        alone = jax.tree.map(lambda x: x[None], (state, ctrl))
        return jax.tree.map(lambda x: x[0], step_batch(1, *alone))

    @step.def_vmap
    def step_under_vmap(num_envs, in_batched, state, ctrl):
        state, ctrl = jax.tree.map(
            lambda x, batched: (
                x if batched else jnp.broadcast_to(x, (num_envs, *x.shape))
            ),
            (state, ctrl),
            tuple(in_batched),
        )
        after = step_batch(num_envs, state, ctrl)
        return after, jax.tree.map(lambda _: True, after)

    return step


def _load(data, state: PhysicsState, ctrl: Array):
    return data.replace(
        qpos=state.qpos,
        qvel=state.qvel,
        qacc_warmstart=state.qacc_warmstart,
        ctrl=ctrl,
    )


def _unload(data) -> PhysicsState:
    return PhysicsState(
        qpos=data.qpos,
        qvel=data.qvel,
        qacc_warmstart=data.qacc_warmstart,
        sensordata=data.sensordata,
    )


def _without_sensors(model: mujoco.MjModel) -> mujoco.MjModel:
    model = copy.copy(model)
    model.opt.disableflags |= mujoco.mjtDisableBit.mjDSBL_SENSOR.value
    return model


# Arrays are kept on the host and become constants of whichever program is traced, so
# that no program is tied to the device on which they were made.
_to_host = partial(jax.tree.map, np.asarray)
_to_device = partial(jax.tree.map, jnp.asarray)


def settle(
    scene: Scene,
    cfg: PhysicsConfig,
    num: int,
    seconds: float,
    seed: int,
) -> PhysicsState:
    """Draw `num` states in which the still hand holds the cube; on the host, in C.

    The cube starts above the palm, N(0, 5 mm) off, turned uniformly at random; the
    servos hold the start pose for `seconds`. What does not stay in the hand is drawn
    again.

    Returns:
      PhysicsState of numpy float32 arrays with a leading axis of `num`.

    Raises:
      ConfigError: if fewer than one in twenty cubes stays in the hand.
    """
    rng = np.random.default_rng(seed)
    stepper = ThreadedStepper(scene.mj_model, cfg.substeps, cfg.threads)
    steps = max(1, round(seconds / (scene.mj_model.opt.timestep * cfg.substeps)))
    kept: list[tuple[np.ndarray, ...]] = []
    found = drawn = 0
    while found < num:
        count = max(64, num - found)
        batch = settle_once(scene, stepper, rng, count, steps)
        good = np.flatnonzero(is_held(scene, *batch))[: num - found]
        kept.append(tuple(x[good] for x in batch))
        found, drawn = found + good.size, drawn + count
        if drawn >= 20 * max(64, found):
            raise ConfigError(
                f"the hand held {found} of {drawn} cubes at its start: use another"
                " scene.start_pose or a smaller scene.cube_edge"
            )
    qpos, qvel, warmstart, sensordata = (
        np.concatenate(xs).astype(np.float32) for xs in zip(*kept, strict=True)
    )
    return PhysicsState(
        qpos=qpos, qvel=qvel, qacc_warmstart=warmstart, sensordata=sensordata
    )


def settle_once(
    scene: Scene,
    stepper: ThreadedStepper,
    rng: np.random.Generator,
    num: int,
    steps: int,
) -> tuple[np.ndarray, ...]:
    """Drop `num` cubes on the still hand, `steps` control steps; held or not.

    Returns:
      qpos, qvel, qacc_warmstart, sensordata: float64[num, ...].
    """
    qpos = np.tile(scene.start_qpos, (num, 1))
    cube = qpos[:, scene.cube_qpos]
    cube[:, :3] = CUBE_START + 0.005 * rng.standard_normal((num, 3))
    # A normalised Gaussian 4-vector is uniform on the sphere, hence on SO(3).
    turn = rng.standard_normal((num, 4))
    cube[:, 3:] = turn / np.linalg.norm(turn, axis=1, keepdims=True)
    qvel = np.zeros((num, scene.mj_model.nv))
    warmstart = np.zeros_like(qvel)
    sensordata = np.zeros((num, scene.mj_model.nsensordata))
    ctrl = np.tile(scene.start_ctrl, (num, 1))
    for _ in range(steps):
        qpos, qvel, warmstart, sensordata = stepper.step(qpos, qvel, warmstart, ctrl)
    return qpos, qvel, warmstart, sensordata


def is_held(
    scene: Scene,
    qpos: np.ndarray,
    qvel: np.ndarray,
    qacc_warmstart: np.ndarray,
    sensordata: np.ndarray,
) -> np.ndarray:
    """bool[N]: the cube lies within reach on the palmar side, not falling, all finite."""
    finite = np.isfinite(qpos).all(1) & np.isfinite(qvel).all(1)
    finite &= np.isfinite(qacc_warmstart).all(1) & np.isfinite(sensordata).all(1)
    place = sensordata[:, scene.sensors["cube_in_palm"]]
    height = place @ scene.palm_normal
    speed = np.linalg.norm(qvel[:, scene.cube_qvel][:, :3], axis=1)
    return (
        finite & (height > 0.0) & (np.linalg.norm(place, axis=1) < 0.12) & (speed < 0.3)
    )
