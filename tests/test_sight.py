"""Poses that a stream reads from frames: what is told of them, and what stays true."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

import mjxhand
from mjxhand import (
    batch,
    evaluate,
    policy,
    presets,
    pretrain,
    pretrained,
    rotations,
    runs,
    sharding,
    storage,
    symmetry,
    vision_file,
)
from mjxhand.agent import build
from mjxhand.config import Config, ConfigError
from mjxhand.env import Env
from mjxhand.networks import pose

FRAME = ("--env.frame-size", "32", "--network.units-scale", "0.05")


@pytest.fixture(scope="module")
def stream(tmp_path_factory):
    """A stream with the weights it begins with: it reads other poses than there are."""
    pytest.importorskip("warp")
    path = tmp_path_factory.mktemp("sight") / "vision.npz"
    config, options = pretrain.parse(["smoke", *FRAME])
    learning = pretrain.Learning(config, (32, 32, 3), options, 1)
    about = {
        "frame": [32, 32, 3],
        "cameras": "palm",
        "units_scale": 0.05,
        "object": "cube",
    }
    vision_file.write(path, jax.device_get(learning.params), about)
    return path


def perceived(config: Config, stream, **env) -> Config:
    env = {"vision": "perceived", "frame_size": 32, "pool_size": 8} | env
    return dataclasses.replace(
        config,
        env=dataclasses.replace(config.env, **env),
        network=dataclasses.replace(config.network, vision_stream=str(stream)),
    )


def test_told_poses_against_scipy():
    """Also those turned by half: there w is 0, and its row of the matrix is no help."""
    halves = Rotation.from_rotvec(np.pi * np.concatenate([np.eye(3), -np.eye(3)]))
    near = halves * Rotation.from_rotvec([1e-3, -2e-3, 1e-3])
    turns = Rotation.concatenate(
        [Rotation.random(200, random_state=0), halves, near, Rotation.identity(1)]
    )
    matrix = jnp.asarray(turns.as_matrix(), jnp.float32)
    quat = np.asarray(rotations.from_matrix(matrix))
    np.testing.assert_allclose(np.linalg.norm(quat, axis=1), 1.0, atol=1e-6)
    again = Rotation.from_quat(quat, scalar_first=True)
    assert (again * turns.inv()).magnitude().max() < 2e-3
    np.testing.assert_allclose(again.as_matrix(), turns.as_matrix(), atol=2e-6)
    np.testing.assert_array_equal(quat, rotations.canonical(jnp.asarray(quat)))
    place = np.random.default_rng(0).normal(size=(len(quat), 3))
    true = jnp.asarray(np.concatenate([place, quat], axis=1), jnp.float32)
    told = np.asarray(pose.told(pose.encode(true)))
    np.testing.assert_allclose(told[:, :3], true[:, :3], atol=1e-5)
    likeness = np.abs(np.sum(told[:, 3:] * quat, axis=1))
    np.testing.assert_allclose(likeness, 1.0, atol=1e-5)


def test_what_is_seen_is_read_and_what_counts_is_true(smoke, stream):
    """Over a start, a step and a goal that follows a time-out."""
    env = Env(perceived(smoke, stream, pose_encoding="folded"))
    errs = dataclasses.replace(env.config.env, vision="pose", pose_noise_angle=0.1)
    told = Env(dataclasses.replace(env.config, env=errs))
    assert env.observation_sizes == told.observation_sizes  # the critic knows the truth
    keys = jax.random.split(jax.random.PRNGKey(0), 4)
    action = jax.random.randint(keys[0], (4, 20), 0, env.config.env.bins)

    @jax.jit
    def play(keys, params):
        start = jax.vmap(env.reset, in_axes=(0, None))(keys, params)
        after = jax.vmap(env.step, in_axes=(0, 0, None))(start, action, params)
        return (
            start,
            after,
            jax.vmap(env.go_on, in_axes=(0, 0, None))(after, keys, params),
        )

    states = play(keys, env.make_params(0))
    for state in states:
        qpos = np.asarray(state.physics.qpos)
        read = env.sight.poses(env.eye.frames(qpos))
        obs = state.obs
        np.testing.assert_allclose(obs["vision"][:, :3], read[:, :3], atol=1e-5)
        folded = jax.vmap(symmetry.fold)(jnp.asarray(read[:, 3:]))
        np.testing.assert_allclose(obs["vision"][:, 3:], folded, atol=1e-4)
        cube = jnp.asarray(qpos[:, env.scene.cube_qpos])
        off = rotations.angle_between(read[:, 3:], cube[:, 3:])
        assert np.median(off) > 0.2  # or it would not matter which of both is told
        # The goal lies where the stream's pose and the rotation still to make lead.
        goal = rotations.multiply(obs["goal"], jnp.asarray(read[:, 3:]))
        np.testing.assert_allclose(
            rotations.angle_between(goal, state.goal), 0.0, atol=2e-3
        )
        way = rotations.angle_between(state.goal, cube[:, 3:])
        np.testing.assert_allclose(state.distance, way, atol=1e-3)
        np.testing.assert_allclose(obs["privileged"][:, -7:-4], cube[:, :3], atol=1e-6)
        likeness = np.abs(np.sum(obs["privileged"][:, -4:] * cube[:, 3:], axis=1))
        np.testing.assert_allclose(likeness, 1.0, atol=1e-5)
    start, after, on = states
    assert not np.array_equal(start.perceived, after.perceived)
    np.testing.assert_array_equal(on.perceived, after.perceived)


def test_the_stream_reads_what_it_learned_to(smoke, stream):
    """As `mjxhand.pretrain` measures itself, one frame at a time."""
    config, options = pretrain.parse(["smoke", "--network.vision-stream", str(stream)])
    env = dataclasses.replace(config.env, frame_size=32)
    network = dataclasses.replace(config.network, units_scale=0.05)
    config = dataclasses.replace(config, env=env, network=network)
    learning = pretrain.Learning(config, (32, 32, 3), options, 1)
    frames = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), np.uint8)
    sight = Env(perceived(smoke, stream)).sight
    read = sight.poses(frames)
    one = jax.jit(sight.read)(sight.weights, frames[3])
    np.testing.assert_allclose(one, read[3], atol=1e-5)
    off = learning.errors(frames, read)
    np.testing.assert_allclose(off.angle, 0.0, atol=1e-3)
    np.testing.assert_allclose(off.position, 0.0, atol=1e-5)


@pytest.mark.slow
def test_updates_leave_what_reads_the_pose(smoke, stream):
    """On two devices, with time-outs that leave the hand as it is; the second compiles nothing."""
    config = perceived(smoke, stream, goal_seconds=0.24)
    ppo = dataclasses.replace(config.ppo, num_envs=4, unroll_length=4, chunk_length=2)
    curriculum = dataclasses.replace(config.curriculum, keep_state=0.5)
    config = dataclasses.replace(config, ppo=ppo, curriculum=curriculum)
    env = Env(config)
    agent = build(config, env.observation_sizes, env.num_actuators)
    mesh = sharding.make_mesh(jax.devices()[:2])
    program = sharding.Program(config, env, agent, mesh)
    learner = program.init_learner(0)
    assert "V1" not in learner.params["params"]
    params = program.place_params(env.make_params(0))
    actors = program.init_actors(0, params)
    for _ in range(2):
        learner, actors, metrics = program.update(learner, actors, params)
    assert program.update._cache_size() == 1
    assert all(np.isfinite(v) for k, v in metrics.items() if k.startswith("loss/"))
    qpos = np.asarray(actors.state.physics.qpos)
    read = env.sight.poses(env.eye.frames(qpos))
    np.testing.assert_allclose(actors.state.obs["vision"], read, atol=1e-4)


def test_a_stream_of_another_object_is_refused(smoke, stream):
    config = perceived(smoke, stream, pose_encoding="absolute")
    scene = dataclasses.replace(config.scene, object="egg")
    with pytest.raises(ConfigError, match=r"of scene\.object cube, not egg"):
        Env(dataclasses.replace(config, scene=scene))


@pytest.mark.parametrize(
    ("drop", "message"),
    [
        ("cameras", "no file of mjxhand.pretrain"),
        ("V2.filters.kernel", "lacks V2.filters.kernel: teach the stream anew"),
        ("", "no file of mjxhand.pretrain"),
    ],
)
def test_a_stream_that_is_not_whole_is_refused(smoke, stream, tmp_path, drop, message):
    """What is missing would stay 0, and every pose be read wrongly without a word."""
    held, about = vision_file.read(stream)
    told = {name: value for name, value in about.items() if name != drop}
    arrays = {name: array for name, array in held.items() if name != drop}
    path = tmp_path / "part.npz"
    np.savez(path, about=json.dumps(told if drop else ["a list"]), **arrays)
    with pytest.raises(ConfigError, match=message):
        policy.make_env(smoke, vision_stream=str(path))


def test_cameras_may_be_named_with_blanks(stream, tmp_path):
    """As `--env.cameras "palm, front"` is written into a file."""
    held, about = vision_file.read(stream)
    path = tmp_path / "blanks.npz"
    about["cameras"] = "palm, front"
    np.savez(path, about=json.dumps(about), **held)
    params = {"params": storage.from_arrays(held, tree_of(held))}
    vision_file.put(params, path, "palm,front", 32)
    with pytest.raises(ConfigError, match="cameras palm, front, not front"):
        vision_file.put(params, path, "front", 32)


def tree_of(arrays):
    """The nested dict that names with dots describe."""
    tree = {}
    for name, array in arrays.items():
        *groups, last = name.split(".")
        inner = tree
        for group in groups:
            inner = inner.setdefault(group, {})
        inner[last] = array
    return tree


def test_a_name_that_the_package_lacks_is_refused_with_those_it_has(
    monkeypatch, tmp_path
):
    monkeypatch.setattr(pretrained, "HERE", tmp_path)
    with pytest.raises(ConfigError, match="pretrained:x: give a file of"):
        vision_file.locate("pretrained:x")
    (tmp_path / "sight").mkdir()
    (tmp_path / "sight" / vision_file.FILE).touch()
    with pytest.raises(ConfigError, match="give pretrained:sight or a file of"):
        vision_file.locate("pretrained:x")
    found = vision_file.locate("pretrained:sight")
    assert found == tmp_path / "sight" / vision_file.FILE


def test_no_product_of_what_reads_is_rounded(smoke, stream):
    """A start's frame is read outside a step, and must say what a step would say of it."""
    sight = Env(perceived(smoke, stream)).sight
    frame = np.zeros(sight.eye.shape, np.uint8)
    text = jax.jit(sight.read).lower(sight.weights, frame).as_text()
    products = [
        line
        for line in text.splitlines()
        if "stablehlo.convolution" in line or "stablehlo.dot_general" in line
    ]
    assert len(products) >= 5
    assert all(line.count("HIGHEST") == 2 for line in products)


