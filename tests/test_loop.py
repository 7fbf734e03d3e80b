"""The host's loop around a learner that costs nothing: time, failing disks, bad numbers."""

import errno
import json
import os
import subprocess
import sys
import types
from dataclasses import replace
from pathlib import Path
from unittest import mock

import jax.numpy as jnp
import numpy as np
import probe_envs
import pytest

from mjxhand import checkpoint, cli, evaluate, finish, lines, lock, ppo, runs, train
from mjxhand.checkpoint import CheckpointError, Checkpoints
from mjxhand.command_options import TrainOptions
from mjxhand.config import ConfigError
from mjxhand.metrics import read
from mjxhand.presets import PRESETS

CONFIG = replace(PRESETS["smoke"], checkpoint_updates=2, total_steps=12 * 256)


class Fake(train.Run):
    """Counts updates; `clock` moves by 50 s in the first one and by 10 s in the others."""

    clock = 0.0
    skipped = 0.0

    def __init__(self, config, out, debug_nans=False, env=None):
        physics = types.SimpleNamespace(impl="none")
        self.env = types.SimpleNamespace(label="nothing", physics=physics)
        self.config, self.out, self.checkpoints = config, out, Checkpoints(out)
        self.update = 0
        self.learner, self.actors = {"w": np.zeros(3)}, {"n": np.zeros(2)}

    def step(self):
        seconds = 10.0 if self.update else 50.0
        type(self).clock += seconds
        self.update += 1
        self.learner = {"w": np.full(3, float(self.update))}
        return {
            "update": self.update,
            "env_steps": 256 * self.update,
            "seconds": seconds,
            ppo.SKIPPED: self.skipped,
        }


@pytest.fixture
def fake(monkeypatch):
    """`Fake` in the place of a run, its clock in that of the time."""

    class Fresh(Fake):
        pass

    monkeypatch.setattr(train, "Run", Fresh)
    monkeypatch.setattr(
        train, "time", types.SimpleNamespace(monotonic=lambda: Fresh.clock)
    )
    return Fresh


@pytest.mark.parametrize(
    ("seconds", "updates"), [(100, 6), (95, 5), (10, 1), (59, 2), (None, 12)]
)
def test_time_given_holds_compilation_and_no_update_that_ends_later(
    fake, tmp_path, seconds, updates
):
    """50 s compile and go first, then 10 s each, which is known once the second has ended."""
    run = train.train(CONFIG, tmp_path, until_seconds=seconds, quiet=True)
    assert run.update == updates
    assert len(read(tmp_path)) == updates
    update, learner = Checkpoints(tmp_path).restore_learner({"w": np.zeros(3)})
    assert update == updates
    assert (learner["w"] == updates).all()


def test_a_reader_that_has_left_ends_it_saved(fake, tmp_path, monkeypatch):
    """`train | head`, or a terminal that was closed with the `tee` in it."""

    def show(self, line):
        if line["update"] == 3:
            raise BrokenPipeError

    monkeypatch.setattr(train.Display, "show", show)
    run = train.train(CONFIG, tmp_path, quiet=True)
    assert run.update == Checkpoints(tmp_path).latest() == 3


def test_a_run_that_is_made_longer_has_not_ended(fake, tmp_path, monkeypatch):
    """Scripts wait for `evaluation.json`, and it is read as what the newest policy can do."""
    monkeypatch.setattr(
        fake, "restore", lambda self: setattr(self, "update", 6), raising=False
    )
    ended = tmp_path / runs.EVALUATION
    ended.write_text('{"task": {}}')
    short = replace(CONFIG, total_steps=6 * 256)
    assert train.train(short, tmp_path, resume=True, quiet=True).complete
    assert ended.exists()
    train.train(CONFIG, tmp_path, resume=True, until_seconds=70, quiet=True)
    assert not ended.exists()
    assert (tmp_path / "evaluation-6.json").read_text() == '{"task": {}}'


