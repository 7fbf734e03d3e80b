"""Dimensionality, similarity, selectivity on data whose answer is known."""

import numpy as np
import pytest
from scipy import stats

from mjxhand.analyse import geometry, selectivity
from mjxhand.analyse.gather import Kept
from mjxhand.analyse.moments import Joint
from mjxhand.config import ConfigError

N, EPISODES = 4000, 40
EPISODE = np.repeat(np.arange(EPISODES), N // EPISODES)
SENSES = ("sense/a", "sense/b")


def rotation(rng, size):
    return np.linalg.qr(rng.normal(size=(size, size)))[0]


def joint_of(values):
    joint = Joint({n: v.shape[1] for n, v in values.items()})
    for part in np.array_split(np.arange(N), 3):
        joint.add({n: v[part] for n, v in values.items()}, EPISODE[part] % 10)
    return joint


@pytest.mark.parametrize("dimensions", [1, 3, 8])
def test_participation_ratio_of_a_known_dimension(dimensions):
    rng = np.random.default_rng(0)
    latent = rng.normal(size=(N, dimensions))
    x = latent @ rotation(rng, 20)[:dimensions]
    joint = joint_of({"x": x.astype(np.float32)})
    row = geometry.dimensions(joint, ["x"]).iloc[0]
    assert row.ratio == pytest.approx(dimensions, rel=0.02)
    assert row.components90 == pytest.approx(0.9 * dimensions, abs=1)


def test_silent_units_are_counted():
    x = np.random.default_rng(0).normal(size=(N, 5)).astype(np.float32)
    x[:, 3] = 0
    row = geometry.dimensions(joint_of({"x": x}), ["x"]).iloc[0]
    assert (row.units, row.silent) == (5, 1)
    assert row.ratio_standardised == pytest.approx(4, rel=0.02)


def test_cka_is_one_under_rotation_and_scale_only():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(N, 6)) * [3, 2, 1, 1, 0.5, 0.1]
    assert geometry.linear_cka(x, 5 * x @ rotation(rng, 6) + 3) == pytest.approx(1)
    assert geometry.linear_cka(x, x * [0.1, 1, 1, 1, 1, 9]) < 0.6
    assert geometry.linear_cka(x, rng.normal(size=(N, 6))) < 0.01
    with pytest.raises(ConfigError, match="samples"):
        geometry.linear_cka(x, x[1:])


def test_cka_from_sums_is_that_of_the_arrays():
    rng = np.random.default_rng(2)
    x = rng.normal(size=(N, 6)).astype(np.float32)
    y = (x @ rng.normal(size=(6, 4)) + rng.normal(size=(N, 4))).astype(np.float32)
    table = geometry.cka_table(joint_of({"x": x, "y": y}), ["x", "y"])
    value = geometry.matrix(table, "cka").loc["x", "y"]
    assert value == pytest.approx(geometry.linear_cka(x, y), abs=0.01)
    assert geometry.matrix(table, "cka").loc["x", "x"] == pytest.approx(1)


def test_products_of_groups_are_those_of_a_loop():
    rng = np.random.default_rng(5)
    x, y = (rng.normal(size=(N, u)).astype(np.float32) + 1 for u in (3, 2))
    joint, group = joint_of({"x": x, "y": y}), EPISODE % 10
    parts = [
        (x - x.mean(0))[group == g].T @ (y - y.mean(0))[group == g] for g in range(10)
    ]
    np.testing.assert_allclose(joint.parts("x", "y"), parts, atol=2e-3)
    table = geometry.cka_table(joint, ["x", "y"])
    parts = {pair: joint.parts(*pair) for pair in (("x", "x"), ("x", "y"), ("y", "y"))}

    def cka(groups):
        xx, xy, yy = (
            sum((p[g] * p[h]).sum() for g in groups for h in groups if g != h)
            for p in parts.values()
        )
        return xy / np.sqrt(xx * yy)

    row = table[(table.a == "x") & (table.b == "y")].iloc[0]
    assert row.cka == pytest.approx(cka(range(10)), abs=1e-6)
    without = np.array([cka([g for g in range(10) if g != out]) for out in range(10)])
    half = 2.262 * np.sqrt(0.9 * np.square(without - without.mean()).sum())
    assert row.high - row.cka == pytest.approx(half, rel=1e-3)


