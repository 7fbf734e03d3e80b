"""What is measured, as data. A case names a program; `run.py` compiles and times it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from mjxhand import physics, scene
from mjxhand.config import EnvConfig, PhysicsConfig, SceneConfig


@dataclass(frozen=True)
class Program:
    """A function to compile with `jax.jit`, its arguments, and the work it does."""

    function: Callable[..., Any]
    args: tuple[Any, ...]
    control_steps: int  # per call, over all environments
    physics_steps: int  # per call, over all environments
    check: Callable[[Any], dict] | None = None
    """Output → facts for the results file; raises if the output cannot be right."""


@dataclass(frozen=True)
class Case:
    """`make` runs in a process of its own, so that its peak memory is the case's."""

    name: str
    make: Callable[[], Program]
    settings: dict = field(default_factory=dict)


SCENE = SceneConfig(start_pose="cupped")


def physics_program(impl: str, num_envs: int, control_steps: int) -> Program:
    """Held cubes and wandering servo targets, every sensor read at each control step."""
    made = scene.build(SCENE)
    cfg = PhysicsConfig(impl=impl)  # type: ignore[arg-type]
    step = jax.vmap(physics.make_physics(made, cfg).step)
    states = physics.settle(made, cfg, num_envs, seconds=0.64, seed=0)
    low, high = jnp.asarray(made.ctrl_range, jnp.float32).T
    reach = EnvConfig().relative_step * (high - low) / 2

    def rollout(states, key):
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
        function=rollout,
        args=(jax.tree.map(jnp.asarray, states), jax.random.key(0)),
        control_steps=num_envs * control_steps,
        physics_steps=num_envs * control_steps * cfg.substeps,
        check=check,
    )


PHYSICS_STEPS = {"native": 16, "jax": 4}
"""Control steps per call and environment."""

CASES: tuple[Case, ...] = tuple(
    Case(
        name=f"physics/{impl}/{num_envs}",
        make=partial(physics_program, impl, num_envs, PHYSICS_STEPS[impl]),
        settings={"impl": impl, "num_envs": num_envs},
    )
    for impl in PHYSICS_STEPS
    for num_envs in (64, 512)
)
