"""Time scales, fixed points, tuning and attribution with known answers."""

import dataclasses
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mjxhand import agent as agent_module
from mjxhand.analyse import dynamics, linearise, saliency, timescales, tuning
from mjxhand.config import ConfigError
from mjxhand.evaluate import Policy
from mjxhand.presets import PRESETS

SIZES = {"vision": 7, "proprioception": 6, "touch": 5, "goal": 4, "privileged": 3}
DT = 0.08


def policy_of(smoke, **network):
    cfg = dataclasses.replace(
        smoke, network=dataclasses.replace(smoke.network, **network)
    )
    agent = agent_module.build(cfg, SIZES, 3)
    return Policy(cfg, agent, agent.init(jax.random.PRNGKey(0)), agent.init_stats(), 0)


def test_time_scale_of_an_autoregressive_process():
    rng = np.random.default_rng(0)
    rho = np.exp(-DT / 0.8)
    x = np.zeros((40, 600, 6))
    for t in range(1, 600):
        x[:, t] = rho * x[:, t - 1] + np.sqrt(1 - rho**2) * rng.normal(size=(40, 6))
    sums = timescales.Autocorrelation()
    for part in np.split(x[:, 100:], 2):
        sums.add(part, np.zeros(part.shape[:2], int))
    seconds = np.array(timescales.LAGS) * DT
    tau, offset = timescales.time_scale(sums.values().mean(1), seconds)
    assert tau == pytest.approx(0.8, rel=0.1)
    assert abs(offset) < 0.05


def test_autocorrelation_never_crosses_an_episode():
    rng = np.random.default_rng(1)
    level = rng.normal(size=(200, 30))
    x = np.repeat(level, 2, axis=1)[..., None]  # each episode: two equal steps
    episode = np.repeat(np.arange(6000).reshape(200, 30), 2, axis=1)
    right, wrong = (timescales.Autocorrelation((0, 1)) for _ in range(2))
    right.add(x, episode)
    wrong.add(x, np.zeros_like(episode))
    assert right.values()[1, 0] == pytest.approx(1, abs=1e-3)
    assert wrong.values()[1, 0] < 0.6


def test_autocorrelation_is_that_of_the_pairs_picked_out():
    rng = np.random.default_rng(4)
    episode = np.cumsum(rng.uniform(size=(5, 80)) < 0.1, axis=1)
    # Activity that drifts and grows, so that early and late partners differ in mean and size.
    x = (
        rng.normal(size=(5, 80, 3)) * np.linspace(1, 4, 80)[:, None]
        + episode[..., None]
    )
    lags = (0, 1, 3, 7, 100)
    sums = timescales.Autocorrelation(lags)
    for part in (slice(0, 40), slice(40, 80)):  # pairs of two shards are not looked for
        sums.add(x[:, part], episode[:, part])
    found = sums.values()
    for i, lag in enumerate(lags[:-1]):
        pairs = [
            (x[n, t], x[n, t + lag])
            for n in range(5)
            for begin in (0, 40)
            for t in range(begin, begin + 40 - lag)
            if episode[n, t] == episode[n, t + lag]
        ]
        early, late = np.array(pairs).transpose(1, 0, 2)
        for u in range(3):
            r = np.corrcoef(early[:, u], late[:, u])[0, 1]
            assert found[i, u] == pytest.approx(r, abs=1e-4)
    assert np.isnan(found[-1]).all()


def test_time_scales_of_a_recording():
    """Quartiles over the units that have a fit; lags are not evenly spaced."""
    rng = np.random.default_rng(12)
    taus = np.array([0.3, 0.5, 0.9])
    rho = np.exp(-DT / taus)
    x = np.zeros((60, 300, 5))
    for t in range(1, 300):
        x[:, t, :3] = rho * x[:, t - 1, :3]
        x[:, t, :3] += np.sqrt(1 - rho**2) * rng.normal(size=(60, 3))
    x[..., 3] = rng.normal(size=(60, 1))  # a level of its own in each episode: no decay
    episode = np.repeat(np.arange(60)[:, None], 300, axis=1)
    played = Played(**{"area/X": x, "episode": episode})
    table, curves = timescales.of_recording(played, ("area/X",))
    row = table.iloc[0]
    quartiles = row[["tau_low", "tau_median", "tau_high"]].to_numpy(float)
    np.testing.assert_allclose(
        quartiles, np.quantile(taus, (0.25, 0.5, 0.75)), rtol=0.2
    )
    assert row["units"] == 3
    assert row["unfitted"] == pytest.approx(0.25)  # the fifth unit does not vary
    seconds = np.array(timescales.LAGS) * DT
    np.testing.assert_allclose(curves["seconds"], seconds)
    decay = np.exp(-seconds[:, None] / taus).sum(1)
    np.testing.assert_allclose(curves["r"], (decay + 1) / 4, atol=0.05)


