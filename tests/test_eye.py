"""The batch renderer's frames, against C MuJoCo's pictures and by what can be read from them."""

import builtins
import dataclasses
import math

import jax
import mujoco
import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from sklearn.linear_model import RidgeClassifier

from mjxhand import eye, look, painters, physics, presets, render, scene, skin
from mjxhand.config import Config, ConfigError, PhysicsConfig, SceneConfig
from mjxhand.env import Env

SIZE = 64


@pytest.fixture(scope="module")
def made():
    return scene.build(SceneConfig(object="cube"))


@pytest.fixture(scope="module")
def held(made):
    """qpos [96, nq] of cubes that have settled in the hand."""
    return physics.settle(made, PhysicsConfig(), num=96, seconds=0.64, seed=3).qpos


@pytest.fixture(scope="module")
def warp():
    """Those that draw are skipped where Warp, an extra, is not installed."""
    pytest.importorskip("warp")


@pytest.fixture(scope="module")
def palm(made, warp):
    return eye.Eye(made, ["palm"], SIZE)


def pictures(made, qpos, camera="palm"):
    """C MuJoCo's, uint8[N, H, W, 3]; without the goal, which an eye does not see."""
    model = made.mj_model
    with render.Renderer(model, render.Camera(camera, SIZE, SIZE)) as renderer:
        data = mujoco.MjData(renderer.model)
        drawn = []
        for one in qpos:
            data.qpos[:] = one
            data.mocap_pos[:] = (0.0, 0.0, -10.0)
            mujoco.mj_forward(renderer.model, data)
            drawn.append(renderer.picture(data).copy())
    return np.stack(drawn)


def faces(frames):
    """The face of the cube that each pixel's colour is nearest to; -1: it is grey."""
    rgb = frames.astype(float)
    colourful = np.ptp(rgb, axis=-1) > 0.45 * rgb.max(axis=-1).clip(1)
    named = np.array(
        [[int(c[i : i + 2], 16) for i in (1, 3, 5)] for _, c in look.FACES], float
    )
    unit = named / np.linalg.norm(named, axis=1, keepdims=True)
    nearest = np.argmax(rgb @ unit.T, axis=-1)
    return np.where(colourful, nearest, -1)


def test_frames_show_what_mujoco_shows(made, held, palm):
    frames, expected = palm.frames(held[:12]), pictures(made, held[:12])
    assert frames.shape == (12, SIZE, SIZE, 3)
    assert frames.dtype == np.uint8
    for ours, theirs in zip(frames, expected, strict=True):
        assert np.corrcoef(ours.ravel(), theirs.ravel())[0, 1] > 0.93
    ours, theirs = faces(frames), faces(expected)
    both = (ours >= 0) & (theirs >= 0)
    assert both.sum() > 0.6 * ((ours >= 0) | (theirs >= 0)).sum()
    # What is left are pixels across an edge, where one side wins here and the other there.
    assert np.mean(ours[both] == theirs[both]) > 0.88
    # Another state's picture does not agree like that.
    other = np.roll(theirs, 1, axis=0)
    both = (ours >= 0) & (other >= 0)
    assert np.mean(ours[both] == other[both]) < 0.6


