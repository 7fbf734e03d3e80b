"""Domain randomisation: what may differ between episodes, as one table.

`--env.randomize all` switches every row on, `--env.randomize friction,delay` those named.
Each start state of the pool (`EnvParams.pool`) comes with a world of its own, drawn from
the table, in which it has settled; a reset draws a state and its world together, and the
world stays until the episode ends. `python -m mjxhand.randomize` prints the table.

Rows that change the MjModel are written into a copy of it on the host, whose derived
constants C MuJoCo makes again (`mj_setConst`, 40 µs per world on a 2-core CPU): the back
ends are given those parts of it that can differ, see `PARTS`.

Ranges of friction, masses, damping, gain, object size, gravity and of the errors of
fingertips and object pose: OpenAI et al. 2018, arXiv:1808.00177, tables 1 and 2. The rest
is ours.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import chex
import jax
import jax.numpy as jnp
import mujoco
import numpy as np

from mjxhand.config import Config, ConfigError
from mjxhand.physics_state import Index, Variant, part
from mjxhand.scene import Scene

Distribution = Literal["uniform", "log-uniform", "normal"]


@dataclass(frozen=True)
class Row:
    """One thing that differs."""

    what: str
    distribution: Distribution
    range: tuple[float, float]  # bounds; normal: mean and standard deviation
    unit: str  # "×": a factor of the published value
    size: str  # what gets a number of its own: a key of SIZES
    drawn: Literal["episode", "control step"] = "episode"
    fields: tuple[str, ...] = ()  # parts of the MjModel that it changes
    object: bool = False  # of the object in the hand: skipped where there is none


SIZES = {
    "one": 1, "each axis": 3, "each link": 24, "each joint": 24, "each servo": 20,
    "each fingertip's axis": 15, "each touch region": 92,
}  # fmt: skip
"""How many numbers a row has."""

_MASSES = ("body_mass", "body_inertia", "body_subtreemass")
# Constraints are softer the more a unit force moves what they act on.
_SOFTNESS = ("body_invweight0", "dof_invweight0", "tendon_invweight0")
_INERTIAL = (*_MASSES, *_SOFTNESS)
_SHAPE = ("geom_size", "geom_rbound", "geom_aabb")

TABLE: dict[str, Row] = {
    "friction": Row(
        "friction of the hand with the object, sliding, spinning and rolling alike",
        "uniform", (0.7, 1.3), "×", "one", fields=("pair_friction",), object=True,
    ),
    "link_mass": Row(
        "mass and, with it, inertia of the links that move",
        "uniform", (0.5, 1.5), "×", "each link", fields=_INERTIAL,
    ),
    "object_mass": Row(
        "mass and, with it, inertia of the object",
        "uniform", (0.5, 1.5), "×", "one", fields=_INERTIAL, object=True,
    ),
    "object_size": Row(
        "size of the object at its density: its mass grows with the third power, its "
        "inertia with the fifth",
        "uniform", (0.95, 1.05), "×", "one", fields=(*_SHAPE, *_INERTIAL), object=True,
    ),
    "damping": Row(
        "damping of the joints",
        "log-uniform", (0.3, 3.0), "×", "each joint", fields=("dof_damping",),
    ),
    "gain": Row(
        "gain kp of the servos",
        "log-uniform", (0.75, 1.5), "×", "each servo",
        fields=("actuator_gainprm", "actuator_biasprm"),
    ),
    "gravity": Row(
        "added to gravity", "normal", (0.0, 0.4), "m/s²", "each axis",
        fields=("opt.gravity",),
    ),
    "delay": Row(
        "time after which a command reaches the servos, in whole physics steps, less than "
        "a control step",
        "uniform", (0.0, 0.04), "s", "one",
    ),
    "push": Row(
        "jump of the object's velocity, in any direction, on average every "
        "`env.push_seconds` (`env.push_speed`, if set, is the jump)",
        "uniform", (0.0, 0.3), "m/s", "one", object=True,
    ),
    "joint_angle_bias": Row(
        "error of the felt joint angles", "normal", (0.0, 0.02), "rad", "each joint",
    ),
    "joint_angle_noise": Row(
        "error of the felt joint angles", "normal", (0.0, 0.01), "rad", "each joint",
        drawn="control step",
    ),
    "joint_velocity_noise": Row(
        "error of the felt joint velocities", "normal", (0.0, 0.1), "rad/s",
        "each joint", drawn="control step",
    ),
    "touch_gain": Row(
        "gain of touch", "log-uniform", (0.75, 1.333), "×", "each touch region",
    ),
    "fingertip_bias": Row(
        "error of the seen fingertips", "normal", (0.0, 0.001), "m",
        "each fingertip's axis",
    ),
    "fingertip_noise": Row(
        "error of the seen fingertips", "normal", (0.0, 0.002), "m",
        "each fingertip's axis", drawn="control step",
    ),
    "position_bias": Row(
        "error of the object's seen position", "normal", (0.0, 0.005), "m",
        "each axis", object=True,
    ),
    "position_noise": Row(
        "length of a shift of the object's seen position, in any direction "
        "(`env.pose_noise_position`, if set)",
        "uniform", (0.001, 0.001), "m", "one", drawn="control step", object=True,
    ),
    "angle_bias": Row(
        "rotation vector by which the object's seen orientation is off",
        "normal", (0.0, 0.1), "rad", "each axis", object=True,
    ),
    "angle_noise": Row(
        "angle by which the object's seen orientation is off, about any axis "
        "(`env.pose_noise_angle`, if set)",
        "normal", (0.0, 0.1), "rad", "one", drawn="control step", object=True,
    ),
}  # fmt: skip


@chex.dataclass(frozen=True)
class World:
    """What was drawn for one episode."""

    model: dict[str, Any]  # part of the MjModel → its values, f32, see PARTS
    drawn: dict[str, Any]  # name of a row drawn once per episode → f32[its size]


def rows_of(config: Config, thing: str) -> dict[str, Row]:
    """The rows that are on, with the settings of `env` that stand for a row.

    Args:
      thing: what lies in the hand, `Scene.object`.

    Raises:
      ConfigError: a name that is no row, or a row about an object that is not there.
    """
    env = config.env
    word = env.randomize.strip()
    named = [] if word in ("none", "all") else [x.strip() for x in word.split(",")]
    for name in named:
        if name not in TABLE:
            raise ConfigError(
                f"env.randomize is {word!r}: {name!r} cannot be randomised; give none, "
                f"all, or some of {', '.join(TABLE)}"
            )
        if TABLE[name].object and thing == "none":
            raise ConfigError(
                f"env.randomize is {word!r}: {name} is about an object, and the hand of "
                f"{env.task} is empty: leave it out"
            )
    rows = dict(TABLE) if word == "all" else {name: TABLE[name] for name in named}
    # Settings older than the table, which also stand alone.
    if env.pose_noise_angle:
        spread = (0.0, env.pose_noise_angle)
        rows["angle_noise"] = replace(TABLE["angle_noise"], range=spread)
    if env.pose_noise_position:
        length = (env.pose_noise_position,) * 2
        rows["position_noise"] = replace(TABLE["position_noise"], range=length)
    if env.push_speed:
        rows["push"] = replace(TABLE["push"], range=(env.push_speed,) * 2)
    return {k: r for k, r in rows.items() if not (r.object and thing == "none")}


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
        name: _sample(row, rng, num).astype(np.float32)
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


def _sample(row: Row, rng: np.random.Generator, num: int) -> np.ndarray:
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
        for name in _SHAPE:
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


def label(word: str) -> str:
    """What a task's label says of `env.randomize`."""
    word = word.strip()
    return "" if word == "none" else f", randomised: {word.replace(',', ', ')}"


def markdown() -> str:
    """The table, as docs/randomization.md has it."""
    lines = [
        "| row | what differs | distribution | unit | a number for | drawn every |",
        "|---|---|---|---|---|---|",
    ]
    for name, row in TABLE.items():
        a, b = row.range
        text = f"{row.distribution} {a:g} … {b:g}"
        if row.distribution == "normal":
            text = f"normal, σ {b:g}"
        if a == b:
            text = f"always {a:g}"
        lines.append(
            f"| `{name}` | {row.what} | {text} | {row.unit} | {row.size} | {row.drawn} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(markdown(), end="")