def test_environments_by_keywords(stream):
    made = mjxhand.make(
        "reorient",
        vision="perceived",
        frame_size=32,
        pool_size=2,
        vision_stream=str(stream),
    )
    assert made.sight is not None
    with pytest.raises(
        ConfigError, match="vision='pixels' gives the frames themselves"
    ):
        mjxhand.make("reorient", vision="pixels", vision_stream=str(stream))
    with pytest.raises(ConfigError, match="no frames are seen"):
        mjxhand.make("reorient", vision_stream=str(stream))


def test_any_policy_of_poses_plays_by_sight(stream, tmp_path, capsys):
    run = policy.settings("pretrained:fpn-reorient")
    noisy = dataclasses.replace(
        run.env,
        pose_noise_angle=0.3,
        pool_size=8,
        randomize="angle_bias, position_noise",
    )
    env = policy.make_env(
        dataclasses.replace(run, env=noisy), vision_stream=str(stream)
    )
    cfg = env.config.env
    assert (cfg.vision, cfg.cameras, cfg.frame_size) == ("perceived", "palm", 32)
    assert cfg.pose_noise_angle == 0.0  # the stream errs by itself
    assert env.rows == {}
    assert (cfg.goal_encoding, cfg.pose_encoding) == ("relative", "folded")
    assert "its pose read from frames (palm, 32 px)" in env.label
    assert "randomised" not in env.label  # nothing is: those rows were of the told pose
    out = tmp_path / "blind.json"
    argv = ["pretrained:fpn-reorient", "--vision-stream", str(stream)]
    code = evaluate.main(
        [*argv, "--episodes", "2", "--max-goals", "1", "--json", str(out)]
    )
    assert code == 0
    assert "its pose read from frames" in capsys.readouterr().out
    assert json.loads(out.read_text())["vision_stream"] == str(stream)
    code = evaluate.main([*argv[:2], str(tmp_path / "none.npz")])
    assert code == 2
    assert "cannot read" in capsys.readouterr().err


