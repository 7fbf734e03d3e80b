"""Recordings: whole shards, exact resumption, ids of episodes and goals; the whole command."""

import dataclasses
import json
import os
import shutil
import subprocess
import sys
import time
import warnings
from pathlib import Path

import jax
import numpy as np
import pandas as pd
import pytest

from mjxhand import agent as agent_module
from mjxhand.analyse import (
    command,
    gather,
    lesion,
    linearise,
    record,
    recording,
    report,
    rivals,
    run,
    starts,
    store,
    targets,
    tuning,
)
from mjxhand.analyse.lesion import Lesion
from mjxhand.analyse.recorder import Recorder, expected_action
from mjxhand.analyse.recording import AREA, CONTROL, SENSE, Recording
from mjxhand.body import read
from mjxhand.config import ConfigError
from mjxhand.env import Env
from mjxhand.evaluate import Policy
from mjxhand.networks import distributions
from mjxhand.presets import PRESETS

ENVS, LENGTH = 6, 32


@pytest.fixture(scope="module")
def world() -> tuple[Env, Policy]:
    """A fresh policy on goals that are given up after half a second."""
    config = PRESETS["smoke"]
    config = dataclasses.replace(
        config,
        physics=dataclasses.replace(config.physics, impl="native"),
        env=dataclasses.replace(config.env, goal_seconds=0.56, threshold=0.6),
    )
    env = Env(config)
    agent = agent_module.build(config, env.observation_sizes, env.num_actuators)
    policy = Policy(
        config, agent, agent.init(jax.random.PRNGKey(1)), agent.init_stats(), 3
    )
    return env, policy


def settings(world, steps=3 * ENVS * LENGTH):
    env, policy = world
    made = record.plan(policy, env, steps=steps, envs=ENVS, dtype="float32")
    return dataclasses.replace(made, length=LENGTH)


@pytest.fixture(scope="module")
def recorded(world, tmp_path_factory) -> Recording:
    env, policy = world
    folder = tmp_path_factory.mktemp("recording")
    return record.record(policy, env, folder, settings(world))


def test_everything_is_there(recorded, world):
    env, _ = world
    assert recorded.samples == 3 * ENVS * LENGTH
    assert set(recorded.of_kind(SENSE)) == set(env.observation_sizes)
    assert recorded.of_kind(AREA) == recorded.of_kind(CONTROL)
    assert {"PMC", "M1", "SSC1"} <= set(recorded.of_kind(AREA))
    arrays = recorded.read(0, list(recorded.sizes))
    for name, array in arrays.items():
        assert array.shape[:2] == (ENVS, LENGTH), name
        assert np.isfinite(array).all(), name
    assert np.abs(arrays["action"]).max() <= 1
    assert recorded.step_seconds == pytest.approx(0.08)
    # Plain data: nothing in the files needs to be unpickled.
    for path in recorded.folder.glob("*.npz"):
        with np.load(path, allow_pickle=False) as file:
            assert all(file[n].dtype != object for n in file.files)


def test_ids_change_where_episodes_and_goals_do(recorded):
    parts = list(recorded.shards(["episode", "segment", "began", "ended", "success"]))
    whole = {n: np.concatenate([p[n] for p in parts], axis=1) for n in parts[0]}
    episode, segment = whole["episode"], whole["segment"]
    new = episode[:, 1:] != episode[:, :-1]
    np.testing.assert_array_equal(new, whole["ended"][:, :-1])
    np.testing.assert_array_equal(new, whole["began"][:, 1:])
    changed = segment[:, 1:] != segment[:, :-1]
    over = whole["ended"] | whole["success"]
    np.testing.assert_array_equal(changed, over[:, :-1])
    assert new.sum() > 10
    # No id is used by two environments.
    assert len({(e, i) for i in range(ENVS) for e in episode[i]}) == len(
        np.unique(episode)
    )


