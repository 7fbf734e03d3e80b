"""Variants of the tasks with an object: which cannot be, and how each differs in words."""

import math

from mjxhand.config import Config, ConfigError, EnvConfig, SceneConfig

CUBES = ("auto", "cube")
"""Values of `scene.object` that put a cube into the hand."""


def check_object(config: Config) -> None:
    """Refuse an empty hand."""
    if config.scene.object == "none":
        raise ConfigError(
            f"env.task {config.env.task} needs an object in the hand: leave out "
            "--scene.object none"
        )
    if config.env.pose_encoding == "folded" and config.scene.object not in CUBES:
        raise ConfigError(
            f"env.pose_encoding folded is for a cube, not for scene.object "
            f"{config.scene.object}: give --env.pose-encoding absolute"
        )


def of_any_task(config: Config) -> list[str]:
    """The same of what tasks with an empty hand may differ in as well."""
    cfg, said = config.env, []
    if cfg.hold_wrist:
        said.append("the wrist held")
    if cfg.vision == "pixels":
        said.append(f"seen in frames ({cfg.cameras}, {cfg.frame_size} px)")
    if cfg.vision == "perceived":
        said.append(f"its pose read from frames ({cfg.cameras}, {cfg.frame_size} px)")
    return said


def variants(config: Config, thing: str) -> list[str]:
    """In how far a setting differs from the plain task, in words for its label."""
    cfg, said = config.env, []
    if thing != "cube":
        said.append(f"of {'an' if thing == 'egg' else 'a'} {thing}")
    if config.scene.cube_edge != SceneConfig.cube_edge:
        said.append(f"{thing} sized {1000 * config.scene.cube_edge:g} mm")
    if config.scene.object_damping != SceneConfig.object_damping:
        said.append(f"{thing} with damping {config.scene.object_damping:g}")
    if cfg.threshold != EnvConfig.threshold:
        said.append(f"within {cfg.threshold:g} rad")
    if cfg.position_tolerance is not None:
        said.append(f"within {1000 * cfg.position_tolerance:g} mm of the place")
    if cfg.pose_noise_angle or cfg.pose_noise_position:
        degrees = math.degrees(cfg.pose_noise_angle)
        length = 1000 * cfg.pose_noise_position
        said.append(f"seen with errors ({degrees:.1f}°, {length:.1f} mm)")
    said += of_any_task(config)
    if cfg.push_speed:
        said.append(
            f"pushed by {cfg.push_speed:g} m/s about every {cfg.push_seconds:g} s"
        )
    if cfg.vision != "pixels" and cfg.pose_encoding == "folded":
        seen = "the cube seen" if cfg.vision == "pose" else "told"
        said.append(f"{seen} without letters")
    if cfg.goal_encoding == "relative":
        said.append("goal given as the rotation still to make")
    return said