def slow(rng, units=20):
    """Activity that stays near one value from a start to the next: 40 samples, not 4,000."""
    level = rng.normal(size=(EPISODES, units))
    return (level[EPISODE] + 0.3 * rng.normal(size=(N, units))).astype(np.float32)


def test_slow_activity_that_shares_nothing_is_not_alike():
    rng, found = np.random.default_rng(6), []
    for _ in range(30):
        values = {"a": slow(rng), "b": slow(rng)}
        table = geometry.cka_table(joint_of(values), values)
        found.append(table[(table.a == "a") & (table.b == "b")].iloc[0])
    # Covariances of the arrays would say 0.3.
    assert geometry.linear_cka(values["a"], values["b"]) > 0.25
    # What the common mean leaves is U / n², here 0.0125.
    assert np.mean([row.cka for row in found]) == pytest.approx(0.0125, abs=0.02)
    assert np.mean([row.low <= 0 <= row.high for row in found]) >= 0.85


def test_dimensions_of_slow_activity_are_not_underrated():
    rng, found, naive = np.random.default_rng(7), [], []
    for _ in range(30):
        joint = joint_of({"x": slow(rng)})
        found.append(geometry.dimensions(joint, ["x"]).iloc[0])
        naive.append(geometry.participation_ratio(joint.covariance("x", "x")))
    assert np.mean(naive) < 15
    assert np.mean([row.ratio for row in found]) == pytest.approx(20, rel=0.05)
    even = [row.ratio_standardised for row in found]
    assert np.mean(even) == pytest.approx(20, rel=0.05)
    assert np.mean([row.low <= 20 <= row.high for row in found]) >= 0.85


def test_rsa_of_like_and_unlike():
    rng = np.random.default_rng(3)
    x = rng.normal(size=(N, 5))
    sources = {"x": x, "turned": x @ rotation(rng, 5), "other": rng.normal(size=(N, 5))}
    rho = geometry.matrix(geometry.rsa(sources, EPISODE, samples=400), "rho")
    assert rho.loc["x", "x"] == pytest.approx(1)
    assert rho.loc["x", "turned"] > 0.95
    assert abs(rho.loc["x", "other"]) < 0.05


def test_rsa_leaves_out_pairs_of_one_start():
    """Two sources that share nothing but the slowness of episodes would look alike."""
    rng = np.random.default_rng(4)
    few = EPISODE % 12
    slow = {
        n: rng.normal(size=(12, 5))[few] + 0.1 * rng.normal(size=(N, 5)) for n in "ab"
    }

    def rho(start):
        return geometry.matrix(geometry.rsa(slow, start, samples=300), "rho").loc[
            "a", "b"
        ]

    # All steps of one of the twelve levels count as one start.
    assert abs(rho(few)) < 0.15
    assert rho(np.arange(N)) > 0.25


def test_rsa_is_spearman_of_standardised_distances_by_hand():
    """Its interval leaves out every pair that a group of starts has a part in."""
    rng = np.random.default_rng(8)
    start = np.repeat(np.arange(12), 5)
    x = rng.normal(size=(60, 4))
    y = np.exp(x @ rng.normal(size=(4, 4)) + rng.normal(size=(60, 4)))
    x *= [100, 1, 1, 0.01]  # of a loud unit no more than of a quiet one
    table = geometry.rsa({"x": x, "y": y}, start, groups=3)
    row = table[(table.a == "x") & (table.b == "y")].iloc[0]
    i, j = np.triu_indices(60, 1)
    apart = start[i] != start[j]
    i, j = i[apart], j[apart]

    def far(z):
        z = z / z.std(0)
        return np.linalg.norm(z[i] - z[j], axis=1)

    ranks = [stats.rankdata(far(z)) for z in (x, y)]
    assert row.rho == pytest.approx(stats.spearmanr(far(x), far(y)).statistic, abs=1e-5)
    without = []
    for g in range(3):
        keep = (start[i] % 3 != g) & (start[j] % 3 != g)
        without.append(np.corrcoef(*[r[keep] for r in ranks])[0, 1])
    # t of two degrees of freedom.
    half = 4.3027 * np.sqrt(2 / 3 * np.square(without - np.mean(without)).sum())
    assert row.high - row.rho == pytest.approx(half, rel=1e-3)