def test_all_episodes_of_a_start_state_are_in_one_group(recorded, world):
    parts = list(recorded.shards(["episode", "began", "joint_angle"]))
    whole = {n: np.stack([p[n] for p in parts]) for n in parts[0]}
    start = starts.of_recording(recorded)
    episodes, found = len(np.unique(whole["episode"])), len(np.unique(start))
    # More episodes than states in the pool: some must have begun alike.
    assert found <= world[0].config.env.pool_size < episodes
    posture = whole["joint_angle"][whole["began"]]
    own = start[whole["began"]]
    for one in np.unique(own):
        assert len(np.unique(posture[own == one], axis=0)) == 1
    kept = gather.gather(recorded, groups=3).kept
    for one in np.unique(kept.start):
        assert len(np.unique(kept.group[kept.start == one])) == 1


def test_areas_are_those_of_the_network(recorded, world):
    """Replaying the recorded senses gives the recorded activity, of both networks."""
    _, policy = world
    arrays = recorded.read(0, list(recorded.sizes))
    obs = {n: arrays[SENSE + n].swapaxes(0, 1) for n in recorded.of_kind(SENSE)}
    began = arrays["began"].swapaxes(0, 1)
    for prefix, network in ((AREA, policy), (CONTROL, record.control_of(policy))):
        agent = network.agent
        normal = agent.normalize(obs, network.stats)
        _, out = agent.apply(network.params, agent.initial_carry(ENVS), normal, began)
        if prefix == AREA:
            command = expected_action(agent.distribution, out.logits)
            np.testing.assert_allclose(
                arrays["command"].swapaxes(0, 1), command, atol=2e-6
            )
        for name in ("IPS", "PMC", "M1"):
            np.testing.assert_allclose(
                arrays[prefix + name].swapaxes(0, 1), out.areas[name], atol=1e-4
            )


def test_interrupted_recordings_go_on_exactly(recorded, world, tmp_path):
    env, policy = world

    class Stop(Exception):
        pass

    def interrupt(samples):
        if samples > 2 * ENVS * LENGTH:
            raise Stop

    with pytest.raises(Stop):
        record.record(policy, env, tmp_path, settings(world), interrupt)
    assert len(Recording(tmp_path)) == 2
    resumed = record.record(policy, env, tmp_path, settings(world))
    assert len(resumed) == len(recorded)
    for shard in range(len(recorded)):
        a = recorded.read(shard, list(recorded.sizes))
        b = resumed.read(shard, list(recorded.sizes))
        for name in a:
            np.testing.assert_array_equal(a[name], b[name], err_msg=name)
    # A finished one is not touched again.
    again = record.record(policy, env, tmp_path, settings(world))
    assert again.names == resumed.names


def test_more_steps_go_on_with_shards_as_they_are(recorded, world, tmp_path):
    """So many would be recorded in longer ones."""
    env, policy = world
    folder = tmp_path / "recording"
    shutil.copytree(recorded.folder, folder)
    steps = 4 * ENVS * LENGTH
    more = record.plan(policy, env, steps=steps, envs=ENVS, dtype="float32")
    assert more.length > LENGTH
    longer = record.record(policy, env, folder, more)
    assert longer.samples == steps
    assert longer.names[:3] == recorded.names
    np.testing.assert_array_equal(
        longer.read(0, ["reward"])["reward"], recorded.read(0, ["reward"])["reward"]
    )


def test_other_settings_are_refused(recorded, world):
    env, policy = world
    other = dataclasses.replace(settings(world), seed=7)
    with pytest.raises(ConfigError, match="made with seed 0"):
        record.record(policy, env, recorded.folder, other)
    with pytest.raises(ConfigError, match="give at least 1"):
        record.plan(policy, env, steps=0, envs=2)


def test_a_recording_knows_its_run_wherever_that_lies(world, tmp_path):
    """A run keeps its own table; the path of that copy is the folder's."""
    env, _ = world

    def called(folder: str, text: str):
        path = tmp_path / folder / "network.tsv"
        path.parent.mkdir()
        path.write_text(text)
        network = dataclasses.replace(env.config.network, atlas=str(path))
        return dataclasses.replace(env.config, network=network)

    before = called("run", "a table")
    recording.write_manifest(tmp_path, settings(world), before, {}, ["00000.npz"])
    (tmp_path / "run" / "network.tsv").unlink()
    there = Recording(tmp_path)
    moved = called("moved", "a table")
    assert there.is_of(moved)
    assert there.is_of(dataclasses.replace(moved, total_steps=10**9))
    assert not there.is_of(dataclasses.replace(moved, seed=5))
    assert not there.is_of(called("another", "another table"))


