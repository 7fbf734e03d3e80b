"""Five small tests of what training needs, for `python -m mjxhand.doctor`."""

import dataclasses
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import mujoco
import numpy as np

from mjxhand import agent as agent_module
from mjxhand import ppo, presets, render
from mjxhand.checkpoint import Checkpoints
from mjxhand.config import Impl, NetworkConfig
from mjxhand.env import Env
from mjxhand.native import native_model
from mjxhand.physics import PhysicsState
from mjxhand.sharding import Program, make_mesh

COPIES = 8
MAX_MEDIAN = 1e-4
"""Metres by which the cube's place may differ after one control step, in the median."""
MAX_MOST = 1e-3
"""The same for three copies in four: a contact may open or close within it."""


class Failed(Exception):
    """A test that failed. The message is one line: what was found."""


def environment(impl: Impl) -> Env:
    """The smallest preset's environment on a back end."""
    smoke = presets.PRESETS["smoke"]
    return Env(
        dataclasses.replace(
            smoke,
            physics=dataclasses.replace(smoke.physics, impl=impl),
            env=dataclasses.replace(smoke.env, pool_size=COPIES),
        )
    )


def arithmetic(env: Env) -> str:
    """Operations of JAX, each a program of its own and all in one, against NumPy.

    With JAX 0.11 somebody's GPU gave √512 = 0 and 1 + 1 = 513 (github.com/jax-ml/jax, issue
    40633): where that is so, nothing that follows here means anything.
    """
    x = np.linspace(1.0, 512.0, COPIES, dtype=np.float32)
    wanted = {
        "x + 1": x + 1,
        "sqrt": np.sqrt(x),
        "product": np.outer(x, x) @ x,
        "order": np.argsort(-x),
    }
    for way, function in (("alone", _operations), ("in one", jax.jit(_operations))):
        found = jax.device_get(function(jnp.asarray(x)))
        u, z = found.pop("uniform"), found.pop("normal")
        near = 2e-3  # products may be in TF32
        wrong = [
            n for n, x in found.items() if not np.allclose(x, wanted[n], rtol=near)
        ]
        # NaN is in no interval either.
        if not (((u >= 0) & (u < 1)).all() and abs(u.mean() - 0.5) < 0.05):
            wrong.append("uniform numbers")
        if not (abs(z.mean()) < 0.2 and 0.8 < z.std() < 1.2):
            wrong.append("normal numbers")
        if wrong:
            kind = jax.devices()[0].device_kind
            raise Failed(
                f"JAX {jax.__version__} computes wrongly on {kind} ({', '.join(wrong)}; "
                f"operations {way}): install another version"
            )
    return "as NumPy has it"


def _operations(x: jax.Array) -> dict[str, jax.Array]:
    keys = jax.random.split(jax.random.PRNGKey(0))
    return {
        "x + 1": x + 1,
        "sqrt": jnp.sqrt(x),
        "product": jnp.outer(x, x) @ x,
        "order": jnp.argsort(-x),
        "uniform": jax.random.uniform(keys[0], (1000,)),
        "normal": jax.random.normal(keys[1], (1000,)),
    }


def physics(env: Env) -> str:
    """One control step of a few hands against C MuJoCo; the words of the result."""
    pool = env.params.pool
    ctrl = np.tile(env.scene.start_ctrl, (COPIES, 1)).astype(np.float32)
    stepped = jax.device_get(jax.jit(jax.vmap(env.physics.step))(pool, ctrl))
    where = env.scene.cube_qpos
    wanted = np.array([_step_in_c(env, pool, i)[where][:3] for i in range(COPIES)])
    error = np.linalg.norm(stepped.qpos[:, where][:, :3] - wanted, axis=1)
    middle, most = np.quantile(error, [0.5, 0.75])
    # NaN is not below either.
    if not (middle < MAX_MEDIAN and most < MAX_MOST):
        raise Failed(f"the cube is {middle * 1e3:.3g} mm from where C MuJoCo has it")
    return f"{env.physics.impl}, cube within {middle * 1e3:.1g} mm of C MuJoCo"


def _step_in_c(env: Env, pool: PhysicsState, index: int) -> np.ndarray:
    """qpos after one control step of plain `mj_step`s."""
    model = native_model(env.scene.mj_model)
    data = mujoco.MjData(model)
    data.qpos[:], data.qvel[:] = pool.qpos[index], pool.qvel[index]
    data.qacc_warmstart[:] = pool.qacc_warmstart[index]
    data.ctrl[:] = env.scene.start_ctrl
    mujoco.mj_step(model, data, env.config.physics.substeps)
    return data.qpos


def learner(env: Env) -> str:
    """One update of PPO: everything finite, the weights moved."""
    small = dataclasses.replace(
        env.config.ppo,
        num_envs=COPIES,
        unroll_length=8,
        num_epochs=1,
        num_minibatches=1,
        normalize_reward=False,
    )
    # Compiling is nearly all of the time: the smallest network with a memory.
    network = NetworkConfig(name="lstm", units_scale=0.02)
    config = dataclasses.replace(env.config, ppo=small, network=network)
    agent = agent_module.build(config, env.observation_sizes, env.num_actuators)
    program = Program(config, env, agent, make_mesh(jax.devices()[:1]))
    before = jax.device_get(program.init_learner(0))
    params = program.place_params(env.params)
    after, _, metrics = jax.device_get(
        program.update(program.init_learner(0), program.init_actors(0, params), params)
    )
    if metrics[ppo.SKIPPED]:
        raise Failed("loss or gradient is no number")
    if not all(np.isfinite(x).all() for x in jax.tree.leaves(after)):
        raise Failed("something learned is no number")
    pairs = zip(*map(jax.tree.leaves, (before.params, after.params)), strict=True)
    moved = max(float(np.abs(a - b).max()) for a, b in pairs)
    if not moved:
        raise Failed("the weights did not move")
    return f"all finite, weights moved by up to {moved:.1g}"


def picture(env: Env) -> str:
    """One frame, off screen."""
    data = mujoco.MjData(env.scene.mj_model)
    data.qpos[:] = env.params.pool.qpos[0]
    mujoco.mj_forward(env.scene.mj_model, data)
    with render.Renderer(env.scene.mj_model, render.Camera()) as renderer:
        drawn = renderer.picture(data)
    if drawn.std() < 5:
        raise Failed("the picture is empty")
    return f"{drawn.shape[1]} × {drawn.shape[0]} by {os.environ.get('MUJOCO_GL')}"


def writing(env: Env) -> str:
    """A checkpoint written here and read again."""
    tree = {"a": np.arange(2**18, dtype=np.float32)}
    try:
        with tempfile.TemporaryDirectory(prefix=".doctor-", dir=".") as folder:
            with Checkpoints(folder) as checkpoints:
                checkpoints.save(1, tree)
            _, got = checkpoints.restore_learner(tree)
    except OSError as error:
        raise Failed(f"cannot write in {Path.cwd()}: {error.strerror}") from None
    if not np.array_equal(got["a"], tree["a"]):
        raise Failed(f"what is written in {Path.cwd()} reads otherwise")
    return f"a checkpoint in {Path.cwd()}"


TESTS: dict[str, Callable[[Env], str]] = {
    "arithmetic": arithmetic,
    "physics": physics,
    "learner": learner,
    "picture": picture,
    "writing": writing,
}
"""Name and function; it returns the result in words, or raises."""
