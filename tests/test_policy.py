"""Policies by name: lesions, weights of other runs, folders that are something else."""

import contextlib
import dataclasses
import io
import json
import math
import shutil
import types

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mjxhand.__main__ as commands
from mjxhand import (
    agent,
    cli,
    evaluate,
    policy,
    presets,
    pretrained,
    render,
    rotations,
    runs,
    widen,
)
from mjxhand.checkpoint import CheckpointError
from mjxhand.config import ConfigError
from mjxhand.env import Env


@pytest.fixture(scope="module")
def laptop():
    return evaluate.load_policy("pretrained:laptop")


def test_parts_are_silenced_by_their_names(laptop):
    cut = policy.lesioned(laptop, "PMC, touch,SSC -> M1 ,PMC memory")
    gains = cut.params["lesion"]
    silent = {
        kind: {name for name, gain in each.items() if float(gain) == 0.0}
        for kind, each in gains.items()
        if kind != "levels"  # what silent areas are held at: 0
    }
    assert silent == {
        "areas": {"PMC", "touch"},
        "pathways": {"SSC -> M1"},
        "memories": {"PMC"},
    }
    assert "lesion" not in laptop.params


def test_a_curriculum_limits_no_evaluation(laptop):
    """Its curriculum begins at 0.8 rad; π is what people type."""
    assert laptop.config.curriculum.enabled
    for farthest in (0.7, 3.1416):
        env = evaluate.make_env(laptop.config, goal_angle_max=farthest)
        assert env.config.env.goal_angle_max == farthest
        assert env.task.is_near == (farthest < 3)
    upright = evaluate.make_env(laptop.config, goal_angle_max=3.1416, goal_axis="z")
    assert upright.task.is_near
    with pytest.raises(ConfigError, match=r"at most 3\.14159"):
        evaluate.make_env(laptop.config, goal_angle_max=3.2)


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--randomize", "friction,delay"], "randomised: friction, delay"),
        (["--object-damping", "0.002"], "cube with damping 0.002"),
    ],
)
def test_evaluate_and_render_change_the_world(laptop, monkeypatch, argv, words):
    """Up to the environment that would be played in."""
    made = []

    class Stop(Exception):
        pass

    def stop(config, **changes):
        made.append(policy.make_env(config, **changes))
        raise Stop

    monkeypatch.setattr(evaluate, "make_env", stop)
    monkeypatch.setattr(evaluate, "load_policy", lambda *_: laptop)
    for main in (evaluate.main, render.main):
        if main is evaluate.main or "--randomize" in argv:
            with pytest.raises(Stop):
                main(["pretrained:laptop", *argv])
            assert f", {words}" in made.pop().label


class Asked(Exception):
    """Nothing more is wanted."""


def test_evaluate_plays_what_it_was_asked_for(monkeypatch):
    """Each option reaches what it is about, and no other."""
    told = {}
    loaded = types.SimpleNamespace(config="config", agent="agent")

    def play(policy, *, seed):
        told["played"] = (policy, seed)
        raise Asked

    def evaluator(*args):
        told["evaluator"] = args
        return play

    def note(name, result):
        def noted(*args, **options):
            told[name] = (*args, options)
            return result

        return noted

    monkeypatch.setattr(evaluate, "load_policy", note("loaded", loaded))
    monkeypatch.setattr(evaluate, "lesioned", note("lesioned", loaded))
    monkeypatch.setattr(evaluate, "make_env", note("env", "env"))
    monkeypatch.setattr(evaluate, "Evaluator", evaluator)
    argv = "RUN --step 7 --episodes 5 --seed 3 --deterministic --lesion PMC --impl jax"
    argv += " --threshold 0.2 --goal-angle-max 1.5 --max-goals 9 --hold-wrist"
    argv += (
        " --randomize delay --object-damping 0.003 --sequence l_r --vision-stream v.npz"
    )
    with pytest.raises(Asked):
        evaluate.main(argv.split())
    assert told["loaded"] == ("RUN", 7, {})
    assert told["lesioned"] == (loaded, "PMC", {})
    changes = {
        "impl": "jax",
        "sequence": "l_r",
        "threshold": 0.2,
        "goal_angle_max": 1.5,
        "max_goals": 9,
        "hold_wrist": True,
        "randomize": "delay",
        "vision_stream": "v.npz",
        "object_damping": 0.003,
    }
    assert told["env"] == ("config", changes)
    assert told["evaluator"] == ("env", "agent", 5, True)
    assert told["played"] == (loaded, 3)


