"""One control step of the hand and cube, on any of three back ends.

`jax`: MJX, on CPU, GPU or TPU. `warp`: MJX's Warp implementation, on NVIDIA (and on a
CPU, for tests). `native`: C MuJoCo in threads, called from the compiled program. All
three step the same small state, so a policy moves freely between them.
"""

import dataclasses
import hashlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import mujoco
import numpy as np

from mjxhand import foreign, randomize
from mjxhand.config import ConfigError, PhysicsConfig
from mjxhand.exact import exact
from mjxhand.mjx_steps import jax_step, warp_step
from mjxhand.native import ThreadedStepper
from mjxhand.physics_state import Array, Index, PhysicsState, Told, Variant
from mjxhand.randomize import Row, World
from mjxhand.scene import CUBE_START, Scene

__all__ = ["Physics", "PhysicsState", "Variant", "make_physics", "settle"]


@dataclasses.dataclass(frozen=True)
class Physics:
    """A back end; `impl` is the resolved name."""

    impl: str
    step_told: Callable[..., Told]
    """(state, ctrl f32[20], variant=None) → (state one control step later, ctrl held;
    overflow []). Works under jit, vmap, scan and shard_map. `overflow`: whether contacts or
    constraints may have been left out because a buffer was full. jax: all contact slots were
    in use; warp: its own flags; native has no such buffers (its arena is full: C says so on
    stderr)."""

    def step(
        self, state: PhysicsState, ctrl: Array, variant: Variant | None = None
    ) -> PhysicsState:
        """`step_told` without the second result."""
        return self.step_told(state, ctrl, variant)[0]


def make_physics(
    scene: Scene,
    cfg: PhysicsConfig = PhysicsConfig(),
    parts: Mapping[str, Index] | None = None,
) -> Physics:
    """The back end that `cfg` names; `auto` is native on a CPU, else jax.

    Args:
      parts: what a `Variant` changes in the model: name in the MjModel (`dof_damping`,
        `opt.gravity`) → which part of it. None: steps are given no Variant.

    Raises:
      ConfigError: if `warp` is asked for and not installed, or a number makes no sense, or
        `native` where JAX was told to leave out its CPU.
    """
    if cfg.substeps < 1:
        raise ConfigError(f"physics.substeps is {cfg.substeps}: it must be at least 1")
    if cfg.threads < 0:
        raise ConfigError(f"physics.threads is {cfg.threads}: it must be 0 or more")
    impl = cfg.impl
    if impl == "auto":
        impl = "native" if jax.default_backend() == "cpu" else "jax"
    make = {"native": _native_step, "jax": jax_step, "warp": warp_step}
    if impl not in make:
        raise ConfigError(
            f"physics.impl is {impl!r}: choose one of auto, {', '.join(make)}"
        )
    step = make[impl](scene.mj_model, cfg, parts or {})
    return Physics(impl=impl, step_told=exact(step))


def _native_step(model: mujoco.MjModel, cfg: PhysicsConfig, parts: Mapping[str, Index]):
    stepper = ThreadedStepper(model, cfg.substeps, cfg.threads, parts)
    shapes = tuple(
        jax.ShapeDtypeStruct((n,), jnp.float32)
        for n in (model.nq, model.nv, model.nv, model.nsensordata)
    )

    def on_host(*args: Array) -> tuple[np.ndarray, ...]:
        after = step_on_host([np.asarray(arg) for arg in args])
        return tuple(x.astype(np.float32) for x in after)

    def in_place(args: Sequence[np.ndarray], results: Sequence[np.ndarray]) -> None:
        with np.errstate(over="ignore"):  # a state that diverged: the environment tells
            for result, after in zip(results, step_on_host(args), strict=True):
                result[...] = after

    def step_on_host(args: Sequence[np.ndarray]) -> tuple[np.ndarray, ...]:
        now, varied, late = args[:4], args[4:][: len(parts)], args[4 + len(parts) :]
        return stepper.step(*now, varied, *late)

    _check_host()
    # broadcast_all: under vmap the host sees the whole batch in one call.
    call = partial(jax.pure_callback, on_host, shapes, vmap_method="broadcast_all")
    if jax.default_backend() == "cpu":
        name = f"mjxhand_native_{_fingerprint(model, cfg, parts)}"
        foreign.register(name, in_place)
        call = jax.ffi.ffi_call(name, shapes, vmap_method="broadcast_all")

    def step(state: PhysicsState, ctrl: Array, variant: Variant | None = None) -> Told:
        args = [state.qpos, state.qvel, state.qacc_warmstart, ctrl]
        if variant is not None:
            args += [variant.model[name] for name in parts]
            if variant.delay is not None:
                args += [variant.last_ctrl, variant.delay]
        args = tuple(jnp.asarray(x, jnp.float32) for x in args)
        qpos, qvel, warmstart, sensordata = vary_like(call(*args), args)
        after = PhysicsState(
            qpos=qpos, qvel=qvel, qacc_warmstart=warmstart, sensordata=sensordata
        )
        return after, jnp.bool_(False)

    return step


