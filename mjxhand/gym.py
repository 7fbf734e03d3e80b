"""Our tasks as Gymnasium environments, single and vectorised.

    envs = mjxhand.gym.make_vec("reorient", num_envs=64)
    obs, info = envs.reset(seed=0)
    obs, reward, terminated, truncated, info = envs.step(envs.action_space.sample())

The vectorised one steps all copies in one compiled call. Arrays live on the host, as
Gymnasium wants it: learners that are written in JAX are faster on `mjxhand.make`.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mjxhand import batch
from mjxhand.checks import fits
from mjxhand.config import ConfigError
from mjxhand.env import Env, State
from mjxhand.make import make as make_env
from mjxhand.streams import is_frames, shape
from mjxhand.tasks import TASKS

try:
    import gymnasium
    from gymnasium import spaces
    from gymnasium.vector import AutoresetMode
    from gymnasium.vector.utils import batch_space
except ImportError as error:
    raise ConfigError(
        "gymnasium is not installed: pip install 'mjxhand[gym]'"
    ) from error


def make(task: str = "reorient", **overrides: Any) -> "HandEnv":
    """One environment, `gymnasium.Env`; arguments as of `mjxhand.make`.

    Raises:
        ConfigError: no such task or setting.
    """
    return HandEnv(make_env(task, **overrides))


def make_vec(
    task: str = "reorient", num_envs: int = 1, **overrides: Any
) -> "HandVectorEnv":
    """`num_envs` copies, `gymnasium.vector.VectorEnv`; arguments as of `mjxhand.make`.

    Raises:
        ConfigError: no such task or setting, or no environments.
    """
    if not fits(num_envs, int) or num_envs < 1:
        raise ConfigError(
            f"num_envs is {num_envs!r}: it must be a whole number, at least 1"
        )
    return HandVectorEnv(make_env(task, **overrides), num_envs)


def _action_space(env: Env) -> spaces.Space:
    shape = (env.num_actuators,)
    if env.config.env.actions == "discrete":
        return spaces.MultiDiscrete(np.full(shape, env.config.env.bins))
    return spaces.Box(-1.0, 1.0, shape, np.float32)


def _taken(actions: Any, env: Env, space: spaces.Space) -> jax.Array:
    """Actions for a compiled step, which itself would round and cut levels without a word.

    Raises:
        ConfigError: levels that are no whole numbers, or none of those there are; actions of
            another shape, which would be given to all servos.
    """
    given = np.asarray(actions)
    if env.config.env.actions == "discrete":
        top = env.config.env.bins - 1
        whole = np.issubdtype(given.dtype, np.integer)
        if not (whole and given.shape == space.shape):
            raise ConfigError(
                f"actions are whole numbers of shape {space.shape}, not {given.dtype} of "
                f'shape {given.shape}; for numbers in [-1, 1] give actions="continuous"'
            )
        if given.min() < 0 or given.max() > top:
            raise ConfigError(
                f"actions are levels from 0 to {top}, not from {given.min()} to {given.max()}"
            )
    elif given.dtype.kind not in "fiu" or given.shape != space.shape:
        raise ConfigError(
            f"actions are numbers in [-1, 1] of shape {space.shape}, not {given.dtype} of "
            f"shape {given.shape}"
        )
    return jnp.asarray(actions)


def _observation_space(env: Env) -> spaces.Dict:
    return spaces.Dict(
        {
            name: spaces.Box(0, 255, shape(size), np.uint8)
            if is_frames(size)
            else spaces.Box(-np.inf, np.inf, shape(size), np.float32)
            for name, size in env.observation_sizes.items()
        }
    )


class HandEnv(gymnasium.Env):
    """One hand. `step` never resets, as Gymnasium asks of single environments."""

    metadata = {"render_modes": []}  # noqa: RUF012  Gymnasium's own type

    def __init__(self, env: Env):
        self.env = env
        self.observation_space = _observation_space(env)
        self.action_space = _action_space(env)
        # Arguments, which no program holds: a pool, its frames, what reads them.
        self._params = jax.device_put(env.params)
        self._reset = jax.jit(env.reset)
        self._step = jax.jit(env.step)
        self._state: State | None = None

    def reset(self, *, seed: int | None = None, options: dict | None = None):
        """→ (observation, info); the same seed gives the same episode for the same actions."""
        super().reset(seed=seed)
        key = jax.random.PRNGKey(self.np_random.integers(2**31))
        state = self._state = self._reset(key, self._params)
        return _host(state.obs), {}

    def step(self, action: np.ndarray):
        """→ (observation, reward, terminated, truncated, info); info holds the metrics."""
        if self._state is None:
            raise ConfigError("step before the first reset: call reset()")
        taken = _taken(action, self.env, self.action_space)
        state = self._state = self._step(self._state, taken, self._params)
        return (
            _host(state.obs),
            float(state.reward),
            bool(state.terminated),
            bool(state.truncated),
            {name: float(value) for name, value in _host(state.metrics).items()},
        )


class HandVectorEnv(gymnasium.vector.VectorEnv):
    """Many hands in one compiled step.

    A copy whose episode ends begins the next in the same step; the observation and the
    metrics of the end are in `info["final_obs"]` and `info["final_info"]`, marked by
    `info["_final_obs"]` and laid out as Gymnasium's own: `final_obs` is an object array `[N]`
    of observations, None where no episode ended.
    """

    metadata = {  # noqa: RUF012  Gymnasium's own type
        "render_modes": [],
        "autoreset_mode": AutoresetMode.SAME_STEP,
    }

    def __init__(self, env: Env, num_envs: int):
        self.env = env
        self.num_envs = num_envs
        self.single_observation_space = _observation_space(env)
        self.single_action_space = _action_space(env)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._params = jax.device_put(env.params)
        self._reset = jax.jit(jax.vmap(env.reset, in_axes=(0, None)))
        self._step = jax.jit(functools.partial(batch.step, env))
        self._state: State | None = None

    def reset(self, *, seed: int | None = None, options: dict | None = None):
        """→ (observations [N, …], info). Every copy begins a new episode."""
        super().reset(seed=seed)
        key = jax.random.PRNGKey(self.np_random.integers(2**31))
        self._key, key = jax.random.split(key)
        keys = jax.random.split(key, self.num_envs)
        state = self._state = self._reset(keys, self._params)
        return _host(state.obs), {}

    def step(self, actions: np.ndarray):
        """→ (observations, rewards, terminated, truncated, info), all [N, …]."""
        if self._state is None:
            raise ConfigError("step before the first reset: call reset()")
        taken = _taken(actions, self.env, self.action_space)
        self._key, key = jax.random.split(self._key)
        stepped, _, state = self._step(self._state, taken, key, self._params)
        self._state = state
        terminated, truncated = _host((stepped.terminated, stepped.truncated))
        ended = terminated | truncated
        info = _marked(_host(stepped.metrics), np.ones(self.num_envs, bool))
        if ended.any():
            last, final = _host(stepped.obs), np.full(self.num_envs, None, object)
            for i in np.flatnonzero(ended):
                final[i] = {name: x[i] for name, x in last.items()}
            info["final_obs"], info["_final_obs"] = final, ended
            info["final_info"] = _marked(_host(stepped.metrics), ended)
            info["_final_info"] = ended
        return (
            _host(state.obs),
            np.asarray(stepped.reward, np.float64),
            terminated,
            truncated,
            info,
        )


def _marked(values: dict[str, Any], of: np.ndarray) -> dict[str, Any]:
    """Values `[N]`, and as `_NAME` which copies they are of, bool `[N]`."""
    return values | {f"_{name}": of.copy() for name in values}


def _host(tree: Any) -> Any:
    # Copies: JAX's own buffers are read-only, and Gymnasium's users write into theirs.
    return jax.tree.map(np.array, tree)


for _task in TASKS:
    gymnasium.register(
        id=f"mjxhand/{_task.capitalize()}-v0",
        entry_point="mjxhand.gym:make",
        vector_entry_point="mjxhand.gym:make_vec",
        kwargs={"task": _task},
    )
