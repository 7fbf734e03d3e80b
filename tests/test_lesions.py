"""Lesions: what they cut, and a planted effect that the measurement must find."""

import dataclasses
from types import SimpleNamespace

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from mjxhand import agent as agent_module
from mjxhand import atlas
from mjxhand.agent import Agent
from mjxhand.analyse import anatomy, figures_lesions, lesion
from mjxhand.analyse.lesion import Lesion
from mjxhand.config import ConfigError
from mjxhand.env import EnvParams, State
from mjxhand.evaluate import Evaluator, Policy
from mjxhand.networks import distributions, lesions
from mjxhand.networks.fpn import FPN

SIZES = {"vision": 7, "proprioception": 6, "touch": 5, "goal": 4, "privileged": 3}


def policy_of(smoke, **network):
    cfg = dataclasses.replace(
        smoke, network=dataclasses.replace(smoke.network, **network)
    )
    agent = agent_module.build(cfg, SIZES, 3)
    return Policy(cfg, agent, agent.init(jax.random.PRNGKey(0)), agent.init_stats(), 0)


COMPILED = {}


def outputs(policy, obs, steps=3):
    agent = policy.agent
    # The agent is kept beside its program, so that no other gets its identity.
    act, _ = COMPILED.setdefault(id(agent), (jax.jit(agent.act), agent))
    carry, seen = agent.initial_carry(2), []
    for _ in range(steps):
        carry, out = act(policy.params, policy.stats, carry, obs, jnp.zeros(2, bool))
        seen.append(out)
    return seen


def observations(seed):
    rng = np.random.default_rng(seed)
    return {
        n: jnp.asarray(rng.normal(size=(2, s)), jnp.float32) for n, s in SIZES.items()
    }


class Opaque:
    """A network that does not tell its wiring: what of a module it needs, no more."""

    def __init__(self, module):
        self._module = module
        self.apply, self.initial_carry = module.apply, module.initial_carry


def opaque(policy):
    agent = dataclasses.replace(policy.agent, network=Opaque(policy.agent.network))
    return dataclasses.replace(policy, agent=agent)


@pytest.mark.parametrize("name", ["fpn", "baseline", "mlp", "opaque"])
def test_a_silent_sense_moves_nothing(smoke, name):
    policy = policy_of(smoke, name="fpn" if name == "opaque" else name)
    if name == "opaque":
        policy = opaque(policy)
    assert set(anatomy.senses_of(policy.agent)) == set(SIZES) - {"privileged"}
    for sense in anatomy.senses_of(policy.agent):
        one, other = observations(0), observations(0) | {sense: observations(1)[sense]}
        cut = lesion.lesioned(policy, Lesion("sense", sense))
        a, b = outputs(cut, one, 1)[-1], outputs(cut, other, 1)[-1]
        np.testing.assert_array_equal(a.logits, b.logits)
        whole = outputs(policy, other, 1)[-1]
        assert np.abs(outputs(policy, one, 1)[-1].logits - whole.logits).max() > 0
        mean = one | {sense: jnp.zeros_like(one[sense])}
        np.testing.assert_allclose(
            a.logits, outputs(policy, mean, 1)[-1].logits, atol=1e-6
        )


def test_a_network_that_tells_nothing_loses_senses_only(smoke):
    policy = opaque(policy_of(smoke))
    depth = anatomy.depths(policy.agent, ("eye", "hand"))
    assert (depth["touch"], depth["eye"], depth["hand"]) == (0, 1, 2)
    assert anatomy.described(policy.agent) == []
    assert anatomy.recurrent(policy.agent) == ()
    assert {p.kind for p in lesion.possible(policy.agent)} == {"sense"}
    for part in (Lesion("area", "PMC"), Lesion("recurrence")):
        with pytest.raises(ConfigError, match="there are: none"):
            lesion.lesioned(policy, part)
    raw = dataclasses.replace(policy.agent, normalize_obs=False)
    with pytest.raises(ConfigError, match="nor normalises its senses"):
        lesion.lesioned(
            dataclasses.replace(policy, agent=raw), Lesion("sense", "touch")
        )


def test_a_silent_area_cuts_what_passes_through_it_alone(smoke):
    """Only MCC hears of the goal: without it, or without its pathway to LPFC, nothing does."""
    policy = policy_of(smoke)
    one, other = observations(0), observations(0) | {"goal": observations(1)["goal"]}
    for cut in (Lesion("area", "MCC"), Lesion("pathway", "MCC", "LPFC")):
        part = lesion.lesioned(policy, cut)
        a, b = outputs(part, one)[-1], outputs(part, other)[-1]
        np.testing.assert_array_equal(a.logits, b.logits)
    # Without M1 nothing commands the hand.
    for cut in (Lesion("area", "M1"), Lesion("pathway", "M1", "actions")):
        silent = lesion.lesioned(policy, cut)
        np.testing.assert_array_equal(
            outputs(silent, one)[-1].logits, outputs(silent, observations(2))[-1].logits
        )