def test_a_film_shows_what_it_was_asked_for(laptop, monkeypatch, tmp_path):
    told = {}
    env = types.SimpleNamespace(
        scene=types.SimpleNamespace(mj_model=None),
        config=types.SimpleNamespace(control_seconds=0.08),
    )

    class Evaluator:
        def __init__(self, *args):
            told["evaluator"] = args

        def record(self, policy, *, seed, steps):
            told["recorded"] = (policy, seed, steps)
            return "trajectory"

    def make_env(config, **changes):
        told["changes"] = {k: v for k, v in changes.items() if v is not None}
        return env

    def film(*args, **options):
        told["film"] = (*args, options)
        return args[2]

    cut = types.SimpleNamespace(agent="agent")
    monkeypatch.setattr(evaluate, "make_env", make_env)
    monkeypatch.setattr(evaluate, "load_policy", lambda *of: of)
    monkeypatch.setattr(evaluate, "Evaluator", Evaluator)
    monkeypatch.setattr(
        render,
        "lesioned",
        lambda policy, parts: told.update(cut=(policy, parts)) or cut,
    )
    monkeypatch.setattr(render, "Renderer", lambda *_: contextlib.nullcontext())
    monkeypatch.setattr(render, "film", film)
    path = tmp_path / "a.gif"
    argv = f"pretrained:laptop --out {path} --step 7 --seconds 4 --seed 3 --fps 20"
    argv += " --deterministic --lesion PMC --hold-wrist --randomize delay --impl jax"
    assert render.main(argv.split()) == 0
    assert told["cut"] == (("pretrained:laptop", 7), "PMC")
    assert told["changes"] == {"impl": "jax", "hold_wrist": True, "randomize": "delay"}
    assert told["evaluator"] == (env, "agent", 1, True)
    assert told["recorded"] == (cut, 3, 50)
    shown, trajectory, out, options = told["film"]
    assert (shown, trajectory, out) == (env, "trajectory", path)
    assert options["fps"] == 20


def test_untrained_is_what_the_run_began_with(smoke):
    """Its own seed's weights."""
    kernels = []
    for seed in (0, 5):
        config = dataclasses.replace(smoke, seed=seed)
        sizes = Env(config).observation_sizes
        made = agent.build(config, sizes, 20)
        fresh = policy.untrained(policy.Policy(config, made, None, None, update=9))
        assert fresh.update == 0
        program = policy._program(config)
        chex.assert_trees_all_equal(fresh.params, program.init_learner(seed).params)
        kernels.append(jax.tree.leaves(fresh.params))
    assert any(not np.array_equal(a, b) for a, b in zip(*kernels, strict=True))


def test_a_recording_begins_where_episodes_do_and_tells_each_step(laptop):
    """What it starts from, what was commanded, and what came of it; goals are a hair away."""
    env = evaluate.make_env(
        laptop.config, pool_size=4, goal_seconds=1.2, threshold=0.9, max_goals=3
    )
    seen = evaluate.Evaluator(env, laptop.agent, 2).record(laptop, steps=39)
    assert all(len(x) == 39 for x in jax.tree.leaves(seen))
    assert seen["began"][0]
    assert seen["ended"][:-1].sum() > 1
    assert seen["success"][:-1].sum() > 3
    np.testing.assert_array_equal(seen["began"][1:], seen["ended"][:-1])
    np.testing.assert_array_equal(seen["episode_step"] == 0, seen["began"])
    there = rotations.angle_between(seen["goal"], seen["qpos"][:, 27:])
    np.testing.assert_allclose(there, seen["distance"], atol=2e-3)
    goes_on = ~seen["ended"][:-1]
    np.testing.assert_array_equal(
        seen["held"][1:][goes_on], seen["target"][:-1][goes_on]
    )
    more = seen["goals"][1:] - seen["goals"][:-1]
    np.testing.assert_array_equal(more[goes_on], seen["success"][:-1][goes_on])


def test_damping_of_the_object_is_changed_and_named(laptop):
    env = evaluate.make_env(laptop.config, object_damping=0.001)
    assert env.scene.mj_model.joint("cube").damping[5] == 0.001
    assert ", cube with damping 0.001," in env.label
    assert "damping" not in evaluate.make_env(laptop.config).label
    with pytest.raises(ConfigError, match=r"^scene\.object_damping is -1:"):
        evaluate.make_env(laptop.config, object_damping=-1)


def test_what_does_nothing_is_refused_in_an_evaluation(laptop):
    chain = {"task": "chain", "goal_angle_max": 1.0, "goal_encoding": "absolute"}
    with pytest.raises(ConfigError, match=r"^env\.goal_angle_max does nothing "):
        evaluate.make_env(laptop.config, **chain)


