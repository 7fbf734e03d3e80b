"""V1 to IT: their arithmetic, what they learn, what reaches them, what freezes them."""

import dataclasses
import json
import types
from pathlib import Path
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from scipy.spatial.transform import Rotation

from mjxhand import agent as agent_module
from mjxhand import networks, pretrain, runs, vision_file
from mjxhand.config import Config, ConfigError, NetworkConfig
from mjxhand.env import Env
from mjxhand.networks import lesions, pose, vision
from mjxhand.sharding import Program, make_mesh
from mjxhand.streams import Conv

SIZES = {
    "vision": (32, 32, 3),
    "proprioception": 48,
    "touch": 92,
    "goal": 4,
    "privileged": 32,
}
T, B, OUTPUTS = 2, 3, 12


def random_obs(seed=0):
    rng = np.random.default_rng(seed)
    obs = {
        name: rng.standard_normal((T, B, size)).astype(np.float32)
        for name, size in SIZES.items()
        if name != "vision"
    }
    return obs | {"vision": rng.integers(0, 256, (T, B, 32, 32, 3), np.uint8)}


def shapes_of(module):
    return jax.eval_shape(
        lambda key: networks.init(module, key, SIZES), jax.random.PRNGKey(0)
    )


def made(name, **options):
    cfg = NetworkConfig(name=name, units_scale=0.05, **options)
    module = networks.build(cfg, SIZES, OUTPUTS)
    rng = np.random.default_rng(0)
    # Not the network's own start, which takes long to compile, and hardly moves the policy.
    return module, jax.tree.map(
        lambda x: jnp.asarray(0.2 * rng.standard_normal(x.shape), jnp.float32),
        shapes_of(module),
    )


def run(module, params, obs):
    carry = module.initial_carry(B)
    return module.apply(params, carry, obs, jnp.zeros((T, B), bool))[1]


def slow_area(x, kernel, bias, stride):
    """Loops over filters and windows, zero padding so that all positions count: [H, W, C]."""

    def padded(x, width, step, fill):
        out = -(-np.array(x.shape[:2]) // step)
        extra = np.maximum((out - 1) * step + width - np.array(x.shape[:2]), 0)
        low = extra // 2
        pads = [(a, b) for a, b in zip(low, extra - low, strict=True)]
        return np.pad(x, [*pads, (0, 0)], constant_values=fill), out

    width = kernel.shape[0]
    big, (height, breadth) = padded(x, width, stride, 0.0)
    y = np.zeros((height, breadth, kernel.shape[3]))
    for i in range(height):
        for j in range(breadth):
            window = big[i * stride :, j * stride :][:width, :width]
            y[i, j] = np.einsum("hwc,hwco->o", window, kernel) + bias
    big, (height, breadth) = padded(np.maximum(y, 0.0), 3, 2, -np.inf)
    pooled = np.zeros((height, breadth, y.shape[2]))
    for i in range(height):
        for j in range(breadth):
            pooled[i, j] = big[2 * i :, 2 * j :][:3, :3].max((0, 1))
    return pooled


@pytest.mark.parametrize(("kernel", "stride", "edge"), [(7, 2, 20), (3, 1, 9)])
def test_an_area_equals_slow_loops(kernel, stride, edge):
    conv = Conv((edge, edge + 2, 3), 5, kernel, stride)
    area = vision.ConvArea(conv)
    x = np.random.default_rng(1).standard_normal((2, edge, edge + 2, 3))
    flat = jnp.asarray(x.reshape(1, 2, -1), jnp.float32)
    params = area.init(jax.random.PRNGKey(2), flat)
    filters = params["params"]["filters"]
    filters["bias"] = jnp.linspace(-0.5, 0.5, 5)
    out = area.apply(params, flat)
    expected = [
        slow_area(one, np.asarray(filters["kernel"], float), filters["bias"], stride)
        for one in x
    ]
    assert conv.output == expected[0].shape
    np.testing.assert_allclose(
        np.asarray(out).reshape(2, *conv.output), expected, atol=1e-4
    )
    assert conv.weights == filters["kernel"].size


@pytest.mark.parametrize(
    ("width", "stride", "edge"), [(7, 2, 12), (3, 1, 5), (3, 2, 6)]
)
def test_products_and_slices_are_the_convolution_and_the_pooling(width, stride, edge):
    """And so are their gradients: other platforms than a CPU take XLA's own."""
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(2, edge, edge + 1, 3)), jnp.float32)
    kernel = jnp.asarray(rng.normal(size=(width, width, 3, 4)), jnp.float32)

    def own(x, kernel):
        return vision.max_pool(vision.filter_by_products(x, kernel, stride))

    def of_xla(x, kernel):
        y = jax.lax.conv_general_dilated(
            x,
            kernel,
            (stride, stride),
            "SAME",
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )
        return nn.max_pool(y, (3, 3), (2, 2), "SAME")

    np.testing.assert_allclose(own(x, kernel), of_xla(x, kernel), rtol=1e-5, atol=1e-4)
    weights = jnp.asarray(rng.normal(size=own(x, kernel).shape), jnp.float32)
    for argument in (0, 1):
        ours, theirs = (
            jax.grad(lambda *a, f=f: jnp.sum(weights * f(*a)), argument)(x, kernel)
            for f in (own, of_xla)
        )
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-3)


