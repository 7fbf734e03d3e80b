"""Decoding on data whose answer is known."""

import itertools

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from mjxhand.analyse import (
    decoding,
    evidence,
    gather,
    moments,
    planning,
    ridge,
    rivals,
    starts,
    targets,
)
from mjxhand.config import ConfigError, EnvConfig

RNG = np.random.default_rng


def smooth(rng, episodes, length, width, rho=0.9):
    """AR(1) series `[episodes * length, width]` of variance 1, fresh in each episode."""
    out = np.zeros((episodes, length, width))
    out[:, 0] = rng.normal(size=(episodes, width))
    for t in range(1, length):
        noise = rng.normal(size=(episodes, width))
        out[:, t] = rho * out[:, t - 1] + np.sqrt(1 - rho**2) * noise
    return out.reshape(-1, width).astype(np.float32)


def planted(r2, episodes=60, length=100, units=12, seed=0):
    """Activity, and three targets of which it tells the share `r2`."""
    rng = RNG(seed)
    x = smooth(rng, episodes, length, units)
    signal = x @ rng.normal(size=(units, 3)).astype(np.float32)
    signal /= signal.std(0)
    noise = smooth(rng, episodes, length, 3)
    y = np.sqrt(r2) * signal + np.sqrt(1 - r2) * noise
    return x, y, np.repeat(np.arange(episodes), length)


@pytest.mark.parametrize("r2", [0.2, 0.5, 0.9])
def test_planted_information_is_found(r2):
    x, y, episode = planted(r2, episodes=200)
    estimate, each = decoding.decode(x, y, episode)
    assert estimate.value == pytest.approx(r2, abs=0.03)
    assert estimate.low < r2 < estimate.high
    assert each.shape == (3,)


def test_scores_are_those_of_scikit_learn():
    x, y, episode = planted(0.5)
    group = moments.group_of(episode)
    scores = ridge.cross_validate(moments.of(x, y, group), penalties=[0.3])
    error = np.zeros((10, 3))
    for g in range(10):
        train, test = group != g, group == g
        mean, sd = x[train].mean(0), x[train].std(0)
        model = Ridge(alpha=0.3 * train.sum()).fit((x[train] - mean) / sd, y[train])
        error[g] = np.square(y[test] - model.predict((x[test] - mean) / sd)).sum(0)
    np.testing.assert_allclose(scores.error, error, rtol=1e-3)


def test_dead_units_and_scales_change_nothing():
    x, y, episode = planted(0.5)
    plain, _ = decoding.decode(x, y, episode)
    scaled = np.concatenate([1e3 * x + 5, np.zeros((len(x), 4))], axis=1)
    again, _ = decoding.decode(scaled, 1e-3 * y + 2, episode)
    assert again.value == pytest.approx(plain.value, abs=1e-3)


def test_constant_components_are_left_out():
    """Scored as perfect, a constant one would pull chance up to 0.5."""
    rng = RNG(1)
    x, y, episode = planted(0.5)
    y = np.c_[rng.normal(size=len(x)), np.full(len(x), 0.25)]
    estimate, each = decoding.decode(x, y, episode)
    assert abs(estimate.value) < 0.02
    assert np.isnan(each[1])
    with pytest.raises(ConfigError, match="no target varies"):
        decoding.decode(x, y[:, 1:], episode)


def test_slow_signals_that_share_nothing_do_not_decode():
    """Where a shuffled split finds a lot: neighbours leak, as each episode has its own level."""
    rng = RNG(2)
    episode = np.repeat(np.arange(40), 50)
    x = rng.normal(size=(40, 30))[episode] + 0.05 * rng.normal(size=(2000, 30))
    y = rng.normal(size=(40, 2))[episode]
    honest, _ = decoding.decode(x, y, episode, groups=10)
    shuffled = rng.integers(0, 10, size=2000)
    leaky = ridge.cross_validate(moments.of(x, y, shuffled)).r2().mean()
    assert honest.value < 0.05
    assert leaky > 0.5