def test_nothing_is_fitted_where_nothing_decays():
    seconds = np.array(timescales.LAGS) * DT
    assert np.isnan(timescales.time_scale(np.full(len(seconds), np.nan), seconds)[0])
    assert np.isnan(timescales.time_scale(np.ones(len(seconds)), seconds)[0])


def test_fixed_points_of_a_hand_built_network():
    """x' = tanh(2x): fixed at 0 (unstable, slope 2) and at ±0.9575 (stable)."""

    def step(state, drive):
        return jnp.tanh(2.0 * state + drive)

    starts = np.random.default_rng(2).normal(size=(60, 1))
    starts[0] = 0.0
    found = dynamics.fixed_points(step, starts, np.zeros(1))
    points = np.sort(found.points[:, 0])
    np.testing.assert_allclose(points, [-0.95750, 0, 0.95750], atol=1e-4)
    assert found.found == 1
    assert found.share.sum() == pytest.approx(1)
    slopes = {
        round(float(p), 2): j
        for p, j in zip(found.points[:, 0], found.jacobians, strict=True)
    }
    assert slopes[0.0] == pytest.approx(2, abs=1e-3)
    assert slopes[0.96] == pytest.approx(2 * (1 - 0.9575**2), abs=1e-3)
    table = dynamics.modes(found, DT)
    assert table.set_index("point").stable.sum() == 2


def test_modes_of_a_turning_map():
    """A rotation by 0.4 rad with decay 0.9 per step."""
    c, s = 0.9 * np.cos(0.4), 0.9 * np.sin(0.4)
    turn = jnp.array([[c, -s], [s, c]])
    found = dynamics.fixed_points(
        lambda x, u: turn @ x + u,
        np.random.default_rng(3).normal(size=(5, 2)),
        np.ones(2),
    )
    assert len(found.points) == 1
    expected = np.linalg.solve(np.eye(2) - np.asarray(turn), np.ones(2))
    np.testing.assert_allclose(found.points[0], expected, atol=1e-3)
    mode = dynamics.modes(found, DT).iloc[0]
    assert mode.modulus == pytest.approx(0.9, abs=1e-4)
    assert mode.tau == pytest.approx(-DT / np.log(0.9), rel=1e-3)
    assert mode.hertz == pytest.approx(0.4 / (2 * np.pi * DT), rel=1e-3)


def test_a_map_without_fixed_points_has_none():
    found = dynamics.fixed_points(lambda x, u: x + 1.0, np.zeros((3, 2)), np.zeros(1))
    assert found.found == 0
    assert dynamics.modes(found, DT).empty

    def integrate(state, drive):  # the first cell adds up, the second decays
        return jnp.stack([state[0] + drive[0], 0.5 * state[1]])

    states = np.array([[3.0, 4.0], [7.0, 0.2], [-1.0, 2.0]])
    slow = dynamics.slowest_state(integrate, states, np.ones(1))
    np.testing.assert_allclose(slow.points, [[7.0, 0.2]])
    np.testing.assert_allclose(np.sort(slow.eigenvalues[0].real), [0.5, 1.0])
    np.testing.assert_allclose(slow.speed, np.hypot(1, [2, 0.1, 1]), rtol=1e-5)
    assert np.isinf(dynamics.modes(slow, DT).tau.iloc[0])
    with pytest.raises(ConfigError, match="finite starts"):
        dynamics.fixed_points(lambda x, u: x, np.full((2, 2), np.nan), np.zeros(1))