def test_areas_at_full_size_are_those_of_cornet_z():
    """64 px: half per stride and per pooling; 7²·3·64 + 64 weights in V1 and so on."""
    areas = vision.areas({"vision": (64, 64, 3)}, 1.0)
    maps = {a.name: a.conv.output for a in areas if a.conv}
    assert maps == {
        "V1": (16, 16, 64), "V2": (8, 8, 128), "V4": (4, 4, 256), "IT": (2, 2, 512)
    }  # fmt: skip
    assert [a.units for a in areas] == [16384, 8192, 4096, 2048]
    stream = vision.VisualStream(areas)
    shapes = jax.eval_shape(
        stream.init, jax.random.PRNGKey(0), jnp.zeros((1, 64, 64, 3), jnp.uint8)
    )
    assert networks.parameter_counts(shapes) == {
        "V1": 49 * 3 * 64 + 64,
        "V2": 9 * 64 * 128 + 128,
        "V4": 9 * 128 * 256 + 256,
        "IT": 9 * 256 * 512 + 512,
        "pose_head": 2048 * 9 + 9,
    }
    assert vision.areas({"vision": 7}, 1.0) == ()


def test_it_stands_where_the_pose_stood():
    """In the published network vision reaches IPL and IPS; pathway counts add up."""
    module, params = made("fpn")
    before = networks.build(NetworkConfig(), SIZES | {"vision": 7}, OUTPUTS)
    for target in ("IPL", "IPS"):
        expected = ["IT" if s == "vision" else s for s in before.wiring.sources(target)]
        assert list(module.wiring.sources(target)) == expected
    assert module.wiring.sources("V1") == ("vision",)
    assert module.wiring.sources("IT") == ("V4",)
    counts = networks.pathway_counts(module.wiring, SIZES, OUTPUTS, "lstm")
    kernels = {
        area: sum(
            leaf.size
            for path, leaf in jax.tree_util.tree_leaves_with_path(
                params["params"][area]
            )
            if "'kernel'" in jax.tree_util.keystr(path)
        )
        for area in ("V1", "V2", "V4", "IT", "IPL", "IPS", "MCC")
    }
    found = dict.fromkeys(kernels, 0)
    for pathway, weights in counts:
        if pathway.target in found:
            found[pathway.target] += weights
    assert found == kernels


@pytest.mark.parametrize("name", ["fpn", "baseline"])
def test_every_area_is_told_and_v1_hears_policy_value_and_pose(name):
    obs = random_obs()

    def heads(module, params):
        out = run(module, params, obs)
        sums = [jnp.sum(jnp.square(x)) for x in (out.logits, out.value, out.pose)]
        return jnp.stack(sums), out

    def slopes(**options):
        module, params = made(name, **options)
        jacobian = jax.jit(jax.jacrev(lambda p: heads(module, p), has_aux=True))
        grads, out = jacobian(params)
        return grads["params"], out

    grads, out = slopes()
    assert {"V1", "V2", "V4", "IT"} < set(out.areas)
    assert out.areas["V1"].shape == (T, B, 8 * 8 * 4)
    assert out.pose.shape == (T, B, pose.SIZE)
    kernel = grads["V1"]["filters"]["kernel"]  # [3, ...]: of logits, value, pose
    assert np.all(np.abs(kernel).max((1, 2, 3, 4)) > 0)
    grads, frozen = slopes(freeze_vision=True)
    np.testing.assert_array_equal(out.logits, frozen.logits)
    for area in ("V1", "V2", "V4", "IT"):
        assert all(not np.any(x) for x in jax.tree.leaves(grads[area]))
    assert np.any(grads["pose_head"]["kernel"][2])


