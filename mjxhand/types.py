"""The pytrees that cross modules.

Axes: T control steps of an unroll, L of a chunk, C = T/L chunks, N environments of a
device, A actuators.
"""

from typing import Any, Protocol

import chex
import jax

from mjxhand.env import EnvParams, State
from mjxhand.running import RunningStatistics
from mjxhand.streams import Sizes


class Environment(Protocol):
    """What the learner needs of an environment (`Env`, or a probe in the tests)."""

    @property
    def observation_sizes(self) -> Sizes:
        """Length of every observation stream, or the shape of its frames."""
        ...

    @property
    def num_actuators(self) -> int:
        """Length of an action."""
        ...

    def reset(self, key: jax.Array, params: EnvParams) -> State:
        """First state of an episode."""
        ...

    def step(self, state: State, action: jax.Array, params: EnvParams) -> State:
        """Next state, not reset at an end."""
        ...

    def go_on(self, state: State, key: jax.Array, params: EnvParams) -> State:
        """First state of an episode that begins with hand and object as they are.

        Called where `params.keep_state` is set, which asks for `metrics["timed_out"]`.
        """
        ...


@chex.dataclass(frozen=True)
class Progress:
    """Curriculum: how far goals are, and the episodes counted since they last moved."""

    goal_angle_max: jax.Array  # [] rad
    goals: jax.Array  # [] sum over the episodes counted
    episodes: jax.Array  # []


@chex.dataclass(frozen=True)
class Learner:
    """What is learned. The same on every device; small enough to travel."""

    params: Any  # Flax variables of the network
    opt_state: Any
    obs_stats: RunningStatistics  # one entry per stream
    return_stats: RunningStatistics  # of the discounted return
    learning_rate: jax.Array  # []
    progress: Progress
    update: jax.Array  # [] int32, updates done


@chex.dataclass(frozen=True)
class Actors:
    """The environments and what the brain remembers of them. Split over the devices."""

    state: State  # [N, ...]
    carry: Any  # [N, ...] recurrent state before `state.obs`
    began: jax.Array  # [N] bool: `state` is the first of its episode
    discounted: jax.Array  # [N] running discounted return, for reward normalisation
    key: jax.Array  # [1, 2] uint32, one key per device


@chex.dataclass(frozen=True)
class Rollout:
    """Experience of one unroll. Flags describe the step taken at t."""

    obs: dict[str, jax.Array]  # [T, N, size], raw; frames u8[T, N, H, W, C]
    began: jax.Array  # [T, N] bool: obs[t] is the first of its episode
    action: jax.Array  # [T, N, A]
    log_prob: jax.Array  # [T, N]
    value: jax.Array  # [T, N] V(s_t)
    next_value: jax.Array  # [T, N] V(s_{t+1}) before any reset
    reward: jax.Array  # [T, N] raw
    discounted: jax.Array  # [T, N] running discounted return
    terminated: jax.Array  # [T, N] bool
    episode_end: jax.Array  # [T, N] bool: terminated or truncated
    carry: Any  # [C, N, ...] recurrent state at the start of each chunk
    metrics: dict[str, jax.Array]  # [T, N]