@pytest.mark.parametrize(
    ("name", "area"),
    [
        ("baseline", "dense"),
        ("mlp", "dense1"),
        ("mlp", "dense2"),
        ("lstm", "recurrent"),
    ],
)
def test_what_a_silent_layer_of_a_plain_network_would_tell_is_lost(smoke, name, area):
    policy = policy_of(smoke, name=name)
    silent = lesion.lesioned(policy, Lesion("area", area))
    a, b = (outputs(silent, observations(seed))[-1] for seed in (0, 1))
    np.testing.assert_array_equal(a.logits, b.logits)
    assert (a.areas[area] == 0).all()
    # The critic is a tower of its own.
    whole = outputs(policy, observations(0))[-1]
    np.testing.assert_allclose(a.value, whole.value, atol=1e-6)
    assert np.abs(a.logits - whole.logits).max() > 1e-5


@pytest.mark.parametrize(
    "network",
    [{"cell": "lstm"}, {"name": "lstm"}, {"recurrent": "PMC,LPFC:gru"}],
    ids=["fpn", "lstm", "two"],
)
def test_without_memory_every_step_is_the_first(smoke, network):
    policy = policy_of(smoke, **network)
    areas = anatomy.recurrent(policy.agent)
    seen = outputs(lesion.lesioned(policy, Lesion("recurrence")), observations(0))
    np.testing.assert_array_equal(seen[0].logits, seen[2].logits)
    whole = outputs(policy, observations(0))
    np.testing.assert_allclose(seen[0].logits, whole[0].logits, atol=1e-6)
    for area in areas:
        assert np.abs(whole[0].areas[area] - whole[2].areas[area]).max() > 1e-5
    # One memory of two: the other goes on.
    one = outputs(
        lesion.lesioned(policy, Lesion("recurrence", areas[0])), observations(0)
    )
    still = [np.abs(one[0].areas[a] - one[2].areas[a]).max() < 1e-7 for a in areas]
    assert still == [True, *([False] * (len(areas) - 1))]


def test_possible_lesions_name_every_part(smoke):
    names = [p.name for p in lesion.possible(policy_of(smoke).agent)]
    assert {"PMC", "touch", "memory of PMC", "LPFC → PMC", "M1 → actions"} <= set(names)
    assert len(set(names)) == len(names)
    assert not any("privileged" in n or "value" in n for n in names)
    names = [p.name for p in lesion.possible(policy_of(smoke, feedback="M1:PMC").agent)]
    assert "M1 → PMC" in names
    names = [p.name for p in lesion.possible(policy_of(smoke, name="mlp").agent)]
    assert {"dense1", "vision", "dense1 → dense2", "dense2 → actions"} <= set(names)
    with pytest.raises(ConfigError, match="no area 'M7'; there are: SSC"):
        lesion.lesioned(policy_of(smoke), Lesion("area", "M7"))


# A planted effect. A cue is shown for one step; two steps later a choice by it brings the next
# goal, any other ends the episode. The policy is made by hand: PMC latches the cue, M1 turns
# it into the choice, LPFC reads touch and is read by M1 with weights of zero.
TABLE = """
area    units  layers  cell  receives
LPFC    2      1       -     touch
PMC     1      1       rnn   vision
M1      2      1       -     PMC,LPFC
policy  -      -       -     M1
value   4      -       -     M1,privileged
"""
GOALS, DELAY, BINS = 5, 2, 3
CUED = {"vision": 1, "touch": 1, "privileged": 1}


@chex.dataclass(frozen=True)
class Still:
    """Physics of which there is none."""

    qpos: jax.Array
    qvel: jax.Array