@pytest.mark.parametrize("name", ["fpn", "baseline", "mlp"])
def test_a_lesion_of_a_visual_area_blinds(name):
    module, params = made(name)
    one, two = random_obs(), random_obs()
    two["vision"] = 255 - two["vision"]

    jitted = jax.jit(lambda params, obs: run(module, params, obs).logits)

    def logits(obs, **lesion):
        return jitted(lesions.apply(params, module.wiring, **lesion), obs)

    assert not np.allclose(logits(one), logits(two), atol=1e-7)
    for lesion in (
        {"areas": ["V1"]},
        {"areas": ["IT"]},
        {"areas": ["vision"]},
        {"pathways": ["V2 -> V4"]},
        {"pathways": ["vision -> V1"]},
        {"pathways": [p for p in map(str, module.wiring.pathways) if "IT -> " in p]},
    ):
        np.testing.assert_array_equal(logits(one, **lesion), logits(two, **lesion))


def test_pose_code_against_scipy():
    rng = np.random.default_rng(0)
    turns, others = (
        Rotation.random(50, random_state=1),
        Rotation.random(50, random_state=2),
    )
    place = rng.normal(size=(50, 3)).astype(np.float32)
    quat = turns.as_quat(scalar_first=True).astype(np.float32)
    true = jnp.concatenate([place, quat], axis=1)
    code = pose.encode(true)
    position, matrix = pose.decode(code)
    np.testing.assert_allclose(position, place, atol=1e-5)
    np.testing.assert_allclose(matrix, turns.as_matrix(), atol=1e-5)
    flipped = jnp.concatenate([place, -quat], axis=1)
    np.testing.assert_allclose(pose.encode(flipped), code, atol=1e-6)
    np.testing.assert_allclose(pose.loss(code, flipped), 0.0, atol=1e-10)
    seen = jnp.concatenate(
        [place + [0.003, 0.0, 0.004], others.as_quat(scalar_first=True)], axis=1
    )
    off = pose.errors(pose.encode(seen), true)
    np.testing.assert_allclose(off.position, 0.005, atol=1e-5)
    np.testing.assert_allclose(off.angle, (turns.inv() * others).magnitude(), atol=1e-3)
    # Any nine numbers are some rotation.
    _, matrix = pose.decode(jnp.asarray(rng.normal(size=(50, 9)), jnp.float32))
    np.testing.assert_allclose(np.linalg.det(matrix), 1.0, atol=1e-5)


FRAME = ("--env.frame-size", "32", "--network.units-scale", "0.05")


@pytest.fixture(scope="module")
def stream(tmp_path_factory):
    """A stream that `python -m mjxhand.pretrain` has written, hardly trained."""
    pytest.importorskip("warp")
    path = tmp_path_factory.mktemp("vision") / "vision.npz"
    code = pretrain.main(
        ["smoke", "--out", str(path), "--frames", "256", "--passes", "1", *FRAME]
        + ["--test-frames", "64"]
    )
    assert code == 0
    return path


def pixels(config: Config, **network) -> Config:
    return dataclasses.replace(
        config,
        env=dataclasses.replace(
            config.env,
            vision="pixels",
            frame_size=32,
            goal_encoding="absolute",
            pool_size=8,
        ),
        network=dataclasses.replace(config.network, **network),
    )


@pytest.mark.slow
def test_pretraining_learns_the_poses_it_is_shown(smoke):
    pytest.importorskip("warp")
    config, options = pretrain.parse(
        ["smoke", "--learning-rate", "3e-3", "--batch", "32", *FRAME]
    )
    hands = pretrain.Hands(config, 0)
    frames, poses = hands.draw(64)
    learning = pretrain.Learning(config, hands.eye.shape, options, 600)
    before = learning.errors(frames, poses)
    for number in range(300):
        learning.learn(frames, poses, jax.random.PRNGKey(number))
    after = learning.errors(frames, poses)
    assert np.median(before.angle) > np.radians(80)
    assert np.median(after.angle) < np.radians(40)
    assert np.median(after.position) < 0.5 * np.median(before.position)


