"""One episode's draw, and how it becomes another MjModel."""

import copy
from collections.abc import Mapping
from typing import Any

import chex
import jax
import jax.numpy as jnp
import mujoco
import numpy as np

from mjxhand.physics_state import Index, Variant, part
from mjxhand.randomize.table import SHAPE, SIZES, Row
from mjxhand.scene import Scene


@chex.dataclass(frozen=True)
class World:
    """What was drawn for one episode."""

    model: dict[str, Any]  # part of the MjModel → its values, f32, see `parts`
    drawn: dict[str, Any]  # name of a row drawn once per episode → f32[its size]


def parts(scene: Scene, rows: Mapping[str, Row]) -> dict[str, Index]:
    """The parts of the MjModel that these rows change: name → which part of it."""
    model = scene.mj_model
    cube = int(model.body("cube").geomadr[0])
    index = {
        "geom_size": cube,
        "geom_rbound": np.s_[cube : cube + 1],
        "geom_aabb": cube,
    }
    index |= {"actuator_gainprm": np.s_[:, 0], "actuator_biasprm": np.s_[:, 1]}
    names = dict.fromkeys(name for row in rows.values() for name in row.fields)
    return {name: index.get(name, np.s_[:]) for name in names}


def draw(
    scene: Scene, rows: Mapping[str, Row], rng: np.random.Generator, num: int
) -> World | None:
    """`num` worlds, numpy float32 arrays `[num, ...]`; None: all would be the same."""
    drawn = {
        name: sample(row, rng, num).astype(np.float32)
        for name, row in rows.items()
        if row.drawn == "episode"
    }
    if not drawn:
        return None
    where = parts(scene, rows)
    values: dict[str, list[np.ndarray]] = {name: [] for name in where}
    if where:
        model = copy.copy(scene.mj_model)
        data = mujoco.MjData(model)
        for i in range(num):
            write(model, scene, {name: x[i] for name, x in drawn.items()})
            mujoco.mj_setConst(model, data)
            for name, index in where.items():
                values[name].append(np.array(part(model, name)[index], np.float32))
    return World(model={k: np.stack(v) for k, v in values.items()}, drawn=drawn)


def sample(row: Row, rng: np.random.Generator, num: int) -> np.ndarray:
    shape, (a, b) = (num, SIZES[row.size]), row.range
    if row.distribution == "normal":
        return rng.normal(a, b, shape)
    if row.distribution == "uniform":
        return rng.uniform(a, b, shape)
    return np.exp(rng.uniform(np.log(a), np.log(b), shape))


def write(model: mujoco.MjModel, scene: Scene, drawn: Mapping[str, np.ndarray]) -> None:
    """Write what was drawn into `model`, a copy of the scene's; before `mj_setConst`.

    Whatever a row changes is first put back to the scene's own value.
    """
    plain = scene.mj_model
    hand, cube = moving_links(scene), model.body("cube").id

    def of(name: str, default: Any = 1.0) -> Any:
        value = drawn.get(name)
        return default if value is None else np.asarray(value, np.float64)

    model.pair_friction[:] = plain.pair_friction * of("friction")
    size = of("object_size")
    mass, inertia = np.ones(model.nbody), np.ones((model.nbody, 1))
    mass[hand] = of("link_mass")
    mass[cube] = np.squeeze(of("object_mass") * size**3)
    inertia[:, 0] = mass
    inertia[cube] = of("object_mass") * size**5
    model.body_mass[:] = plain.body_mass * mass
    model.body_inertia[:] = plain.body_inertia * inertia
    if scene.object != "none":
        geom = model.body("cube").geomadr[0]
        for name in SHAPE:
            getattr(model, name)[geom] = getattr(plain, name)[geom] * np.squeeze(size)
    joints = scene.hand_qvel
    model.dof_damping[joints] = plain.dof_damping[joints] * of("damping")
    model.actuator_gainprm[:, 0] = plain.actuator_gainprm[:, 0] * of("gain")
    model.actuator_biasprm[:, 1] = plain.actuator_biasprm[:, 1] * of("gain")
    model.opt.gravity[:] = plain.opt.gravity + of("gravity", 0.0)


def moving_links(scene: Scene) -> np.ndarray:
    """Bodies of the hand that have a joint of their own, int[24]."""
    return scene.mj_model.dof_bodyid[scene.hand_qvel]


def variant_of(
    world: World | None, scene: Scene, substeps: int, last_ctrl: jax.Array
) -> Variant | None:
    """What the back ends need of a world; None: nothing, or no world."""
    if world is None or not (world.model or "delay" in world.drawn):
        return None
    delay = None
    if "delay" in world.drawn:
        steps = jnp.round(world.drawn["delay"][0] / scene.mj_model.opt.timestep)
        delay = jnp.minimum(steps, substeps - 1).astype(jnp.int32)
    return Variant(model=world.model, last_ctrl=last_ctrl, delay=delay)