def test_a_result_is_kept_before_it_is_told(tmp_path, monkeypatch):
    """What is printed may reach nobody, or hold what a terminal cannot show."""

    class Closed(io.StringIO):
        def write(self, text):
            raise ValueError("closed")

    result = {"task": "turn", "impl": "native"}
    nothing = types.SimpleNamespace(config=None, agent=None)
    monkeypatch.setattr(evaluate, "load_policy", lambda *_: nothing)
    monkeypatch.setattr(evaluate, "make_env", lambda *_, **__: None)
    monkeypatch.setattr(evaluate, "Evaluator", lambda *_: lambda *_, **__: result)
    monkeypatch.setattr(evaluate, "sentence", lambda result: "8 ± 1")
    monkeypatch.setattr("sys.stdout", Closed())
    path = tmp_path / "a.json"
    with pytest.raises(ValueError, match="closed"):
        evaluate.main(["run", "--json", str(path)])
    assert json.loads(path.read_text()) == result


def senses(sizes, num=4):
    """Streams f32[num, size] of random numbers."""
    rng = np.random.default_rng(0)
    return {k: jnp.asarray(rng.normal(size=(num, n)), "f4") for k, n in sizes.items()}


def test_a_policy_plays_where_the_seen_pose_errs(laptop):
    """The critic would be told the true pose there; the policy acts on the same senses alike."""
    env = evaluate.make_env(laptop.config, randomize="all", pool_size=2)
    assert env.observation_sizes["privileged"] == 25 + 7
    given = (laptop.params, laptop.stats, laptop.agent.initial_carry(4))
    obs, began = senses(env.observation_sizes), jnp.ones(4, bool)
    fewer = obs | {"privileged": obs["privileged"][:, :25]}
    (_, a), (_, b) = (laptop.agent.act(*given, o, began) for o in (obs, fewer))
    chex.assert_trees_all_equal(a, b)
    key = jax.random.PRNGKey(0)
    sample = laptop.agent.distribution.sample
    np.testing.assert_array_equal(sample(a.logits, key), sample(b.logits, key))
    evaluate.Evaluator(env, laptop.agent, 2).record(laptop, steps=1)


def test_a_policy_of_other_senses_is_one_line(laptop):
    other = senses(laptop.agent.observation_sizes | {"privileged": 30})
    carry = laptop.agent.initial_carry(4)
    with pytest.raises(ConfigError, match=r"privileged of shape \(25,\), .* \(30,\)"):
        laptop.agent.act(laptop.params, laptop.stats, carry, other, jnp.ones(4, bool))


