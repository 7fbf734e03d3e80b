"""What domain randomisation may change, and by how much.

Ranges of friction, masses, damping, gain, object size, gravity and of the errors of
fingertips and object pose: OpenAI et al. 2018, arXiv:1808.00177, tables 1 and 2. The rest
is ours.
"""

from dataclasses import dataclass, replace
from typing import Literal

from mjxhand.config import Config, ConfigError

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
    told: bool = False  # of a pose that is told: nothing where frames are seen


SIZES = {
    "one": 1, "each axis": 3, "each link": 24, "each joint": 24, "each servo": 20,
    "each fingertip's axis": 15, "each touch region": 92,
}  # fmt: skip
"""How many numbers a row has."""

# C MuJoCo takes the mass matrix of a body with nothing attached, our object, from dof_M0.
MASSES = ("body_mass", "body_inertia", "body_subtreemass", "dof_M0")
# Constraints are softer the more a unit force moves what they act on.
SOFTNESS = ("body_invweight0", "dof_invweight0", "tendon_invweight0")
INERTIAL = (*MASSES, *SOFTNESS)
SHAPE = ("geom_size", "geom_rbound", "geom_aabb")

TABLE: dict[str, Row] = {
    "friction": Row(
        "friction of the hand with the object, sliding, spinning and rolling alike",
        "uniform", (0.7, 1.3), "×", "one", fields=("pair_friction",), object=True,
    ),
    "link_mass": Row(
        "mass and, with it, inertia of the links that move",
        "uniform", (0.5, 1.5), "×", "each link", fields=INERTIAL,
    ),
    "object_mass": Row(
        "mass and, with it, inertia of the object",
        "uniform", (0.5, 1.5), "×", "one", fields=INERTIAL, object=True,
    ),
    "object_size": Row(
        "size of the object at its density: its mass grows with the third power, its "
        "inertia with the fifth",
        "uniform", (0.95, 1.05), "×", "one", fields=(*SHAPE, *INERTIAL), object=True,
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
        "each axis", object=True, told=True,
    ),
    "position_noise": Row(
        "length of a shift of the object's seen position, in any direction "
        "(`env.pose_noise_position`, if set)",
        "uniform", (0.001, 0.001), "m", "one", drawn="control step", object=True, told=True,
    ),
    "angle_bias": Row(
        "rotation vector by which the object's seen orientation is off",
        "normal", (0.0, 0.1), "rad", "each axis", object=True, told=True,
    ),
    "angle_noise": Row(
        "angle by which the object's seen orientation is off, about any axis "
        "(`env.pose_noise_angle`, if set)",
        "normal", (0.0, 0.1), "rad", "one", drawn="control step", object=True, told=True,
    ),
}  # fmt: skip


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
    # Three settings of `env` turn a row on by themselves, with a range of their own.
    if env.pose_noise_angle:
        spread = (0.0, env.pose_noise_angle)
        rows["angle_noise"] = replace(TABLE["angle_noise"], range=spread)
    if env.pose_noise_position:
        length = (env.pose_noise_position,) * 2
        rows["position_noise"] = replace(TABLE["position_noise"], range=length)
    if env.push_speed:
        rows["push"] = replace(TABLE["push"], range=(env.push_speed,) * 2)
    return {k: r for k, r in rows.items() if not (r.object and thing == "none")}


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
