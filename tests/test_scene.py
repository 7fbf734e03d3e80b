"""What the scene holds, and that looks do not touch physics."""

import mujoco
import numpy as np
import pytest

from mjxhand import hand, look, scene, touch
from mjxhand.config import ConfigError, SceneConfig


@pytest.fixture(scope="module")
def built() -> scene.Scene:
    return scene.build()


def test_sizes_are_the_contract(built):
    model = built.mj_model
    assert (model.nq, model.nv, model.nu) == (31, 30, 20)
    assert model.jnt_qposadr[model.joint("cube").id] == built.cube_qpos.start
    assert model.jnt_dofadr[model.joint("cube").id] == built.cube_qvel.start
    names = [model.joint(model.actuator_trnid[i, 0]).name for i in range(model.nu)]
    assert [hand.JOINTS[i].name for i in built.actuated] == names


def test_sensors_lie_where_the_scene_says(built):
    model = built.mj_model
    assert {n: s.stop - s.start for n, s in built.sensors.items()} == {
        "touch": 92,
        "fingertip": 15,
        "actuator_force": 20,
        "cube_in_palm": 3,
    }
    first = {model.sensor_adr[i]: model.sensor(i).name for i in range(model.nsensor)}
    assert first[built.sensors["touch"].start] == touch.PADS[0].name
    assert first[built.sensors["fingertip"].start] == "fftip"
    assert first[built.sensors["actuator_force"].start] == "force_WRJ1"
    assert first[built.sensors["cube_in_palm"].start] == "cube_in_palm"


def test_sensors_measure_what_they_are_named_for(built):
    model, data = built.mj_model, mujoco.MjData(built.mj_model)
    data.qpos[:] = built.start_qpos
    data.ctrl[:] = built.start_ctrl
    data.ctrl[2] += 0.1
    mujoco.mj_forward(model, data)

    def sensor(name):
        return data.sensordata[built.sensors[name]]

    tips = np.concatenate([data.site(tip).xpos for tip in hand.FINGERTIPS])
    np.testing.assert_allclose(sensor("fingertip"), tips)
    np.testing.assert_allclose(sensor("actuator_force"), data.actuator_force)
    assert sensor("actuator_force")[2] == pytest.approx(0.1)
    palm = data.site("palm_centre")
    place = palm.xmat.reshape(3, 3).T @ (data.body("cube").xpos - palm.xpos)
    np.testing.assert_allclose(sensor("cube_in_palm"), place, atol=1e-12)
    # The palm is turned up, and the cube starts above it.
    assert (palm.xmat.reshape(3, 3) @ built.palm_normal)[2] > 0.9
    assert place @ built.palm_normal > 0.05


def test_cube_is_the_showcase_cube(built):
    model = built.mj_model
    cube, geom = model.body("cube"), model.geom("cube")
    assert cube.mass == pytest.approx(0.0709, abs=5e-5)
    np.testing.assert_allclose(cube.inertia, 2.953e-5, rtol=1e-3)
    np.testing.assert_array_equal(geom.size, [0.025] * 3)
    np.testing.assert_array_equal(geom.friction, [1, 0.005, 0.0001])
    assert geom.condim == 4
    np.testing.assert_array_equal(model.joint("cube").damping, [0.01] * 6)


@pytest.mark.parametrize("damping", [0.0, 1e-4, 0.01])
def test_damping_of_the_object_slows_its_spin(damping):
    """ω = ω₀ exp(-b t / I), alone in the air."""
    cfg = SceneConfig(object_damping=damping, timestep=1e-5)
    made = scene.build(cfg)
    model, data = made.mj_model, mujoco.MjData(made.mj_model)
    np.testing.assert_array_equal(model.joint("cube").damping, [damping] * 6)
    data.qpos[made.cube_qpos][:3] = (2.0, 0.0, 2.0)
    data.qvel[made.cube_qvel][5] = 10.0
    mujoco.mj_step(model, data, 300)
    decay = np.exp(-damping * data.time / model.body("cube").inertia[2])
    assert data.qvel[made.cube_qvel][5] == pytest.approx(10 * decay, rel=1e-2)


@pytest.mark.parametrize("pose", scene.POSES)
def test_start_pose_lies_in_the_ranges(pose):
    made = scene.build(SceneConfig(start_pose=pose))
    angles = made.start_qpos[made.hand_qpos]
    low, high = made.mj_model.jnt_range[:24].T
    assert ((low <= angles) & (angles <= high)).all()
    np.testing.assert_array_equal(made.start_ctrl, made.start_qpos[made.actuated])
    # Every joint of a pose is a joint of the hand.
    assert set(scene.POSES[pose]) <= {joint.name for joint in hand.JOINTS}


def test_start_pose_respects_the_coupling():
    for pose in scene.POSES.values():
        for finger in ("FF", "MF", "RF", "LF"):
            length = sum(arm * pose[finger + j] for j, arm in hand.COUPLING.items())
            # The published pose was read off a simulation, where limits give a little.
            assert abs(length) <= hand.COUPLING_RANGE[1] + 1e-5


def test_looks_change_no_physics(built):
    """Without its clothes, the scene moves the same to the last bit."""
    spec = hand.shadow_hand()
    cfg = SceneConfig()
    scene._set_solver(spec, cfg)
    spec.add_material(name=look.CUBE)
    scene._add_object(spec, scene.object_shape("cube", cfg), cfg)
    plain = spec.compile()
    dressed, ends = built.mj_model, []
    for model in (plain, dressed):
        data = mujoco.MjData(model)
        data.qpos[:], data.ctrl[:] = built.start_qpos, built.start_ctrl
        mujoco.mj_step(model, data, 100)
        assert data.ncon > 0
        ends.append(data.qpos.copy())
    np.testing.assert_array_equal(*ends)


