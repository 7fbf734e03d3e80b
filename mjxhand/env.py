"""The environment: control, senses, episodes. One hand; `jax.vmap` makes many.

Goals, rewards and ends are the task's (`mjxhand.tasks`). Every back end of `physics.py` is
read through qpos, qvel and named sensors alone, so that observations and rewards are one
code for all of them.
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mjxhand import control, disturb, outcome, pools, randomize, sight, tasks
from mjxhand import scene as scene_module
from mjxhand.body import POSE, Body, read
from mjxhand.config import Config, ConfigError
from mjxhand.episode import METRICS, EnvParams, State
from mjxhand.exact import exact
from mjxhand.physics import PhysicsState, make_physics
from mjxhand.simulate import simulate
from mjxhand.streams import Sizes, shape
from mjxhand.tasks.base import Goal


class Env:
    """A hand, an object and a task.

    `step` never resets: the state it returns after an end is the last one of that episode, so a
    learner can bootstrap from it. Call `reset` for the next.

    Raises:
        ConfigError: no such task, or settings that it, the scene or the physics cannot have.
    """

    def __init__(self, config: Config):
        task = tasks.find(config.env.task)
        if config.scene.object == "auto":
            scene = dataclasses.replace(config.scene, object=task.object)
            config = dataclasses.replace(config, scene=scene)
        task.check(config)
        self.config = config
        self.scene = scene_module.build(config.scene)
        self.rows = randomize.rows_of(config, self.scene.object)
        parts = randomize.parts(self.scene, self.rows)
        self.physics = make_physics(self.scene, config.physics, parts)
        if (self.scene.object, self.physics.impl) == ("egg", "jax"):
            # Measured on a CPU: 250 times the time of a capsule, normals 2° (at most 10°) off.
            raise ConfigError(
                "scene.object egg: MJX (jax) collides ellipsoids too slowly and roughly; use "
                "--physics.impl native or warp, or --scene.object capsule"
            )
        self.task = task(config, self.scene)
        self.eye, self.sight = sight.seeing(config, self.scene)
        self.goal_steps = max(
            1, round(config.env.goal_seconds / config.control_seconds)
        )

    @property
    def label(self) -> str:
        """Honest one-line name of the task."""
        return self.label_at(self.config.env.goal_angle_max)

    def label_at(self, goal_angle_max: float) -> str:
        """`label`, had the farthest goal been that, rad."""
        said = randomize.label(self.config.env.randomize)
        return self.task.label(goal_angle_max) + said

    @property
    def num_actuators(self) -> int:
        """Length of an action, A."""
        return self.scene.mj_model.nu

    @property
    def observation_sizes(self) -> Sizes:
        """Length of every observation stream, or the shape of its frames."""
        hand = self.scene.hand_qpos
        touch = self.scene.sensors["touch"]
        sizes = self.task.sizes
        for name in ("vision", "goal", "privileged"):
            if sizes.get(name, 0) < 1:
                raise ConfigError(
                    f"task {self.config.env.task}: its sizes must give {name!r} at least one "
                    f"number, not {sizes.get(name, 'none')}"
                )
        told = sizes["vision"] if self.scene.object == "none" else POSE
        frames = self.eye.shape if self.eye and self._shows_frames else None
        return {
            "vision": frames or sizes["vision"],
            "proprioception": 2 * (hand.stop - hand.start),
            "touch": touch.stop - touch.start,
            "goal": sizes["goal"],
            "privileged": sizes["privileged"] + self._shows_frames * told,
        }

    @property
    def _shows_frames(self) -> bool:
        """Whether the stream `vision` is frames."""
        return self.eye is not None and self.sight is None

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of `State.metrics`."""
        rewards = (f"reward/{name}" for name in self.task.terms)
        return (*METRICS, self.task.measure, *rewards, *self.task.metrics)

    def make_params(self, seed: int) -> EnvParams:
        """Fresh start states, made on the host by C MuJoCo, [P] of them; and goals."""
        cfg = self.config.env
        pool, worlds = pools.start_states(
            self.scene,
            self.config.physics,
            num=cfg.pool_size,
            seconds=cfg.settle_seconds,
            seed=seed,
            rows=self.rows,
        )
        looks = None
        if self.eye:
            looks = self.eye.frames(np.asarray(pool.qpos))
            looks = self.sight.poses(looks) if self.sight else looks
        return EnvParams(
            pool=pool,
            goal_angle_max=np.float32(cfg.goal_angle_max),
            goals=self.task.make_goals(seed),
            worlds=worlds,
            looks=looks,
            stream=self.sight.weights if self.sight else None,
        )

    @functools.cached_property
    def params(self) -> EnvParams:
        """The parameters used where none are given."""
        # Outside any trace in which they are first asked for: an eye draws frames for them.
        with jax.ensure_compile_time_eval():
            return self.make_params(self.config.seed)

    @exact
    def reset(self, key: jax.Array, params: EnvParams | None = None) -> State:
        """First state of a new episode: a settled hand, a fresh goal, all counters 0."""
        params = self.params if params is None else params
        key, key_pool, key_goal = jax.random.split(_raw(key), 3)
        index = jax.random.randint(key_pool, (), 0, params.pool.qpos.shape[0])
        physics, world = jax.tree.map(
            lambda x: jnp.asarray(x)[index], (params.pool, params.worlds)
        )
        # Drawn when the pool was made: a reset of many would draw them all at every step.
        look = jnp.asarray(params.looks)[index] if self.eye else None
        target = jnp.asarray(self.scene.start_ctrl, jnp.float32)
        return self._begin(key, key_goal, physics, target, world, look, params)

    @exact
    def go_on(self, state: State, key: jax.Array, params: EnvParams) -> State:
        """First state of a new episode, in the physical state of `state`, with a fresh goal."""
        key, key_goal = jax.random.split(_raw(key))
        look = state.obs["vision"] if self._shows_frames else state.perceived
        return self._begin(
            key, key_goal, state.physics, state.target, state.world, look, params
        )

    def _begin(
        self, key, key_goal, physics, target, world, look, params: EnvParams
    ) -> State:
        """A fresh goal, all counters 0."""
        body = read(self.scene, physics)
        goal = self.task.first_goal(key_goal, body, params)
        distance = self.task.distance(goal, body)
        zero = jnp.int32(0)
        return State(
            physics=physics,
            target=target,
            goal=goal,
            distance=distance,
            goal_step=zero,
            episode_step=zero,
            goals=zero,
            key=key,
            obs=self.observe(body, goal, key, world, look),
            reward=jnp.float32(0),
            terminated=jnp.bool_(False),
            truncated=jnp.bool_(False),
            metrics=self._metrics(
                {self.task.measure: distance, **self.task.extra_metrics(goal, body)}
            ),
            world=world,
            perceived=look if self.sight else None,
        )

    @exact
    def step(
        self, state: State, action: jax.Array, params: EnvParams | None = None
    ) -> State:
        """One control step.

        Args:
            state: a state that has not ended.
            action: int32 [A] in 0 … bins-1 (discrete) or float [A] in [-1, 1].

        Raises:
            ConfigError: the state is of an environment that randomises other things.
        """
        params = self.params if params is None else params
        task = self.task
        drawn = () if state.world is None else state.world.drawn
        if set(drawn) != {k for k, row in self.rows.items() if row.drawn == "episode"}:
            raise ConfigError(
                f"a state of an environment that randomises {', '.join(drawn) or 'nothing'}"
                " was given to one that differs in that: reset this one"
            )
        target = self.control(action, state.target, state.physics)
        key, key_goal = jax.random.split(state.key)
        physics, finite, overflow = simulate(
            self.physics,
            self.scene,
            self.config,
            jax.random.fold_in(key_goal, 1),
            state,
            target,
        )
        body = read(self.scene, physics)
        look = self.look(physics, params)

        after = outcome.judge(
            task, self.config.env.reward, self.goal_steps, state, body, finite, params
        )
        success, distance = after.success, after.distance
        fresh = task.next_goal(key_goal, state.goal, body, params)
        goal = jax.tree.map(
            lambda new, old: jnp.where(success, new, old), fresh, state.goal
        )
        distance = jnp.where(success, task.distance(goal, body), distance)
        episode_step = state.episode_step + 1
        values = {
            "goals": after.goals,
            task.measure: distance,
            "success": success,
            "dropped": after.dropped,
            "timed_out": after.timed_out,
            "complete": after.complete,
            "invalid": ~finite,
            "overflow": overflow,
            "length": episode_step,
            "return": state.metrics["return"] + after.reward,
            **{f"reward/{name}": value for name, value in after.terms.items()},
            **task.extra_metrics(goal, body),
        }
        return State(
            physics=physics,
            target=target,
            goal=goal,
            distance=distance,
            goal_step=jnp.where(success, 0, state.goal_step + 1),
            episode_step=episode_step,
            goals=after.goals,
            key=key,
            obs=self.observe(body, goal, key, state.world, look),
            reward=after.reward,
            terminated=after.terminated,
            truncated=after.truncated,
            metrics=self._metrics(values),
            world=state.world,
            perceived=look if self.sight else None,
        )

    def control(
        self, action: jax.Array, target: jax.Array, physics: PhysicsState
    ) -> jax.Array:
        """New servo targets `[A]` (rad) for an action, given the last targets."""
        return control.servo_targets(
            self.config.env,
            jnp.asarray(self.scene.ctrl_range, jnp.float32),
            action,
            target,
            measured=jnp.asarray(physics.qpos)[self.scene.actuated],
        )

    def look(self, physics: PhysicsState, params: EnvParams) -> jax.Array | None:
        """What the eye gives of a state: a frame u8[H, W, C], or the pose f32[7] that the stream
        of `params` reads from it; None: there is no eye."""
        if self.eye is None:
            return None
        frame = self.eye(jnp.asarray(physics.qpos))
        return self.sight.read(params.stream, frame) if self.sight else frame

    def observe(
        self,
        body: Body,
        goal: Goal,
        key: jax.Array,
        world: Any = None,
        look: jax.Array | None = None,
    ) -> dict[str, jax.Array]:
        """The streams: vision, 48 proprioception, 92 touch, goal, and `privileged`, for the
        critic only; lengths in `observation_sizes`.

        Args:
            key: of the errors of the senses, if there are any; not consumed.
            world: randomize.World, with the errors that last an episode.
            look: what `look` gave. A frame becomes `vision`; the true pose of the object, or
                of an empty hand what that stream would say without an eye, goes to the
                end of `privileged`. A pose takes the place of the true one.
        """
        key = jax.random.fold_in(key, 2)
        seen = disturb.perceive(key, body, self.rows, world)
        if self.sight:
            assert look is not None
            seen = seen.replace(cube_pos=look[:3], cube_quat=look[3:])
        obs = {
            "proprioception": jnp.concatenate([seen.joint_angle, seen.joint_velocity]),
            "touch": seen.touch,
            **self.task.observe(goal, body, seen),
        }
        if self._shows_frames:
            assert look is not None
            told = [body.cube_pos, body.cube_quat]
            if self.scene.object == "none":
                told = [obs["vision"]]
            privileged = jnp.concatenate([obs["privileged"], *told])
            obs |= {"vision": look, "privileged": privileged}
        sizes = {name: stream.shape for name, stream in obs.items()}
        expected = {n: shape(size) for n, size in self.observation_sizes.items()}
        if sizes != expected:
            raise ConfigError(
                f"task {self.config.env.task} observes {sizes}, its sizes say {expected}"
            )
        return {name: obs[name] for name in expected}

    def _metrics(self, values: dict[str, Any]) -> dict[str, jax.Array]:
        """All of them as float32; those that `values` lacks are 0."""
        unknown = set(values) - set(self.metrics)
        if unknown:
            raise ConfigError(
                f"task {self.config.env.task} gives {', '.join(sorted(unknown))}, which its"
                " `terms` and `metrics` do not name"
            )
        return {
            name: jnp.asarray(values.get(name, 0.0)).astype(jnp.float32)
            for name in self.metrics
        }


def _raw(key: jax.Array) -> jax.Array:
    """`key` as uint32 [2], so that old- and new-style keys make the same state."""
    if jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        return jax.random.key_data(key)
    return key