def test_letters_are_turned_as_mujoco_turns_them(made, palm):
    """Seen face on, a face agrees with C's; its mirror image and its turns agree less."""
    one = made.start_qpos.copy()
    camera = made.mj_model.camera("palm")
    axes = Rotation.from_quat(camera.quat, scalar_first=True)
    one[made.cube_qpos][:3] = camera.pos - 0.14 * axes.as_matrix()[:, 2]
    states = []
    # The turn that brings the face's outward axis to the camera.
    for angles in ((0, -90), (0, 90), (1, 90), (1, -90), (0, 0), (0, 180)):
        axis = np.eye(3)[1 - angles[0]] if angles[0] == 0 else np.eye(3)[0]
        turn = axes * Rotation.from_rotvec(np.radians(angles[1]) * axis)
        state = one.copy()
        state[made.cube_qpos][3:] = turn.as_quat(scalar_first=True)
        states.append(state)
    frames = palm.frames(np.array(states)).astype(float).mean(-1)
    expected = pictures(made, states).astype(float).mean(-1)
    middle = slice(SIZE // 2 - 14, SIZE // 2 + 14)
    for ours, theirs in zip(frames[:, middle, middle], expected, strict=True):
        theirs = theirs[middle, middle]

        def alike(a, b=theirs):
            return np.corrcoef(a.ravel(), b.ravel())[0, 1]

        turned = [np.rot90(ours, k) for k in (1, 2, 3)]
        mirrored = [np.rot90(ours[:, ::-1], k) for k in range(4)]
        assert alike(ours) > 0.7
        # Letters such as D and E look much like one of their mirror images.
        assert alike(ours) > max(alike(x) for x in turned + mirrored) + 0.02


def test_all_24_orientations_can_be_read_from_a_frame(made, held, palm):
    """A linear decoder tells them apart in states with other jitter than it has seen."""
    rng = np.random.default_rng(0)
    group = Rotation.create_group("O")
    label = np.tile(np.arange(24), 32)
    train = np.arange(label.size) < 24 * 24
    qpos = held[rng.integers(len(held), size=label.size)].copy()
    jitter = Rotation.from_rotvec(0.06 * rng.standard_normal((label.size, 3)))
    place, turn = np.split(np.arange(made.cube_qpos.start, made.cube_qpos.stop), [3])
    middle = held[:, place].mean(0)
    qpos[:, place] = middle + 0.002 * rng.standard_normal((label.size, 3))
    qpos[:, turn] = (jitter * group[label]).as_quat(scalar_first=True)
    frames = palm.frames(qpos).reshape(label.size, 16, 4, 16, 4, 3)
    x = frames.mean((2, 4)).reshape(label.size, -1) / 255.0
    decoder = RidgeClassifier(10.0).fit(x[train], label[train])
    right = decoder.predict(x[~train]) == label[~train]
    assert right.mean() > 0.97
    # Each of them: one that looked like another would be right half of the time at most.
    assert min(right[label[~train] == k].mean() for k in range(24)) > 0.6
    shuffled = RidgeClassifier(10.0).fit(x[train], rng.permutation(label[train]))
    assert shuffled.score(x[~train], label[~train]) < 0.2


def test_any_batch_draws_the_same(made, held, warp):
    both = eye.Eye(made, ["top", "palm"], 24)
    frames = both.frames(held[:6])
    assert frames.shape == (6, 24, 24, 6)
    alone = eye.Eye(made, ["palm"], 24).frames(held[:6])
    np.testing.assert_array_equal(frames[..., 3:], alone)
    assert not np.array_equal(frames[..., :3], alone)
    np.testing.assert_array_equal(jax.jit(both)(held[2]), frames[2])
    nested = jax.jit(jax.vmap(jax.vmap(both)))(held[:6].reshape(2, 3, -1))
    np.testing.assert_array_equal(nested.reshape(frames.shape), frames)

    def step(_, qpos):
        return None, jax.vmap(both)(qpos)

    _, scanned = jax.jit(lambda q: jax.lax.scan(step, None, q))(
        held[:6].reshape(3, 2, -1)
    )
    np.testing.assert_array_equal(scanned.reshape(frames.shape), frames)


def test_threads_draw_what_mjx_draws(made, held, warp):
    """MJX's renderer is for GPUs; on a CPU it takes one core."""
    both = eye.Eye(made, ["palm", "top"], 24)
    by_mjx = eye.ByMjx(both.model, both.cameras, 24, eye.OPTIONS)
    np.testing.assert_array_equal(by_mjx.draw(held[:40]), both.frames(held[:40]))
    np.testing.assert_array_equal(jax.jit(by_mjx)(held[2]), both.frames(held[2:3])[0])
    nested = jax.jit(jax.vmap(jax.vmap(by_mjx)))(held[:6].reshape(2, 3, -1))
    np.testing.assert_array_equal(nested.reshape(6, *both.shape), both.frames(held[:6]))


def test_threads_share_the_blocks_and_tell_what_went_wrong(
    made, held, warp, monkeypatch
):
    monkeypatch.setattr(painters, "BLOCK", 4)
    monkeypatch.setattr(painters, "usable_cores", lambda: 3)
    own = eye.Eye(made, ["palm"], 16)
    whole, made_by, painted = own.frames(held[:11]), [], painters._Painter.paint
    assert whole.shape == (11, 16, 16, 3)
    for one, frame in zip(held[:11], whole, strict=True):
        np.testing.assert_array_equal(own.frames(one[None])[0], frame)

    def paint(self, qpos):
        made_by.append((id(self), len(qpos)))
        return painted(self, qpos)

    monkeypatch.setattr(painters._Painter, "paint", paint)
    np.testing.assert_array_equal(own.frames(held[:11]), whole)
    assert sorted(number for _, number in made_by) == [3, 4, 4]
    assert own.frames(held[:0]).shape == (0, 16, 16, 3)
    with monkeypatch.context() as patch:
        patch.setattr(painters._Painter, "paint", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            own.frames(held[:11])
    np.testing.assert_array_equal(own.frames(held[:11]), whole)  # none is lost


def test_environment_gives_the_frames_of_its_states(smoke, warp):
    env = dataclasses.replace(
        smoke.env, vision="pixels", frame_size=16, goal_encoding="absolute", pool_size=8
    )
    config = dataclasses.replace(smoke, env=env)
    ours = Env(config)
    told = Env(dataclasses.replace(config, env=dataclasses.replace(env, vision="pose")))
    assert ours.observation_sizes == told.observation_sizes | {
        "vision": (16, 16, 3),
        "privileged": 25 + 7,
    }
    keys = jax.random.split(jax.random.PRNGKey(0), 4)
    action = jax.random.randint(keys[0], (4, 20), 0, env.bins)

    @jax.jit
    def play(keys, params):
        start = jax.vmap(ours.reset, in_axes=(0, None))(keys, params)
        return start, jax.vmap(ours.step, in_axes=(0, 0, None))(start, action, params)

    params = ours.make_params(0)
    assert params.looks.shape == (8, 16, 16, 3)
    for state in play(keys, params):
        assert state.obs["vision"].dtype == np.uint8
        np.testing.assert_array_equal(
            state.obs["vision"], ours.eye.frames(np.asarray(state.physics.qpos))
        )
        pose = np.asarray(state.obs["privileged"][:, -7:])
        cube = np.asarray(state.physics.qpos)[:, ours.scene.cube_qpos]
        np.testing.assert_allclose(pose[:, :3], cube[:, :3], atol=1e-6)
        likeness = np.abs(np.sum(pose[:, 3:] * cube[:, 3:], axis=1))
        np.testing.assert_allclose(likeness, 1.0, atol=1e-5)


@pytest.mark.parametrize("thing", ["cube", "sphere", "capsule", "egg"])
def test_skin_lies_on_its_object(thing):
    shape = scene.object_shape(thing, SceneConfig())
    assert shape is not None
    _, size = shape
    vertices, triangles, texcoords = skin.mesh(shape)
    if thing == "cube":
        off = np.abs(vertices).max(1) - size[0]
        volume = 8 * size[0] ** 3
    elif thing == "capsule":
        ends = np.clip(vertices[:, 2], -size[1], size[1])
        axis = np.stack([0 * ends, 0 * ends, ends], 1)
        off = np.linalg.norm(vertices - axis, axis=1) - size[0]
        volume = math.pi * size[0] ** 2 * (2 * size[1] + 4 / 3 * size[0])
    else:
        halves = np.array(size if thing == "egg" else [size[0]] * 3)
        off = np.linalg.norm(vertices / halves, axis=1) - 1.0
        volume = 4 / 3 * math.pi * np.prod(halves)
    np.testing.assert_allclose(off, 0.0, atol=1e-9)
    # Signed volume: every triangle is counted outwards, and none is missing.
    a, b, c = (vertices[triangles[:, i]] for i in range(3))
    signed = np.sum(a * np.cross(b, c)) / 6
    assert 0.94 * volume < signed < 1.0001 * volume
    assert texcoords.min() > 0
    assert texcoords.max() < 1


def test_missing_warp_is_one_line(made, monkeypatch):
    real = builtins.__import__

    def without_warp(name, *args, **kwargs):
        if name == "warp":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_warp)
    with pytest.raises(ConfigError, match=r"pip install 'mjxhand\[warp\]'") as caught:
        eye.Eye(made, ["palm"], SIZE)
    assert "\n" not in str(caught.value)


def test_a_gpu_that_warp_cannot_use_is_one_line(made, warp, monkeypatch):
    """Another maker's, or a driver that is enough for JAX's older CUDA alone."""
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    monkeypatch.setattr("warp.is_cuda_available", lambda: False)
    with pytest.raises(ConfigError, match=r"driver 580 .* use --env.vision pose"):
        eye.Eye(made, ["palm"], SIZE)
    with pytest.raises(ConfigError, match=r"driver 580 .* use --physics.impl jax"):
        physics.make_physics(made, PhysicsConfig(impl="warp"))


@pytest.mark.parametrize(
    ("cameras", "message"),
    [
        (["palms"], "env.cameras names 'palms': choose from front, top, palm"),
        (["palm", "palm"], "each only once"),
    ],
)
def test_cameras_that_are_not_there(made, warp, cameras, message):
    with pytest.raises(ConfigError, match=message):
        eye.Eye(made, cameras, SIZE)


PIXELS = {"env.vision": "pixels", "env.goal_encoding": "absolute"}
PERCEIVED = {"env.vision": "perceived", "network.vision_stream": "v.npz"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"network.vision_stream": "v.npz"}, "add --env.vision pixels"),
        ({"network.freeze_vision": True}, "add --env.vision pixels"),
        ({"ppo.pose_weight": 1.0}, "add --env.vision pixels"),
        (PIXELS | {"env.goal_encoding": "relative"}, "goal-encoding absolute"),
        (PIXELS | {"env.pose_noise_angle": 0.1}, "leave them out"),
        (
            PIXELS | {"network.freeze_vision": True},
            "give a file .* or a run with --from",
        ),
        (PIXELS | {"env.frame_size": 8}, "at least 16"),
        (
            PIXELS | {"env.task": "opposition", "ppo.pose_weight": 1.0},
            "the hand is empty",
        ),
        (PERCEIVED | {"network.vision_stream": ""}, "needs a stream .*pretrain"),
        (PERCEIVED | {"network.freeze_vision": True}, "no area of the network sees"),
        (PERCEIVED | {"ppo.pose_weight": 1.0}, "no area of the network sees"),
        (
            PERCEIVED | {"env.pose_noise_angle": 0.1},
            "leave them out with --env.vision perceived",
        ),
        (PERCEIVED | {"env.task": "opposition"}, "the hand is empty"),
    ],
)
def test_settings_that_cannot_be_meant(changes, message):
    config = Config()
    for name, value in changes.items():
        part, field = name.split(".")
        inner = dataclasses.replace(getattr(config, part), **{field: value})
        config = dataclasses.replace(config, **{part: inner})
    with pytest.raises(ConfigError, match=message):
        presets.check(config, num_devices=1)
