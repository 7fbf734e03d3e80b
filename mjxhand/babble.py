"""Motor babbling: hands that random actions move, and what an eye sees of them."""

import dataclasses

import jax
import numpy as np

from mjxhand import batch
from mjxhand.config import Config, ConfigError
from mjxhand.env import Env
from mjxhand.eye import Eye

ENVS = 128
"""Hands that move at once."""
BLOCK = 8
"""Control steps that a hand moves before another start state: few, since what a stream learns
of orientations depends on how many of them it sees, and in a block they are much alike."""
POOL = 1024
"""Fewest start states of a round."""


class Hands:
    """Hands that random actions move, and what the eye sees of them.

    Raises:
      ConfigError: nothing lies in them.
    """

    def __init__(self, config: Config, seed: int):
        pool = max(POOL, config.env.pool_size)
        env = dataclasses.replace(config.env, vision="pose", pool_size=pool)
        self.env = Env(dataclasses.replace(config, env=env))
        if self.env.scene.object == "none":
            raise ConfigError(
                f"env.task {config.env.task} leaves the hand empty: there is no pose to "
                "learn; use a task with an object"
            )
        self.eye = Eye.of(config, self.env.scene)
        self._move = jax.jit(self._block)
        self.restart(seed)

    def restart(self, seed: int) -> None:
        """Begin anew with start states of this seed."""
        self._params = self.env.make_params(seed)
        self._key = jax.random.PRNGKey(seed)

    def draw(self, num: int) -> tuple[np.ndarray, np.ndarray]:
        """`num` frames u8[num, H, W, C] and the poses f32[num, 7] that belong to them."""
        drawn = []
        for _ in range(-(-num // (ENVS * BLOCK))):
            self._key, qpos = self._move(self._key, self._params)
            drawn.append(np.asarray(qpos).reshape(-1, qpos.shape[-1]))
        qpos = np.concatenate(drawn)[:num]
        return self.eye.frames(qpos), qpos[:, self.env.scene.cube_qpos]

    def _block(self, key, params):
        """Control steps of all hands from fresh starts; qpos [BLOCK, ENVS, nq] before each."""
        env = self.env
        shape = (ENVS, env.num_actuators)
        key, key_start = jax.random.split(key)
        start = batch.reset(env, key_start, ENVS, params)

        def step(carry, _):
            state, key = carry
            key, key_action, key_reset = jax.random.split(key, 3)
            if env.config.env.actions == "discrete":
                action = jax.random.randint(key_action, shape, 0, env.config.env.bins)
            else:
                action = jax.random.uniform(key_action, shape, minval=-1.0)
            stepped = batch.step(env, state, action, key_reset, params)
            return (stepped.state, key), state.physics.qpos

        (_, key), qpos = jax.lax.scan(step, (start, key), None, length=BLOCK)
        return key, qpos
