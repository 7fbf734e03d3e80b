"""brax's PPO on `reorient` through our adapter, against ours with as large an MLP.

Both train the environment of one `config()`. Equal environments, unroll, epochs, minibatches;
networks of about 300,000 parameters: brax's default (actor 4 x 32, critic 5 x 256, swish;
318,000), and our `mlp` at 0.38 of its size (288,000). In each turn both begin a run anew on one
device and are timed in the same updates. brax compiles its update twice, in its first two, so
these are not timed, and a turn that compiles anything later is an error.
"""

import contextlib
import functools
import math
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from unittest import mock

import jax
import jax.numpy as jnp
import mujoco
import programs
from rival_physics import Pair

from mjxhand import agent as agent_module
from mjxhand import brax_env, mjx_steps, physics, presets, sharding
from mjxhand.config import Config, Impl, PhysicsConfig
from mjxhand.env import Env

ENVS, UNROLL, MINIBATCHES, EPOCHS = 256, 16, 4, 2
UNITS_SCALE = 0.38
UPDATES, UNTIMED = 7, 2
"""Of a run begun anew, and how many of them come before the timed ones."""
COMPILED = "/jax/core/compile/backend_compile_duration"


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
            mjx_steps.on_host(mjx.put_model, m, impl="jax") for m in (model, quiet)
        )
        template = mjx_steps.on_host(mjx.make_data, model, impl="jax")

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


def config(impl: Impl = "native") -> Config:
    """Environment of both sides, the full task without a curriculum; our network and learner."""
    laptop = programs.config_of("laptop", impl, ENVS)
    made = replace(
        laptop,
        env=replace(laptop.env, actions="continuous", goal_angle_max=math.pi),
        network=replace(laptop.network, name="mlp", units_scale=UNITS_SCALE),
        ppo=replace(
            laptop.ppo,
            unroll_length=UNROLL,
            chunk_length=UNROLL,
            num_minibatches=MINIBATCHES,
            num_epochs=EPOCHS,
        ),
        curriculum=replace(laptop.curriculum, enabled=False),
    )
    presets.check(made, num_devices=1)
    return made


def brax_side(impl: Impl) -> brax_env.BraxEnv:
    """What brax trains: our environment, on the back end `impl`."""
    return brax_env.BraxEnv(Env(config(impl)))


def _ours() -> Callable[[], float]:
    made = config()
    env = Env(made)
    agent = agent_module.build(made, env.observation_sizes, env.num_actuators)
    mesh = sharding.make_mesh(jax.devices()[:1])
    program = sharding.Program(made, env, agent, mesh)
    params = program.place_params(env.params)

    def once() -> float:
        learner, actors = program.init_learner(0), program.init_actors(0, params)
        with Updates() as updates:
            for _ in range(UPDATES):
                begin = time.perf_counter()
                learner, actors, _ = jax.block_until_ready(
                    program.update(learner, actors, params)
                )
                updates.add(made.steps_per_update / (time.perf_counter() - begin))
        return updates.speed()

    return once


class Updates:
    """Control steps/s of each update of a run, and what was compiled meanwhile."""

    def __init__(self):
        self._speeds: list[float] = []
        self._compilations: list[int] = []
        self._count = 0

    def __enter__(self) -> "Updates":
        jax.monitoring.register_event_duration_secs_listener(self._heard)
        return self

    def __exit__(self, *_) -> None:
        jax.monitoring.unregister_event_duration_listener(self._heard)

    def _heard(self, event: str, duration_secs: float, **_) -> None:
        self._count += event == COMPILED

    def add(self, speed: float) -> None:
        """Note the speed of the update that has just ended."""
        self._speeds.append(speed)
        self._compilations.append(self._count)
        self._count = 0

    def speed(self) -> float:
        """The median of the timed updates.

        Raises:
            RuntimeError: there were others than `UPDATES`, or a timed one compiled something.
        """
        if len(self._speeds) != UPDATES or any(self._compilations[UNTIMED:]):
            raise RuntimeError(
                f"of {UPDATES} updates those after the first {UNTIMED} are timed, and none of "
                f"them may compile; compilations in each: {self._compilations}"
            )
        return statistics.median(self._speeds[UNTIMED:])


def _theirs(impl: Impl) -> float:
    from brax.training.agents.ppo import train

    env = brax_side(impl)
    steps = ENVS * UNROLL
    with Updates() as updates:
        train.train(
            env,
            wrap_env_fn=brax_env.wrap,
            num_timesteps=steps * UPDATES,
            # Our environment ends its episodes itself: brax is to cut none.
            episode_length=env.env.goal_steps * env.env.config.env.max_goals,
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
            progress_fn=lambda _, m: (
                updates.add(float(m["training/sps"])) if m else None
            ),
        )
    return updates.speed()
