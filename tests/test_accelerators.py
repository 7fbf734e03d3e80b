"""What can be told of GPUs and TPUs without one: the update as it would be compiled for them."""

import dataclasses
import functools
import re

import jax
import pytest

from mjxhand import agent as agent_module
from mjxhand import presets
from mjxhand.env import Env
from mjxhand.sharding import Program, make_mesh


@functools.cache
def traced(vision: str):
    """A whole update on the jax back end."""
    config = presets.fitted(presets.PRESETS["smoke"], {"env.vision": vision})
    config = dataclasses.replace(
        config,
        env=dataclasses.replace(config.env, vision=vision, pool_size=8),
        physics=dataclasses.replace(config.physics, impl="jax"),
        ppo=dataclasses.replace(config.ppo, num_envs=4),
    )
    env = Env(config)
    agent = agent_module.build(config, env.observation_sizes, env.num_actuators)
    program = Program(config, env, agent, make_mesh(jax.devices()[:1]))
    params = program.place_params(env.make_params(0))
    keys = jax.random.split(jax.random.PRNGKey(0), 1)
    actors = jax.eval_shape(program._init_actors, keys, params)
    return program.update.trace(program.learner_shapes(), actors, params)


def calls(vision: str, platform: str) -> set[str]:
    """What that update calls outside of XLA."""
    text = traced(vision).lower(lowering_platforms=(platform,)).as_text()
    return set(re.findall(r"custom_call @([\w.]+)", text))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("platform", "allowed"),
    [
        ("cuda", {"cusolver_potrf_ffi"}),
        ("rocm", {"hipsolver_potrf_ffi"}),
        ("tpu", set()),
    ],
)
def test_an_update_is_one_program_without_the_host(platform, allowed):
    """Batched Cholesky factors of the vendor's library, and no function of Python."""
    assert calls("pose", platform) == allowed


@pytest.mark.slow
def test_frames_are_drawn_by_kernels_of_warp():
    pytest.importorskip("warp")
    own = calls("pixels", "cuda") - {"cusolver_potrf_ffi"}
    # Its launches, by JAX's foreign function interface; a callback would be `xla_python_…`.
    assert own
    assert all(name.startswith("jax_callable_") for name in own)
