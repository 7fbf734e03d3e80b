"""Mistakes in a task or a network of the user's own, found before there is a run."""

import inspect
from dataclasses import replace

import jax
import jax.numpy as jnp

from mjxhand import agent
from mjxhand.config import Config, ConfigError
from mjxhand.env import Env
from mjxhand.imports import load


def trace(config: Config) -> None:
    """Trace what training would compile of the user's own code, with two hands.

    Raises:
        ConfigError: a network with other arguments, a task that contradicts itself. What goes
            wrong inside their code is raised as it is, with its place.
    """
    own_task, own_network = (
        ":" in name for name in (config.env.task, config.network.name)
    )
    if own_network:
        _check_arguments(config)
    if not (own_task or own_network):
        return
    env = Env(replace(config, env=replace(config.env, pool_size=2)))
    key = jax.random.PRNGKey(0)
    if own_network:
        made = agent.build(config, env.observation_sizes, env.num_actuators)
        jax.eval_shape(made.init, key)
    if own_task:
        params = env.make_params(0)
        kind = jnp.int32 if config.env.actions == "discrete" else jnp.float32
        action = jax.ShapeDtypeStruct((env.num_actuators,), kind)
        state = jax.eval_shape(env.reset, key, params)
        jax.eval_shape(env.step, state, action, params)


def _check_arguments(config: Config) -> None:
    """As `agent.build` calls it; that it can be called at all is for that to say."""
    name = config.network.name
    made = load(name, "network.name")
    if not callable(made):
        return
    try:
        inspect.signature(made).bind(config.network, {}, 1)
    except TypeError as error:
        raise ConfigError(
            f"network.name is {name!r}, which cannot be called as "
            f"{name.partition(':')[2]}(config.network, sizes, num_outputs): {error}"
        ) from None
