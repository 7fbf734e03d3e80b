"""The programs that `cases.py` names: physics, environment, policy, whole update."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp

from mjxhand import agent as agent_module
from mjxhand import batch, physics, presets, scene, sharding
from mjxhand.config import Config, EnvConfig, PhysicsConfig, SceneConfig
from mjxhand.env import Env
from mjxhand.rollout import init_actors, rollout


@dataclass(frozen=True)
class Program:
    """A function to compile with `jax.jit`, its arguments, and the work it does."""

    function: Callable[..., Any]
    args: tuple[Any, ...]
    control_steps: int  # per call, over all environments
    physics_steps: int  # per call, over all environments
    check: Callable[[Any], dict] | None = None
    """Output → facts for the results file; raises if the output cannot be right."""
    carried: int = 0
    """So many first outputs are the next call's first arguments, and are donated."""
    devices: int = 1
    """So many devices it runs on, whatever their number is."""


SCENE = SceneConfig(start_pose="cupped")


def physics_program(impl: str, num_envs: int, control_steps: int) -> Program:
    """Held cubes and wandering servo targets, every sensor read at each control step."""
    made = scene.build(SCENE)
    cfg = PhysicsConfig(impl=impl)  # type: ignore[arg-type]
    step = jax.vmap(physics.make_physics(made, cfg).step)
    states = physics.settle(made, cfg, num_envs, seconds=0.64, seed=0)
    low, high = jnp.asarray(made.ctrl_range, jnp.float32).T
    reach = EnvConfig().relative_step * (high - low) / 2

    def run(states, key):
        def move(carry, key):
            states, target = carry
            shift = jax.random.uniform(key, target.shape, minval=-1, maxval=1)
            target = jnp.clip(target + reach * shift, low, high)
            states = step(states, target)
            return (states, target), states.sensordata.sum(-1)

        target = jnp.broadcast_to(made.start_ctrl.astype("float32"), (num_envs, 20))
        keys = jax.random.split(key, control_steps)
        return jax.lax.scan(move, (states, target), keys)[0][0]

    def check(states) -> dict:
        if not jnp.isfinite(states.qpos).all():
            raise RuntimeError(f"physics/{impl}/{num_envs}: a state is not finite")
        height = states.sensordata[:, made.sensors["cube_in_palm"]] @ made.palm_normal
        return {"held": float((height > 0).mean())}

    return Program(
        function=run,
        args=(jax.tree.map(jnp.asarray, states), jax.random.key(0)),
        control_steps=num_envs * control_steps,
        physics_steps=num_envs * control_steps * cfg.substeps,
        check=check,
    )


def config_of(
    preset: str, impl: str, num_envs: int | None = None, *, pixels: bool = False
) -> Config:
    """A preset with another back end and, if given, number of environments.

    Args:
      pixels: frames of 64 x 64 in place of the pose.
    """
    config = presets.PRESETS[preset]
    if pixels:
        # Without what frames have no use for: a folded pose, a relative goal.
        config = presets.fitted(config, {"env.vision": "pixels"})
        config = replace(config, env=replace(config.env, vision="pixels"))
    num_envs = num_envs or config.ppo.num_envs
    config = replace(
        config,
        scene=replace(config.scene, start_pose=SCENE.start_pose),
        physics=replace(config.physics, impl=impl),
        ppo=replace(config.ppo, num_envs=num_envs),
    )
    presets.check(config, jax.device_count())
    return config


def env_program(impl: str, num_envs: int, control_steps: int) -> Program:
    """The full task under random actions, with resets."""
    config = config_of("fpn", impl, num_envs)
    env = Env(config)
    params = jax.tree.map(jnp.asarray, env.make_params(0))

    def run(state, key, params):
        def move(state, key):
            key_action, key_reset = jax.random.split(key)
            action = jax.random.randint(
                key_action, (num_envs, env.num_actuators), 0, config.env.bins
            )
            stepped = batch.step(env, state, action, key_reset, params)
            return stepped.state, stepped.after.reward

        return jax.lax.scan(move, state, jax.random.split(key, control_steps))

    start = jax.jit(lambda key: batch.reset(env, key, num_envs, params))
    return Program(
        function=run,
        args=(start(jax.random.PRNGKey(0)), jax.random.PRNGKey(1), params),
        control_steps=num_envs * control_steps,
        physics_steps=num_envs * control_steps * config.physics.substeps,
        check=lambda out: {"reward": _finite(out[1].mean())},
        carried=1,
    )


def policy_program(
    preset: str, impl: str, num_envs: int, control_steps: int
) -> Program:
    """Gathering experience under the preset's network: what an update learns from."""
    config = config_of(preset, impl, num_envs)
    cfg = replace(
        config.ppo, unroll_length=control_steps, chunk_length=min(control_steps, 16)
    )
    env = Env(config)
    agent = agent_module.build(config, env.observation_sizes, env.num_actuators)
    mesh = sharding.make_mesh(jax.devices()[:1])
    learner = sharding.Program(config, env, agent, mesh).init_learner(0)
    params = jax.tree.map(jnp.asarray, env.make_params(0))

    def begin(key, params):
        return init_actors(env, agent, num_envs, key, params)

    def run(actors, learner, params):
        return rollout(env, agent, cfg, learner, actors, params)

    return Program(
        function=run,
        args=(jax.jit(begin)(jax.random.PRNGKey(0), params), learner, params),
        control_steps=num_envs * control_steps,
        physics_steps=num_envs * control_steps * config.physics.substeps,
        check=lambda out: {"reward": _finite(out[1].reward.mean())},
        carried=1,
    )


def sharded(config: Config, devices: list | None = None) -> sharding.Program:
    """The compiled functions of a run, over all devices or those given."""
    env = Env(config)
    agent = agent_module.build(config, env.observation_sizes, env.num_actuators)
    return sharding.Program(config, env, agent, sharding.make_mesh(devices))


def update_program(
    preset: str, impl: str, num_envs: int | None, *, pixels: bool = False
) -> Program:
    """One whole update over all devices, as `mjxhand.train` runs it."""
    config = config_of(preset, impl, num_envs, pixels=pixels)
    program = sharded(config)
    params = program.place_params(program.env.make_params(0))
    return Program(
        function=program.update,
        args=(program.init_learner(0), program.init_actors(0, params), params),
        control_steps=config.steps_per_update,
        physics_steps=config.steps_per_update * config.physics.substeps,
        check=lambda out: {"loss": _finite(out[2]["loss/total"])},
        carried=2,
        devices=program.mesh.size,
    )


def update_for(config: Config, device: Any) -> jax.stages.Lowered:
    """A whole update on one device, which need not be there, lowered from shapes alone."""
    program = sharded(config, [device])
    params = program.env.make_params(0)
    keys = jax.ShapeDtypeStruct((1, 2), jnp.uint32)
    actors = jax.eval_shape(program._init_actors, keys, params)
    return program.update.lower(program.learner_shapes(), actors, params)


def _finite(x: jax.Array) -> float:
    if not jnp.isfinite(x):
        raise RuntimeError(f"the program gave {x}")
    return float(x)
