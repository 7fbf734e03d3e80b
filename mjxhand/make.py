"""`make`: an environment by task name and settings, without a Config."""

import dataclasses
import difflib
from typing import Any

from mjxhand import idle, presets
from mjxhand.config import (
    Config,
    ConfigError,
    EnvConfig,
    NetworkConfig,
    PhysicsConfig,
    RewardConfig,
    SceneConfig,
)
from mjxhand.env import Env

STREAM = "vision_stream"


def make(task: str = "reorient", **overrides: Any) -> Env:
    """Environment by task name; any field of the scene, physics, env or reward config by name.

    Example: `make("reorient", impl="native", control="absolute", threshold=0.2)`.

    What is not given has the default of `Config`: no preset is used. The environment of the brain
    that reaches 46 goals is `mjxhand.Env(mjxhand.presets.PRESETS["turning"])`, with physics steps
    of 8 ms; it has other commands, goals, poses, start states and rewards.

    Args:
        task: a name of `mjxhand.tasks.TASKS`, or `my_file:MyTask`.
        overrides: settings by the last part of their names; `seed`, an int, draws the pool of
            start states; `vision_stream` is the file of `mjxhand.pretrain` that reads the pose
            of `vision="perceived"`.

    Raises:
        ConfigError: no such task or field; a setting that does nothing with this task.
    """
    parts = {
        "scene": SceneConfig,
        "physics": PhysicsConfig,
        "reward": RewardConfig,
        "env": EnvConfig,
    }
    changes: dict[str, dict[str, Any]] = {part: {} for part in parts}
    stream = overrides.pop(STREAM, "")
    for name, value in overrides.items():
        for part, kind in parts.items():
            if name in {f.name for f in dataclasses.fields(kind)} - {"task"}:
                changes[part][name] = value
                break
        else:
            if name == "seed":
                continue
            names = [
                f.name for kind in parts.values() for f in dataclasses.fields(kind)
            ]
            names.append(STREAM)
            near = difflib.get_close_matches(name, names, 1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ConfigError(f"no setting {name!r}{hint}")
    reward = changes["env"].pop("reward", RewardConfig())
    if not isinstance(reward, RewardConfig):
        raise ConfigError(
            f"reward is {reward!r}: give a RewardConfig, or its fields by name, as drop=10.0"
        )
    reward = dataclasses.replace(reward, **changes["reward"])
    config = Config(
        scene=SceneConfig(**changes["scene"]),
        physics=PhysicsConfig(**changes["physics"]),
        env=EnvConfig(task=task, reward=reward, **changes["env"]),
        network=NetworkConfig(vision_stream=stream),
        seed=overrides.get("seed", 0),
    )
    if stream and config.env.vision == "pixels":
        raise ConfigError(
            f"{STREAM} is {stream!r}, but vision='pixels' gives the frames themselves: leave "
            "it out, or use vision='perceived' for the pose that it reads"
        )
    presets.check(config, num_devices=1)
    given = {part: f"env.{part}" if part == "reward" else part for part in parts}
    idle.refuse((f"{given[p]}.{name}" for p in parts for name in changes[p]), config)
    return Env(config)