def test_components_that_hold_a_share_of_the_variance():
    covariance = np.diag([1.0, 5.0, 1.0, 3.0])
    found = [geometry.components_for(covariance, s) for s in (0.5, 0.51, 0.9, 0.91)]
    assert found == [1, 2, 3, 4]
    assert geometry.components_for(np.zeros((2, 2))) == 0


def sensory(rng):
    a, b = (rng.normal(size=(N, 3)).astype(np.float32) for _ in range(2))
    noise = 0.5 * rng.normal(size=(N, 4))
    unit = np.stack(
        [a[:, 0], b[:, 1], a[:, 1] + b[:, 0], 1.5 * a[:, 0] * b[:, 0]], axis=1
    )
    area = (unit + noise).astype(np.float32)
    return {"sense/a": a, "sense/b": b, "area/X": area}


def test_pure_and_mixed_units_are_told_apart():
    values = sensory(np.random.default_rng(5))
    table = selectivity.encode(joint_of(values), "area/X", SENSES)
    # Signal 1, noise ¼: R² 0.8; the sum has signal 2: R² 8/9, half from each.
    np.testing.assert_allclose(table["all"][:3], [0.8, 0.8, 8 / 9], atol=0.03)
    np.testing.assert_allclose(table["own a"][:3], [0.8, 0, 4 / 9], atol=0.03)
    np.testing.assert_allclose(table["alone b"][:3], [0, 0.8, 4 / 9], atol=0.03)
    assert table["all"][3] < 0.02
    mixed = selectivity.mixing(table, SENSES)
    assert mixed["senses"].tolist() == [1, 1, 2, 0]
    np.testing.assert_allclose(mixed["index"][:3], [1, 1, 2], atol=0.1)


def test_products_show_nonlinear_mixing():
    values = sensory(np.random.default_rng(6))
    kept = Kept(values, {}, {}, EPISODE, EPISODE % 10, {})
    only = {**values, "area/X": values["area/X"][:, 3:]}
    none = {**values, "area/X": values["area/X"][:, :3]}

    def gain(sources):
        k = Kept(sources, {}, {}, kept.start, kept.group, {})
        return selectivity.nonlinear_gain(k, "area/X", SENSES, 10)

    assert gain(only) > 0.7
    assert abs(gain(none)) < 0.02


def test_products_are_those_of_a_senses_leading_components():
    """Six units that share one latent, and noise of their own: its square comes first."""
    rng = np.random.default_rng(9)
    latent = rng.normal(size=(N, 1))
    sense = (latent + 0.3 * rng.normal(size=(N, 6))).astype(np.float32)
    kept = Kept({"sense/a": sense}, {}, {}, EPISODE, EPISODE % 10, {})
    made = selectivity.products(kept, ("sense/a",))
    assert made.shape == (N, 6)  # three squares and three products of two
    square = np.square(latent[:, 0]).clip(max=16)
    assert np.corrcoef(made[:, 0], square)[0, 1] > 0.95
    assert abs(np.corrcoef(made[:, -1], square)[0, 1]) < 0.1


def test_the_summary_counts_units_that_are_driven_and_mixed():
    """Of four units two are pure, one mixes linearly, one only by a product."""
    values = sensory(np.random.default_rng(5))
    kept = Kept(values, {}, {}, EPISODE, EPISODE % 10, {})
    areas, units = selectivity.summary(
        joint_of(values), kept, ("area/X",), SENSES, groups=10
    )
    row = areas.iloc[0]
    assert (row["units"], row["driven"], row["mixed"]) == (4, 0.75, 0.25)
    assert row["index"] == pytest.approx((1 + 1 + 2) / 3, abs=0.1)
    assert row["own a"] == pytest.approx((0.8 + 4 / 9) / 4, abs=0.03)
    assert row["alone b"] == pytest.approx((0.8 + 4 / 9) / 4, abs=0.03)
    assert units["senses"].tolist() == [1, 1, 2, 0]