def test_damaged_recordings_are_refused(recorded, tmp_path):
    with pytest.raises(ConfigError, match="holds no recording"):
        Recording(tmp_path)
    (tmp_path / recording.MANIFEST).write_text("{")
    with pytest.raises(ConfigError, match="cannot read"):
        Recording(tmp_path)
    text = (recorded.folder / recording.MANIFEST).read_text()
    (tmp_path / recording.MANIFEST).write_text(text)
    with pytest.raises(ConfigError, match="cannot read"):
        Recording(tmp_path).read(0, ["reward"])
    short = json.loads(text)
    short["settings"].popitem()
    (tmp_path / recording.MANIFEST).write_text(json.dumps(short))
    with pytest.raises(ConfigError, match="its settings"):
        Recording(tmp_path)
    (tmp_path / recording.MANIFEST).write_text(text)
    whole = (recorded.folder / recorded.names[0]).read_bytes()
    (tmp_path / recorded.names[0]).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ConfigError, match="cannot read"):
        Recording(tmp_path).read(0, ["reward"])
    with pytest.raises(ConfigError, match="holds no 'nonsense'"):
        recorded.read(0, ["nonsense"])


def test_reading_ahead_joins_shards(recorded):
    whole = np.concatenate([s["reward"] for s in recorded.shards(["reward"])], axis=1)
    ahead = recorded.read(0, ["reward"], ahead=LENGTH + 5)["reward"]
    np.testing.assert_array_equal(ahead, whole[:, : 2 * LENGTH + 5])
    assert recorded.read(2, ["reward"], ahead=5)["reward"].shape[1] == LENGTH


def test_gathering_streams_what_memory_would_hold(recorded):
    found = gather.gather(recorded, groups=3, max_kept=10**6, max_joint=10**6)
    assert found.windows["present"].sums.samples == recorded.samples
    kept = found.kept
    assert len(kept.start) == recorded.samples
    assert (np.diff(kept.start) >= 0).all()
    pmc = np.concatenate(
        [s["area/PMC"].reshape(-1, 13) for s in recorded.shards(["area/PMC"])]
    )
    np.testing.assert_allclose(
        found.joint.covariance("area/PMC", "area/PMC"),
        np.cov(pmc.T, bias=True),
        atol=1e-6,
    )
    # The senses side by side are a source of their own.
    both = found.windows["present"].sums.moments(gather.ALL_SENSES)
    assert both.x_sum.shape[1] == sum(recorded.sizes[n] for n in found.senses)
    # What the planning profile has beside: senses and command by standard deviations, cut at 3.
    parts = [*found.senses, "command"]
    seen = np.stack(
        [np.concatenate([s[n] for n in parts], -1) for s in recorded.shards(parts)]
    )
    seen = seen - seen.mean((0, 1, 2))
    deviation = seen.std((0, 1, 2))
    seen = np.clip(seen / np.where(deviation > 1e-6, deviation, np.inf), -3, 3)
    ahead = gather.gather(recorded, groups=3).windows["profile"]
    assert ahead.leads == {s: s for s in gather.PROFILE_SECONDS}
    assert ahead.sums.samples == 0  # no goal lasts so long
    lift = rivals.Lift(recorded, found.senses)
    used = np.zeros((ENVS, LENGTH), bool)
    used[2, 5:9] = True
    made = lift(1, used)
    assert tuple(made) == rivals.AHEAD_ONLY
    both = made[rivals.WITH_COMMAND]
    np.testing.assert_allclose(both, seen[1, 2, 5:9], atol=1e-4)
    for name, received in ((rivals.CURVED_SENSES, -20), (rivals.CURVED_BOTH, None)):
        curved = made[name]
        np.testing.assert_allclose(curved[:, : -rivals.CURVES], both[:, :received])
        units = curved[:, -rivals.CURVES :]
        assert units.min() == 0
        assert 0.3 < (units > 0).mean() < 0.7
    # A sense that no area receives is none of the network's.
    few = gather.gather(recorded, groups=3, received=("goal", "proprioception"))
    assert few.senses == ("sense/goal", "sense/proprioception")
    sums = few.windows["present"].sums.moments(gather.ALL_SENSES)
    assert sums.x_sum.shape[1] == sum(recorded.sizes[n] for n in few.senses)
    # Both networks are asked for the same: also for what the one that acts commands.
    other = gather.gather(recorded, CONTROL, groups=3, max_kept=10**6).kept
    np.testing.assert_array_equal(other.y["present"], kept.y["present"])
    assert kept.y["present"][:, found.windows["present"].slices["command"]].std() > 0
    # Half a second per goal: no window of 0.8 s is whole.
    assert found.windows["0.8 s"].sums.samples == 0
    assert 0 < found.windows["0.4 s"].sums.samples < recorded.samples


