"""The commands as a user runs them: train, stop, resume, evaluate, film."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace

import jax
import numpy as np
import pytest

from mjxhand import evaluate, export, metrics, runs, storage, train
from mjxhand.arrays import PIECE
from mjxhand.config import ConfigError
from mjxhand.presets import PRESETS

TRAIN = [sys.executable, "-m", "mjxhand.train"]


def run(*args, **kwargs):
    return subprocess.run(
        [*map(str, args)], capture_output=True, text=True, timeout=300, **kwargs
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A finished smoke run, made by the command, and what it printed."""
    out = tmp_path_factory.mktemp("runs") / "smoke"
    result = run(*TRAIN, "smoke", "--out", out)
    assert result.returncode == 0, result.stderr
    return out, result


def test_smoke_leaves_a_whole_run(trained):
    out, result = trained
    assert result.stderr == ""
    lines = metrics.read(out)
    assert [line["update"] for line in lines] == [1, 2, 3, 4]
    assert [line["env_steps"] for line in lines] == [256, 512, 768, 1024]
    assert np.isclose(lines[-1]["simulated_years"], 1024 * 0.08 / 31_557_600)
    terms = {"time", "progress", "drop", "success", "force"}
    assert {f"reward/{term}" for term in terms} <= set(lines[-1])
    for name in ("sps", "goals_per_episode", "loss/policy", "loss/value", "policy/kl"):
        assert name in lines[-1]
    assert (out / "film.mp4").stat().st_size > 1000
    report = json.loads((out / "evaluation.json").read_text())
    assert set(report) == {"task", "full_task"}
    for result in (report["task"]["trained"], report["full_task"]["untrained"]):
        assert result["episodes"] == 8
        assert result["unfinished"] == 0
        ends = ("drop_rate", "time_out_rate", "complete_rate", "invalid_rate")
        assert np.isclose(sum(result[end] for end in ends), 1.0)
        histogram = result["goals"]["histogram"]
        assert sum(histogram.values()) == 8
        mean = sum(int(goals) * n for goals, n in histogram.items()) / 8
        assert np.isclose(mean, result["goals"]["mean"])


def test_a_used_folder_is_refused(trained):
    out, _ = trained
    before = sorted(out.rglob("*"))
    result = run(*TRAIN, "smoke", "--out", out)
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1
    assert "--resume" in result.stderr
    assert sorted(out.rglob("*")) == before


def test_a_run_is_not_made_shorter_than_it_is(trained):
    out, _ = trained
    before = (out / "config.json").read_text()
    result = run(*TRAIN, "--resume", out, "--total-steps", 512)
    assert result.returncode == 2
    assert "--total-steps must be at least 769" in result.stderr
    assert result.stderr.count("\n") == 1
    assert (out / "config.json").read_text() == before


def test_evaluate_command_is_repeatable(trained, tmp_path):
    out, _ = trained
    results = []
    for name in ("a.json", "b.json"):
        evaluate.main(
            [str(out), "--episodes", "8", "--seed", "7", "--json", str(tmp_path / name)]
        )
        results.append(json.loads((tmp_path / name).read_text()))
    assert results[0] == results[1]
    assert results[0]["seed"] == 7
    assert results[0]["impl"] == "native"


def test_a_policy_is_of_the_update_that_is_asked_for(trained):
    out, _ = trained
    checkpoints = train.Checkpoints(out)
    assert checkpoints.updates() == [2, 4]
    for step, update in ((2, 2), (4, 4), (None, 4)):
        loaded = evaluate.load_policy(out, step)
        assert loaded.update == update
        saved = checkpoints.arrays(update)["learner"]
        for name, value in storage.to_arrays({"params": loaded.params}).items():
            np.testing.assert_array_equal(value, saved[name])


def test_checkpoint_of_another_network_is_refused(trained, capsys):
    out, _ = trained
    config = json.loads((out / "config.json").read_text())
    changed = config | {"network": config["network"] | {"units_scale": 0.1}}
    try:
        (out / "config.json").write_text(json.dumps(changed))
        assert evaluate.main([str(out), "--episodes", "2"]) == 2
    finally:
        (out / "config.json").write_text(json.dumps(config))
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "another network" in error


TIMING = ("seconds", "sps", "memory/")


def assert_same_run(a, b):
    """Every number of every update, and the last checkpoint to the bit: weights, optimiser,
    statistics, keys, environments."""
    lines = [
        [{k: v for k, v in x.items() if not k.startswith(TIMING)} for x in y]
        for y in (metrics.read(a), metrics.read(b))
    ]
    assert lines[0] == lines[1]
    assert (b / "metrics.jsonl").read_bytes().count(b"\n") == len(lines[0])
    assert_same_checkpoint(a, b, train.Checkpoints(a).latest())


def assert_same_checkpoint(a, b, update, parts=("learner", "actors")):
    one, two = (train.Checkpoints(run).arrays(update) for run in (a, b))
    for part in parts:
        assert len(one[part]) > 10
        assert {n: x.tobytes() for n, x in one[part].items()} == {
            n: x.tobytes() for n, x in two[part].items()
        }


