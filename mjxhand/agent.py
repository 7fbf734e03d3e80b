"""The policy: network, distribution and observation normalisation as one set of pure functions."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from mjxhand import networks, running, streams
from mjxhand.body import POSE
from mjxhand.config import Config, ConfigError
from mjxhand.imports import load
from mjxhand.networks import distributions
from mjxhand.streams import Sizes
from mjxhand.wiring import PRIVILEGED

# Normalised observations are cut to ± this many standard deviations, as in the showcase.
MAX_NORMALIZED = 10.0


@dataclass(frozen=True)
class Agent:
    """A network bound to its action distribution. Holds no parameters."""

    network: nn.Module
    distribution: distributions.Distribution
    observation_sizes: Sizes
    normalize_obs: bool = True

    def init(self, key: jax.Array) -> Any:
        """Fresh network variables."""
        obs = streams.blank(self.observation_sizes, 1, 1)
        carry = self.network.initial_carry(1)
        return self.network.init(key, carry, obs, jnp.zeros((1, 1), bool))

    def init_stats(self) -> Any:
        """Running statistics before any observation: mean 0, deviation 1."""
        blank = self.measured(streams.blank(self.observation_sizes))
        return running.init(blank)

    def measured(self, obs: dict[str, jax.Array]) -> Any:
        """The streams of which statistics are kept: all but frames."""
        return {
            name: stream
            for name, stream in obs.items()
            if not streams.is_frames(self.observation_sizes[name])
        }

    def initial_carry(self, batch: int, key: jax.Array | None = None) -> Any:
        """Recurrent state at the start of an episode, `[batch, ...]`.

        With a key (consumed) senses drop out as the configuration says: for training.
        """
        return self.network.initial_carry(batch, key)

    def normalize(self, obs: Any, stats: Any) -> Any:
        """Observations, a dict of streams, as the network sees them; same shapes.

        Frames are left as they are.
        """
        if not self.normalize_obs:
            return obs
        return obs | running.normalize(self.measured(obs), stats, MAX_NORMALIZED)

    def known(self, obs: dict[str, jax.Array]) -> dict[str, jax.Array]:
        """`obs` [B, ...] without what this network's critic was never told.

        Where the seen pose errs, `privileged` ends in the true one (`Reorient.observe`); a network
        that learned without errors plays there all the same: its policy never reads that stream.

        Raises:
            ConfigError: streams of other lengths than those that the network learned with.
        """
        told = self.observation_sizes[PRIVILEGED]
        if obs[PRIVILEGED].shape[-1] == told + POSE:
            obs = obs | {PRIVILEGED: obs[PRIVILEGED][..., :told]}
        for name, size in self.observation_sizes.items():
            given, learned = obs[name].shape[1:], streams.shape(size)
            if given != learned:
                raise ConfigError(
                    f"the network learned with {name} of shape {learned}, and is given "
                    f"{given}: leave the task, env.vision and the rows of env.randomize for "
                    "the pose as in its run"
                )
        return obs

    def apply(self, params: Any, carry: Any, obs: dict[str, jax.Array], began: Any):
        """Run over normalised `obs` [T, B, ...] → (carry, Output)."""
        return self.network.apply(params, carry, obs, began)

    def act(
        self,
        params: Any,
        stats: Any,
        carry: Any,
        obs: dict[str, jax.Array],
        began: jax.Array,
    ):
        """One step on raw `obs` [B, ...], `began` [B] → (carry, Output without the time axis).

        Raises:
            ConfigError: streams of other lengths than those that the network learned with.
        """
        normalized = self.normalize(self.known(obs), stats)
        one = jax.tree.map(lambda x: x[None], normalized)
        carry, out = self.network.apply(params, carry, one, began[None])
        return carry, jax.tree.map(lambda x: x[0], out)


def distribution_name(config: Config) -> str:
    """`network.distribution`, with what `auto` stands for."""
    if config.network.distribution != "auto":
        return config.network.distribution
    return "multi_categorical" if config.env.actions == "discrete" else "tanh_normal"


def build(config: Config, observation_sizes: Sizes, num_actuators: int):
    """Agent for a config and the environment's sizes."""
    name = distribution_name(config)
    distribution = distributions.make(name, num_actuators, config.env.bins)
    make = networks.build
    if ":" in config.network.name:
        make = load(config.network.name, "network.name")
        if not callable(make):
            raise ConfigError(
                f"network.name is {config.network.name!r}, which cannot be called"
            )
    network = make(config.network, observation_sizes, distribution.num_outputs)
    if not (isinstance(network, nn.Module) and hasattr(network, "initial_carry")):
        raise ConfigError(
            f"network.name is {config.network.name!r}, which made no flax module with an "
            "initial_carry (see mjxhand/networks/baseline.py)"
        )
    return Agent(
        network, distribution, dict(observation_sizes), config.ppo.normalize_obs
    )


def strong(tree: Any) -> Any:
    """`tree` with every leaf an array of strong type.

    A Python number inside a carry is weakly typed; the first update makes it strong, and the
    second call compiles everything again.
    """
    return jax.tree.map(lambda x: jnp.asarray(x, jnp.asarray(x).dtype), tree)
