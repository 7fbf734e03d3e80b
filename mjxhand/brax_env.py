"""Our tasks as `brax.envs.Env`, for brax's and MuJoCo Playground's trainers.

    from brax.training.agents.ppo import train
    from mjxhand import brax_env

    env = brax_env.BraxEnv(mjxhand.make("reorient", actions="continuous"))
    train.train(env, wrap_env_fn=brax_env.wrap, network_factory=brax_env.ppo_networks, ...)

The actor sees `state`, all streams of our policies side by side; the critic sees
`privileged_state`, which has the privileged stream too.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, cast

import jax
import jax.numpy as jnp

from mjxhand._quiet import importing_mjx
from mjxhand.batch import where
from mjxhand.config import ConfigError
from mjxhand.env import Env, State

with importing_mjx():
    from brax import envs
    from brax.envs.wrappers.training import EpisodeWrapper, VmapWrapper
    from brax.training.agents.ppo import networks

PRIVILEGED = "privileged"
TOTALS = ("goals", "return", "length")
"""Our metrics that count from the start of an episode. brax's sum of `success` is the goals."""

ppo_networks = partial(
    networks.make_ppo_networks,
    policy_obs_key="state",
    value_obs_key="privileged_state",
)
"""brax's PPO networks, reading the two observations of `BraxEnv`."""


class BraxEnv(envs.Env):
    """One environment with continuous actions; brax's wrappers make many.

    Raises:
        ConfigError: the environment has discrete actions, which brax's trainers do not know,
            or gives frames.
    """

    def __init__(self, env: Env):
        if env.config.env.actions != "continuous":
            raise ConfigError(
                "brax's trainers have continuous actions only: make the environment with "
                'actions="continuous"'
            )
        if env.config.env.vision == "pixels":
            raise ConfigError(
                "brax's observations are one vector, frames are none: make the "
                'environment with vision="pose"'
            )
        self.env = env

    def reset(self, rng: jax.Array) -> envs.State:
        """First state of an episode; our whole state is its `pipeline_state`."""
        return self._state(self.env.reset(rng), {}, {})

    def step(self, state: envs.State, action: jax.Array) -> envs.State:
        """One control step; `action` [A] in [-1, 1].

        Nothing follows an end: brax's `action_repeat` would go on.
        """
        stepped = self.env.step(_ours(state), action)
        # brax's wrappers keep metrics of their own beside ours.
        stepped = self._state(stepped, state.metrics, state.info)
        ended = state.replace(reward=jnp.zeros_like(state.reward))
        return jax.tree.map(
            lambda old, new: jnp.where(state.done > 0, old, new), ended, stepped
        )

    def _state(
        self, state: State, metrics: dict[str, Any], info: dict[str, Any]
    ) -> envs.State:
        done = state.terminated | state.truncated
        return envs.State(
            pipeline_state=cast(Any, state),
            obs=self._observe(state),
            reward=state.reward,
            done=done.astype(jnp.float32),
            metrics={
                **metrics,
                # brax adds metrics up over an episode, so running totals stay out.
                **{k: v for k, v in state.metrics.items() if k not in TOTALS},
            },
            info=info,
        )

    def _observe(self, state: State) -> dict[str, jax.Array]:
        # By name: a state that went through `jit` or `vmap` has them in another order.
        names = [name for name in self.env.observation_sizes if name != PRIVILEGED]
        seen = [state.obs[name] for name in names]
        return {
            "state": jnp.concatenate(seen),
            "privileged_state": jnp.concatenate([*seen, state.obs[PRIVILEGED]]),
        }

    @property
    def observation_size(self) -> dict[str, int]:
        """Length of both observations."""
        sizes = dict(self.env.observation_sizes)
        privileged = sizes.pop(PRIVILEGED)
        seen = sum(sizes.values())
        return {"state": seen, "privileged_state": seen + privileged}

    @property
    def action_size(self) -> int:
        """Number of actuators."""
        return self.env.num_actuators

    @property
    def backend(self) -> str:
        """Our physics back end."""
        return self.env.physics.impl


def _ours(state: envs.State) -> State:
    # brax's annotation names its own pipeline's state; any pytree serves.
    return cast(State, state.pipeline_state)


def wrap(
    env: envs.Env,
    episode_length: int = 1000,
    action_repeat: int = 1,
    randomization_fn: Callable | None = None,
) -> envs.Wrapper:
    """brax's training wrappers, with resets that draw a new start and a new goal.

    brax's own wrapper puts an environment back into the first state it ever had.

    Raises:
        ConfigError: brax's domain randomisation, which changes a brax system, is asked for.
    """
    if randomization_fn is not None:
        raise ConfigError("randomization_fn: our environments have no brax system")
    return _TrueReset(EpisodeWrapper(VmapWrapper(env), episode_length, action_repeat))


class _TrueReset(envs.Wrapper):
    """Begins a new episode wherever one ended; tells brax which ends were truncations."""

    def step(self, state: envs.State, action: jax.Array) -> envs.State:
        info = dict(state.info)
        info["steps"] = jnp.where(state.done > 0, 0.0, info["steps"])
        state = state.replace(done=jnp.zeros_like(state.done), info=info)
        state = self.env.step(state, action)
        ours = _ours(state)
        info = dict(state.info)
        info["truncation"] = jnp.maximum(
            info["truncation"], ours.truncated.astype(jnp.float32)
        )
        fresh = jax.vmap(self.env.unwrapped.reset)(ours.key)
        ended = state.done > 0
        return state.replace(
            pipeline_state=where(ended, fresh.pipeline_state, ours),
            obs=where(ended, fresh.obs, state.obs),
            info=info,
        )
