"""Policies that travel: exact enough, refused when they do not fit, found by name."""

import json

import jax
import numpy as np
import pytest

from mjxhand import ConfigError, agent, evaluate, pretrained
from mjxhand.env import Env
from mjxhand.presets import PRESETS
from mjxhand.pretrained import __main__ as command
from mjxhand.runs import config_to_json

SMOKE = PRESETS["smoke"]


@pytest.fixture(scope="module")
def policy():
    env = Env(SMOKE)
    made = agent.build(SMOKE, env.observation_sizes, env.num_actuators)
    params = made.init(jax.random.PRNGKey(0))
    stats = made.init_stats()
    stats = jax.tree.map(lambda x: x + 1234.5678 if x.ndim else x, stats)
    return evaluate.Policy(SMOKE, made, params, stats, update=7)


@pytest.fixture
def folder(policy, tmp_path):
    (tmp_path / "config.json").write_text(config_to_json(SMOKE))
    pretrained.write(
        tmp_path / pretrained.FILE, policy.params, policy.stats, policy.update
    )
    return tmp_path


def test_weights_keep_half_and_statistics_full_precision(policy, folder):
    loaded = evaluate.load_policy(folder)
    assert loaded.update == 7
    assert loaded.config == SMOKE
    chunk = zip(
        jax.tree.leaves(policy.params), jax.tree.leaves(loaded.params), strict=True
    )
    for before, after in chunk:
        assert after.dtype == before.dtype
        # Half precision has 11 bits: relative errors up to 2⁻¹¹, absolute ones near zero.
        np.testing.assert_allclose(after, before, rtol=2**-11, atol=1e-7)
    for before, after in zip(
        jax.tree.leaves(policy.stats), jax.tree.leaves(loaded.stats), strict=True
    ):
        np.testing.assert_array_equal(after, before)


def test_another_networks_weights_are_refused(folder):
    config = json.loads((folder / "config.json").read_text())
    config["network"]["units_scale"] = 0.1
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ConfigError, match="another network's weights"):
        evaluate.load_policy(folder)


def test_a_damaged_file_is_refused(folder):
    path = folder / pretrained.FILE
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(ConfigError, match="cannot read"):
        evaluate.load_policy(folder)


def test_there_are_no_checkpoints_to_choose_from(folder):
    with pytest.raises(ConfigError, match="leave out --step"):
        evaluate.load_policy(folder, step=3)


def test_the_command_keeps_the_policy_and_overwrites_nothing(folder, tmp_path, capsys):
    out = tmp_path / "travels"
    (folder / "vision.npz").write_bytes(bytes(2**21))  # a stream that it sees by
    assert command.main([str(folder), str(out)]) == 0
    size = sum(path.stat().st_size for path in out.iterdir()) / 2**20
    assert f"{out}: {size:.2f} MiB" in capsys.readouterr().out
    again, first = evaluate.load_policy(out), evaluate.load_policy(folder)
    assert all(
        np.array_equal(a, b)
        for a, b in zip(
            jax.tree.leaves(again.params), jax.tree.leaves(first.params), strict=True
        )
    )
    assert command.main([str(folder), str(out)]) == 2
    assert capsys.readouterr().err.startswith(f"error: {out} exists")
    assert command.main([str(folder), "pretrained:mine"]) == 2
    assert "a name of the package's own policies" in capsys.readouterr().err


def test_an_unknown_name_lists_or_suggests():
    with pytest.raises(ConfigError, match=r"no pretrained policy 'lapto'.*laptop"):
        evaluate.load_policy("pretrained:lapto")
    assert (
        str(pretrained.output_folder("pretrained:laptop")) == "runs/pretrained-laptop"
    )
    assert str(pretrained.output_folder("runs/mine")) == "runs/mine"


@pytest.mark.parametrize("name", pretrained.names())
def test_every_policy_of_the_package_fits_its_network_and_says_how_good_it_is(name):
    policy = evaluate.load_policy(f"pretrained:{name}")
    assert policy.update > 0
    text = (pretrained.HERE / name / "evaluation.json").read_text()
    result = json.loads(text)["task"]
    goals = {which: result[which]["goals"] for which in ("trained", "untrained")}
    assert result["trained"]["unfinished"] == 0
    # What "trained" promises: more than untrained, and by more than chance.
    least = goals["trained"]["mean"] - goals["trained"]["ci95"]
    assert least > goals["untrained"]["mean"] + goals["untrained"]["ci95"]
    assert goals["trained"]["mean"] > 4 * goals["untrained"]["mean"]


def test_the_laptop_policy_turns_the_cube():
    policy = evaluate.load_policy("pretrained:laptop")
    env = evaluate.make_env(policy.config)
    play = evaluate.Evaluator(env, policy.agent, episodes=32)
    trained, fresh = play(policy), play(evaluate.untrained(policy))
    assert trained["goals"]["mean"] > 1.0
    assert trained["goals"]["mean"] > 4 * fresh["goals"]["mean"]
    assert trained["drop_rate"] < 0.25


@pytest.mark.parametrize(
    ("task", "field", "threshold"),
    [("reorient", "threshold", 0.1), ("reach", "tip_threshold", 0.01)],
)
def test_a_policy_is_judged_by_other_rules(task, field, threshold):
    """Threshold, farthest goal and number of goals of the evaluation, not of the training."""
    config = PRESETS["smoke" if task == "reorient" else task]
    env = evaluate.make_env(config, threshold=threshold, max_goals=7, impl="native")
    assert getattr(env.config.env, field) == env.task.threshold == threshold
    assert env.task.num_goals == 7
    kept = evaluate.make_env(config, threshold=None, max_goals=None)
    assert kept.config.env == config.env


def test_rules_that_cannot_be_are_refused():
    config = PRESETS["smoke"]
    with pytest.raises(ConfigError, match=r"env\.threshold \(1\.5 rad\) is not below"):
        evaluate.make_env(config, threshold=1.5)
    with pytest.raises(ConfigError, match=r"env\.max_goals"):
        evaluate.make_env(config, max_goals=0)