KILLED = """
import os, signal, sys
from mjxhand import storage, train
from mjxhand.metrics import Metrics

def kill(*_):
    os.kill(os.getpid(), signal.SIGKILL)

point, *argv = sys.argv[1:]
write = Metrics._append
def half_a_line(self):
    if not self._waiting or '"update": 4,' not in self._waiting[-1]:
        return write(self)
    self._file.write(self._waiting[-1][:100].encode())
    kill()
if point == "in a save":
    storage.write_manifest = kill
else:
    Metrics._append = half_a_line
train.main(argv)
"""


@pytest.mark.slow
def test_a_run_killed_twice_equals_an_unbroken_one(trained, tmp_path):
    """SIGKILL in the middle of the first save, then in the middle of a line of metrics."""
    out, _ = trained
    twice = tmp_path / "twice"
    first = ["smoke", "--out", twice, "--no-film", "--evaluate-episodes", 0, "--quiet"]
    again = ["--resume", twice, "--quiet"]
    for point, argv in (("in a save", first), ("in a line", again)):
        result = run(sys.executable, "-c", KILLED, point, *argv)
        assert result.returncode == -signal.SIGKILL, result.stderr
    assert "from the beginning" in result.stderr  # no save was whole
    text = (twice / "metrics.jsonl").read_text()
    assert text.count("\n") == 3
    assert not text.endswith("\n")
    result = run(*TRAIN, *again)
    assert result.returncode == 0, result.stderr
    assert_same_run(out, twice)


@pytest.mark.slow
def test_a_run_on_mjx_is_the_same_again(tmp_path):
    """Two processes, the whole path on the jax back end: pool, update, checkpoint."""
    small = ("--physics.impl", "jax", "--total-steps", 512, "--no-film", "--quiet")
    small = (*small, "--evaluate-episodes", 0)
    for name in ("one", "two"):
        result = run(*TRAIN, "smoke", "--out", tmp_path / name, *small)
        assert result.returncode == 0, result.stderr
    assert_same_run(tmp_path / "one", tmp_path / "two")
    assert len(metrics.read(tmp_path / "one")) == 2


@pytest.mark.slow
def test_a_run_moves_between_machines_in_small_files(tmp_path, capsys):
    """Three pieces, exported in between, and one run: the same to the bit where environments
    travel; where they stay behind, everything learned goes on and new ones begin."""
    config = replace(PRESETS["smoke"], evaluate_episodes=0, film=False)

    def go_on(folder, updates, resume=True):
        steps = replace(config, total_steps=updates * config.steps_per_update)
        train.train(steps, folder, resume=resume, quiet=True)

    names = ("whole", "1", "2", "3", "bare")
    out, one, two, three, bare = (tmp_path / name for name in names)
    go_on(runs.prepare(out, config), 3, resume=False)
    go_on(runs.prepare(one, config), 1, resume=False)
    assert export.main([str(one), str(two), "--with-environments"]) == 0
    go_on(two, 2)
    assert export.export(two, three, with_environments=True) == 2
    go_on(three, 3)
    assert_same_run(out, three)
    assert export.export(one, bare) == 1
    assert_same_checkpoint(one, bare, 1, parts=("learner",))
    assert not list(bare.glob("checkpoints/*/actors"))
    sizes = [p.stat().st_size for p in bare.rglob("*") if p.is_file()]
    assert max(sizes) <= PIECE
    capsys.readouterr()
    go_on(bare, 2)
    assert "environments start anew" in capsys.readouterr().err
    steps = [line["env_steps"] for line in metrics.read(bare)]
    assert steps == [256, 512]
    arrays = train.Checkpoints(bare).arrays(2)
    assert arrays["learner"]["update"] == 2
    assert arrays["learner"]["opt_state.1.count"] == 2 * 4  # Adam's, on from 4
    assert arrays["learner"]["obs_stats.count.lo"] == 2 * 256
    # Other episodes than the run began with.
    assert not np.array_equal(
        arrays["actors"]["key"], train.Checkpoints(one).arrays(1)["actors"]["key"]
    )


def test_export_refuses_what_it_must(trained, tmp_path, capsys):
    out, _ = trained
    for argv, words in (
        ([str(out)], "a run and a new folder"),
        ([str(tmp_path), str(tmp_path / "x")], "holds no run"),
        ([str(out), str(out)], "already holds a run"),
    ):
        assert export.main(argv) == 2
        err = capsys.readouterr().err
        assert err.count("\n") == 1
        assert words in err


def test_environments_that_are_not_there_cannot_be_taken_along(tmp_path):
    """As in a run that came from another machine without them."""
    bare, to = runs.prepare(tmp_path / "bare", PRESETS["smoke"]), tmp_path / "to"
    with train.Checkpoints(bare) as checkpoints:
        checkpoints.save(1, {"w": np.zeros(3)})
    with pytest.raises(ConfigError, match=r"update 1 of .*bare holds no environments"):
        export.export(bare, to, with_environments=True)
    assert not to.exists()
    assert export.export(bare, to) == 1