def test_a_step_is_told_with_what_came_of_it(recorded, world):
    """Senses, body and goal before it, its action, and the reward that this brought."""
    env, policy = world
    recorder = Recorder(env, policy.agent, ENVS, "float32", control=True)
    params = recorder.params(0)
    state = recorder.start(0, params)["state"]
    arrays = recorded.read(0, list(recorded.sizes))
    first = {name: array[:, 0] for name, array in arrays.items()}
    most = policy.agent.distribution.bins - 1
    action = np.rint((first["action"] + 1) / 2 * most).astype(np.int32)
    np.testing.assert_allclose(first["action"], 2 * action / most - 1, atol=1e-6)
    after = jax.jit(jax.vmap(env.step, in_axes=(0, 0, None)))(state, action, params)
    body = jax.vmap(lambda p: read(env.scene, p))(state.physics)
    for name, expected in {
        "reward": after.reward,
        "servo": after.target,
        "distance": state.distance,
        "cube_pos": body.cube_pos,
        "cube_quat": body.cube_quat,
        "fingertips": body.fingertips,
        "joint_angle": body.joint_angle,
        SENSE + "touch": state.obs["touch"],
    }.items():
        np.testing.assert_allclose(first[name], expected, atol=1e-5, err_msg=name)
    # What remains is as long as the distance, and leads from the cube to the goal.
    length = np.linalg.norm(arrays["remaining"], axis=-1)
    np.testing.assert_allclose(length, arrays["distance"], atol=2e-3)
    turn = targets.rotation_vector(arrays["cube_quat"], arrays["goal"])
    np.testing.assert_allclose(turn, arrays["remaining"], atol=2e-3)
    # A goal is another one when its segment is, neither before nor after.
    other = np.abs(np.diff(arrays["goal"], axis=1)).max(-1) > 1e-6
    np.testing.assert_array_equal(other, np.diff(arrays["segment"], axis=1) != 0)
    assert arrays["success"].any()


@pytest.mark.parametrize("name", ["multi_categorical", "tanh_normal", "beta"])
def test_the_command_is_what_is_done_on_average(name):
    """Of a tanh-normal in the median."""
    made = distributions.make(name, 2, 5)
    logits = jax.random.normal(jax.random.PRNGKey(3), (made.num_outputs,))
    many = jax.numpy.broadcast_to(logits, (40_000, made.num_outputs))
    done = np.asarray(made.sample(many, jax.random.PRNGKey(4)), np.float64)
    if name == "multi_categorical":
        done = done / 2 - 1  # bins 0 to 4
    average = np.median(done, 0) if name == "tanh_normal" else done.mean(0)
    np.testing.assert_allclose(expected_action(made, logits), average, atol=0.02)


def test_the_control_network_sees_senses_as_the_trained_one_does(world):
    _, policy = world
    moved = jax.tree.map(lambda x: x + 1.0, policy.stats.mean)
    policy = dataclasses.replace(policy, stats=policy.stats.replace(mean=moved))
    control = record.control_of(policy)
    assert control.stats is policy.stats
    kernels = [p.params["params"]["M1"]["layer1"]["kernel"] for p in (policy, control)]
    assert np.abs(kernels[0] - kernels[1]).max() > 0.01