def reused(pool=60, episodes=240, length=20):
    """Activity with the mark of each episode's start state, and a target that has it too.

    Start states are drawn from a pool, as the environment does; nothing else is shared.
    """
    rng = RNG(3)
    drawn = rng.integers(pool, size=episodes)
    posture = np.repeat(rng.normal(size=(pool, 4))[drawn], length, axis=0)
    posture += np.tile(np.arange(length), episodes)[:, None]  # the hand moves on
    began = np.tile(np.arange(length) == 0, episodes)
    mark = np.repeat(rng.normal(size=(pool, 80))[drawn], length, axis=0)
    x = mark + 0.1 * rng.normal(size=mark.shape)
    y = np.repeat(rng.normal(size=(pool, 1))[drawn], length, axis=0)
    episode = np.repeat(np.arange(episodes), length)
    return x, y, episode, starts.of(posture, episode, began), np.repeat(drawn, length)


def test_a_start_state_that_returns_cannot_be_learned_by_heart():
    x, y, episode, start, drawn = reused()
    _, expected = np.unique(drawn, return_inverse=True)
    assert len(np.unique(start)) == expected.max() + 1
    assert len(np.unique(start * 1000 + expected)) == expected.max() + 1
    by_episode, _ = decoding.decode(x, y, episode)
    by_start, _ = decoding.decode(x, y, start)
    assert by_episode.value > 0.5
    assert by_start.low < 0
    assert by_start.value < 0.05


def test_where_all_start_alike_each_episode_stands_alone():
    episode = np.repeat([4, 9, 7], 2)
    began = np.array([1, 0, 1, 0, 1, 0], bool)
    same = np.tile([[0.0], [1.0]], (3, 1))
    assert starts.of(same, episode, began).tolist() == [0, 0, 2, 2, 1, 1]
    two = same + (episode == 9)[:, None]
    found = starts.of(two, episode, began)
    assert found[0] == found[4] != found[2]
    began[2] = False
    with pytest.raises(ConfigError, match="1 of 3 episodes lack their first step"):
        starts.of(same, episode, began)


def test_chance_is_near_zero_and_below_what_is_planted():
    x, y, episode = planted(0.5)
    group = moments.group_of(episode)
    null = decoding.chance(x, y, episode, group, 10, permutations=20)
    assert null.shape == (20, 3)
    assert abs(null.mean()) < 0.03
    assert np.quantile(null, 0.95) < 0.1