CORES = [
    ({"cell": "lstm"}, None),
    ({"recurrent": "LPFC:gru,PMC:rnn", "feedback": "M1:PMC,PMC:LPFC"}, "PMC"),
    ({"recurrent": "SSC:gru", "feedback": "SSC:SSC"}, "SSC"),
    ({"name": "baseline", "cell": "rnn"}, None),
    ({"name": "lstm"}, "recurrent"),
]


@pytest.mark.parametrize(("network", "area"), CORES)
def test_the_core_is_the_area_of_the_network(smoke, network, area):
    """From its inputs alone, late ones too, and over an episode's end."""
    policy = policy_of(smoke, **network)
    core = dynamics.core(policy, area)
    rng = np.random.default_rng(4)
    obs = {n: jnp.asarray(rng.normal(size=(5, 2, s))) for n, s in SIZES.items()}
    agent = policy.agent
    began = jnp.zeros((5, 2), bool).at[2, 1].set(True)
    _, out = jax.jit(agent.apply)(policy.params, agent.initial_carry(2), obs, began)
    seen = {**obs, **out.areas}

    def given(path, t):
        if not path.delayed:
            return np.asarray(seen[path.source][t])
        before = seen[path.source][t - 1] if t else jnp.zeros_like(seen[path.source][0])
        return np.where(began[t][:, None], 0.0, before)

    drives = np.stack(
        [core.drive([given(p, t) for p in core.inputs]) for t in range(5)]
    )
    state = dynamics.visited(core, drives, np.asarray(began))
    hidden = state[:, -core.units :]
    np.testing.assert_allclose(hidden, out.areas[core.area][-1], atol=1e-5)


def test_areas_without_memory_have_no_dynamics(smoke):
    with pytest.raises(ConfigError, match="'M7' is not recurrent; recurrent: PMC"):
        dynamics.core(policy_of(smoke), "M7")
    with pytest.raises(ConfigError, match="recurrent: none"):
        dynamics.core(policy_of(smoke, name="mlp"))


def test_tuning_finds_the_planted_units():
    rng = np.random.default_rng(5)
    episode = np.repeat(np.arange(100), 20)
    label = rng.integers(-1, 6, size=2000)
    x = rng.normal(size=(2000, 8))
    x[:, 2] += 2.0 * (label == 4)
    found = tuning.tuning(x, label, episode, permutations=50).set_index("unit")
    assert found.tuned[2]
    assert found.preferred[2] == "+z"
    assert found["mean +z"].idxmax() == 2
    assert found.tuned.sum() == 1
    # Variance between: p (1-p) 4 with p = 1/6, of that plus 1.
    between = 4 * (1 / 6) * (5 / 6)
    assert found.eta2[2] == pytest.approx(between / (1 + between), abs=0.05)


def test_chance_of_a_unit_is_exceeded_by_one_of_twenty():
    rng = np.random.default_rng(13)
    start = np.repeat(np.arange(100), 10)
    label = rng.integers(6, size=1000)
    found = tuning.tuning(rng.normal(size=(1000, 400)), label, start, permutations=60)
    assert 0.01 < (found["eta2"] > found["chance"]).mean() < 0.12
    assert found["tuned"].sum() <= 1


def test_slow_units_that_share_nothing_with_slow_labels_are_not_tuned():
    """Samples in another order would say that all of them are."""
    rng = np.random.default_rng(8)
    start = np.repeat(np.arange(40), 50)
    label = rng.integers(6, size=40)[start]
    x = rng.normal(size=(40, 8))[start] + 0.1 * rng.normal(size=(2000, 8))
    found = tuning.tuning(x, label, start, permutations=50)
    assert found["tuned"].sum() == 0
    shuffled = tuning.tuning(x, label, np.arange(2000), permutations=50)
    assert shuffled["tuned"].all()


def test_slow_labels_of_starts_of_unequal_length_are_not_tuned():
    """Laid end to end, labels would reach over starts, and four of five such areas be tuned."""
    rng, some = np.random.default_rng(9), 0
    for _ in range(20):
        start = np.repeat(np.arange(40), rng.integers(3, 40, size=40))
        label = rng.integers(6, size=40)[start]
        x = rng.normal(size=(40, 8))[start] + 0.1 * rng.normal(size=(len(start), 8))
        some += tuning.tuning(x, label, start, permutations=40)["tuned"].any()
    assert some <= 5  # one of twenty is due


