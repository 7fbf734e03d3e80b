"""Mistakes in a task or a network of the user's own, found before there is a run."""

import inspect
from dataclasses import replace

import jax
import jax.numpy as jnp

from mjxhand import agent, streams
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
        _act(config, env, key)
    if own_task:
        params = env.make_params(0)
        kind = jnp.int32 if config.env.actions == "discrete" else jnp.float32
        action = jax.ShapeDtypeStruct((env.num_actuators,), kind)
        state = jax.eval_shape(env.reset, key, params)
        jax.eval_shape(env.step, state, action, params)


def _act(config: Config, env: Env, key: jax.Array) -> None:
    """One step of two hands: what comes out must have the shapes that training needs."""
    made = agent.build(config, env.observation_sizes, env.num_actuators)
    name = f"network.name is {config.network.name!r}"
    try:
        inspect.signature(made.network.initial_carry).bind(2, key)
    except TypeError as error:
        raise ConfigError(
            f"{name}, whose initial_carry cannot be called as initial_carry(batch, key): "
            f"{error}"
        ) from None
    stats, params = jax.eval_shape(made.init_stats), jax.eval_shape(made.init, key)
    before = jax.eval_shape(lambda: made.initial_carry(2, key))
    obs = streams.blank(env.observation_sizes, 2)
    began = jax.ShapeDtypeStruct((2,), bool)
    carry, out = jax.eval_shape(made.act, params, stats, before, obs, began)
    was, now = (
        jax.tree.map(lambda x: (x.shape, x.dtype.name), tree)
        for tree in (before, carry)
    )
    if was != now:
        raise ConfigError(
            f"{name}: its carry is {was} before a step and {now} after it"
        )
    wanted = made.distribution.num_outputs
    for what, found, shape in (
        ("logits", out.logits.shape, (wanted,)),
        ("value", out.value.shape, ()),
    ):
        if found != (2, *shape):
            raise ConfigError(
                f"{name}: its {what} must have the shape {_shape(shape)}, not "
                f"{_shape(found[1:])}"
            )


def _shape(of_one: tuple[int, ...]) -> str:
    return f"[{', '.join(['T', 'B', *map(str, of_one)])}]"


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