HOLDING = """
import sys
from mjxhand import lock
with lock.held(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_process_in_a_run_is_refused_and_one_that_was_killed_is_not_in_it(
    fake, tmp_path
):
    run = runs.prepare(tmp_path / "run", CONFIG)
    before = (run / "config.json").read_bytes()
    options = TrainOptions(out=str(run), resume=str(run))
    longer = replace(CONFIG, total_steps=256)
    other = subprocess.Popen(
        [sys.executable, "-c", HOLDING, str(run)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])},
    )
    try:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        for call in (
            lambda: cli.prepare_out(options, longer),
            lambda: train.train(longer, run, resume=True, quiet=True),
        ):
            with pytest.raises(ConfigError, match="trained by another process"):
                call()
        assert (run / "config.json").read_bytes() == before
        assert read(run) == []
    finally:
        other.kill()
        other.communicate()
    cli.prepare_out(options, longer)
    assert train.train(longer, run, quiet=True).complete
    assert train.train(longer, run, quiet=True).complete  # the first one let go of it


@pytest.mark.parametrize("absent", ["on the system", "on the disk"])
def test_where_there_are_no_locks_it_is_told_and_training_goes_on(
    fake, tmp_path, monkeypatch, capsys, absent
):
    def unsupported(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    if absent == "on the system":
        monkeypatch.setattr(lock, "fcntl", None)
    else:
        monkeypatch.setattr(lock.fcntl, "flock", unsupported)
    assert train.train(replace(CONFIG, total_steps=256), tmp_path, quiet=True).complete
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"warning: {tmp_path / '.lock'} cannot be locked (")


def test_a_folder_with_nothing_but_a_lock_is_empty(tmp_path):
    with lock.held(tmp_path):
        pass
    assert [p.name for p in tmp_path.iterdir()] == [".lock"]
    assert runs.read_config(runs.prepare(tmp_path, CONFIG)) == CONFIG


def test_a_run_without_an_evaluation_has_an_end_too(fake, tmp_path):
    """Loops and job scripts wait for the file; what an earlier end found stays."""
    path = tmp_path / "evaluation.json"
    run = fake(replace(CONFIG, evaluate_episodes=0, film=False), tmp_path)
    assert finish.finish(run) == 0
    assert path.read_text() == "{}\n"
    path.write_text('{"task": {}}')
    assert finish.finish(run) == 0
    assert path.read_text() == '{"task": {}}'


def test_an_evaluation_that_cannot_be_written_costs_no_film(
    fake, tmp_path, monkeypatch, capsys
):
    def full(path, text):
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    filmed = []
    monkeypatch.setattr(finish, "play", lambda run: ({"task": {}}, {"qpos": 0}))
    monkeypatch.setattr(finish, "report", lambda results: None)
    monkeypatch.setattr(finish, "film", lambda run, seen: filmed.append(seen))
    monkeypatch.setattr(finish, "write_text_atomically", full)
    assert finish.finish(fake(CONFIG, tmp_path)) == 2
    assert filmed == [{"qpos": 0}]
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(
        f"error: cannot write {tmp_path / 'evaluation.json'} (No space"
    )
    assert f"--resume {tmp_path}" in line


def test_an_evaluation_is_kept_before_it_is_told(fake, tmp_path, monkeypatch):
    """Whoever would read it may have left."""

    def left(text):
        raise BrokenPipeError

    trained = {"task": "turn", "episodes": 8}
    monkeypatch.setattr(
        finish, "play", lambda run: ({"task": {"trained": trained}}, {})
    )
    monkeypatch.setattr(finish.cli, "say", left)
    with pytest.raises(BrokenPipeError):
        finish.finish(fake(CONFIG, tmp_path))
    kept = json.loads((tmp_path / "evaluation.json").read_text())
    assert kept == {"task": {"trained": trained}}


def test_a_disk_that_fills_up_and_is_emptied(fake, tmp_path, monkeypatch, capsys):
    """Checkpoints of updates 2 and 4 find no room: told, and training goes on."""
    write = checkpoint.write_arrays

    def full_at_first(folder, arrays):
        write(folder, arrays)
        if folder.parent.name in (".00000002", ".00000004"):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "write_arrays", full_at_first)
    run = train.train(CONFIG, tmp_path, quiet=True)
    assert run.complete
    err = capsys.readouterr().err.splitlines()
    assert len(err) == 2
    assert all("could not save a checkpoint" in line for line in err)
    assert all("No space left on device; training goes on" in line for line in err)
    assert run.checkpoints.updates() == [8, 10, 12]
    assert not list(run.checkpoints.folder.glob(".*"))


def test_a_disk_that_stays_full_ends_in_one_line(fake, tmp_path, monkeypatch, capsys):
    def full(*_):
        raise OSError(28, "No space left on device")

    train.train(replace(CONFIG, total_steps=256), tmp_path, quiet=True)
    monkeypatch.setattr(checkpoint, "write_arrays", full)
    with pytest.raises(CheckpointError, match="No space left") as caught:
        train.train(replace(CONFIG, total_steps=512), tmp_path, quiet=True)
    assert "\n" not in str(caught.value)
    assert Checkpoints(tmp_path).updates() == [1]  # what was there is as it was


def test_a_full_disk_does_not_hide_why_training_ended(
    fake, tmp_path, monkeypatch, capsys
):
    """Update 2 finds no room, and update 3 fails before that is told."""
    step = fake.step

    def failing(self):
        if self.update == 2:
            raise RuntimeError("out of memory in update 3")
        return step(self)

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(fake, "step", failing)
    monkeypatch.setattr(checkpoint, "write_arrays", full)
    with pytest.raises(RuntimeError, match="out of memory in update 3"):
        train.train(CONFIG, tmp_path, quiet=True)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("warning: could not save a checkpoint")
    assert line.endswith("No space left on device")


def test_updates_that_learn_nothing_stop_it_saved(fake, tmp_path):
    fake.skipped = 2.0
    config = replace(CONFIG, ppo=replace(CONFIG.ppo, max_skipped_updates=3))
    with pytest.raises(ConfigError, match=r"update 3: .* 3 updates in a row") as caught:
        train.train(config, tmp_path, quiet=True)
    assert f"--resume {tmp_path} --debug-nans" in str(caught.value)
    assert Checkpoints(tmp_path).latest() == 3


def test_a_line_says_each_number_under_its_own_name():
    """Every number that is measured is another one."""
    names = ["episodes", "goal_angle_max", "threshold", "episode/goals"]
    names += [
        f"episode/{name}" for name in ("dropped", "timed_out", "return", "length")
    ]
    names += ["step/overflow", "step/invalid", "step/reward/drop", "step/goals"]
    names += ["loss/total", "policy/kl", "value/explained_variance", ppo.SKIPPED]
    measured = {name: float(i) for i, name in enumerate(names, 2)}
    line = lines.line(CONFIG, 3, measured, seconds=2.0)
    steps = CONFIG.steps_per_update
    assert steps == 256
    expected = {
        "update": 3,
        "env_steps": 3 * steps,
        "simulated_years": 3 * steps * 0.08 / (365.25 * 86_400),
        "sps": steps / 2,
        "seconds": 2.0,
        "episodes": measured["episodes"],
        "goals_per_episode": measured["episode/goals"],
        "drop_rate": measured["episode/dropped"],
        "time_out_rate": measured["episode/timed_out"],
        "episode_return": measured["episode/return"],
        "episode_length": measured["episode/length"],
        "invalid_states": measured["step/invalid"] * steps,
        "overflow_rate": measured["step/overflow"],
        "reward/drop": measured["step/reward/drop"],
    }
    same = ("goal_angle_max", "threshold", ppo.SKIPPED)
    same += ("loss/total", "policy/kl", "value/explained_variance")
    expected |= {name: measured[name] for name in same}
    memory = set(lines.watch.memory())
    assert {k: v for k, v in line.items() if k not in memory} == pytest.approx(expected)
    # Of an update in which no episode ended nothing is known of episodes.
    line = lines.line(CONFIG, 3, measured | {"episodes": 0.0}, seconds=2.0)
    unknown = {name for name, value in line.items() if np.isnan(value)}
    assert unknown == set(lines.PER_EPISODE)


def half_a_run(**more):
    """What `train.Run` asks of itself, pools being their seeds."""
    env = types.SimpleNamespace(make_params=lambda seed: seed)
    program = types.SimpleNamespace(place_params=lambda params: params)
    run = types.SimpleNamespace(config=CONFIG, env=env, program=program, **more)
    run.made, run._generation = [], None

    def pool(generation):
        run.made.append(generation)
        return train.Run._pool(run, generation)

    run._pool, run._take_pool = pool, lambda: train.Run._take_pool(run)
    return run


def test_every_generation_has_a_pool_of_its_own(monkeypatch):
    """A new one each second update here; resumed runs draw from the same."""
    run = half_a_run(update=0, learner=0, actors=0)
    run.program.update = lambda learner, actors, params: (0, 0, {"pool": params})
    monkeypatch.setattr(lines, "line", lambda config, update, m, seconds: m["pool"])
    assert CONFIG.pool_updates == 2
    drawn = [train.Run.step(run) for _ in range(6)]
    assert run.made == [0, 1, 2]
    pools = [run._pool(generation) for generation in range(3)]
    assert drawn == [pool for pool in pools for _ in range(2)]
    assert len(set(pools)) == 3
    run.config = replace(CONFIG, seed=1)
    assert run._pool(0) not in pools


def test_environments_that_start_anew_have_goals_as_far_as_the_run_has_come(
    monkeypatch,
):
    progress = types.SimpleNamespace(goal_angle_max=1.1)
    learner = types.SimpleNamespace(progress=progress)
    checkpoints = types.SimpleNamespace(
        updates=lambda: [4], restore=lambda *_: (4, learner, None)
    )
    run = half_a_run(checkpoints=checkpoints, learner=0, actors=0)
    run.program.init_actors = lambda *given: given
    train.Run.restore(run)
    assert run.actors == (CONFIG.seed, run.params, 4, 1.1)
    # The pool that the next update needs is the one that was made for them.
    run.program.update = lambda learner, actors, params: (0, 0, {"pool": params})
    monkeypatch.setattr(lines, "line", lambda config, update, m, seconds: m["pool"])
    assert train.Run.step(run) == run.params
    assert run.made == [2]


def test_an_evaluation_of_another_seed_starts_from_other_states():
    seeds, begun = [], []

    def make_params(seed):
        seeds.append(seed)
        return probe_envs.PARAMS

    def start(key, params, copies):
        begun.append((key.tolist(), float(params.goal_angle_max)))
        raise StopIteration

    env = types.SimpleNamespace(make_params=make_params, goal_steps=1)
    played = evaluate.Evaluator(env, None, episodes=1)
    played._start = start
    for seed, far in ((0, 0.5), (3, 0.25)):
        with pytest.raises(StopIteration):
            played._run(None, seed, far)
    assert seeds == [evaluate.POOL_SEED, evaluate.POOL_SEED + 3]
    # And its goals are as far as is asked for, whatever the task's own are.
    assert begun == [([0, 0], 0.5), ([0, 3], 0.25)]


def test_deterministic_means_that_nothing_is_drawn():
    distribution = types.SimpleNamespace(
        mode=lambda logits: -logits, sample=lambda logits, key: logits + key
    )
    agent = types.SimpleNamespace(distribution=distribution)
    env = types.SimpleNamespace(make_params=int, goal_steps=1)
    # Of four episodes, two are in the batch: each has the draw of its own place.
    logits, place = jnp.array([[1.0], [2.0]]), jnp.array([1, 3])
    noise = jnp.array([[10.0], [20.0], [30.0], [40.0]])
    for deterministic, expected in ((True, [-1.0, -2.0]), (False, [21.0, 42.0])):
        played = evaluate.Evaluator(env, agent, 4, deterministic)
        assert played._action(logits, place, noise)[:, 0].tolist() == expected


def test_ctrl_c_in_the_evaluation_says_that_all_is_saved(
    fake, tmp_path, monkeypatch, capsys
):
    def interrupted(run):
        raise KeyboardInterrupt

    monkeypatch.setattr(train, "finish", interrupted)
    for name in ("Env", "_agent", "trial"):
        monkeypatch.setattr(train, name, mock.MagicMock())
    out = tmp_path / "run"
    assert train.main(["smoke", "--out", str(out), "--total-steps", "512"]) == 130
    said = capsys.readouterr().out
    assert f"stopped; trained and saved: --resume {out}" in said
    assert Checkpoints(out).latest() == 2