def test_a_stream_tells_its_errors_in_degrees_and_millimetres(smoke):
    """Of three cubes; two lie 3 mm on either side of the third."""
    off = pose.Errors(angle=np.radians([10.0, 20.0, 40.0]), position=np.full(3, 0.002))
    told = np.zeros((3, 7), np.float32)
    told[:, 0] = 0.4, 0.403, 0.397
    learning = types.SimpleNamespace(
        stream=types.SimpleNamespace(visual=None), errors=lambda *test: off
    )
    with mock.patch.object(vision, "frame_of", return_value=(32, 32, 3)):
        about = pretrain._about(smoke, learning, ([], told), frames=7)
    assert about["angle_degrees"] == {"median": 20.0, "p90": 36.0}
    assert about["position_mm"] == {"median": 2.0, "p90": 2.0}
    assert about["position_mm_of_the_mean"] == {"median": 3.0, "p90": 3.0}
    assert (about["frames"], about["test_frames"]) == (7, 3)


def test_file_of_a_stream(stream, smoke, tmp_path):
    held, about = vision_file.read(stream)
    assert about["frame"] == [32, 32, 3]
    assert about["frames"] == 256
    _, params = made("fpn")
    placed = vision_file.put(params, stream)["params"]
    np.testing.assert_array_equal(
        placed["V2"]["filters"]["kernel"], held["V2.filters.kernel"]
    )
    np.testing.assert_array_equal(
        placed["IPL"]["layer1"]["kernel"], params["params"]["IPL"]["layer1"]["kernel"]
    )
    wide = networks.build(NetworkConfig(units_scale=0.2), SIZES, OUTPUTS)
    other = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), shapes_of(wide))
    with pytest.raises(ConfigError, match=r"units-scale 0\.05"):
        vision_file.put(other, stream)
    assert about["cameras"] == "palm"
    vision_file.put(params, stream, "palm")
    with pytest.raises(ConfigError, match=r"--env\.cameras palm, not front"):
        vision_file.put(params, stream, "front")
    # Filters of one size would fit.
    with pytest.raises(ConfigError, match=r"--env\.frame-size 32, not 40"):
        vision_file.put(params, stream, "palm", 40)
    vision_file.put(params, stream, "palm", 32)
    broken = tmp_path / "broken.npz"
    broken.write_bytes(stream.read_bytes()[:500])
    for path in (broken, tmp_path / "none.npz"):
        with pytest.raises(ConfigError, match="cannot read") as caught:
            vision_file.read(path)
        assert "\n" not in str(caught.value)


def test_a_run_keeps_its_stream(stream, smoke, tmp_path):
    moved = tmp_path / "v.npz"
    moved.write_bytes(stream.read_bytes())
    config = pixels(smoke, vision_stream=str(moved))
    run = runs.prepare(tmp_path / "run", config)
    moved.unlink()
    again = runs.read_config(run)
    vision_file.read(again.network.vision_stream)
    runs.check_resumed(again, runs.read_config(run))
    runs.prepare(run, again, resume=True)
    kept = json.loads((run / "config.json").read_text())
    assert kept["network"]["vision_stream"] == str(moved)


@pytest.mark.slow
def test_two_updates_from_pixels_leave_a_frozen_stream(stream, smoke):
    """Frames of the rollout are uint8, statistics skip them, the pose head learns alone."""
    config = pixels(smoke, vision_stream=str(stream), freeze_vision=True)
    ppo = dataclasses.replace(
        config.ppo, num_envs=4, unroll_length=4, chunk_length=2, pose_weight=1.0
    )
    config = dataclasses.replace(config, ppo=ppo)
    env = Env(config)
    agent = agent_module.build(config, env.observation_sizes, env.num_actuators)
    program = Program(config, env, agent, make_mesh(jax.devices()[:1]))
    learner = program.init_learner(0)
    assert set(learner.obs_stats.mean) == {
        "proprioception", "touch", "goal", "privileged"
    }  # fmt: skip
    params = program.place_params(env.make_params(0))
    actors = program.init_actors(0, params)
    assert actors.state.obs["vision"].dtype == jnp.uint8
    before = jax.device_get(learner.params["params"])
    for _ in range(2):
        learner, actors, metrics = program.update(learner, actors, params)
    assert all(np.isfinite(v) for k, v in metrics.items() if k.startswith("loss/"))
    assert 0 < metrics["loss/pose_angle"] < np.pi
    after = jax.device_get(learner.params["params"])
    held, _ = vision_file.read(stream)
    for area in ("V1", "V2", "V4", "IT"):
        for name in ("kernel", "bias"):
            kept = held[f"{area}.filters.{name}"]
            np.testing.assert_array_equal(before[area]["filters"][name], kept)
            np.testing.assert_array_equal(after[area]["filters"][name], kept)
    for part in ("pose_head", "policy_head", "value_head", "IPL"):
        old, new = jax.tree.leaves(before[part]), jax.tree.leaves(after[part])
        assert any(not np.array_equal(a, b) for a, b in zip(old, new, strict=True))
    np.testing.assert_array_equal(
        actors.state.obs["vision"],
        env.eye.frames(np.asarray(actors.state.physics.qpos)),
    )