def gathered(values, lead_of):
    """A `Gathering` with a planning profile: area → its activity `[n, U]`."""
    y = np.concatenate([lead_of(lead) for lead in gather.PROFILE_SECONDS] * 2, axis=1)
    window = gather.Window(gather.PROFILE, 1.6)
    window.leads = {s: s for s in gather.PROFILE_SECONDS}
    names = [
        f"{what} {s:g}"
        for what in ("action", "command")
        for s in gather.PROFILE_SECONDS
    ]
    width = y.shape[1] // len(names)
    window.slices = {n: slice(i * width, (i + 1) * width) for i, n in enumerate(names)}
    episode = np.repeat(np.arange(100), len(y) // 100)
    window.sums.targets(y, episode % 10)
    for name, x in values.items():
        window.sums.source(name, x)
    empty = gather.Kept({}, {}, {}, episode, episode % 10, {})
    areas = tuple(n for n in values if n.startswith("area/"))
    return gather.Gathering(
        {gather.PROFILE: window}, moments.Joint({}), empty, areas, (), 10, 100
    )


def test_leads_are_whole_control_steps():
    """Only the lead of no time is the present command."""
    usual = gather.profile_leads(0.08)
    assert list(usual.values()) == [0, 1, 2, 3, 5, 10, 15, 20]
    assert tuple(usual) == gather.PROFILE_SECONDS
    coarse = gather.profile_leads(0.2)
    assert list(coarse.values()) == [0, 1, 2, 4, 6, 8]
    assert list(coarse)[:2] == [0.0, 0.24]  # 0.08, 0.16 and 0.24 s are one step


def test_an_area_that_plans_is_told_from_one_that_executes():
    """Commands are an AR(1); one area holds the present one, one what comes 0.8 s later."""
    rng = RNG(8)
    steps = {s: round(s / 0.08) for s in gather.PROFILE_SECONDS}
    series = smooth(rng, 100, 120, 2, rho=0.8).reshape(100, 120, 2)

    def lead_of(lead):
        return series[:, steps[lead] : 100 + steps[lead]].reshape(-1, 2)

    noise = 0.3 * rng.normal(size=(10_000, 2))
    # The wide components of the planner tell of now, the narrow ones of what comes.
    plans = np.c_[lead_of(0.8) + noise, 3 * (lead_of(0.0) + 2 * noise[::-1])]
    executes = lead_of(0.0) + noise
    values = {"area/PMC": plans, "area/M1": executes, "action": executes}
    senses = dict.fromkeys((gather.ALL_SENSES, *rivals.AHEAD_ONLY), executes)
    found = gathered(values | senses, lead_of)
    profile, blocks = planning.profile(found)
    profile = profile.set_index(["source", "seconds"]).r2
    assert profile["area/M1"].idxmax() == 0.0
    assert profile["area/PMC"].idxmax() == 0.8
    names = [source.rpartition("/")[2] for source in blocks["source"]]
    table = evidence.Evidence(blocks.assign(area=names, policy="trained"))
    ahead = table.gap("trained", "PMC", "M1", "profile", "command 0.8").estimate()
    assert ahead.low > 0
    assert ahead.value == pytest.approx(1 / 1.09 - 0.8**20 / 1.09, abs=0.03)
    now = table.gap("trained", "PMC", "M1", "profile", "command 0").estimate()
    assert now.high < 0
    # Two components of the planner, as many as M1 has units, tell of the present alone.
    few = planning.reduced(found, "area/PMC", "area/M1")
    assert few.value < 0.05
    assert table.of("trained", "PMC", "profile", "command 0.8").value > 0.85
    assert table.gap("trained", "PMC", "SMA", "profile", "command 0.8") is None


def test_the_table_of_decoding_by_hand():
    """Columns go with their targets, also behind one that is constant; chance is of the same
    targets, and of whole starts."""
    rng = RNG(14)
    x = smooth(rng, 60, 60, 6, rho=0.5)
    start = np.repeat(np.arange(60), 60)
    group = (start % 10).astype(np.int32)
    noise = smooth(rng, 60, 60, 3)
    level = rng.normal(size=(60, 1))[
        start
    ]  # tells nothing, but never changes in a start
    y = np.c_[np.full(len(x), 3.0), x[:, 0] + noise[:, 0], x[:, 1] ** 2, level]
    window = gather.Window("present", 0.0)
    window.slices = {"straight": slice(0, 2), "bent": slice(2, 3), "level": slice(3, 4)}
    window.sums.targets(y, group)
    window.sums.source("area/A", x)
    kept = gather.Kept(
        {"area/A": x}, {"present": y}, {"present": group >= 0}, start, group, {}
    )
    found = gather.Gathering(
        {"present": window}, moments.Joint({}), kept, ("area/A",), (), 10, 60
    )
    # Senses and action are sources, too; this recording has none.
    one = decoding._row(found, window, "area/A", 40, True, 5)
    rows, parts, blocks = ({r[k]: r for r in part} for part, k in zip(
        one, ("target", "component", "target"), strict=True))  # fmt: skip
    r2 = ridge.cross_validate(moments.of(x, y[:, 1:], group)).r2()
    for target, expected in zip(window.slices, r2, strict=True):
        assert rows[target]["r2"] == pytest.approx(expected, abs=1e-4)
        assert blocks[target]["r2"] == pytest.approx(expected, abs=1e-4)
    assert parts["straight 1"]["r2"] == pytest.approx(r2[0], abs=1e-4)
    assert rows["straight"]["left_out"] == "straight 0"
    assert (rows["straight"]["components"], rows["bent"]["left_out"]) == (1, "")
    # One in 41 permutations is what is seen itself.
    assert rows["straight"]["p"] == pytest.approx(1 / 41)
    assert rows["level"]["p"] > 1 / 41
    null = decoding.chance(x, y[:, 1:], start, group % 5, 5, permutations=40, seed=5)
    for target, levels in zip(window.slices, null.T, strict=True):
        assert rows[target]["chance"] == pytest.approx(levels.mean(), abs=1e-4)
        high = np.quantile(levels, 0.95)
        assert rows[target]["chance_high"] == pytest.approx(high, abs=1e-4)
    bent = rows["bent"]
    assert bent["linear_same"] < 0.1 < 0.6 < bent["nonlinear"]
    assert rows["straight"]["linear_same"] == pytest.approx(r2[0], abs=0.05)


def test_permuted_keeps_episodes_whole():
    episode = np.repeat([3, 5, 9], [2, 3, 4])
    y = episode[:, None] * 10 + np.arange(9)[:, None]
    seen = set()
    for seed in range(40):
        parts = np.split(decoding.permuted(y, episode, RNG(seed))[:, 0], [2, 5])
        others = [int(part[0] // 10) for part in parts]
        assert sorted(others) == [3, 5, 9]
        for part, other in zip(parts, others, strict=True):
            # From the beginning of the other, and from there again where that is shorter.
            whole = y[episode == other, 0]
            assert part.tolist() == [whole[i % len(whole)] for i in range(len(part))]
        seen.add(tuple(others))
    assert len(seen) == 6


def test_nonlinear_control_finds_what_ridge_cannot():
    rng = RNG(5)
    x = smooth(rng, 60, 100, 4)
    y = (x[:, :1] ** 2 + x[:, 1:2] * x[:, 2:3]) / 2
    episode = np.repeat(np.arange(60), 100)
    linear, _ = decoding.decode(x, y, episode)
    curved, _ = decoding.decode(x, y, episode, nonlinear=True)
    assert linear.value < 0.05
    assert curved.value > 0.7


def test_the_nonlinear_control_sees_all_that_the_linear_one_does():
    """A target on a unit of little variance among many loud ones."""
    rng = RNG(10)
    loud = 100 * smooth(rng, 60, 100, 60)
    quiet = smooth(rng, 60, 100, 1)
    x = np.concatenate([loud, quiet], axis=1)
    y = quiet + 0.3 * rng.normal(size=quiet.shape)
    episode = np.repeat(np.arange(60), 100)
    linear, _ = decoding.decode(x, y, episode)
    curved, _ = decoding.decode(x, y, episode, nonlinear=True)
    assert linear.value > 0.85
    assert curved.value > linear.value - 0.03


def test_interval_covers_the_truth_about_as_often_as_it_says():
    hits = 0
    for seed in range(40):
        x, y, episode = planted(0.5, episodes=60, length=30, units=4, seed=seed)
        estimate, _ = decoding.decode(x, y, episode)
        hits += estimate.low < 0.5 < estimate.high
    assert hits >= 33  # 38 are expected


def test_blocks_give_the_sums_of_the_whole():
    x, y, episode = planted(0.5)
    group = moments.group_of(episode)
    whole = moments.of(x, y, group)
    gathered = moments.Gathered()
    for part in np.array_split(np.arange(len(x)), 7):
        gathered.targets(y[part], group[part])
        gathered.source("x", x[part])
    a, b = ridge.cross_validate(whole), ridge.cross_validate(gathered.moments("x"))
    np.testing.assert_allclose(a.r2(), b.r2(), atol=1e-4)


def test_samples_of_one_window_among_those_of_another():
    """Products of shared samples are made once, and are those of each by itself."""
    rng = RNG(11)
    x = (5 + rng.normal(size=(600, 4))).astype(np.float32)
    group = rng.integers(3, size=600)
    # Nested: the narrowest has no sample in the last block, and the wide ones are equal there.
    narrow = (np.arange(600) % 5 == 0) & (np.arange(600) < 400)
    middle = narrow | (np.arange(600) % 7 == 0) | (np.arange(600) >= 400)
    wide = middle | (np.arange(600) % 2 == 0)
    uses = {"narrow": narrow, "middle": middle, "wide": wide}
    y = {name: rng.normal(size=(600, 2)).astype(np.float32) for name in uses}
    sums, inner = {}, None
    for name in uses:
        sums[name] = inner = moments.Gathered(3, inner)
    for part in np.array_split(np.arange(600), 3):
        for name, used in uses.items():
            sums[name].targets(y[name][part][used[part]], group[part], used[part])
        for each in sums.values():
            each.source("x", x[part])
    for name, used in uses.items():
        found = sums[name].moments("x")
        assert found.samples == used.sum()
        for g in range(3):
            rows = used & (group == g)
            z = x[rows] - x[:200].mean(0)  # the first block's mean
            np.testing.assert_allclose(found.xx[g], z.T @ z, rtol=1e-4, atol=1e-3)
            np.testing.assert_allclose(found.x_sum[g], z.sum(0), rtol=1e-4, atol=1e-3)
            first = y[name][:200][used[:200]].mean(0)
            cross = z.T @ (y[name][rows] - first)
            np.testing.assert_allclose(found.xy[g], cross, rtol=1e-4, atol=1e-3)
    with pytest.raises(ValueError, match="not all among"):
        sums["wide"].targets(y["wide"][:0], group[400:], np.zeros(200, bool))


def test_samples_of_a_window_alone_are_those_of_the_block():
    rng = RNG(12)
    x, y = rng.normal(size=(300, 4)), rng.normal(size=(300, 2))
    group, used = rng.integers(3, size=300), np.arange(300) % 4 == 0
    gathered = moments.Gathered(3)
    gathered.targets(y[used], group, used)
    gathered.source("whole", x)
    gathered.source("part", x[used], chosen=True)
    a, b = gathered.moments("whole"), gathered.moments("part")
    for each in (a, b):
        scores = ridge.cross_validate(each, penalties=[0.1])
        plain = ridge.cross_validate(
            moments.of(x[used], y[used], group[used], 3), penalties=[0.1]
        )
        np.testing.assert_allclose(scores.error, plain.error, rtol=1e-4)


def test_the_windows_of_a_recording_lie_within_each_other():
    """What `gather` takes for granted of them."""
    segment = np.cumsum(RNG(13).uniform(size=(6, 200)) < 0.05, axis=1)
    arrays = recorded(6, 200, segment=segment)
    for kind in (targets.future, targets.success_soon):
        valid = [kind(arrays, steps, 190).valid for steps in (1, 5, 11, 20, 50)]
        for short, long in itertools.pairwise(valid):
            assert not (long & ~short).any()
        assert (valid[0] & ~valid[-1]).any()


def test_too_few_episodes_are_refused():
    x, y, _ = planted(0.5, episodes=5)
    with pytest.raises(ConfigError, match="only 5 start states for 10 groups"):
        decoding.decode(x, y, np.repeat(np.arange(5), 100))
    with pytest.raises(ConfigError, match="samples"):
        decoding.decode(x, y[:-1], np.repeat(np.arange(5), 100))


def recorded(envs=2, steps=12, segment=None, seed=0):
    """Arrays as a recording gives them."""
    rng = RNG(seed)
    segment = np.zeros((envs, steps), int) if segment is None else np.asarray(segment)
    change = segment[:, 1:] != segment[:, :-1]
    success = np.zeros(segment.shape, bool)
    success[:, :-1] = change
    quat = rng.normal(size=(*segment.shape, 4))
    quat /= np.linalg.norm(quat, axis=-1, keepdims=True)
    return {
        "segment": segment,
        "episode": np.zeros(segment.shape, int),
        "success": success,
        "ended": np.zeros(segment.shape, bool),
        "reward": rng.normal(size=segment.shape),
        "action": rng.normal(size=(*segment.shape, 3)),
        "command": rng.normal(size=(*segment.shape, 3)),
        "cube_quat": quat,
    }


def test_no_window_crosses_a_goal():
    arrays = recorded(1, 10, segment=[[0, 0, 0, 0, 1, 1, 1, 2, 2, 2]])
    ahead = targets.future(arrays, 2, 8)
    assert ahead.valid.tolist() == [
        [True, True, False, False, True, False, False, True]
    ]
    np.testing.assert_array_equal(
        ahead.values["future action"][0, :8], arrays["action"][0, 2:10]
    )
    # At the end of a recording there is nothing ahead.
    assert targets.future(arrays, 2, 10).valid[0, 8:].tolist() == [False, False]


def test_the_reward_of_a_goal_that_was_reached_counts():
    arrays = recorded(1, 10, segment=[[0, 0, 0, 0, 1, 1, 1, 2, 2, 2]])
    arrays["episode"] = np.array([[0, 0, 0, 0, 0, 0, 0, 1, 1, 1]])
    past = targets.past(arrays)
    # The goal reached at step 3 is felt at step 4; step 7 begins another episode.
    assert past.valid[0].tolist() == [0, 1, 1, 1, 1, 1, 1, 0, 1, 1]
    np.testing.assert_array_equal(
        past.values["reward"][0, 1:, 0], arrays["reward"][0, :-1]
    )


def test_only_what_the_network_is_shown_is_decoded():
    rng = RNG(9)
    sizes = dict.fromkeys(targets.NEEDED, 3) | {"goal": 4, "cube_quat": 4}
    arrays = {n: rng.normal(size=(2, 5, size)) for n, size in sizes.items()}
    arrays |= {n: rng.normal(size=(2, 5)) for n in ("reward", "value", "distance")}
    arrays |= {"command": arrays["action"], "remaining": arrays["fingertips"]}
    plain = targets.present(arrays, EnvConfig())
    assert plain["goal"].shape == plain["cube orientation"].shape == (2, 5, 6)
    assert not {"goal as shown", "pose as seen"} & set(plain)
    env = EnvConfig(goal_encoding="relative", pose_encoding="folded")
    shown = targets.present(arrays, env)
    assert not {"goal", "cube orientation"} & set(shown)
    np.testing.assert_array_equal(shown["goal as shown"], arrays["sense/goal"])
    np.testing.assert_array_equal(shown["pose as seen"], arrays["sense/vision"])
    np.testing.assert_array_equal(shown["value"][..., 0], arrays["value"])


def test_each_target_of_a_step_is_the_array_that_it_names():
    rng = RNG(15)
    names = (*targets.NEEDED, "remaining")
    arrays = {n: rng.normal(size=(2, 5, 4)) for n in names}
    arrays |= {n: rng.normal(size=(2, 5)) for n in ("reward", "value", "distance")}
    found = targets.present(arrays, EnvConfig())
    whole = {
        "reward to come": arrays["reward"][..., None],
        "value": arrays["value"][..., None],
        "distance to goal": arrays["distance"][..., None],
        "goal": targets.columns(arrays["goal"]),
        "cube orientation": targets.columns(arrays["cube_quat"]),
        "cube position": arrays["cube_pos"],
        "cube velocity": np.concatenate(
            [arrays["cube_linear_velocity"], arrays["cube_angular_velocity"]], -1
        ),
        "fingertips": arrays["fingertips"],
        "touch": arrays["sense/touch"],
        "proprioception": arrays["sense/proprioception"],
        "action": arrays["action"],
        "command": arrays["command"],
        "remaining rotation": arrays["remaining"],
    }
    assert set(found) == set(whole)
    for name, expected in whole.items():
        np.testing.assert_array_equal(found[name], expected, err_msg=name)


def test_the_future_turn_leads_from_now_to_then():
    """0.3 rad a step about +z, then 0.1 rad about -x: signs are those of the turn made."""
    arrays = recorded(1, 4)
    half = np.array([[0, 0, 0], [0, 0, 0.15], [0, 0, 0.3], [-0.05, 0, 0.3]])
    spin = [np.r_[np.cos(v[2]), 0, 0, np.sin(v[2])] for v in half]
    c, s = np.cos(-0.05), np.sin(-0.05)
    w, _, _, z = spin[3]
    spin[3] = np.array([c * w, s * w, -s * z, c * z])  # the turn about x comes last
    arrays["cube_quat"] = np.array([spin])
    ahead = targets.future(arrays, 1, 3)
    turn = [[0, 0, 0.3], [0, 0, 0.3], [-0.1, 0, 0]]
    np.testing.assert_allclose(ahead.values["future rotation"][0], turn, atol=1e-7)
    length = ahead.values["future turn"][0, :, 0]
    np.testing.assert_allclose(length, [0.3, 0.3, 0.1], atol=1e-7)
    both = targets.future(arrays, 2, 2).values
    norm = np.linalg.norm(both["future rotation"][0], axis=1)
    np.testing.assert_allclose(both["future turn"][0, :, 0], norm)
    np.testing.assert_array_equal(both["future command"][0], arrays["command"][0, 2:4])


def test_windows_that_cross_goals_would_be_noticed():
    """A signal that jumps at each goal: decodable ahead only by those that do not cross."""
    rng = RNG(6)
    envs, length, lead = 40, 120, 5
    segment = np.arange(length)[None] // 12 + 100 * np.arange(envs)[:, None]
    level = rng.normal(size=segment.max() + 1)[segment]
    arrays = recorded(envs, length, segment=segment)
    arrays["action"] = np.repeat(level[..., None], 3, axis=-1)
    x = level[..., None] + 0.1 * rng.normal(size=(*segment.shape, 4))
    ahead = targets.future(arrays, lead, length)
    y = ahead.values["future action"][..., :1]
    episode = np.broadcast_to(np.arange(envs)[:, None], segment.shape)

    def r2(rows):
        return decoding.decode(x[rows], y[rows], episode[rows])[0].value

    inside = np.broadcast_to(np.arange(length) < length - lead, segment.shape)
    assert r2(ahead.valid) > 0.95
    assert r2(inside) < 0.7


def test_success_soon():
    arrays = recorded(1, 8, segment=[[0, 0, 0, 1, 1, 1, 1, 1]])
    soon = targets.success_soon(arrays, 2, 8)
    # Step 2 reaches the goal: soon from step 1 on. The goal after it has no known end.
    assert soon.values["success soon"][0, :, 0].tolist() == [0, 1, 1, 0, 0, 0, 0, 0]
    assert soon.valid[0].tolist() == [True] * 7 + [False]
    arrays["ended"][0, 5] = True
    soon = targets.success_soon(arrays, 3, 8)
    assert soon.values["success soon"][0, 3:6].sum() == 0
    assert soon.valid[0, :6].all()
    # A goal that is seen to be reached near the end is left out as one that is not.
    arrays["success"][0, 7] = True
    soon = targets.success_soon(arrays, 3, 8)
    assert soon.valid[0].tolist() == [True] * 6 + [False] * 2


def test_rotations_of_targets_are_those_of_the_simulator():
    from mjxhand import rotations

    q = RNG(7).normal(size=(2, 50, 4)).astype(np.float32)
    a, b = q / np.linalg.norm(q, axis=-1, keepdims=True)
    turn = rotations.log(rotations.multiply(b, rotations.conjugate(a)))
    np.testing.assert_allclose(targets.rotation_vector(a, b), turn, atol=2e-5)
    x, y = (np.asarray(rotations.rotate(a, np.eye(3)[i])) for i in (0, 1))
    np.testing.assert_allclose(targets.columns(a), np.c_[x, y], atol=1e-5)