class Cued:
    """An environment that a delayed choice solves."""

    goal_steps = DELAY + 1
    label = "cued"
    num_actuators = 1
    observation_sizes = CUED
    config = SimpleNamespace(
        control_seconds=0.1, env=SimpleNamespace(goal_angle_max=1.0, hold_wrist=False)
    )
    task = SimpleNamespace(num_goals=GOALS, threshold=0.0, unit="")

    def label_at(self, far):
        return "cued"

    scene = SimpleNamespace(object="none")
    physics = SimpleNamespace(impl="none")

    def make_params(self, seed):
        return EnvParams(pool=jnp.zeros(1), goal_angle_max=jnp.float32(1.0))

    def _state(self, key, goal, step, goals, success, failed, began=0):
        shown = jnp.where(step == 0, goal, 0.0)[None]
        complete = goals >= GOALS
        values = {"success": success, "dropped": 0, "timed_out": failed}
        values |= {"complete": complete, "invalid": 0}
        nothing = jnp.zeros(1)
        return State(
            physics=Still(qpos=nothing, qvel=nothing),
            target=nothing,
            goal=goal,
            distance=jnp.float32(0),
            goal_step=step,
            episode_step=step,
            goals=goals,
            key=key,
            obs={"vision": shown, "touch": shown * 0 + 1.0, "privileged": nothing},
            reward=jnp.float32(success),
            terminated=jnp.bool_(False),
            truncated=failed | complete,
            metrics={k: jnp.asarray(v, jnp.float32) for k, v in values.items()},
        )

    def _cue(self, key):
        return jax.random.rademacher(key, (), jnp.float32)

    def reset(self, key, params=None):
        key, cue = jax.random.split(jnp.asarray(key))
        no, zero = jnp.bool_(False), jnp.int32(0)
        return self._state(key, self._cue(cue), zero, zero, no, no)

    def step(self, state, action, params=None):
        key, cue = jax.random.split(state.key)
        due = state.goal_step == DELAY
        success = due & (action[0] - 1 == state.goal)
        goal = jnp.where(success, self._cue(cue), state.goal)
        step = jnp.where(success, 0, state.goal_step + 1)
        goals = state.goals + success
        return self._state(key, goal, step, goals, success, due & ~success)


def by_hand():
    module = FPN(atlas.parse(TABLE), BINS)
    distribution = distributions.MultiCategorical(1, BINS)
    agent = Agent(module, distribution, CUED)
    params = jax.tree.map(jnp.zeros_like, agent.init(jax.random.PRNGKey(0)))["params"]
    pmc = params["PMC"]["recurrent"]
    pmc["kernel"] = jnp.array([[4.0]])
    pmc["recurrent_kernel"] = jnp.array([[3.0]])
    params["LPFC"]["layer1"]["bias"] = jnp.ones(2)
    kernel = params["M1"]["layer1"]["kernel"]
    params["M1"]["layer1"]["kernel"] = kernel.at[0].set(jnp.array([1.0, -1.0]))
    weights = jnp.array([[0.0, 0.0, 50.0], [50.0, 0.0, 0.0]])
    params["policy_head"]["kernel"] = weights
    return Policy(SimpleNamespace(), agent, {"params": params}, agent.init_stats(), 0)


def test_a_planted_effect_is_found():
    policy = by_hand()
    parts = [p for p in lesion.possible(policy.agent) if p.kind != "random"]
    # What is held tells nothing of the cue. M1 at 0 leaves the three choices alike; PMC
    # at 0.5 always makes the same one of the two that are ever right.
    means = {"PMC": np.full(1, 0.5), "M1": np.zeros(2), "LPFC": np.ones(2)}
    table = lesion.measure(policy, Cued(), parts, episodes=200, means=means)
    table = table.set_index("lesion")
    needed = {"PMC", "M1", "vision", "memory of PMC"}
    needed |= {"vision → PMC", "PMC → M1", "M1 → actions", "PMC held", "M1 held"}
    idle = {"LPFC", "touch", "touch → LPFC", "LPFC → M1", "LPFC held"}
    assert needed | idle | {"intact"} == set(table.index)
    for name in ("intact", *idle):
        assert table.goals[name] == GOALS, name
        assert table.time_out_rate[name] == 0
        assert table.change[name] == table.change_ci95[name] == 0
        assert table.time_out_change[name] == 0
        assert 0 < table.time_out_change_ci95[name] < 0.02
        assert table.seconds_per_goal[name] == pytest.approx(0.1 * (DELAY + 1))
    for name in needed:
        # One of three choices by chance: Σ (1/3)^k for k = 1 … 5.
        choices = 2.0 if name == "PMC held" else 3.0
        chance = sum(choices**-k for k in range(1, GOALS + 1))
        low = table.goals[name] - 1.5 * table.ci95[name]
        assert low < chance < low + 3 * table.ci95[name], name
        assert table.change[name] == pytest.approx(table.goals[name] - GOALS)
        assert table.time_out_rate[name] > 0.9
        # Half an episode is added to each of the four outcomes.
        of_all = table.time_out_rate[name] * 200 / 202
        assert table.time_out_change[name] == pytest.approx(of_all)