def test_a_round_that_does_not_end_in_time_leaves_a_word(smoke, monkeypatch, capsys):
    """Of what there is by then: before the first round has ended, nothing."""
    stop = mock.MagicMock()
    stop.return_value.__enter__.return_value.asked = False
    hands = mock.MagicMock()
    hands.return_value.draw.return_value = ([], [])
    # As if the time were over in the middle of every round.
    hands.return_value.restart = lambda _: stop.call_args.args[0]()
    learning = mock.MagicMock()
    learning.return_value.learn.return_value = 0.0
    learning.return_value.params = 0.0
    for name, fake in (("Stop", stop), ("Hands", hands), ("Learning", learning)):
        monkeypatch.setattr(pretrain, name, fake)
    monkeypatch.setattr(
        pretrain, "_about", lambda *_, frames, **_kw: {"frames": frames}
    )
    monkeypatch.setattr(pretrain, "sentence", lambda about: "learned")
    monkeypatch.setattr(vision_file, "write", lambda *_: None)
    options = pretrain.PretrainOptions(out="v.npz", frames=2 * pretrain.ROUND)
    pretrain.pretrain(smoke, options)
    said = [line for line in capsys.readouterr().out.splitlines() if "stopped" in line]
    assert said == [
        "stopped in the first round: nothing is written to v.npz",
        "stopped; v.npz holds what 8,192 frames taught",
    ]


def test_a_stream_is_tested_on_start_states_that_it_never_learned_from(
    smoke, monkeypatch
):
    began, hands, learning = [], mock.MagicMock(), mock.MagicMock()
    hands.side_effect = lambda config, seed, _: began.append(seed) or hands.made
    hands.made.restart = began.append
    hands.made.draw.return_value = ([], [])
    learning.return_value.learn.return_value = 0.0
    learning.return_value.params = 0.0
    for name, fake in (("Hands", hands), ("Learning", learning)):
        monkeypatch.setattr(pretrain, name, fake)
    monkeypatch.setattr(
        pretrain, "_about", lambda *_, frames, **_kw: {"frames": frames}
    )
    monkeypatch.setattr(pretrain, "sentence", lambda about: "learned")
    monkeypatch.setattr(vision_file, "write", lambda *_: None)
    options = pretrain.PretrainOptions(out="v.npz", frames=3 * pretrain.ROUND)
    pretrain.pretrain(smoke, options)
    assert len(set(began)) == len(began) == 1 + 3
    pretrain.pretrain(dataclasses.replace(smoke, seed=1), options)
    assert len(set(began)) == 8


def test_a_stream_is_not_lost_to_another(tmp_path, monkeypatch, capsys):
    """It may have taken hours; the default name is the same for all."""
    monkeypatch.chdir(tmp_path)
    learned = mock.MagicMock()
    monkeypatch.setattr(pretrain, "pretrain", learned)
    Path("vision.npz").write_bytes(b"a stream")
    assert pretrain.main(["smoke"]) == 2
    assert "vision.npz is there already" in capsys.readouterr().err
    assert not learned.called
    assert pretrain.main(["smoke", "--network.vision-stream", "./vision.npz"]) == 0
    assert learned.called


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--frames", "0"], "--frames is 0: it must be above 0"),
        (["laptopp"], "unknown preset"),
        (["opposition", "--frames", "8"], "leaves the hand empty"),
        (["smoke", "--out", "nowhere/v.npz"], "a folder that is there"),
        (["smoke", "--env.frame-size", "4"], "at least 16"),
        (["smoke", "--network.freeze-vision"], "network.freeze_vision does nothing in"),
    ],
)
def test_pretraining_says_what_is_wrong(argv, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert pretrain.main(argv) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