def test_a_silent_area_has_no_tuned_units():
    label = np.arange(200) % 6
    found = tuning.tuning(np.zeros((200, 4)), label, label // 6, permutations=3)
    assert found.empty
    assert {"unit", "preferred", "eta2", "chance", "tuned"} <= set(found)


def test_turns_have_the_class_of_their_axis():
    turns = np.array(
        [[1, 0, 0.2], [0, -1, 0.1], [0, 0.2, 0.5], [0.01, 0, 0], [-2, 1, 1]]
    )
    assert tuning.turn_class(turns).tolist() == [0, 3, 4, -1, 1]


def test_integrated_gradients_are_complete_and_right_where_known():
    weights = jnp.array([[1.0, -2.0], [0.5, 3.0]])
    x, zero = {"a": jnp.array([2.0, 1.0])}, {"a": jnp.zeros(2)}
    linear = saliency.integrated_gradients(lambda v: weights @ v["a"], x, zero)
    np.testing.assert_allclose(linear["a"], weights * x["a"], rtol=1e-5)
    # f = a b: half to each; f(x) - f(0) = 2.
    product = saliency.integrated_gradients(lambda v: jnp.prod(v["a"])[None], x, zero)
    np.testing.assert_allclose(product["a"], [[1.0, 1.0]], rtol=1e-5)


def test_attribution_of_a_network_is_complete_and_sees_its_wiring(smoke):
    policy = policy_of(smoke)
    rng = np.random.default_rng(6)
    senses = {
        n: rng.normal(size=(2, 3, s)).astype(np.float32)
        for n, s in SIZES.items()
        if n != "privileged"
    }
    found = saliency.attribute(policy, senses, ("MCC", "PMC", saliency.ACTIONS))
    assert all(one.error < 0.05 for one in found.values())
    assert found[saliency.ACTIONS].grads["goal"].shape == (2, 3, 3, 4)
    grads = found["MCC"].grads
    assert np.abs(grads["goal"]).sum() > 0
    assert np.abs(grads["touch"]).sum() == 0
    # MCC has no memory: only the last step counts.
    assert np.abs(grads["goal"][:, :, :-1]).sum() == 0
    assert np.abs(found["PMC"].grads["goal"][:, :, :-1]).sum() > 0


class Played:
    """A recording in memory, of one shard."""

    step_seconds = DT
    config = PRESETS["smoke"]
    settings = SimpleNamespace(envs=1, length=1)

    def __len__(self):
        return 1

    def __init__(self, **arrays):
        self.arrays = arrays
        self.sizes = {n: a.shape[2] if a.ndim > 2 else 1 for n, a in arrays.items()}

    def of_kind(self, prefix):
        return [n.removeprefix(prefix) for n in self.sizes if n.startswith(prefix)]

    def read(self, shard, names):
        return {n: self.arrays[n] for n in names}

    def shards(self, names):
        yield self.read(0, names)


def chosen_goals(seed=7, envs=30, goals=8, steps=25):
    """Goals that are one choice of four, and activity that ramps along an axis of each."""
    rng = np.random.default_rng(seed)
    choice = rng.integers(4, size=(envs, goals))
    choice[:, 0] = 3
    time = np.tile(np.arange(steps), goals)
    goal = np.eye(4, dtype=np.float32)[np.repeat(choice, steps, axis=1)]
    segment = np.repeat(np.arange(envs * goals).reshape(envs, goals), steps, axis=1)
    ramp = np.minimum(time, 10)[None, :, None] / 10
    x = 5.0 + ramp * goal @ np.linalg.qr(rng.normal(size=(12, 12)))[0][:4]
    began = np.zeros(segment.shape, bool)
    began[:, 0] = True
    return Played(**{"area/PMC": x, "goal": goal, "segment": segment, "began": began})


def test_goals_that_are_few_are_classes_of_their_own():
    played = chosen_goals()
    goals = tuning.goals_of(played)
    assert goals.names == ("goal 1", "goal 2", "goal 3", "goal 4")
    np.testing.assert_array_equal(
        goals.label(played.arrays), played.arrays["goal"].argmax(-1)
    )
    # Opposition knows their names, also where not every finger was asked for.
    env = dataclasses.replace(played.config.env, task="opposition")
    played.config = dataclasses.replace(played.config, env=env)
    fingers = ("first finger", "middle finger", "ring finger", "little finger")
    assert tuning.goals_of(played).names == fingers
    played.arrays["goal"] = np.eye(4, dtype=np.float32)[None, [3, 0, 2, 0]]
    assert tuning.goals_of(played).names == (fingers[0], *fingers[2:])
    many = Played(goal=np.random.default_rng(0).normal(size=(5, 20, 3)))
    assert tuning.goals_of(many) is None
    turned = Played(remaining=np.zeros((2, 3, 3)), goal=np.zeros((2, 3, 4)))
    assert tuning.goals_of(turned).names == tuning.TURNS


def test_paths_follow_each_goal_from_its_start():
    """They part along four axes: distances grow with the ramp, and all of it lies between."""
    played = chosen_goals()
    path, share = tuning.paths(played, "area/PMC", tuning.goals_of(played), steps=20)
    assert path["goals"].sum() == 20 * 30 * 7  # a recording's first goal has no start
    wide = path.pivot(index="seconds", columns="goal", values=["pc1", "pc2", "pc3"])
    points = wide.to_numpy().reshape(20, 3, 4)
    apart = np.linalg.norm(points[:, :, 0] - points[:, :, 1], axis=1)
    # Two axes at right angles, each run along to the ramp's height.
    expected = np.sqrt(2) * np.minimum(np.arange(20), 10) / 10
    np.testing.assert_allclose(apart, expected, atol=1e-5)
    # Between classes lies 3/4 of the ramp's square; the course that they share has the rest:
    # its variance over time.
    ramp = np.minimum(np.arange(20), 10) / 10
    between = 0.75 * np.square(ramp).sum() * 4
    shared = 0.25 * np.square(ramp - ramp.mean()).sum() * 4
    assert share == pytest.approx(between / (between + shared), abs=1e-6)
    with pytest.raises(ConfigError, match="too few goals"):
        tuning.paths(played, "area/PMC", tuning.goals_of(played), steps=40)


def test_paths_leave_out_goals_that_begin_an_episode():
    played = chosen_goals()
    played.arrays["began"][:, 75] = True  # the fourth goal is another episode's first
    path, _ = tuning.paths(played, "area/PMC", tuning.goals_of(played), steps=20)
    assert path["goals"].sum() == 20 * 30 * 6


def test_paths_that_differ_by_noise_alone_do_not_part():
    """Means of few goals differ always: the share must not count that."""
    rng = np.random.default_rng(11)
    shares = []
    for seed in range(10):
        played = chosen_goals(seed=seed)
        goals = tuning.goals_of(played)
        noise = rng.normal(size=played.arrays["area/PMC"].shape)
        time = np.arange(noise.shape[1]) % 25
        played.arrays["area/PMC"] = (
            noise + 0.3 * np.minimum(time, 10)[None, :, None] / 10
        )
        path, share = tuning.paths(played, "area/PMC", goals, steps=20)
        shares.append(share)
        # Episodes' first goals are left out.
        assert path["goals"].sum() == 20 * 30 * 7
    assert abs(np.mean(shares)) < 0.1


def test_a_time_scale_beyond_the_lags_is_not_told():
    seconds = np.array(timescales.LAGS) * DT
    for tau, told in ((1.0, True), (3.0, True), (8.0, False)):
        found, _ = timescales.time_scale(np.exp(-seconds / tau), seconds)
        assert (found == pytest.approx(tau, rel=1e-3)) if told else np.isnan(found)
    # No pair of steps is as far apart as the later lags: 3 s are out of reach.
    r = np.where(seconds < 2.0, np.exp(-seconds / 3.0), np.nan)
    assert np.isnan(timescales.time_scale(r, seconds)[0])


def played_by(policy, began, seed=14):
    """A recording of random senses, and of what the network's areas did then; `[N, T]`."""
    rng = np.random.default_rng(seed)
    raw = {
        n: (3.0 + 2.0 * rng.normal(size=(*began.shape, s))).astype(np.float32)
        for n, s in SIZES.items()
    }
    agent = policy.agent
    first = {n: jnp.asarray(x.swapaxes(0, 1)) for n, x in raw.items()}
    _, out = jax.jit(agent.apply)(
        policy.params,
        agent.initial_carry(len(began)),
        agent.normalize(first, policy.stats),
        jnp.asarray(began.T),
    )
    areas = {f"area/{n}": np.asarray(a).swapaxes(0, 1) for n, a in out.areas.items()}
    senses = {f"sense/{n}": x for n, x in raw.items()}
    return Played(**areas, **senses, began=began)


def used_to(policy):
    """The policy with statistics of what it saw: mean 3, deviation 2."""
    mean, std = (
        jax.tree.map(lambda x, v=v: jnp.full_like(x, v), policy.stats.mean)
        for v in (3.0, 2.0)
    )
    return dataclasses.replace(policy, stats=policy.stats.replace(mean=mean, std=std))


@pytest.mark.parametrize(
    ("network", "area"),
    [
        ({"recurrent": "PMC:rnn", "feedback": "M1:PMC,PMC:PMC"}, "PMC"),
        ({"name": "lstm"}, "recurrent"),
    ],
    ids=["late", "senses"],
)
def test_what_an_area_received_is_that_of_the_recording(smoke, network, area):
    """Normalised senses, and late activity of the step before: they lead to what it did."""
    policy = used_to(policy_of(smoke, **network))
    began = np.zeros((3, 9), bool)
    began[:, 0] = began[1, 4] = True
    played, core = played_by(policy, began), dynamics.core(policy, area)
    arrays, again = linearise._received(played, policy, "area/", core)
    np.testing.assert_array_equal(again, began)
    drives = np.stack([core.drive([a[:, t] for a in arrays]) for t in range(9)])
    hidden = dynamics.visited(core, drives, began.T)[:, -core.units :]
    did = played.arrays[f"area/{area}"]
    np.testing.assert_allclose(hidden, did[:, -1], atol=1e-5)
    # Where every step begins an episode, a start is one step away from no memory.
    played = played_by(policy, np.ones((3, 9), bool))
    states, typical = linearise._typical(played, policy, "area/", core, seed=0)
    zero = jnp.zeros(states.shape[1])
    for state, drive in zip(states, typical[1:], strict=False):
        np.testing.assert_allclose(state, core.step(zero, drive), atol=1e-5)


def test_windows_that_are_attributed_lie_within_a_goal():
    lengths = [3, 4, 5, 4, 3, 5, 4] * 4
    segment = np.repeat(np.arange(len(lengths)), lengths)[None]
    played = Played(x=segment[..., None].astype(float), segment=segment)
    found = saliency.windows_of(played, ("x",), count=500, window=4, seed=0)["x"]
    assert (found == found[:, :1]).all()
    # Goals of four steps have one such window, those of five two.
    assert found.shape == (12 + 2 * 8, 4, 1)
    with pytest.raises(ConfigError, match="no goal lasts 6 steps"):
        saliency.windows_of(played, ("x",), count=5, window=6, seed=0)


def test_shares_of_the_senses_by_hand(smoke):
    policy = used_to(policy_of(smoke))
    played = played_by(policy, np.zeros((4, 6), bool))
    played.arrays["segment"] = np.zeros((4, 6), int)
    played.arrays["sense/touch"][:] = 3.0  # at its mean: it tells nothing
    table = saliency.table(policy, played, ("MCC", "PMC"), count=3, window=3)
    table = table.set_index(["source", "sense"])
    goal = table.loc["MCC", "goal"]
    assert (goal["share"], goal["past"], goal["per_input"]) == (1, 0, 1)
    for source in ("PMC", "actions"):
        own = table.loc[source]
        assert own["share"].sum() == pytest.approx(1)
        assert own.loc["touch", "share"] == 0
        assert 0 < own.loc["vision", "past"] < 1
        wide = own["share"] / [SIZES[sense] for sense in own.index]
        np.testing.assert_allclose(own["per_input"], wide / wide.sum(), rtol=1e-5)