def test_lesions_are_played_from_the_seed_that_is_given():
    policy, part = by_hand(), Lesion("area", "PMC")
    table = lesion.measure(policy, Cued(), [part], episodes=50, seed=3)
    play = Evaluator(Cued(), policy.agent, 50)
    goals = [
        play.each(lesion.lesioned(policy, part), seed=seed)[1]["goals"].mean()
        for seed in (3, 0)
    ]
    assert table["goals"].tolist()[1] == pytest.approx(goals[0])
    assert goals[0] != pytest.approx(goals[1])


def test_random_units_are_drawn_several_times():
    """Here some draws cost all, some nothing."""
    policy = by_hand()
    table = lesion.measure(policy, Cued(), [Lesion("random", "PMC")], episodes=50)
    row = table[table["kind"] == "random"].iloc[0]
    draws = [Lesion("random", "PMC", draw=draw) for draw in range(lesion.DRAWS)]
    alone, halves = [], []
    for draw in draws:
        play = Evaluator(Cued(), policy.agent, 50)
        summary, own = play.each(lesion.lesioned(policy, draw), seed=0)
        alone.append(own["goals"].mean())
        halves.append(summary["goals"]["ci95"])
    assert len(set(alone)) > 1
    assert max(alone) == GOALS
    assert (row["draws"], row["least"], row["most"]) == pytest.approx(
        (lesion.DRAWS, min(alone), max(alone))
    )  # fmt: skip
    assert row["goals"] == pytest.approx(np.mean(alone))
    assert row["change"] == pytest.approx(np.mean(alone) - GOALS)
    # t of four degrees of freedom; and of the episodes, the same for all draws.
    half = 2.7764 * np.std(alone, ddof=1) / np.sqrt(lesion.DRAWS)
    half = np.hypot(half, np.mean(halves))
    assert row["ci95"] == pytest.approx(half, rel=1e-4)
    assert row["change_ci95"] == pytest.approx(half, rel=1e-4)


def test_environments_whose_episode_is_over_leave_the_batch():
    """What is counted of each episode stays the same, as the last ones play in a small batch."""

    class Native(Cued):
        physics = SimpleNamespace(impl="native")

    sizes = []

    class Watched(Evaluator):
        def _play(self, weights, stats, params, carry):
            sizes.append(len(carry.began))  # once for each compilation
            return super()._play(weights, stats, params, carry)

    policy = by_hand()
    # One choice in three is right.
    guessing = lesion.lesioned(policy, Lesion("area", "PMC"))
    _, alone = Evaluator(Cued(), policy.agent, 64).each(guessing, seed=3)
    played = Watched(Native(), policy.agent, 64)
    _, own = played.each(guessing, seed=3)
    assert sizes == [64, 16]
    assert len(set(alone["goals"])) > 3
    for name, values in alone.items():
        np.testing.assert_array_equal(own[name], values)
    # A lesion of its own in each environment goes with the places in the batch.
    wiring = policy.agent.network.wiring
    gains = np.where(np.arange(64)[:, None] < 32, 0.0, 1.0)
    half = lesions.apply(policy.params, wiring, areas={"PMC": gains})
    sizes.clear()
    _, own = Watched(Native(), policy.agent, 64).each(
        dataclasses.replace(policy, params=half), seed=3
    )
    assert sizes == [64]
    np.testing.assert_array_equal(own["goals"][:32], alone["goals"][:32])
    assert (own["goals"][32:] == GOALS).all()