def _check_host() -> None:
    """Raises ConfigError where JAX could not call this process from a GPU."""
    try:
        jax.local_devices(backend="cpu")
    except RuntimeError as error:
        raise ConfigError(
            "physics.impl is 'native', which needs JAX's CPU beside the accelerator: add cpu to"
            " JAX_PLATFORMS (cuda,cpu)"
        ) from error


def _fingerprint(
    model: mujoco.MjModel, cfg: PhysicsConfig, parts: Mapping[str, Index]
) -> str:
    told = f"{cfg.substeps} {cfg.threads}"
    return fingerprint(model, told + (f" {parts}" if parts else ""))


def fingerprint(model: mujoco.MjModel, settings: str) -> str:
    """The same for the same model and settings, in any process."""
    content = np.empty(mujoco.mj_sizeModel(model), np.uint8)
    mujoco.mj_saveModel(model, None, content)
    told = f"{mujoco.__version__} {settings}"
    return hashlib.sha256(content.tobytes() + told.encode()).hexdigest()[:16]


def vary_like(after: Sequence[Array], before: Sequence[Array]) -> tuple[Array, ...]:
    """Mark what a callback returned as differing between devices where its inputs do.

    `shard_map` cannot see through a callback and would take its results for replicated.
    """
    axes = frozenset().union(*map(_varying_axes, before))
    if not axes:
        return tuple(after)
    return tuple(jax.lax.pcast(x, tuple(axes), to="varying") for x in after)


def _varying_axes(x: Array) -> frozenset[str]:
    """Mesh axes along which a value inside `shard_map` differs between devices."""
    kind: Any = jax.typeof(x)
    # JAX 0.11 moved what 0.9 and 0.10 call `vma`.
    return kind.mat.varying if hasattr(kind, "mat") else kind.vma


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
    return settle_in_worlds(scene, cfg, num, seconds, seed, {})[0]


def settle_in_worlds(
    scene: Scene,
    cfg: PhysicsConfig,
    num: int,
    seconds: float,
    seed: int,
    rows: Mapping[str, Row],
) -> tuple[PhysicsState, World | None]:
    """`settle`, each state in a world of its own, drawn from `rows`."""
    rng = np.random.default_rng(seed)
    rng_worlds = np.random.default_rng([seed, 2])
    parts = randomize.parts(scene, rows)
    stepper = ThreadedStepper(scene.mj_model, cfg.substeps, cfg.threads, parts)
    steps = max(1, round(seconds / (scene.mj_model.opt.timestep * cfg.substeps)))
    kept: list[tuple[tuple[np.ndarray, ...], World | None]] = []
    found = drawn = 0
    while found < num:
        count = max(64, num - found)
        worlds = randomize.draw(scene, rows, rng_worlds, count)
        changes = [worlds.model[name] for name in parts] if worlds else []
        batch = settle_once(scene, stepper, rng, count, steps, *changes)
        good = np.flatnonzero(is_held(scene, *batch))[: num - found]
        kept.append(jax.tree.map(lambda x, good=good: x[good], (batch, worlds)))
        found, drawn = found + good.size, drawn + count
        if drawn >= 20 * max(64, found):
            raise ConfigError(
                f"the hand held {found} of {drawn} cubes at its start: use another"
                " scene.start_pose or a smaller scene.cube_edge"
            )
    (qpos, qvel, warmstart, sensordata), worlds = jax.tree.map(
        lambda *xs: np.concatenate(xs).astype(np.float32), *kept
    )
    states = PhysicsState(
        qpos=qpos, qvel=qvel, qacc_warmstart=warmstart, sensordata=sensordata
    )
    return states, worlds


def settle_once(
    scene: Scene,
    stepper: ThreadedStepper,
    rng: np.random.Generator,
    num: int,
    steps: int,
    *model: np.ndarray,
) -> tuple[np.ndarray, ...]:
    """Drop `num` cubes on the still hand, `steps` control steps; held or not.

    Args:
      model: [num, ...] what the copies' models differ in, see `ThreadedStepper.step`.

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
        qpos, qvel, warmstart, sensordata = stepper.step(
            qpos, qvel, warmstart, ctrl, model
        )
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
