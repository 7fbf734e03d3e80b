"""Objects other than the cube, and the empty hand."""

import dataclasses

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
import pytest

import mjxhand
from mjxhand import physics, scene
from mjxhand.config import ConfigError, PhysicsConfig, SceneConfig

OTHERS = ("sphere", "capsule", "egg")
DENSITY, HALF = 567.0, 0.025


def expected(thing: str) -> tuple[float, float, float]:
    """Volume (m³) and moments of inertia per mass (m²) across and along z, by formula."""
    if thing == "sphere":
        return 4 / 3 * np.pi * HALF**3, 0.4 * HALF**2, 0.4 * HALF**2
    if thing == "egg":
        a, c = 0.9 * HALF, 1.2 * HALF
        return 4 / 3 * np.pi * a * a * c, 0.2 * (a * a + c * c), 0.4 * a * a
    r = h = 0.7 * HALF  # the cylinder between the half balls is 2 h long
    tube, balls = np.pi * r * r * 2 * h, 4 / 3 * np.pi * r**3
    across = tube * (r * r / 4 + h * h / 3) + balls * (
        0.4 * r * r + h * h + 0.75 * h * r
    )
    along = tube * r * r / 2 + balls * 0.4 * r * r
    volume = tube + balls
    return volume, across / volume, along / volume


@pytest.mark.parametrize("thing", OTHERS)
def test_mass_and_inertia_are_those_of_the_solid(thing):
    model = scene.build(SceneConfig(object=thing)).mj_model
    volume, across, along = expected(thing)
    cube = model.body("cube")
    assert cube.mass[0] == pytest.approx(DENSITY * volume, rel=1e-6)
    moments = np.sort(DENSITY * volume * np.array([across, across, along]))
    np.testing.assert_allclose(np.sort(cube.inertia), moments, rtol=1e-6)


@pytest.mark.parametrize("thing", OTHERS)
def test_the_hand_holds_it_and_the_goal_has_its_shape(thing):
    made = scene.build(SceneConfig(object=thing, start_pose="cupped"))
    model = made.mj_model
    assert (model.nq, model.nv, model.nu) == (31, 30, 20)
    assert model.geom("goal").type == model.geom("cube").type
    np.testing.assert_array_equal(model.geom("goal").size, model.geom("cube").size)
    pool = physics.settle(made, PhysicsConfig(impl="native"), 32, seconds=0.64, seed=0)
    data = mujoco.MjData(model)
    touching = 0
    for qpos in pool.qpos[:8]:
        data.qpos[:] = qpos
        mujoco.mj_forward(model, data)
        touching += bool((data.contact.geom == model.geom("cube").id).any())
    assert touching == 8


def test_object_auto_is_the_tasks_own():
    assert mjxhand.make("reorient", impl="native").scene.object == "cube"
    assert mjxhand.make("reach", impl="native").scene.object == "none"
    egg = mjxhand.make("reorient", impl="native", object="egg")
    assert egg.label == "reorient: any orientation (full task), of an egg"
    for task in ("reorient", "chain"):
        with pytest.raises(ConfigError, match="needs an object"):
            mjxhand.make(task, object="none")


def test_an_empty_hand_keeps_the_layout_and_has_no_object_to_touch():
    made = scene.build(SceneConfig(object="none"))
    model, data = made.mj_model, mujoco.MjData(made.mj_model)
    assert (model.nq, model.nv, model.nu) == (31, 30, 20)
    cube = scene.build().mj_model
    assert model.nsensordata == cube.nsensordata
    assert model.ngeom == cube.ngeom - 2  # the cube's shape and the goal's
    data.qpos[:], data.ctrl[:] = made.start_qpos, made.start_ctrl
    mujoco.mj_step(model, data, 1000)
    np.testing.assert_allclose(data.qpos[made.cube_qpos][:3], scene.PARKED, atol=1e-9)


def test_an_egg_in_mjx_is_refused_in_one_line():
    with pytest.raises(ConfigError, match="native or warp") as caught:
        mjxhand.make("reorient", object="egg", impl="jax")
    assert "\n" not in str(caught.value)


@pytest.mark.slow
@pytest.mark.parametrize("thing", ["capsule"])
def test_mjx_follows_native(thing):
    """From settled states, with contacts, for a few control steps of the still hand."""
    made = scene.build(SceneConfig(object=thing, start_pose="cupped"))
    cfg = PhysicsConfig(impl="native")
    start = jax.tree.map(jnp.asarray, physics.settle(made, cfg, 16, 0.64, seed=0))
    ctrl = jnp.tile(jnp.asarray(made.start_ctrl, jnp.float32), (16, 1))
    ends = []
    for impl in ("native", "jax"):
        backend = physics.make_physics(made, dataclasses.replace(cfg, impl=impl))
        step, state = jax.jit(jax.vmap(backend.step)), start
        for _ in range(4):
            state = step(state, ctrl)
        ends.append(np.asarray(state.qpos))
    off = np.linalg.norm((ends[0] - ends[1])[:, 24:27], axis=1)
    assert np.median(off) < 5e-4
    assert off.max() < 5e-3