def test_what_is_exported_is_the_newest_that_is_whole(tmp_path, capsys):
    folder, to = runs.prepare(tmp_path / "run", PRESETS["smoke"]), tmp_path / "to"
    with train.Checkpoints(folder) as checkpoints:
        for update in (1, 2, 3):
            checkpoints.save(update, {"w": np.full(3, update)}, {"x": np.ones(2)})
    (checkpoints.folder / "00000003" / "manifest.json").write_text("{}")
    (folder / metrics.FILE).write_text('{"update": 1}\n{"update": 2}\n')
    assert export.export(folder, to) == 2
    copied = train.Checkpoints(to)
    assert copied.updates() == [2]
    assert {k: v.keys() for k, v in copied.arrays(2).items()} == {"learner": {"w"}}
    np.testing.assert_array_equal(copied.arrays(2)["learner"]["w"], 2)
    assert metrics.read(to) == [{"update": 1}, {"update": 2}]
    whole = tmp_path / "whole"
    assert export.export(folder, whole, with_environments=True) == 2
    np.testing.assert_array_equal(train.Checkpoints(whole).arrays(2)["actors"]["x"], 1)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGUSR1])
def test_a_signal_saves_and_leaves_cleanly(tmp_path, number):
    out = tmp_path / "run"
    process = subprocess.Popen(
        [*TRAIN, "smoke", "--out", str(out), "--total-steps", "100000000"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )
    deadline = time.monotonic() + 240
    path = out / "metrics.jsonl"
    while not (path.exists() and path.read_text().count("\n") >= 3):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.2)
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=120)
    assert process.returncode == 0
    assert stderr == ""
    assert f"--resume {out}" in stdout
    done = len(metrics.read(out))
    assert train.Checkpoints(out).latest() == done >= 3


def test_update_compiles_once(tmp_path):
    one = train.Run(PRESETS["smoke"], tmp_path / "run")
    for _ in range(3):
        one.step()
    assert one.program.update._cache_size() == 1


def smoke_from(source, **network):
    network = replace(PRESETS["smoke"].network, weights=str(source), **network)
    return replace(PRESETS["smoke"], network=network, seed=1)


def test_training_starts_with_given_weights(trained, tmp_path):
    """Those of the run named, with its statistics; the rest is new; one program."""
    out, _ = trained
    given = evaluate.load_policy(out)
    one = train.Run(smoke_from(out), tmp_path / "run")
    fresh = jax.tree.map(np.array, one.learner)
    one.begin()
    for before, after in (
        (given.params, one.learner.params),
        (given.stats, one.learner.obs_stats),
        (fresh.opt_state, one.learner.opt_state),
        (fresh.return_stats, one.learner.return_stats),
    ):
        jax.tree.map(np.testing.assert_array_equal, before, after)
    for _ in range(2):
        one.step()
    assert one.program.update._cache_size() == 1
    # What it is compared with afterwards is a fresh network, not the given one.
    jax.tree.map(np.testing.assert_array_equal, fresh.params, one.untrained.params)


def test_a_run_from_given_weights_is_resumed_from_its_own(trained, tmp_path):
    """The source may be gone by then."""
    source, out = tmp_path / "source", tmp_path / "run"
    shutil.copytree(trained[0], source)
    small = ("--no-film", "--evaluate-episodes", "0", "--quiet")
    first = ("smoke", "--from", source, "--out", out, "--until-seconds", "0.001")
    assert train.main([*map(str, (*first, *small))]) == 0
    done = len(metrics.read(out))
    assert 0 < done < 4
    shutil.rmtree(source)
    assert train.main(["--resume", str(out), "--quiet"]) == 0
    assert len(metrics.read(out)) == 4


def test_weights_of_another_network_are_refused_before_there_is_a_folder(
    trained, tmp_path, capsys
):
    out = tmp_path / "run"
    begin = ["smoke", "--from", str(trained[0]), "--out", str(out)]
    assert train.main([*begin, "--network.units-scale", "0.1"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "network.weights" in error
    assert not out.exists()
    both = ["--env.vision", "pixels", "--network.vision-stream", "eye.npz"]
    assert train.main([*begin, *both]) == 2
    assert "leave out --network.vision-stream" in capsys.readouterr().err


def test_evaluator_compiles_once_for_every_policy_and_distance(trained):
    out, _ = trained
    policy = evaluate.load_policy(out)
    env = evaluate.make_env(policy.config)
    evaluator = evaluate.Evaluator(env, policy.agent, episodes=8)
    results = [
        evaluator(brain, goal_angle_max=distance)
        for brain in (evaluate.untrained(policy), policy)
        for distance in (None, np.pi)
    ]
    assert evaluator._block._cache_size() == 1
    # The same numbers as the command wrote from the run's own learner.
    report = json.loads((out / "evaluation.json").read_text())
    for name, pair in (("untrained", results[:2]), ("trained", results[2:])):
        for task, result in zip(("task", "full_task"), pair, strict=True):
            assert report[task][name] == json.loads(json.dumps(result))