def test_lesions_in_one_batch_come_to_what_they_come_to_alone(monkeypatch):
    """As on an accelerator: whole areas, parts, senses, pathways, memories, levels, a control."""
    policy = by_hand()
    parts = lesion.possible(policy.agent)
    means = {"PMC": np.full(1, 0.5), "M1": np.zeros(2), "LPFC": np.ones(2)}
    weights = {"params": jax.tree.map(lambda x: -x, policy.params["params"])}
    other = dataclasses.replace(policy, params=weights)

    class Native(Cued):
        physics = SimpleNamespace(impl="native")

    def told(env):
        args = (policy, env, parts)
        more = {"episodes": 24, "seed": 3, "untrained": other, "means": means}
        return lesion.measure(*args, **more)

    alone = told(Native())
    sizes = []

    def play(self, weights, stats, params, carry, was=Evaluator._play):
        sizes.append(len(carry.began))  # once for each compilation
        return was(self, weights, stats, params, carry)

    monkeypatch.setattr(Evaluator, "_play", play)
    number = sum(lesion.DRAWS if p.kind == "random" else 1 for p in parts) + 2
    monkeypatch.setattr(lesion, "AT_ONCE", 24 * 10)
    together = told(Cued())
    assert sizes == [24 * -(-number // -(-number // 10))]
    pd.testing.assert_frame_equal(together, alone)
    assert len(set(alone["goals"])) > 5


def test_draws_that_all_cost_the_same_leave_the_doubt_of_their_episodes():
    rng = np.random.default_rng(1)
    before = {k: rng.integers(0, 2, 8).astype(float) for k in ("goals", "dropped")}
    before["timed_out"] = 1 - before["dropped"]
    after = {k: 0 * v for k, v in before.items()}
    result = {"goals": {"mean": 0.0}, "seconds_per_goal": None}
    result |= {"episode_seconds": 1.0, "episodes": 8}
    one = lesion._row(result, after, before)
    several = lesion._over_draws([one] * lesion.DRAWS)
    assert one["change_ci95"] > 0.3
    for name in ("change_ci95", "drop_change_ci95", "ci95"):
        assert several[name] == pytest.approx(one[name])


def test_changes_are_paired():
    """Hard and easy starts differ more than the lesion does; a pair of episodes has neither."""
    rng = np.random.default_rng(0)
    start = rng.poisson(8.0, size=400).astype(float)
    before = {"goals": start, "dropped": 0 * start, "timed_out": 0 * start}
    before["dropped"][:200] = 1
    after = {k: v.copy() for k, v in before.items()}
    after["goals"] -= rng.random(400) < 0.3
    after["dropped"][200:210] = 1
    result = {"goals": {"mean": after["goals"].mean()}, "seconds_per_goal": 1.0}
    result |= {"episode_seconds": 1.0, "episodes": 400}
    row = lesion._row(result, after, before)
    assert row["change"] == pytest.approx(-0.3, abs=0.06)
    # 1.966 √(0.3 · 0.7 / 399); that of the mean alone is 1.966 √(8 / 399).
    assert row["change_ci95"] == pytest.approx(0.045, abs=0.005)
    assert row["ci95"] == pytest.approx(0.28, abs=0.03)
    assert row["drop_change"] == pytest.approx(10 / 402)
    # 10.5 won and 0.5 lost of 402: 1.96 √(11 - 10² / 402) / 402.
    assert row["drop_change_ci95"] == pytest.approx(0.01599, abs=1e-5)


def test_as_many_random_units_as_an_area_has_are_silent(smoke):
    policy = policy_of(smoke)
    wiring = policy.agent.network.wiring
    whole = outputs(policy, observations(0), 1)[0].areas
    drawn = {}
    for name in ("PMC", "M1"):
        cut = lesion.lesioned(policy, Lesion("random", name))
        gains = cut.params["lesion"]["areas"]
        drawn[name] = np.concatenate([gains[a.name] for a in wiring.areas])
        assert (drawn[name] == 0).sum() == wiring.area(name).units
        assert set(np.unique(drawn[name])) == {0, 1}
        again = lesion.lesioned(policy, Lesion("random", name)).params["lesion"]
        np.testing.assert_array_equal(again["areas"]["IPL"], gains["IPL"])
        # Units of the first area that are left do what they did.
        first = outputs(cut, observations(0), 1)[0].areas["SPL"]
        assert (np.asarray(first)[:, np.asarray(gains["SPL"]) == 0] == 0).all()
        assert whole["SPL"].shape == first.shape
    # Not one area: units of several.
    hit = {a.name for a in wiring.areas if (gains[a.name] == 0).any()}
    assert len(hit) > 1


def test_an_area_is_held_only_at_a_mean_that_is_given(smoke):
    policy = policy_of(smoke)
    with pytest.raises(ConfigError, match="PMC held: no mean activity"):
        lesion.lesioned(policy, Lesion("held", "PMC"))
    with pytest.raises(ConfigError, match="no held 'touch held'"):
        lesion.lesioned(policy, Lesion("held", "touch"))


@pytest.mark.parametrize(("seconds", "told"), [(2.0, True), (np.nan, False)])
def test_the_figure_tells_what_its_dashed_line_is(tmp_path, seconds, told):
    """Where no goal was reached there is no line."""
    columns = "change change_ci95 drop_rate drop_change drop_change_ci95 goals".split()
    table = pd.DataFrame(
        [
            {"kind": kind, "lesion": part, "seconds_per_goal": seconds}
            | dict.fromkeys(columns, 0.5)
            for kind, part in (("intact", "intact"), ("area", "PMC"))
        ]
    )
    figures_lesions.lesions({"lesions": table}, tmp_path)
    assert ("(dashed: intact)" in (tmp_path / "lesions.svg").read_text()) == told