@pytest.mark.parametrize("name", ["fpn", "baseline", "mlp", "lstm"])
def test_weights_are_widened_for_the_true_pose(name):
    """Where the pose errs the critic is told it: its values are at first what they were."""
    smoke = presets.PRESETS["smoke"]
    network = dataclasses.replace(smoke.network, name=name, units_scale=0.03)
    smoke = dataclasses.replace(smoke, network=network)
    errs = dataclasses.replace(smoke.env, randomize="all")
    agents = []
    for config in (smoke, dataclasses.replace(smoke, env=errs)):
        sizes = Env(config).observation_sizes
        agents.append(agent.build(config, sizes, 20))
    was, now = agents
    stats = was.init_stats()
    stats = stats.replace(count=stats.count.replace(lo=jnp.uint32(1000)))
    params = was.init(jax.random.PRNGKey(0))
    wide, told = widen.for_told_pose(params, stats, was, now)
    chex.assert_trees_all_equal_shapes(wide, now.init(jax.random.PRNGKey(0)))
    chex.assert_trees_all_equal_shapes(told, now.init_stats())
    for field, value in (("mean", 0), ("std", 1), ("summed_variance", 1000)):
        assert (getattr(told, field)["privileged"][25:] == value).all()
    obs, began = senses(now.observation_sizes), jnp.ones(4, bool)
    _, before = was.act(params, stats, was.initial_carry(4), obs, began)
    _, after = now.act(wide, told, now.initial_carry(4), obs, began)
    assert np.ptp(np.asarray(before.value)) > 0
    np.testing.assert_allclose(after.value, before.value, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(after.logits, before.logits, rtol=1e-5, atol=1e-6)


def test_weights_that_learned_without_errors_begin_a_run_with_them(laptop):
    network = dataclasses.replace(laptop.config.network, weights="pretrained:laptop")
    env = dataclasses.replace(laptop.config.env, randomize="all")
    config = dataclasses.replace(laptop.config, network=network, env=env)
    _, stats = policy.given_weights(config)
    assert stats.mean["privileged"].shape == (25 + 7,)


@pytest.mark.parametrize(
    ("parts", "words"), [("PMCC", "did you mean PMC?"), ("", "choose of SSC, SPL")]
)
def test_an_unknown_part_is_one_line(laptop, parts, words):
    with pytest.raises(ConfigError, match=words):
        policy.lesioned(laptop, parts)


def test_weights_of_a_network_with_other_senses_are_refused():
    """Of equal shape: without the check they would be taken for the same."""
    config = runs.read_config(pretrained.folder("pretrained:fpn-reorient"))
    network = dataclasses.replace(config.network, weights="pretrained:fpn-reorient")
    env = dataclasses.replace(config.env, pose_encoding="absolute")
    other = dataclasses.replace(config, network=network, env=env)
    with pytest.raises(ConfigError, match=r"give --env\.pose-encoding folded$"):
        policy.given_weights(other)
    params, _ = policy.given_weights(dataclasses.replace(other, env=config.env))
    given = evaluate.load_policy("pretrained:fpn-reorient").params
    chex.assert_trees_all_equal(params, given)


def test_commands_that_move_fingers_farther_than_in_training_are_told():
    config = runs.read_config(pretrained.folder("pretrained:fpn-reorient"))
    network = dataclasses.replace(config.network, weights="pretrained:fpn-reorient")
    same = dataclasses.replace(config, network=network)
    assert policy.remark(same) == ""
    assert config.env.relative_step == 1.0
    env = dataclasses.replace(config.env, relative_step=0.25)
    told = policy.remark(dataclasses.replace(same, env=env))
    assert "0.25 times as far" in told
    assert told.endswith("add --env.relative-step 1")


@pytest.mark.parametrize(
    ("group", "name", "value", "words"),
    [
        ("network", "distribution", "multi_categorical", None),  # what auto stands for
        ("ppo", "normalize_obs", False, r"give --ppo\.normalize-obs$"),
    ],
)
def test_what_weights_see_and_mean_is_compared(group, name, value, words):
    config = runs.read_config(pretrained.folder("pretrained:fpn-reorient"))
    network = dataclasses.replace(config.network, weights="pretrained:fpn-reorient")
    config = dataclasses.replace(config, network=network)
    changed = dataclasses.replace(getattr(config, group), **{name: value})
    other = dataclasses.replace(config, **{group: changed})
    if words is None:
        policy.given_weights(other)
        return
    with pytest.raises(ConfigError, match=words):
        policy.given_weights(other)


def test_a_policy_without_its_optimiser_is_not_resumed():
    folder = str(pretrained.folder("pretrained:laptop"))
    with pytest.raises(ConfigError, match="--from"):
        cli.parse_config(["--resume", folder])
    with pytest.raises(ConfigError, match="it has no checkpoints"):
        cli.parse_config(["--resume", "pretrained:laptop"])


@pytest.mark.parametrize(
    ("group", "name", "value", "words"),
    [
        ("scene", "timestep", -1, "scene.timestep is -1: it must be more than 0"),
        ("env", "max_goals", -1, "env.max_goals is -1: it must be at least 1"),
        ("env", "threshold", math.nan, "env.threshold is nan: give a finite number"),
        ("env", "goal_seconds", 0.01, "env.goal_seconds (0.01 s) is shorter than"),
        ("env", "pool_size", 0, "env.pool_size is 0"),
        ("env", "control", "magic", "env.control is 'magic'"),
    ],
)
def test_settings_changed_by_hand_are_checked(tmp_path, group, name, value, words):
    run = tmp_path / "run"
    shutil.copytree(pretrained.folder("pretrained:laptop"), run)
    path = run / "config.json"
    settings = json.loads(path.read_text())
    settings[group][name] = value
    path.write_text(json.dumps(settings))
    with pytest.raises(ConfigError) as caught:
        evaluate.load_policy(run)
    assert str(caught.value).startswith(f"{path}: {words}")


def test_a_run_of_many_devices_is_played_by_one(tmp_path):
    """4 minibatches on each of 8 devices: 32 environments would do there, and do here."""
    smoke = presets.PRESETS["smoke"]
    ppo = dataclasses.replace(smoke.ppo, num_envs=32, num_minibatches=4)
    config = dataclasses.replace(smoke, ppo=ppo)
    presets.check(config, num_devices=8)
    runs.prepare(tmp_path / "run", config)
    with pytest.raises(CheckpointError, match="no checkpoint"):  # the settings will do
        evaluate.load_policy(tmp_path / "run")


def test_a_name_that_is_nearly_a_run_says_which(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    runs.prepare("runs/mine", presets.PRESETS["smoke"])
    with pytest.raises(ConfigError, match=r"did you mean runs/mine\?"):
        runs.read_config("mine")
    with pytest.raises(ConfigError, match=r"did you mean pretrained:laptop\?"):
        runs.read_config("laptop")


def test_commands_are_listed_and_found(capsys):
    assert commands.main([]) == 0
    said = capsys.readouterr().out
    assert all(f"  {name} " in said for name in commands.COMMANDS)
    assert commands.main(["trian"]) == 2
    assert "did you mean train?" in capsys.readouterr().err
    assert commands.main(["evaluate", "--episodes", "0", "pretrained:laptop"]) == 2
    assert "give at least 1" in capsys.readouterr().err
    assert commands.main(["randomize"]) == 0
    assert "friction" in capsys.readouterr().out
