"""brax's PPO on `reorient` through our adapter, against ours with as large an MLP.

Equal environments, unroll, epochs, minibatches; networks of about 300,000 parameters: brax's
default (actor 4 x 32, critic 5 x 256, swish; 318,000), and our `mlp` at 0.38 of its size
(288,000).
"""

import contextlib
import functools
import statistics
from collections.abc import Callable, Iterator
from dataclasses import replace
from unittest import mock

import jax
import jax.numpy as jnp
import mujoco
import programs
from rival_physics import Pair, timed

import mjxhand
from mjxhand import agent as agent_module
from mjxhand import brax_env, mjx_steps, physics, presets, sharding
from mjxhand.config import PhysicsConfig
from mjxhand.env import Env

ENVS, UNROLL, MINIBATCHES, EPOCHS = 256, 16, 4, 2
UNITS_SCALE = 0.38
UPDATES = 3


def make() -> Pair:
    """brax through MJX, with our solver and rows of constraints, which made it faster."""
    return _ours(), functools.partial(_theirs, "jax")


def make_published() -> Pair:
    """brax through MJX as it is published: `mjx.step`, whose solver is its own."""

    def theirs() -> float:
        with _published_step():
            return _theirs("jax")

    return _ours(), theirs


def make_native() -> Pair:
    """brax with our native physics, which the adapter gives it too."""
    return _ours(), functools.partial(_theirs, "native")


@contextlib.contextmanager
def _published_step() -> Iterator[None]:
    """The `jax` back end made meanwhile steps with `mjx.step`; sensors as ours, in the last."""

    def make(model: mujoco.MjModel, cfg: PhysicsConfig, parts):
        from mujoco import mjx

        assert not parts
        quiet = mjx_steps._without_sensors(model)
        loud, quiet = (
            mjx_steps._to_host(mjx.put_model(m, impl="jax")) for m in (model, quiet)
        )
        template = mjx_steps._to_host(mjx.make_data(model, impl="jax"))

        def step(state, ctrl, variant=None):
            assert variant is None
            data = mjx_steps._load(mjx_steps._to_device(template), state, ctrl)
            data = jax.lax.fori_loop(
                0,
                cfg.substeps - 1,
                lambda _, data: mjx.step(mjx_steps._to_device(quiet), data),
                data,
            )
            data = mjx.step(mjx_steps._to_device(loud), data)
            return mjx_steps._unload(data), jnp.bool_(False)

        return step

    with mock.patch.object(physics, "jax_step", make):
        yield


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
