"""Presets: configurations by name; `check` refuses those that cannot work."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import jax

from mjxhand import tasks
from mjxhand.checks import check as check
from mjxhand.checks import flatten as flatten
from mjxhand.config import (
    Config,
    CurriculumConfig,
    EnvConfig,
    NetworkConfig,
    PhysicsConfig,
    PPOConfig,
    RewardConfig,
    SceneConfig,
)
from mjxhand.tasks.variants import CUBES

# What took the fingers from one grasp to the next on two cores (preset `turning`), for an
# accelerator: more hands, the full network, minibatches twice as large.
_FPN = Config(
    scene=SceneConfig(start_pose="cupped"),
    env=EnvConfig(
        # As in the showcase. Seven times the goals of the full task after 5 M control steps of
        # moves of the last target: docs/learning.md.
        control="relative_to_measured",
        relative_step=1.0,
        goal_encoding="relative",
        pose_encoding="folded",
        reward=RewardConfig(progress=5.0),
    ),
    ppo=PPOConfig(
        unroll_length=16,
        num_epochs=2,
        num_minibatches=16,
        learning_rate=1e-3,
        target_kl=0.03,
        clip=0.3,
        gamma=0.99,
        entropy_weight=0.003,
    ),
    # One episode of each environment: what is averaged has met the present distance.
    curriculum=CurriculumConfig(
        enabled=True, start=0.8, goals=2.5, episodes=8192, onward=0.5, keep_state=0.9
    ),
)

# Small batches: the trust region bounds what an update learns, so many are needed.
_SMALL_PPO = PPOConfig(
    num_envs=256,
    unroll_length=16,
    num_minibatches=4,
    learning_rate=5e-4,
    target_kl=0.015,
    gamma=0.99,
)
# An empty hand, distances in metres.
_EMPTY_HAND = Config(
    env=EnvConfig(
        task="reach",
        settle_seconds=0.64,
        goal_seconds=4.0,
        max_goals=20,
        relative_step=0.16,
        reward=RewardConfig(progress=50.0),
    ),
    network=NetworkConfig(units_scale=0.3),
    ppo=replace(
        _SMALL_PPO, num_envs=128, target_kl=0.02, num_epochs=2, learning_rate=1e-3
    ),
    checkpoint_updates=200,
    pool_updates=500,
    evaluate_episodes=128,
    film_seconds=16.0,
)

PRESETS: dict[str, Config] = {
    # Seconds of work: every part runs, nothing is learned.
    "smoke": Config(
        preset="smoke",
        physics=PhysicsConfig(substeps=10),
        env=EnvConfig(
            pool_size=32,
            goal_angle_max=1.2,
            goal_encoding="relative",
            goal_seconds=2.0,
        ),
        network=NetworkConfig(units_scale=0.05),
        ppo=PPOConfig(
            num_envs=16,
            unroll_length=16,
            chunk_length=8,
            num_epochs=2,
            num_minibatches=2,
        ),
        total_steps=4 * 16 * 16,
        checkpoint_updates=2,
        pool_updates=2,
        evaluate_episodes=8,
        film_seconds=2.0,
    ),
    # Learns something visible in minutes on two CPU cores: near goals, not the full task.
    "laptop": Config(
        preset="laptop",
        scene=SceneConfig(start_pose="cupped"),
        env=EnvConfig(
            pool_size=512,
            goal_angle_max=1.0,
            goal_encoding="relative",
            relative_step=0.12,
            # At 20 up to one episode in eight ended in a drop.
            reward=RewardConfig(drop=40.0),
        ),
        network=NetworkConfig(units_scale=0.3),
        ppo=replace(_SMALL_PPO, num_epochs=2, learning_rate=1e-3),
        curriculum=CurriculumConfig(enabled=True, start=0.8),
        total_steps=1_600_000,
        checkpoint_updates=100,
        pool_updates=100,
    ),
    # The fingers learn to let go and take hold anew, towards any orientation, in an hour or
    # two of two CPU cores: docs/learning.md.
    "turning": Config(
        preset="turning",
        # Half as many physics steps: two fifths faster, but played at 8 ms the policy chains
        # half as many goals (docs/learning.md).
        scene=SceneConfig(start_pose="cupped", timestep=0.016),
        physics=PhysicsConfig(substeps=5),
        env=replace(
            _FPN.env, pool_size=512, reward=RewardConfig(progress=5.0, drop=10.0)
        ),
        network=NetworkConfig(units_scale=0.4),
        ppo=replace(_FPN.ppo, num_envs=1024, num_minibatches=4),
        curriculum=replace(_FPN.curriculum, episodes=400),
        total_steps=25_000_000,
        checkpoint_updates=200,
        pool_updates=100,
    ),
    # Fingertips to targets, and thumb to fingers: learned in minutes on two CPU cores.
    "reach": replace(
        _EMPTY_HAND,
        preset="reach",
        env=replace(_EMPTY_HAND.env, goal_encoding="relative", relative_step=0.1),
        total_steps=1_200_000,
    ),
    "opposition": replace(
        _EMPTY_HAND,
        preset="opposition",
        env=replace(_EMPTY_HAND.env, task="opposition"),
        total_steps=400_000,
    ),
    # The full model on the full task.
    "fpn": _FPN,
    "baseline": replace(
        _FPN, preset="baseline", network=replace(_FPN.network, name="baseline")
    ),
}


def fitted(preset: Config, given: Mapping[str, str]) -> Config:
    """A preset without what another task, another object or frames have no use for.

    Presets say how the goals of a cube whose pose is told are best learned: near ones first,
    the pose folded, the goal relative. They narrow the published network; a table of one's own
    has the units that it says.

    Args:
        given: settings that somebody chose besides, as texts by dotted name.
    """
    env, curriculum = preset.env, preset.curriculum
    task = given.get("env.task", env.task)
    # Of somebody's own task nothing is known here: its `check` says what it has no use for.
    if task != env.task and task in tasks.TASKS:
        curriculum = CurriculumConfig(keep_state=curriculum.keep_state)
    frames = given.get("env.vision", env.vision) == "pixels"
    if frames:
        env = replace(env, goal_encoding="absolute")
    if frames or given.get("scene.object", "cube") not in CUBES:
        env = replace(env, pose_encoding="absolute")
    network = preset.network
    if Path(given.get("network.atlas", "")).is_file():
        network = replace(network, units_scale=1.0)
    return replace(preset, env=env, curriculum=curriculum, network=network)


def remark(config: Config) -> str:
    """What to know of settings that do not go together well; mostly nothing."""
    env = config.env
    told = (env.goal_encoding, env.pose_encoding)
    if env.vision != "pixels" and told == ("absolute", "folded"):
        return (
            "note: goals are told with the cube's letters, but its pose is seen without them "
            "(env.pose_encoding folded): which of 24 turns leads to the goal cannot be seen; "
            "add --env.pose-encoding absolute, or --env.goal-encoding relative"
        )
    if config.preset not in PRESETS:
        return ""
    made_for = tasks.find(PRESETS[config.preset].env.task).unit
    unit = tasks.find(env.task).unit
    if unit == made_for:
        return ""
    other = "reach" if unit == "m" else "laptop"
    return (
        f"note: distances of {env.task} are in {unit}, but the rewards of preset "
        f"{config.preset} are for {made_for}: begin with preset {other}, or set "
        "--env.reward.progress"
    )


def default_preset() -> str:
    """`laptop` on a CPU, `fpn` on an accelerator."""
    return "laptop" if jax.default_backend() == "cpu" else "fpn"
