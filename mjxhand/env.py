"""The environment: control, senses, goals, rewards, episodes. One hand; `jax.vmap` makes many.

Every back end of `physics.py` is read through qpos, qvel and named sensors alone, so that
observations and rewards are one code for all of them.
"""

import dataclasses
import difflib
import functools
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np

from mjxhand import presets
from mjxhand import scene as scene_module
from mjxhand.body import Body, read
from mjxhand.config import (
    Config,
    ConfigError,
    EnvConfig,
    PhysicsConfig,
    RewardConfig,
    SceneConfig,
)
from mjxhand.physics import PhysicsState, make_physics, settle
from mjxhand.tasks import TASKS


@chex.dataclass(frozen=True)
class EnvParams:
    """What a run may change without recompiling."""

    pool: PhysicsState  # [P, ...] settled states that resets draw from
    goal_angle_max: jax.Array  # [] rad, the curriculum's farthest goal


@chex.dataclass(frozen=True)
class State:
    """One environment between two control steps."""

    physics: PhysicsState
    target: jax.Array  # [A] servo targets, rad
    goal: jax.Array  # [4] target orientation, w x y z
    angle: jax.Array  # [] distance to the goal, rad
    goal_step: jax.Array  # [] int32, control steps spent on this goal
    episode_step: jax.Array  # [] int32
    goals: jax.Array  # [] int32, goals reached in this episode
    key: jax.Array  # [2] uint32
    obs: dict[str, jax.Array]  # stream → [size]
    reward: jax.Array  # []
    terminated: jax.Array  # [] bool: dropped, or a state that is no number
    truncated: jax.Array  # [] bool: out of time, or all goals reached
    metrics: dict[str, jax.Array]  # name → []


