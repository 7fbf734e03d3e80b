"""One control step in MJX: its own implementation (`jax`) and its Warp one (`warp`)."""

import copy
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import mujoco
import numpy as np

from mjxhand._quiet import importing_mjx
from mjxhand.config import ConfigError, PhysicsConfig
from mjxhand.physics_state import Array, Index, PhysicsState, Told, Variant, part

SENSORS = (
    "TOUCH", "FRAMEPOS", "JOINTPOS", "JOINTVEL", "ACTUATORPOS", "ACTUATORVEL", "ACTUATORFRC",
)  # fmt: skip
"""Kinds that `jax` finds what they read for."""


def jax_step(model: mujoco.MjModel, cfg: PhysicsConfig, parts: Mapping[str, Index]):
    """Control step of one environment, see `Physics.step`."""
    # Imported here: it takes seconds, and the native back end does not need it.
    with importing_mjx():
        from mujoco import mjx

    from mjxhand import constraints, contacts, newton, smooth

    model_on_host = on_host(mjx.put_model, model, impl="jax")
    template = on_host(mjx.make_data, model, impl="jax")
    layout = constraints.layout(model)
    tree = smooth.tree(model)
    collide = contacts.collider(model)
    _check_sensors(model)
    integrators = {
        mujoco.mjtIntegrator.mjINT_EULER: mjx.euler,
        mujoco.mjtIntegrator.mjINT_IMPLICITFAST: mjx.implicit,
    }
    integrate = integrators[mujoco.mjtIntegrator(model.opt.integrator)]

    def substep(m, fixed, d):
        """`mjx.step` of such a model: our solver, no sensors, no outer forces, no qacc_smooth."""
        d = smooth.positions(tree, fixed, m, d)
        d = mjx.transmission(m, collide(m, mjx.tendon(m, d)))
        velocities = {
            "_impl.actuator_velocity": d._impl.actuator_moment @ d.qvel,
            "_impl.ten_velocity": d._impl.ten_J @ d.qvel,
        }
        moving: Any = d.tree_replace(velocities)
        d = mjx.fwd_actuation(m, mjx.passive(m, moving))
        qfrc_bias = smooth.bias(tree, fixed, m, d)
        qfrc_smooth = d.qfrc_passive - qfrc_bias + d.qfrc_actuator
        solution = newton.solve(
            layout,
            constraints.make_rows(layout, m, d),
            mass=d._impl.M,
            qfrc_smooth=qfrc_smooth,
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

    def step(state: PhysicsState, ctrl: Array, variant: Variant | None = None) -> Told:
        m = _vary(_to_device(model_on_host), parts, variant)
        fixed = smooth.bodies(tree, m)
        data = _load(_to_device(template), state, ctrl)

        def scanned(data, held):
            data = substep(m, fixed, _command(data, held))
            return data, _slots_full(model, data)

        held = _ctrls(ctrl, variant, cfg.substeps)
        data, full = jax.lax.scan(scanned, data, held, length=cfg.substeps)
        # A substep leaves positions, contacts and forces of the instant before its
        # integration: what mj_step's sensors read.
        data = smooth.place_sites(tree, m, data)
        data = mjx.sensor_acc(m, mjx.sensor_vel(m, mjx.sensor_pos(m, data)))
        return _unload(data), jnp.any(full)

    return step


def _check_sensors(model: mujoco.MjModel) -> None:
    """Raises ConfigError where one reads what `jax_step` does not find."""
    known = [getattr(mujoco.mjtSensor, f"mjSENS_{name}") for name in SENSORS]
    kind = np.isin(model.sensor_type, known)
    frames = (mujoco.mjtObj.mjOBJ_BODY, mujoco.mjtObj.mjOBJ_CAMERA)
    frame = ~np.isin(model.sensor_reftype, frames)
    frame &= model.sensor_objtype != mujoco.mjtObj.mjOBJ_CAMERA
    if not (kind & frame).all():
        names = [model.sensor(i).name for i in np.flatnonzero(~(kind & frame))]
        raise ConfigError(
            f"physics.impl is 'jax', which does not know the sensors {', '.join(names)}:"
            " use native"
        )


def _slots_full(model: mujoco.MjModel, data) -> Array:
    """Whether all slots that MJX keeps for contacts of one kind (`condim`) hold a contact, so
    that one may have been left out."""
    contact = data._impl.contact
    slots = int(model.numeric("max_contact_points").data[0])
    used = contact.dist < contact.includemargin
    kinds = [contact.dim == kind for kind in np.unique(contact.dim)]
    full = [jnp.all(used[kind]) for kind in kinds if kind.sum() >= slots]
    return jnp.any(jnp.array(full)) if full else jnp.bool_(False)


WARP_DRIVER = 580
"""NVIDIA's driver that Warp needs at least, which is built with CUDA 13; JAX may do with less."""
WARP_GPUS = f"NVIDIA GPUs with driver {WARP_DRIVER} or newer"
WARP_CONTACTS = 64
"""Contact candidates per environment of the Warp back end: all pairs are 46."""
WARP_CONSTRAINTS = 320
"""Constraint rows per environment of the Warp back end."""


def warp_step(model: mujoco.MjModel, cfg: PhysicsConfig, parts: Mapping[str, Index]):
    """Control step of one environment, see `Physics.step`."""
    try:
        import warp  # pyright: ignore[reportMissingImports]

        # Not a line for every kernel that is loaded.
        warp.config.log_level = warp.LOG_WARNING
    except ImportError as error:
        raise ConfigError(
            "physics.impl is 'warp', which is not installed: pip install 'mjxhand[warp]'"
        ) from error
    if jax.default_backend() != "cpu" and not warp.is_cuda_available():
        raise ConfigError(
            f"physics.impl is 'warp', which runs on CPUs and {WARP_GPUS}, and finds none "
            "here: use --physics.impl jax"
        )
    from mujoco import mjx
    from mujoco.mjx.third_party.mujoco_warp import OverflowType

    def put(model: mujoco.MjModel):
        # Its report of each solve that stops at `iterations`, as ours are meant to, goes;
        # those of full buffers stay.
        put = on_host(mjx.put_model, model, impl="warp")
        told = put.opt._impl.warn_overflow & ~int(OverflowType.ITERATIONS)
        return put.tree_replace({"opt._impl.warn_overflow": told})

    loud, quiet = put(model), put(_without_sensors(model))

    def step_batch(num_envs: int, state, ctrl, variant) -> Told:
        # Warp's contact buffer is one for all environments, so its size is theirs.
        template = mjx.make_data(
            model,
            impl="warp",
            device=jax.local_devices()[0],  # as in `on_host`
            naconmax=WARP_CONTACTS * num_envs,
            njmax=WARP_CONSTRAINTS,
        )

        def one(state, ctrl, variant) -> Told:
            m = _vary(_to_device(quiet), parts, variant)
            held = _ctrls(ctrl, variant, cfg.substeps)
            data, _ = jax.lax.scan(
                lambda d, held: (mjx.step(m, _command(d, held)), None),
                _load(template, state, ctrl),
                None if held is None else held[:-1],
                length=cfg.substeps - 1,
            )
            data = _command(data, None if held is None else held[-1])
            data = mjx.step(_vary(_to_device(loud), parts, variant), data)
            # Flags of every step since `make_data`.
            overflow = data._impl.overflow & ~int(OverflowType.ITERATIONS)
            return _unload(data), overflow != 0

        return jax.vmap(one)(state, ctrl, variant)

    @jax.custom_batching.custom_vmap
    def batched(state, ctrl, variant) -> Told:
        alone = jax.tree.map(lambda x: x[None], (state, ctrl, variant))
        return jax.tree.map(lambda x: x[0], step_batch(1, *alone))

    @batched.def_vmap
    def step_under_vmap(num_envs, in_batched, *args):
        args = jax.tree.map(
            lambda x, batched: (
                x if batched else jnp.broadcast_to(x, (num_envs, *x.shape))
            ),
            args,
            tuple(in_batched),
        )
        after = step_batch(num_envs, *args)
        return after, jax.tree.map(lambda _: True, after)

    def step(state: PhysicsState, ctrl: Array, variant: Variant | None = None) -> Told:
        return batched(state, ctrl, variant)

    return step


def _vary(m: Any, parts: Mapping[str, Index], variant: Variant | None) -> Any:
    """`m` (mjx.Model) with a variant's values in their places."""
    if variant is None:
        return m
    changes = {}
    for name, index in parts.items():
        array = jnp.asarray(part(m, name))
        # MJX has the six numbers of an aabb as [2, 3].
        value = variant.model[name].reshape(array[index].shape)
        changes[name] = array.at[index].set(value)
    return m.tree_replace(changes)


def _ctrls(ctrl: Array, variant: Variant | None, substeps: int) -> Array | None:
    """Servo targets of every physics step `[substeps, 20]`; None: `ctrl` in all."""
    if variant is None or variant.delay is None:
        return None
    late = jnp.arange(substeps)[:, None] < variant.delay
    last, now = jnp.asarray(variant.last_ctrl), jnp.asarray(ctrl)
    return jnp.where(late, last, now)


def _command(data: Any, ctrl: Array | None) -> Any:
    return data if ctrl is None else data.replace(ctrl=ctrl)


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


def on_host(make: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """What MJX makes (`put_model`, `make_data`), with its arrays on the host.

    They become constants of whichever program is traced, so that no program is tied to the
    device on which they were made. Left to itself MJX takes the first device of all processes,
    from which no other process can fetch them.
    """
    made = make(*args, device=jax.local_devices()[0], **options)
    return jax.tree.map(np.asarray, made)


_to_device = partial(jax.tree.map, jnp.asarray)
