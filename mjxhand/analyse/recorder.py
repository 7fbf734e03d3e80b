"""Playing for a recording: the compiled program that acts and keeps everything of each step."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from mjxhand import batch, rotations, streams
from mjxhand.agent import Agent, strong
from mjxhand.analyse import anatomy
from mjxhand.analyse.recording import AREA, CONTROL, SENSE
from mjxhand.body import read
from mjxhand.env import Env
from mjxhand.evaluate import POOL_SEED
from mjxhand.networks import distributions

BLOCK = 32
"""Control steps of one call of the compiled function."""
THUMBNAIL = 8
"""Edge of the small picture that is recorded of a frame, pixels."""


@dataclass(frozen=True)
class Weights:
    """What the compiled function is given of a policy; a pytree."""

    params: Any
    control: Any  # parameters of the network that only watches, or None
    stats: Any


jax.tree_util.register_dataclass(Weights, ["params", "control", "stats"], [])


def expected_action(distribution: Any, logits: jax.Array) -> jax.Array:
    """Mean command per actuator `[..., A]` in [-1, 1], without the noise of sampling.

    Of a tanh-normal it is the median, which has a closed form.
    """
    if isinstance(distribution, distributions.MultiCategorical):
        bins = distribution.bins
        p = logits.reshape(*logits.shape[:-1], distribution.num_actuators, bins)
        return jax.nn.softmax(p) @ jnp.linspace(-1.0, 1.0, bins)
    if isinstance(distribution, distributions.Beta):
        a, b = (x + 1.0 for x in distribution.parameters(logits))
        return (a - b) / (a + b)
    return distribution.mode(logits)


def thumbnail(frames: jax.Array) -> jax.Array:
    """Frames u8[N, H, W, C] as few numbers: f32[N, THUMBNAIL² · C] in ± 0.5."""
    shape = (len(frames), THUMBNAIL, THUMBNAIL, frames.shape[-1])
    small = jax.image.resize(frames / 255.0 - 0.5, shape, "linear")
    return small.reshape(len(frames), -1)


class Recorder:
    """Plays blocks of control steps; compiled once for any weights and seed."""

    def __init__(self, env: Env, agent: Agent, envs: int, dtype: str, control: bool):
        self.env = env
        self.agent = agent
        self.envs = envs
        self.dtype = jnp.dtype(dtype)
        self.control = control
        self.units = anatomy.sampled(agent)
        self._start = jax.jit(self._begin)
        self._play = jax.jit(self._block)

    def params(self, seed: int):
        """Settled start states, never those of a training run."""
        return self.env.make_params(POOL_SEED + seed)

    def start(self, seed: int, params: Any) -> Any:
        """Every environment at the start of an episode."""
        return self._start(jax.random.PRNGKey(seed), params)

    def block(self, weights: Weights, params: Any, carry: Any) -> tuple[Any, Any]:
        """BLOCK control steps: the carry after them and arrays `[T, N, ...]` by name."""
        return self._play(weights, params, carry)

    def _begin(self, key: jax.Array, params: Any) -> Any:
        keys = jax.random.split(key, self.envs + 1)
        memory = self.agent.initial_carry(self.envs)
        number = jnp.arange(self.envs, dtype=jnp.int32)
        return strong(
            {
                "state": jax.vmap(self.env.reset, in_axes=(0, None))(keys[1:], params),
                "memory": memory,
                "control": memory if self.control else None,
                "began": jnp.ones(self.envs, bool),
                # Ids are unique over the whole recording: environment plus N per new one.
                "episode": number,
                "segment": number,
                "key": keys[0],
            }
        )

    def _block(self, weights: Weights, params: Any, carry: Any):
        return jax.lax.scan(
            lambda c, _: self._step(weights, params, c), carry, None, length=BLOCK
        )

    def _step(self, weights: Weights, params: Any, carry: Any):
        state, began, agent = carry["state"], carry["began"], self.agent
        key, key_action, key_reset = jax.random.split(carry["key"], 3)
        memory, out = agent.act(
            weights.params, weights.stats, carry["memory"], state.obs, began
        )
        watching, watched = carry["control"], None
        if self.control:
            watching, watched = agent.act(
                weights.control, weights.stats, watching, state.obs, began
            )
        action = agent.distribution.sample(out.logits, key_action)
        after, ended, following = batch.step(self.env, state, action, key_reset, params)
        success = after.metrics["success"] > 0
        frame = self._frame(state, after, action, out) | self._watched(watched)
        frame |= {
            "began": began,
            "ended": ended,
            "success": success,
            "episode": carry["episode"],
            "segment": carry["segment"],
        }
        return {
            "state": following,
            "memory": memory,
            "control": watching,
            "began": ended,
            "episode": carry["episode"] + self.envs * ended,
            "segment": carry["segment"] + self.envs * (ended | success),
            "key": key,
        }, frame

    def _frame(self, state, after, action, out) -> dict[str, jax.Array]:
        """Everything of one step: what was sensed, what the areas did, what came of it."""
        body = jax.vmap(lambda p: read(self.env.scene, p))(state.physics)
        levels = action.astype(jnp.float32)
        if isinstance(self.agent.distribution, distributions.MultiCategorical):
            levels = 2.0 * levels / (self.agent.distribution.bins - 1) - 1.0
        frame = self._areas(AREA, out)
        for name, value in state.obs.items():
            seen = streams.is_frames(self.agent.observation_sizes[name])
            dtype = self.dtype if seen or name == "touch" else jnp.float32
            frame[SENSE + name] = (thumbnail(value) if seen else value).astype(dtype)
        if hasattr(self.env.task, "remaining"):
            turn = jax.vmap(self.env.task.remaining)(state.goal, body)
            frame["remaining"] = rotations.log(turn)
        return frame | {
            "action": levels,
            "command": expected_action(self.agent.distribution, out.logits),
            "servo": after.target,
            "reward": after.reward,
            "value": out.value,
            "goal": self._goal(state),
            "distance": state.distance,
            "dropped": after.metrics["dropped"] > 0,
            "cube_pos": body.cube_pos,
            "cube_quat": body.cube_quat,
            "cube_linear_velocity": body.cube_linear_velocity,
            "cube_angular_velocity": body.cube_angular_velocity,
            "fingertips": body.fingertips,
            "joint_angle": body.joint_angle,
        }

    def _watched(self, watched) -> dict[str, jax.Array]:
        """What the control network did of it: nothing, where there is none."""
        return {} if watched is None else self._areas(CONTROL, watched)

    def _areas(self, prefix: str, out) -> dict[str, jax.Array]:
        """Activity of the areas, by array name."""
        return {
            prefix + k: self._some(k, v).astype(self.dtype)
            for k, v in out.areas.items()
        }

    def _some(self, name: str, activity: jax.Array) -> jax.Array:
        """The units of an area that are recorded."""
        units = self.units.get(name)
        return activity if units is None else activity[:, units]

    def _goal(self, state) -> jax.Array:
        """Present goals as numbers `[N, ...]`: the orientation, or else what the task holds.

        Of a goal that is a choice (whole numbers), what the goal stream tells of it.
        """
        task = self.env.task
        if hasattr(task, "target"):
            return jax.vmap(task.target)(state.goal)
        leaves = jax.tree.leaves(state.goal)
        if any(jnp.issubdtype(x.dtype, jnp.integer) for x in leaves):
            return state.obs["goal"]
        return _flat(state.goal)


def _flat(goal) -> jax.Array:
    """A batch of goals, pytrees of any shape, as [N, numbers]."""
    leaves = [x.reshape(x.shape[0], -1) for x in jax.tree.leaves(goal)]
    return jnp.concatenate([x.astype(jnp.float32) for x in leaves], axis=-1)