def test_a_run_that_sees_frames_needs_no_other_stream(smoke, stream):
    env = dataclasses.replace(
        smoke.env, vision="pixels", goal_encoding="absolute", frame_size=32
    )
    with pytest.raises(ConfigError, match="sees frames itself"):
        policy.make_env(dataclasses.replace(smoke, env=env), vision_stream=str(stream))


def test_weights_that_learned_with_told_poses_go_on_by_sight(stream):
    """Told or read, a pose means the same to the network; the critic gets the true one too."""
    run = policy.settings("pretrained:fpn-reorient")
    network = dataclasses.replace(run.network, weights="pretrained:fpn-reorient")
    config = perceived(dataclasses.replace(run, network=network), stream)
    presets.check(config, num_devices=1)
    params, stats = policy.given_weights(config)
    own = policy.load_policy("pretrained:fpn-reorient")
    assert stats.mean["privileged"].shape == (25 + 7,)
    np.testing.assert_array_equal(stats.mean["vision"], own.stats.mean["vision"])
    for area in ("SSC", "IPL", "M1", "policy_head"):
        now, was = params["params"][area], own.params["params"][area]
        jax.tree.map(np.testing.assert_array_equal, now, was)


def test_a_packaged_run_takes_its_stream_along(smoke, stream, tmp_path):
    config = perceived(smoke, stream)
    run = runs.prepare(tmp_path / "run", config)
    again = runs.read_config(run)
    assert again.network.vision_stream == str(run / runs.VISION)
    assert pretrained.folder(run) == run
    held, _ = vision_file.read(again.network.vision_stream)
    given, _ = vision_file.read(stream)
    for name, array in given.items():
        np.testing.assert_array_equal(held[name], array)


