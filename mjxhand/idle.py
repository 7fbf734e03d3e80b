"""Settings that were asked for and would do nothing: refused, so that nobody waits for them."""

from collections.abc import Callable, Iterable

from mjxhand import randomize, tasks
from mjxhand.config import Config, ConfigError
from mjxhand.networks import options

EMPTY = ("reach", "opposition")
ORIENTATION = ("threshold", "position_tolerance", "goal_angle_max", "goal_axis")
ORIENTATION += ("pose_encoding", "pose_noise_angle", "pose_noise_position")
OBJECT = ("push_speed", "push_seconds", "reward.drop")
GROWTH = ("start", "growth", "goals", "episodes")


def _names_a_pose(word: str) -> bool:
    named = (randomize.TABLE.get(name.strip()) for name in word.split(","))
    return any(row.told for row in named if row)


def _only(word: str, *rows: str) -> bool:
    """Whether `env.randomize` names some of these rows and no other."""
    named = {name.strip() for name in word.split(",")}
    return named <= set(rows)


def _every_area_names_its_cell(config: Config) -> bool:
    if config.network.name != "fpn":
        return False
    areas = options.wiring_of(config.network).areas
    return all(area.cell for area in areas if area.recurrent)


def _pushes(config: Config) -> bool:
    thing = config.scene.object
    thing = tasks.find(config.env.task).object if thing == "auto" else thing
    return "push" in randomize.rows_of(config, thing)


Rule = tuple[Callable[[Config], bool], tuple[str, ...], str]
RULES: list[Rule] = [
    (
        lambda c: c.env.task in EMPTY,
        (
            *(f"env.{name}" for name in (*ORIENTATION, *OBJECT)),
            "scene.cube_edge",
            "scene.cube_density",
            "scene.object_damping",
        ),
        "with an empty hand",
    ),
    (
        lambda c: c.env.vision != "pose" and _names_a_pose(c.env.randomize),
        ("env.randomize",),
        "to a pose that frames show: leave position_… and angle_… out of it",
    ),
    (
        lambda c: c.env.vision == "pixels" and c.env.pose_encoding == "folded",
        ("env.pose_encoding",),
        "with frames, which show the cube as it is",
    ),
    (
        lambda c: c.env.task == "chain",
        ("env.max_goals", "env.goal_angle_max", "env.goal_axis"),
        "with env.task chain: its goals are those of env.sequence",
    ),
    (
        lambda c: c.env.task == "opposition",
        ("env.goal_encoding",),
        "with env.task opposition: its goal is a finger",
    ),
    (
        lambda c: c.env.task in tasks.TASKS and c.env.task not in EMPTY,
        ("env.tip_threshold",),
        "where fingertips have no targets: see env.threshold",
    ),
    (
        lambda c: c.env.vision == "pose",
        ("env.cameras", "env.frame_size"),
        "without frames: add --env.vision pixels or perceived",
    ),
    (
        lambda c: not _pushes(c),
        ("env.push_seconds",),
        "without pushes: give --env.push-speed or --env.randomize push",
    ),
    (
        lambda c: c.env.actions == "continuous",
        ("env.bins",),
        "with continuous actions",
    ),
    (
        lambda c: c.env.control == "absolute",
        ("env.relative_step",),
        "with --env.control absolute",
    ),
    (
        lambda c: not c.curriculum.enabled,
        tuple(f"curriculum.{name}" for name in GROWTH),
        "without --curriculum.enabled",
    ),
    (
        lambda c: c.curriculum.threshold_start is None,
        ("curriculum.threshold_steps",),
        "without --curriculum.threshold-start",
    ),
    (
        lambda c: c.network.stream_dropout == 0,
        ("network.dropout_streams",),
        "without --network.stream-dropout",
    ),
    (
        lambda c: c.network.name == "mlp" or c.network.recurrent == "none",
        ("network.cell",),
        "in a network without recurrent areas",
    ),
    (
        lambda c: all(":" in part for part in c.network.recurrent.split(",")),
        ("network.cell",),
        "where network.recurrent names the cell of every area",
    ),
    (
        _every_area_names_its_cell,
        ("network.cell",),
        "where every recurrent area has a cell of its own",
    ),
    (
        lambda c: (
            c.env.task in ("reorient", "chain")
            and _only(c.env.randomize, "fingertip_bias", "fingertip_noise")
        ),
        ("env.randomize",),
        "to fingertips that are not seen: they are in the tasks with an empty hand",
    ),
    (
        lambda c: c.physics.substeps == 1 and _only(c.env.randomize, "delay"),
        ("env.randomize",),
        "with physics.substeps 1: a delay is shorter than a control step",
    ),
    (
        lambda c: (
            c.env.control == "relative_to_measured"
            and c.env.target_lead is not None
            and c.env.target_lead >= c.env.relative_step
        ),
        ("env.target_lead",),
        "where it is at least env.relative_step: no target is farther from the joint",
    ),
    (
        lambda c: c.physics.impl in ("jax", "warp"),
        ("physics.threads",),
        "but with --physics.impl native",
    ),
    (lambda c: not c.film, ("film_seconds",), "without a film"),
]
"""(whether it holds, settings that then do nothing, the rest of the sentence)."""


def refuse(given: Iterable[str], config: Config) -> None:
    """Refuse settings that somebody gave and that do nothing in this configuration.

    What a preset or a default says is not meant here: it may wait for other options.

    Args:
        given: dotted names, such as `env.max_goals`.

    Raises:
        ConfigError: one line: which, and why.
    """
    given = set(given)
    for holds, names, why in RULES:
        if given.intersection(names) and holds(config):
            name = next(name for name in names if name in given)
            raise ConfigError(f"{name} does nothing {why}; otherwise leave it out")