class Env:
    """A hand, a cube and a task.

    `step` never resets: the state it returns after an end is the last one of that episode, so a
    learner can bootstrap from it. Call `reset` for the next.
    """

    def __init__(self, config: Config):
        cfg = config.env
        if cfg.task not in TASKS:
            raise ConfigError(f"no task {cfg.task!r}; there are: {', '.join(TASKS)}")
        self.config = config
        self.scene = scene_module.build(config.scene)
        self.physics = make_physics(self.scene, config.physics)
        self.task = TASKS[cfg.task](cfg)
        self.goal_steps = max(1, round(cfg.goal_seconds / config.control_seconds))

    @property
    def label(self) -> str:
        """Honest one-line name of the task."""
        return self.task.label

    @property
    def num_actuators(self) -> int:
        """Length of an action, A."""
        return self.scene.mj_model.nu

    @property
    def observation_sizes(self) -> dict[str, int]:
        """Length of every observation stream."""
        hand = self.scene.hand_qpos
        touch = self.scene.sensors["touch"]
        return {
            "vision": 7,
            "proprioception": 2 * (hand.stop - hand.start),
            "touch": touch.stop - touch.start,
            "goal": self.task.goal_size,
            "privileged": self.task.privileged_size,
        }

    def make_params(self, seed: int) -> EnvParams:
        """Fresh settled states, made on the host by C MuJoCo; [P] of them."""
        cfg = self.config.env
        pool = settle(
            self.scene,
            self.config.physics,
            num=cfg.pool_size,
            seconds=cfg.settle_seconds,
            seed=seed,
        )
        return EnvParams(pool=pool, goal_angle_max=np.float32(cfg.goal_angle_max))

    @functools.cached_property
    def params(self) -> EnvParams:
        """The parameters used where none are given."""
        return self.make_params(self.config.seed)

    def reset(self, key: jax.Array, params: EnvParams | None = None) -> State:
        """First state of a new episode: a settled hand and cube, a fresh goal, all counters 0."""
        params = self.params if params is None else params
        key, key_pool, key_goal = jax.random.split(_raw(key), 3)
        index = jax.random.randint(key_pool, (), 0, params.pool.qpos.shape[0])
        physics = jax.tree.map(lambda x: jnp.asarray(x)[index], params.pool)
        body = read(self.scene, physics)
        goal = self.task.new_goal(key_goal, body, jnp.asarray(params.goal_angle_max))
        zero = jnp.int32(0)
        return State(
            physics=physics,
            target=jnp.asarray(self.scene.start_ctrl, jnp.float32),
            goal=goal,
            angle=self.task.distance(goal, body),
            goal_step=zero,
            episode_step=zero,
            goals=zero,
            key=key,
            obs=self.observe(body, goal),
            reward=jnp.float32(0),
            terminated=jnp.bool_(False),
            truncated=jnp.bool_(False),
            metrics=_metrics(angle=self.task.distance(goal, body)),
        )

    def step(
        self, state: State, action: jax.Array, params: EnvParams | None = None
    ) -> State:
        """One control step.

        Args:
            state: a state that has not ended.
            action: int32 [A] in 0 … bins-1 (discrete) or float [A] in [-1, 1].
        """
        params = self.params if params is None else params
        target = self.control(action, state.target, state.physics)
        stepped = self.physics.step(state.physics, target)
        leaves = jax.tree.leaves(stepped)
        finite = jnp.all(jnp.array([jnp.all(jnp.isfinite(x)) for x in leaves]))
        # A state that is no number ends its own episode and spreads no further.
        physics = jax.tree.map(
            lambda new, old: jnp.where(finite, new, old), stepped, state.physics
        )
        body = read(self.scene, physics)

        angle = self.task.distance(state.goal, body)
        dropped = self.task.dropped(body) & finite
        success = (angle < self.config.env.threshold) & ~dropped & finite
        terms = self.task.reward_terms(
            self.config.env.reward,
            progress=state.angle - angle,
            success=success,
            dropped=dropped,
            body=body,
        )
        reward = sum(terms.values(), jnp.float32(0))

        goals = state.goals + success
        complete = goals >= self.config.env.max_goals
        timed_out = (state.goal_step + 1 >= self.goal_steps) & ~success
        terminated = dropped | ~finite
        truncated = (timed_out | complete) & ~terminated

        key, key_goal = jax.random.split(state.key)
        fresh = self.task.new_goal(key_goal, body, jnp.asarray(params.goal_angle_max))
        goal = jnp.where(success, fresh, state.goal)
        angle = jnp.where(success, self.task.distance(goal, body), angle)
        episode_step = state.episode_step + 1
        return State(
            physics=physics,
            target=target,
            goal=goal,
            angle=angle,
            goal_step=jnp.where(success, 0, state.goal_step + 1),
            episode_step=episode_step,
            goals=goals,
            key=key,
            obs=self.observe(body, goal),
            reward=reward,
            terminated=terminated,
            truncated=truncated,
            metrics=_metrics(
                goals=goals,
                angle=angle,
                success=success,
                dropped=dropped,
                timed_out=timed_out & truncated,
                complete=complete & truncated,
                invalid=~finite,
                length=episode_step,
                **{"return": state.metrics["return"] + reward},
                **{f"reward/{name}": value for name, value in terms.items()},
            ),
        )

    def control(
        self, action: jax.Array, target: jax.Array, physics: PhysicsState
    ) -> jax.Array:
        """New servo targets `[A]` (rad) for an action, given the last targets."""
        cfg = self.config.env
        low, high = jnp.asarray(self.scene.ctrl_range, jnp.float32).T
        half = 0.5 * (high - low)
        if cfg.actions == "discrete":
            # Integers up to the division, so that the middle bin is exactly 0.
            level = (2 * action - (cfg.bins - 1)) / jnp.float32(cfg.bins - 1)
        else:
            level = jnp.clip(action, -1.0, 1.0)
        if cfg.control == "absolute":
            target = low + half * (1.0 + level)
        elif cfg.control == "relative_to_target":
            target = target + cfg.relative_step * half * level
        else:
            measured = physics.qpos[self.scene.actuated]
            target = measured + cfg.relative_step * half * level
        return jnp.clip(target, low, high)

    def observe(self, body: Body, goal: jax.Array) -> dict[str, jax.Array]:
        """The streams: 7-number pose surrogate of vision, 48 proprioception, 92 touch, goal,
        and `privileged`, for the critic only."""
        return {
            "vision": jnp.concatenate([body.cube_pos, body.cube_quat]),
            "proprioception": jnp.concatenate([body.joint_angle, body.joint_velocity]),
            "touch": body.touch,
            "goal": self.task.observe_goal(goal, body),
            "privileged": self.task.privileged(goal, body),
        }


_METRICS = (
    "goals",
    "angle",
    "success",
    "dropped",
    "timed_out",
    "complete",
    "invalid",
    "return",
    "length",
    *(f"reward/{field.name}" for field in dataclasses.fields(RewardConfig)),
)


def _metrics(**values: Any) -> dict[str, jax.Array]:
    return {
        name: jnp.asarray(values.get(name, 0.0)).astype(jnp.float32)
        for name in _METRICS
    }


def _raw(key: jax.Array) -> jax.Array:
    """`key` as uint32 [2], so that old- and new-style keys make the same state."""
    if jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        return jax.random.key_data(key)
    return key


def make(task: str = "reorient", **overrides: Any) -> Env:
    """Environment by task name; any field of the scene, physics, env or reward config by name.

    Example: `make("reorient", impl="native", control="absolute", threshold=0.2)`.

    Raises:
        ConfigError: no such task or field.
    """
    parts = {
        "scene": SceneConfig,
        "physics": PhysicsConfig,
        "reward": RewardConfig,
        "env": EnvConfig,
    }
    changes: dict[str, dict[str, Any]] = {part: {} for part in parts}
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
            near = difflib.get_close_matches(name, names, 1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ConfigError(f"no setting {name!r}{hint}")
    reward = changes["env"].pop("reward", None) or RewardConfig(**changes["reward"])
    config = Config(
        scene=SceneConfig(**changes["scene"]),
        physics=PhysicsConfig(**changes["physics"]),
        env=EnvConfig(task=task, reward=reward, **changes["env"]),
        seed=overrides.get("seed", 0),
    )
    presets.check(config, num_devices=1)
    return Env(config)
