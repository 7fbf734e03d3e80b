"""Motor babbling: hands that random actions move, and what an eye sees of them."""

import dataclasses

import jax
import numpy as np

from mjxhand.config import Config, ConfigError
from mjxhand.env import Env
from mjxhand.eye import Eye
from mjxhand.rollout import where

ENVS = 128
"""Hands that move at once."""


class Hands:
    """Hands that random actions move, and what the eye sees of them."""

    def __init__(self, config: Config, seed: int):
        env = dataclasses.replace(config.env, vision="pose")
        self.env = Env(dataclasses.replace(config, env=env))
        if self.env.scene.object == "none":
            raise ConfigError(
                f"env.task {config.env.task} leaves the hand empty: there is no pose to "
                "learn; use a task with an object"
            )
        self.eye = Eye.of(config, self.env.scene)
        self._params = self.env.make_params(seed)
        key, key_reset = jax.random.split(jax.random.PRNGKey(seed))
        keys = jax.random.split(key_reset, ENVS)
        reset = jax.jit(jax.vmap(self.env.reset, in_axes=(0, None)))
        self._state = reset(keys, self._params)
        self._key = key
        self._move = jax.jit(self._steps, static_argnums=3)

    def draw(self, num: int) -> tuple[np.ndarray, np.ndarray]:
        """`num` frames u8[num, H, W, C] and the poses f32[num, 7] that belong to them."""
        steps = -(-num // ENVS)
        self._state, self._key, qpos = self._move(
            self._state, self._key, self._params, steps
        )
        qpos = np.asarray(qpos).reshape(-1, qpos.shape[-1])[:num]
        return self.eye.frames(qpos), qpos[:, self.env.scene.cube_qpos]

    def _steps(self, state, key, params, steps: int):
        """Control steps of all hands; the states that they begin with, none of them ended."""
        bins = self.env.config.env.bins
        shape = (ENVS, self.env.num_actuators)

        def step(carry, _):
            state, key = carry
            key, key_action, key_reset = jax.random.split(key, 3)
            if self.env.config.env.actions == "discrete":
                action = jax.random.randint(key_action, shape, 0, bins)
            else:
                action = jax.random.uniform(key_action, shape, minval=-1.0)
            after = jax.vmap(self.env.step, in_axes=(0, 0, None))(state, action, params)
            keys = jax.random.split(key_reset, ENVS)
            fresh = jax.vmap(self.env.reset, in_axes=(0, None))(keys, params)
            ended = after.terminated | after.truncated
            return (where(ended, fresh, after), key), state.physics.qpos

        (state, key), qpos = jax.lax.scan(step, (state, key), None, length=steps)
        return state, key, qpos
