"""Hands that random actions move, or a trained policy, and what an eye sees of them."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mjxhand import batch
from mjxhand.config import Config, ConfigError
from mjxhand.env import Env, EnvParams, State
from mjxhand.eye import Eye
from mjxhand.policy import Policy

ENVS = 128
"""Hands that move at once."""
BLOCK = 8
"""States of a hand that are drawn. Where actions are random, another start state follows: what a
stream learns of orientations depends on how many of them it sees, and in a block they are
much alike. A policy turns the object itself, and goes on."""
APART = 4
"""Control steps from one state that is drawn to the next, where a policy moves the hands."""
SENSES = (
    "vision",
    "cameras",
    "frame_size",
    "goal_encoding",
    "pose_encoding",
    "pose_noise_angle",
    "pose_noise_position",
)
"""Fields of EnvConfig that say what a policy sees."""
POOL = 1024
"""Fewest start states of a round."""


class Hands:
    """Hands that move, and what the eye sees of them.

    Raises:
      ConfigError: nothing lies in them.
    """

    def __init__(self, config: Config, seed: int, policy: Policy | None = None):
        """
        Args:
          config: scene, physics, and the cameras that see.
          policy: moves the hands, in the task and with the senses of its run; None: random
            actions do.
        """
        pool = max(POOL, config.env.pool_size)
        senses: dict[str, Any] = {"vision": "pose"}
        network = config.network
        if policy is not None:
            for name in SENSES:
                senses[name] = getattr(policy.config.env, name)
            network = policy.config.network
        env = dataclasses.replace(config.env, pool_size=pool, **senses)
        self.env = Env(dataclasses.replace(config, env=env, network=network))
        if self.env.scene.object == "none":
            raise ConfigError(
                f"env.task {config.env.task} leaves the hand empty: there is no pose to "
                "learn; use a task with an object"
            )
        self.eye = Eye.of(config, self.env.scene)
        self._policy = policy
        self._weights = (policy.params, policy.stats) if policy else None
        self._begin = jax.jit(self._first)
        self._move = jax.jit(self._block)
        self.restart(seed)

    def restart(self, seed: int) -> None:
        """Begin anew with start states of this seed."""
        self._params = self.env.make_params(seed)
        key, key_start = jax.random.split(jax.random.PRNGKey(seed))
        self._carry = self._begin(key, key_start, self._params)

    def draw(self, num: int) -> tuple[np.ndarray, np.ndarray]:
        """`num` frames u8[num, H, W, C] and the poses f32[num, 7] that belong to them."""
        drawn = []
        for _ in range(-(-num // (ENVS * BLOCK))):
            self._carry, qpos = self._move(self._weights, self._carry, self._params)
            drawn.append(np.asarray(qpos).reshape(-1, qpos.shape[-1]))
        qpos = np.concatenate(drawn)[:num]
        return self.eye.frames(qpos), qpos[:, self.env.scene.cube_qpos]

    def _first(self, key, key_start, params: EnvParams):
        """All hands at the start of an episode, with what goes from step to step."""
        state = batch.reset(self.env, key_start, ENVS, params)
        memory = self._policy.agent.initial_carry(ENVS) if self._policy else ()
        return state, memory, jnp.ones(ENVS, bool), key

    def _block(self, weights, carry, params: EnvParams):
        """Control steps of all hands; the carry, and qpos [BLOCK, ENVS, nq] of states."""

        def step(carry, _):
            state, memory, began, key = carry
            key, key_action, key_reset = jax.random.split(key, 3)
            action, memory = self._act(weights, memory, state, began, key_action)
            stepped = batch.step(self.env, state, action, key_reset, params)
            return (stepped.state, memory, stepped.ended, key), None

        def seen(carry, _):
            steps = 1 if self._policy is None else APART
            after, _ = jax.lax.scan(step, carry, None, length=steps)
            return after, carry[0].physics.qpos

        carry, qpos = jax.lax.scan(seen, carry, None, length=BLOCK)
        if self._policy is None:
            key, key_start = jax.random.split(carry[-1])
            carry = self._first(key, key_start, params)
        return carry, qpos

    def _act(self, weights, memory, state: State, began, key):
        env = self.env
        if self._policy is not None:
            agent = self._policy.agent
            memory, out = agent.act(*weights, memory, state.obs, began)
            return agent.distribution.sample(out.logits, key), memory
        shape = (ENVS, env.num_actuators)
        if env.config.env.actions == "discrete":
            return jax.random.randint(key, shape, 0, env.config.env.bins), memory
        return jax.random.uniform(key, shape, minval=-1.0), memory