def by_hand(folder, config, shards=3, envs=8) -> tuple[Recording, dict]:
    """A recording of random numbers, its episodes as long as it, of two goals each."""
    rng = np.random.default_rng(0)
    steps, shape = shards * LENGTH, (envs, shards * LENGTH)
    sizes = dict.fromkeys(targets.NEEDED, 3) | {"goal": 4, "cube_quat": 4}
    sizes |= {AREA + "X": 5, "joint_angle": 2}
    arrays = {
        n: rng.normal(size=(*shape, u)).astype(np.float32) for n, u in sizes.items()
    }
    arrays |= {
        n: rng.normal(size=shape).astype(np.float32)
        for n in ("reward", "value", "distance")
    }
    arrays["cube_quat"] /= np.linalg.norm(arrays["cube_quat"], axis=-1, keepdims=True)
    time, env = np.arange(steps), np.arange(envs)[:, None]
    arrays["segment"] = 2 * env + (time >= steps // 2)
    arrays["episode"] = env + 0 * time
    arrays["began"] = (time == 0) & (env >= 0)
    arrays["success"] = (time == steps // 2 - 1) & (env >= 0)
    arrays["ended"] = np.zeros(shape, bool)
    names = [f"{i:05d}.npz" for i in range(shards)]
    for index, name in enumerate(names):
        part = slice(index * LENGTH, (index + 1) * LENGTH)
        record.save(folder / name, {n: a[:, part] for n, a in arrays.items()})
    made = recording.Settings(
        steps * envs, envs, LENGTH, 0, 0, "native", "float32", False
    )
    sizes = {n: a.shape[2] if a.ndim > 2 else 1 for n, a in arrays.items()}
    recording.write_manifest(folder, made, config, sizes, names)
    return Recording(folder), arrays


def test_the_planning_profile_is_of_actions_and_commands_ahead(world, tmp_path):
    """All leads on the samples of the longest, also beside the sources of their own."""
    made, arrays = by_hand(tmp_path, world[0].config)
    found = gather.gather(made, groups=3)
    window, lift = found.windows[gather.PROFILE], rivals.Lift(made, found.senses)
    leads = gather.profile_leads(made.step_seconds)
    longest, steps = max(leads.values()), 3 * LENGTH
    segment = arrays["segment"]
    whole = np.zeros(segment.shape, bool)
    whole[:, : steps - longest] = segment[:, longest:] == segment[:, : steps - longest]
    assert window.sums.samples == whole.sum() == 8 * (steps - 2 * longest)
    rows = {AREA + "X": [], **{name: [] for name in rivals.AHEAD_ONLY}}
    ahead = []
    for shard in range(3):
        part = np.zeros(whole.shape, bool)
        part[:, shard * LENGTH : (shard + 1) * LENGTH] = True
        env, at = np.nonzero(whole & part)
        rows[AREA + "X"].append(arrays[AREA + "X"][env, at])
        for name, x in lift(shard, whole[part].reshape(8, LENGTH)).items():
            rows[name].append(x)
        ahead.append(
            {
                f"{what} {lead:g}": arrays[what][env, at + late]
                for lead, late in leads.items()
                for what in ("action", "command")
            }
        )
    assert set(window.slices) == set(ahead[0])
    for source, parts in rows.items():
        x, sums = np.concatenate(parts).astype(float), window.sums.moments(source)
        cross = sums.xy.sum(0) - np.outer(sums.x_sum.sum(0), sums.y_sum.sum(0)) / len(x)
        for name, columns in window.slices.items():
            y = np.concatenate([part[name] for part in ahead]).astype(float)
            expected = (x - x.mean(0)).T @ (y - y.mean(0))
            np.testing.assert_allclose(cross[:, columns], expected, atol=0.05)


def test_what_is_kept_of_a_step_stays_together(world, tmp_path):
    made, arrays = by_hand(tmp_path, world[0].config)
    kept = gather.gather(made, groups=3, max_kept=200).kept
    whole = {tuple(x): i for i, x in enumerate(arrays[AREA + "X"].reshape(-1, 5))}
    at = np.array([whole[tuple(x)] for x in kept.sources[AREA + "X"]])
    env, step = np.divmod(at, 3 * LENGTH)
    assert 100 < len(at) <= 200
    for name in ("goal", "segment"):
        np.testing.assert_array_equal(kept.extra[name], arrays[name][env, step])
    np.testing.assert_array_equal(kept.sources["action"], arrays["action"][env, step])
    before = arrays["reward"][env, step - 1]
    past = kept.valid[gather.PAST]
    np.testing.assert_array_equal(kept.y[gather.PAST][past, 0], before[past])
    # Ordered by start and time; all of an environment here is one start, of one group.
    order = kept.start * 1000 + step
    assert (np.diff(order) > 0).all()
    assert len(np.unique(np.c_[kept.start, env, kept.group], axis=0)) == 8


def test_turns_made_are_classes_of_steps_whose_window_is_whole(
    world, tmp_path, monkeypatch
):
    made, _ = by_hand(tmp_path, world[0].config)
    found = gather.gather(made, groups=3)
    seen = []
    monkeypatch.setattr(
        tuning, "tuning", lambda x, label, start, **_: seen.append(label)
        or pd.DataFrame({"unit": [0]}),
    )  # fmt: skip
    depth = {"X": 1}
    table = run._tuning(found, (AREA + "X",), None, AREA, depth)["tuning_units"]
    (label,) = seen
    valid = found.kept.valid[tuning.MADE]
    assert valid.any()
    assert not valid.all()
    # Random orientations: every turn is large enough for a class.
    np.testing.assert_array_equal(label >= 0, valid)
    assert table[["area", "policy", "turn"]].values.tolist() == [
        ["X", "trained", "made"]
    ]
    own = pd.DataFrame({"source": [CONTROL + "X", SENSE + "touch", "action"]})
    told = run.labelled(own, CONTROL, depth).set_index("area")
    assert told["policy"].to_dict() == {
        "X": "untrained", "touch": "both", "present action": "both",
    }  # fmt: skip
    assert told["depth"].to_dict() == {"X": 1, "touch": 0, "present action": 0}


def test_depths_follow_the_wiring(recorded, world):
    depth = run.depths(recorded, world[1])
    assert depth["touch"] == 0
    assert (depth["SSC1"], depth["SSC"], depth["MCC"]) == (1, 2, 1)
    assert depth["LPFC"] < depth["PMC"] < depth["M1"]


def test_a_fresh_memory_forgets(recorded, world):
    """Small weights: under each input one fixed point, and everything decays towards it."""
    _, policy = world
    assert linearise.recurrent_areas(recorded, policy, AREA) == ["PMC"]
    tables = linearise.tables(recorded, policy, AREA, "PMC")
    points = tables["fixed_points"]
    assert points["input"].tolist() == ["mean", "step 1", "step 2", "step 3"]
    assert (points["points"] == 1).all()
    assert (points["found"] == 1).all()
    assert (points["stable"] == 1).all()
    # A forget bias of 1: a unit alone keeps σ(1) = 0.73 of itself per step, τ = 0.26 s;
    # coupled, the slowest mode outlasts it.
    assert points["slowest"].between(0.26, 3.0).all()
    assert len(tables["spectrum"]) == 4 * 2 * 13


def test_lesions_are_measured_beside_the_intact_network(recorded, world):
    env, policy = world
    parts = [Lesion("area", "M1"), Lesion("recurrence", "PMC"), Lesion("held", "M1")]
    means = {"M1": recorded.mean(AREA + "M1")}
    every = np.concatenate(
        [s[AREA + "M1"] for s in recorded.shards([AREA + "M1"])], axis=1
    )
    np.testing.assert_allclose(means["M1"], every.mean((0, 1)), rtol=1e-5)
    table = lesion.measure(
        policy, env, parts, episodes=4, untrained=policy, means=means
    )
    assert table["lesion"].tolist() == [
        "intact",
        "M1",
        "memory of PMC",
        "M1 held",
        "untrained",
    ]
    # The same policy on the same episodes: no change at all.
    assert table["change"].iloc[-1] == table["change_ci95"].iloc[-1] == 0
    assert table["episode_seconds"].iloc[-1] == table["episode_seconds"].iloc[0]


def call(*words):
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
    return subprocess.run(
        [sys.executable, "-m", *map(str, words)],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )


def interrupted(words, manifest):
    """Start a command, and kill it without warning once there is a whole shard."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
    command = [sys.executable, "-m", *map(str, words)]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL
    ) as running:
        while not manifest.exists() and running.poll() is None:
            time.sleep(0.02)
        running.kill()
    return json.loads(manifest.read_text())["shards"]


@pytest.mark.slow
def test_the_command_goes_on_after_it_was_killed_and_writes_a_whole_report(tmp_path):
    trained = call(
        *"mjxhand.train smoke --no-film --quiet --evaluate-episodes 0".split(),
        *"--physics.impl native --env.goal-seconds 4".split(),
        *("--out", tmp_path / "run"),
    )
    assert trained.returncode == 0, trained.stderr
    out = tmp_path / "out"
    words = "--steps 24000 --envs 32 --groups 3 --permutations 3 --lesion-episodes 2"
    words = ("mjxhand.analyse", tmp_path / "run", "--out", out, *words.split())
    first = interrupted(words, out / "recording" / recording.MANIFEST)
    assert 1 <= len(first) < 3
    before = (out / "recording" / first[0]).stat().st_mtime_ns
    done = call(*words)
    assert done.returncode == 0, done.stderr
    assert (out / "recording" / first[0]).stat().st_mtime_ns == before
    page = (out / "report.html").read_text()
    assert 'src="data:image/png' in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "primary somatosensory cortex" in page
    decoded = pd.read_csv(out / "tables" / "decoding.csv")
    assert {"trained", "untrained", "both"} == set(decoded["policy"])
    assert {"PMC", "M1", "touch", "present action"} <= set(decoded["area"])
    claims = pd.read_csv(out / "tables" / "claims.csv")
    assert claims["verdict"].notna().all()
    # Two networks, whose weights differ: what drives their actions does, too.
    drive = pd.read_csv(out / "tables" / "saliency.csv").set_index(["source", "sense"])
    pair = [drive[drive["policy"] == who]["share"] for who in ("trained", "untrained")]
    assert (pair[0]["actions"] - pair[1]["actions"]).abs().max() > 1e-4
    blocks = pd.read_csv(out / "tables" / "jackknife.csv")
    told = blocks[blocks["target"] == "command"]
    assert {"trained", "untrained", "both"} == set(told["policy"])
    assert {"without 0", "without 1", "without 2"} <= set(blocks)
    lesions = pd.read_csv(out / "tables" / "lesions.csv")
    assert {"intact", "memory of PMC", "untrained"} <= set(lesions["lesion"])
    assert json.loads((out / "summary.json").read_text())["samples"] == 3 * 256 * 32
    for name in ("decoding", "lesions", "cka", "dynamics", "tuning"):
        assert (out / "figures" / f"{name}.svg").stat().st_size > 1000
    # As with --no-control: nothing is drawn or said of a network that was not there.
    tables, facts = store.load(out)
    alone = {
        name: table[table["policy"] != "untrained"] if "policy" in table else table
        for name, table in tables.items()
    }
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        report.write(tmp_path / "alone", alone, facts | {"control": False})
    page = (tmp_path / "alone" / "report.html").read_text()
    assert "without an untrained one beside it" in page
    for name in ("decoding", "cka", "dynamics", "planning", "saliency", "tuning"):
        drawn = tmp_path / "alone" / "figures" / f"{name}.svg"
        assert not drawn.exists() or "untrained" not in drawn.read_text()


WRONG = [
    ("", "no run folder"),
    ("nowhere", "nowhere holds no run"),
    ("x --lesion-episode 3", "did you mean --lesion-episodes?"),
    ("x --steps 0", "give at least 1"),
    ("x --lesion-episodes 1", "at least 2, or 0"),
    ("x --record-only --report-only", "exclude each other"),
    ("x --report-only --out nowhere", "holds no analysis"),
]


@pytest.mark.parametrize(("argv", "words"), WRONG)
def test_mistakes_are_one_line(argv, words, capsys):
    assert command.main(argv.split()) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1
