"""brax's PPO on `reorient` through our adapter, against ours with as large an MLP.

Equal environments, unroll, epochs, minibatches; networks of about 300,000 parameters: brax's
default (actor 4 x 32, critic 5 x 256, swish; 318,000), and our `mlp` at 0.38 of its size
(288,000).
"""

import functools
import statistics
from collections.abc import Callable
from dataclasses import replace

import jax
import programs
from rival_physics import Pair, timed

import mjxhand
from mjxhand import agent as agent_module
from mjxhand import brax_env, presets, sharding
from mjxhand.env import Env

ENVS, UNROLL, MINIBATCHES, EPOCHS = 256, 16, 4, 2
UNITS_SCALE = 0.38
UPDATES = 3


def make() -> Pair:
    """brax through MJX, as it is meant to run."""
    return _ours(), functools.partial(_theirs, "jax")


def make_native() -> Pair:
    """brax with our native physics, which the adapter gives it too."""
    return _ours(), functools.partial(_theirs, "native")


def _ours() -> Callable[[], float]:
    config = programs.config_of("laptop", "native", ENVS)
    config = replace(
        config,
        env=replace(config.env, actions="continuous", goal_angle_max=3.0),
        network=replace(config.network, name="mlp", units_scale=UNITS_SCALE),
        ppo=replace(
            config.ppo,
            unroll_length=UNROLL,
            chunk_length=UNROLL,
            num_minibatches=MINIBATCHES,
            num_epochs=EPOCHS,
        ),
    )
    presets.check(config, jax.device_count())
    env = Env(config)
    agent = agent_module.build(config, env.observation_sizes, env.num_actuators)
    program = sharding.Program(config, env, agent, sharding.make_mesh())
    params = program.place_params(env.make_params(0))
    learner = program.init_learner(0)
    args = (learner, program.init_actors(0, params), params)
    compiled = jax.jit(program.update.__wrapped__).lower(*args).compile()
    return timed(compiled, args, config.steps_per_update)


def _theirs(impl: str) -> float:
    """Speed of the last epochs, which hold no compilation."""
    from brax.training.agents.ppo import train

    env = mjxhand.make("reorient", actions="continuous", impl=impl)
    steps = ENVS * UNROLL
    seen: list[float] = []
    train.train(
        brax_env.BraxEnv(env),
        wrap_env_fn=brax_env.wrap,
        num_timesteps=steps * UPDATES,
        episode_length=1000,
        num_envs=ENVS,
        unroll_length=UNROLL,
        batch_size=ENVS // MINIBATCHES,
        num_minibatches=MINIBATCHES,
        num_updates_per_batch=EPOCHS,
        normalize_observations=True,
        num_evals=UPDATES + 1,
        run_evals=False,
        max_devices_per_host=1,
        network_factory=brax_env.ppo_networks,
        progress_fn=lambda _, m: seen.append(float(m["training/sps"])) if m else None,
    )
    return statistics.median(seen[1:])