def test_a_policy_moves_the_hands_whose_frames_are_drawn(monkeypatch):
    """The states are those of its play, so many control steps apart; poses belong to them."""
    pytest.importorskip("warp")
    for name, value in (("ENVS", 4), ("BLOCK", 2), ("APART", 3), ("POOL", 4)):
        monkeypatch.setattr(f"mjxhand.babble.{name}", value)
    config, _ = pretrain.parse(
        [
            "--moved-by",
            "pretrained:laptop",
            "--env.frame-size",
            "16",
            "--env.pool-size",
            "4",
        ]
    )
    own = policy.load_policy("pretrained:laptop")
    assert config.env.vision == "pixels"
    assert config.env.relative_step == own.config.env.relative_step
    hands = pretrain.Hands(config, 5, own)
    assert hands.env.config.env.vision == "pose"
    assert hands.env.config.env.goal_encoding == own.config.env.goal_encoding
    frames, poses = hands.draw(16)
    assert frames.shape == (16, 16, 16, 3)

    env, agent = hands.env, own.agent
    params = env.make_params(5)
    key, key_start = jax.random.split(jax.random.PRNGKey(5))
    state = batch.reset(env, key_start, 4, params)
    memory, began = agent.initial_carry(4), jnp.ones(4, bool)
    expected = []

    @jax.jit
    def step(state, memory, began, key):
        key, key_action, key_reset = jax.random.split(key, 3)
        memory, out = agent.act(own.params, own.stats, memory, state.obs, began)
        action = agent.distribution.sample(out.logits, key_action)
        stepped = batch.step(env, state, action, key_reset, params)
        return stepped.state, memory, stepped.ended, key

    for number in range(4 * 3):
        if number % 3 == 0:
            expected.append(np.asarray(state.physics.qpos))
        state, memory, began, key = step(state, memory, began, key)
    qpos = np.concatenate(expected)
    np.testing.assert_allclose(poses, qpos[:, env.scene.cube_qpos], atol=2e-3)
    assert np.ptp(poses.reshape(4, 4, 7), axis=0).max() > 0.01  # they were moved
    np.testing.assert_array_equal(frames[:4], hands.eye.frames(qpos[:4]))