def test_contacts_of_a_held_cube_fit_mjx(built):
    """MJX keeps the deepest `max_contact_points` per friction dimension; C has all."""
    model, data = built.mj_model, mujoco.MjData(built.mj_model)
    cube = model.geom("cube").id
    budget = int(model.numeric("max_contact_points").data[0])
    assert budget == SceneConfig().max_contact_points
    rng = np.random.default_rng(0)
    low, high = built.ctrl_range.T
    counts = {True: [], False: []}
    for _ in range(10):
        mujoco.mj_resetDataKeyframe(model, data, model.key("start").id)
        for _ in range(100):
            data.ctrl[:] = rng.uniform(low, high)
            mujoco.mj_step(model, data, 10)
            with_cube = (data.contact.geom == cube).any(1)
            for kind, seen in counts.items():
                seen.append(int((with_cube == kind).sum()))
    assert max(counts[True]) > 3
    # Wilder motion than any policy's; a shallow thirteenth contact now and then is lost.
    assert np.mean(np.greater(counts[True], budget)) < 0.005
    assert max(counts[False]) <= budget


def test_six_faces_differ():
    faces = [look.face_image(*face) for face in look.FACES]
    for i, a in enumerate(faces):
        for b in faces[:i]:
            # Any two differ in letter and in colour, whichever way they are turned.
            for turns in range(4):
                assert np.abs(np.rot90(a, turns).astype(int) - b).mean() > 20
        for turns in range(1, 4):
            assert np.abs(np.rot90(a, turns).astype(int) - a).max() > 50


def test_cameras_see_what_they_are_for(built):
    model, data = built.mj_model, mujoco.MjData(built.mj_model)
    data.qpos[:] = built.start_qpos
    mujoco.mj_forward(model, data)

    def on_screen(camera, point, aspect=4 / 3):
        at = data.cam_xmat[camera.id].reshape(3, 3).T @ (
            point - data.cam_xpos[camera.id]
        )
        half = np.tan(np.radians(model.cam_fovy[camera.id]) / 2)
        x, y = at[:2] / -at[2]
        return at[2] < 0 and abs(x) < half * aspect and abs(y) < half

    cube, goal = data.body("cube").xpos, data.body("goal").xpos
    tips = [data.site(tip).xpos for tip in hand.FINGERTIPS]
    for name, points in {
        "front": [cube, goal, *tips],
        "top": [cube, goal, *tips],
        "palm": [cube, *tips],
    }.items():
        assert all(on_screen(model.camera(name), point) for point in points), name


def palm_and_cube(as_box: bool) -> mujoco.MjModel:
    """A fixed palm, turned up, as published (a box) or as our capsules, and the cube."""
    spec = mujoco.MjSpec()
    spec.option.timestep, spec.option.iterations = 0.002, 50
    palm = spec.worldbody.add_body(name="palm", quat=(0.5, -0.5, 0.5, -0.5))
    kind = mujoco.mjtGeom
    if as_box:
        palm.add_geom(
            type=kind.mjGEOM_BOX, size=(0.032, 0.0111, 0.049), pos=(0.011, 0, 0.038)
        )
    else:
        (link,) = (link for link in hand.LINKS if link.name == "palm")
        for shape in link.capsules[: hand.PALM_CAPSULES]:
            palm.add_geom(
                type=kind.mjGEOM_CAPSULE,
                size=(shape.radius, 0, 0),
                fromto=(*shape.start, *shape.end),
            )
    spec.add_material(name=look.CUBE)
    cfg = SceneConfig()
    scene._add_object(spec, scene.object_shape("cube", cfg), cfg)
    return spec.compile()


@pytest.mark.parametrize("turn", [0.0, 0.3, np.pi / 4])
def test_cube_rests_on_the_capsules_as_on_the_box(turn):
    """Dropped tilted, any way round, it comes to lie as flat and as high."""
    rests = []
    for as_box in (True, False):
        model = palm_and_cube(as_box)
        data = mujoco.MjData(model)
        # The palm's middle is at world x = .038, y = -.011, as z of the palm is world x.
        data.qpos[:3] = (0.038, -0.011, 0.04)
        tilt, yaw, both = np.zeros(4), np.zeros(4), np.zeros(4)
        mujoco.mju_axisAngle2Quat(tilt, np.array([1.0, 0, 0]), 0.15)
        mujoco.mju_axisAngle2Quat(yaw, np.array([0, 0, 1.0]), turn)
        mujoco.mju_mulQuat(both, yaw, tilt)
        data.qpos[3:] = both
        mujoco.mj_step(model, data, 1000)
        assert np.abs(data.qvel).max() < 1e-2
        rests.append(
            (data.qpos[2], data.xmat[model.body("cube").id].reshape(3, 3)[2, 2])
        )
    (box_height, box_upright), (height, upright) = rests
    assert height == pytest.approx(box_height, abs=3e-4)
    assert box_upright == pytest.approx(1, abs=1e-4)
    assert upright == pytest.approx(1, abs=5e-4)  # 0.03 rad


@pytest.mark.parametrize("tiny", [{"cube_edge": 1e-9}, {"cube_density": 1e-12}])
def test_an_object_too_light_for_mujoco_is_refused_in_one_line(tiny):
    with pytest.raises(
        ConfigError, match=r"mjMINVAL.*scene\.cube_edge \(.*cube_density"
    ):
        scene.build(SceneConfig(**tiny))