def test_who_moves_the_hands_sees_what_it_learned_with(monkeypatch):
    """Its own errors, cameras and frames, whatever the eye is that a stream is taught for."""
    pytest.importorskip("warp")
    for name, value in (("ENVS", 2), ("POOL", 2)):
        monkeypatch.setattr(f"mjxhand.babble.{name}", value)
    own = policy.load_policy("pretrained:laptop")
    argv = ["--moved-by", "pretrained:laptop", "--env.frame-size", "16"]
    config, _ = pretrain.parse([*argv, "--env.pool-size", "2"])

    def moved(**env):
        run = dataclasses.replace(
            own.config, env=dataclasses.replace(own.config.env, **env)
        )
        return pretrain.Hands(config, 5, dataclasses.replace(own, config=run))

    errs = moved(pose_noise_angle=0.3)
    assert set(errs.env.rows) == {"angle_noise"}
    sees = moved(vision="pixels", goal_encoding="absolute", frame_size=32)
    assert sees.env.observation_sizes["vision"] == (32, 32, 3)
    assert errs.eye.shape == sees.eye.shape == (16, 16, 3)


@pytest.mark.parametrize("option", ["env.bins 5", "env.control absolute"])
def test_who_moves_the_hands_acts_as_it_learned(option):
    """Commands of other levels would move them in another way without a word."""
    name, value = option.split()
    argv = ["--moved-by", "pretrained:laptop", f"--{name}", value]
    with pytest.raises(ConfigError, match=f"--{name}: the policy of pretrained:laptop"):
        pretrain.parse(argv)


def test_who_moves_the_hands_also_says_the_scene(capsys):
    assert pretrain.main(["laptop", "--moved-by", "pretrained:laptop"]) == 2
    assert "leave out laptop" in capsys.readouterr().err
    assert pretrain.main(["--moved-by", "nowhere"]) == 2
    assert "nowhere holds no run" in capsys.readouterr().err


def test_the_packaged_stream_reads_cubes_that_have_settled():
    """Start states of its policy, which it never saw; a goal counts within 23°."""
    pytest.importorskip("warp")
    run = policy.settings("pretrained:fpn-reorient")
    env = policy.make_env(run, vision_stream="pretrained:sight", pool_size=48)
    params = env.make_params(7)
    cube = np.asarray(params.pool.qpos)[:, env.scene.cube_qpos]
    off = rotations.angle_between(params.looks[:, 3:], jnp.asarray(cube[:, 3:]))
    assert np.median(off) < np.radians(10)
    assert np.quantile(off, 0.9) < np.radians(23)
    away = np.linalg.norm(params.looks[:, :3] - cube[:, :3], axis=1)
    assert np.median(away) < 0.004


def test_streams_of_the_package_have_names(smoke, tmp_path):
    assert "sight" not in pretrained.names()  # it is no policy
    with pytest.raises(
        ConfigError, match="no stream pretrained:laptop: give pretrained:sight"
    ):
        vision_file.read("pretrained:laptop")
    config = perceived(smoke, "pretrained:sight", frame_size=64)
    run = runs.prepare(tmp_path / "run", config)
    held, about = vision_file.read(run / runs.VISION)
    assert about["moved_by"] == "pretrained:fpn-reorient"
    for name, array in vision_file.read("pretrained:sight")[0].items():
        np.testing.assert_array_equal(held[name], array)
