"""Verdicts on the showcase's claims, from tables whose answer is known; tables on disk."""

import numpy as np
import pandas as pd
import pytest

from mjxhand.analyse import claims, evidence, report, ridge, showcase, store, threads
from mjxhand.config import ConfigError


def decoding(values, control=None):
    """Rows of a decoding table: (area, window, target) → R², ± 0.02."""
    rows = []
    for policy, given in (("trained", values), ("untrained", control or {})):
        prefix = {"trained": "area/", "untrained": "control/"}[policy]
        rows += [
            {
                "source": prefix + area,
                "area": area,
                "policy": policy,
                "window": window,
                "target": target,
                "r2": r2,
                "low": r2 - 0.02,
                "high": r2 + 0.02,
                "chance_high": 0.01,
            }
            for (area, window, target), r2 in given.items()
        ]
    return pd.DataFrame(rows)


def rewards(pmc, m1, other):
    past = ("past", "reward"), ("present", "reward to come")
    areas = {"PMC": pmc, "M1": m1, "SPL": other}
    return {(a, *what): r2 for a, r2 in areas.items() for what in past}


GROUPS = 10
NOISE = np.random.default_rng(0).normal(size=GROUPS)
NOISE -= NOISE.mean()


def blocks(value, shared=0.0, own=0.002):
    """A number whose groups vary by `own`, and in step with all others by `shared`."""
    return ridge.Blocks(value, value + shared * NOISE + own * NOISE[::-1])


def rows(values, policy, shared):
    prefix = {"trained": "area/", "untrained": "control/", "both": "sense/"}[policy]
    return [
        evidence.row(prefix + area, window, target, blocks(r2, shared))
        | {"area": area, "policy": policy}
        for (area, window, target), r2 in values.items()
    ]


def verdicts(values=None, control=None, mixed=(), shared=0.0, both=None):
    values = rewards(0, 0, 0) | (values or {})
    control = {} if control is None else rewards(0, 0, 0) | control
    table = pd.DataFrame(
        [
            *rows(values, "trained", shared),
            *rows(control, "untrained", shared),
            *rows(both or {}, "both", shared),
        ]
    )
    found = claims.table(
        evidence.Evidence(table),
        decoding(values, control),
        pd.DataFrame(mixed or [], columns=["policy", "area", "depth", "index"]),
    )
    return found["verdict"].tolist()


EXCEEDS = "is shown to exceed all other areas"


@pytest.mark.parametrize(
    ("values", "control", "expected"),
    [
        ((0.6, 0.3, 0.05), (0, 0, 0), "agrees"),
        ((0.6, 0.3, 0.5), (0, 0, 0), f"partly: both, but PMC alone {EXCEEDS}"),
        ((0.6, 0.3, 0.7), (0, 0, 0), f"partly: both, but neither {EXCEEDS}"),
        ((0.6, 0.3, 0.05), (0, 0.3, 0), "partly: PMC"),
        ((0.01, 0.01, 0.0), (0, 0, 0), "does not agree"),
        ((0.6, 0.3, 0.05), (0.6, 0.3, 0.05), claims.SAME),
    ],
)  # fmt: skip
def test_reward_must_beat_chance_the_untrained_network_and_the_others(
    values, control, expected
):
    assert verdicts(rewards(*values), rewards(*control))[:2] == [expected] * 2


@pytest.mark.parametrize(
    ("chance", "expected"),
    [(0.7, "does not agree"), (0.45, "partly: PMC"), (np.nan, "agrees")],
)
def test_reward_must_beat_the_chance_of_its_own_area(chance, expected):
    """Without permutations there is none, and the least stands."""
    values, control = rewards(0.6, 0.3, 0.05), rewards(0, 0, 0)
    table = rows(values, "trained", 0.0) + rows(control, "untrained", 0.0)
    found = claims.table(
        evidence.Evidence(pd.DataFrame(table)),
        decoding(values, control).assign(chance_high=chance),
        pd.DataFrame(columns=["policy", "area", "depth", "index"]),
    )
    assert found["verdict"].tolist()[:2] == [expected] * 2


def ahead(pmc, m1, lpfc, reduced=None):
    values = {"PMC": pmc, "M1": m1, "LPFC": lpfc, claims.REDUCED: reduced or pmc}
    return {(a, "profile", "command 0.8"): r2 for a, r2 in values.items()}


def senses(linear, nonlinear=None, command=None, both=None):
    told = (linear, nonlinear or linear, command or linear, both or linear)
    return {
        (name, "profile", "command 0.8"): v
        for name, v in zip(claims.SENSES, told, strict=True)
    }


def test_a_planner_beats_every_rival_and_its_untrained_self():
    plans, flat = 3, ahead(0.2, 0.2, 0.2)
    told = senses(0.3)
    found = verdicts(ahead(0.5, 0.3, 0.4), flat, both=told)
    assert found[plans] == "agrees"
    relay = verdicts(ahead(0.5, 0.3, 0.5), flat, both=told)[plans]
    assert relay.startswith("partly: over M1, over all senses")
    assert "LPFC" not in relay
    over = "over M1, over LPFC, over all senses"
    wide = verdicts(ahead(0.5, 0.3, 0.4, 0.29), flat, both=told)[plans]
    rivals = [f"over {name}" for name in claims.SENSES[1:]]
    assert wide == ", ".join([f"partly: {over}", *rivals])
    # No plan is what random units, too, make of the present senses, or the present command.
    made = verdicts(ahead(0.5, 0.3, 0.4), flat, both=senses(0.3, nonlinear=0.6))[plans]
    assert made.startswith(f"partly: {over}, over all senses and the command")
    made = verdicts(ahead(0.5, 0.3, 0.4), flat, both=senses(0.3, command=0.6))[plans]
    assert made.startswith(
        f"partly: {over}, over all senses (nonlinear), over all senses and the command (nonlinear),"
    )
    made = verdicts(ahead(0.5, 0.3, 0.4), flat, both=senses(0.3, both=0.6))[plans]
    assert made.startswith(", ".join([f"partly: {over}", *rivals[:2], "over M1"]))
    same = ahead(0.5, 0.3, 0.4)
    assert verdicts(same, same, both=told)[plans] == claims.SAME
    assert verdicts(ahead(0.3, 0.5, 0.4), flat, both=told)[plans] == "does not agree"
    assert verdicts(same, both=told)[plans] == claims.ALONE
    assert verdicts()[plans] == "cannot be said"


def test_significant_beside_not_significant_is_no_difference():
    trained = blocks(0.02)
    untrained = ridge.Blocks(0.01, 0.01 + 0.002 * NOISE)
    assert trained.estimate().low > 0 > untrained.estimate().low
    assert claims.verdict([evidence.Part("x", trained, untrained)]) == claims.SAME


def test_what_varies_together_is_paired():
    """Groups on which both networks do well: each interval is wide, that of the gap is not."""
    part = evidence.Part("x", blocks(0.5, shared=0.03), blocks(0.4, shared=0.03))
    assert part.trained.estimate().low < 0.4 < part.untrained.estimate().high
    assert part.difference.low == pytest.approx(0.1)
    assert part.learned


def test_the_showcase_measure_needs_both_ends():
    def turns(near, far):
        return {
            ("PMC", claims.NEAR, "future turn"): 0.3 + near,
            ("M1", claims.NEAR, "future turn"): 0.3,
            ("PMC", claims.FAR, "future turn"): 0.3 + far,
            ("M1", claims.FAR, "future turn"): 0.3,
        }

    flat = turns(0, 0)
    assert verdicts(turns(-0.1, 0.2), flat)[2] == "agrees"
    assert verdicts(turns(-0.1, 0.0), flat)[2] == "partly: M1 over PMC at 80 ms"
    assert verdicts(turns(0.1, -0.2), flat)[2] == "does not agree"
    assert verdicts(turns(-0.1, 0.2), turns(-0.1, 0.2))[2] == claims.SAME
    # The untrained network obeys the control where one end alone holds, too.
    assert verdicts(turns(-0.1, 0.0), turns(-0.1, 0.0))[2] == claims.SAME


def selectivity(index, policy="trained"):
    return [
        {"policy": policy, "area": f"A{i}", "depth": i, "index": v}
        for i, v in enumerate(index)
    ]


def test_integration_is_a_trend_over_depth_and_never_more_than_partly():
    up, flat = (1, 1.1, 1.3, 1.6, 2.0), (1.5, 1.2, 1.6, 1.1, 1.4)
    low = selectivity(np.array(flat) / 10, "untrained")
    assert verdicts(mixed=selectivity(up) + low)[-1].startswith("partly: a trend")
    assert verdicts(mixed=selectivity(up))[-1] == claims.ALONE
    assert verdicts(mixed=selectivity(flat) + low)[-1] == "does not agree"
    assert verdicts(mixed=selectivity(up[::-1]) + low)[-1] == "does not agree"
    both = selectivity(up) + selectivity(up, "untrained")
    assert verdicts(mixed=both)[-1] == claims.SAME
    assert verdicts(mixed=selectivity([np.nan] * 5))[-1] == "cannot be said"


def test_the_plan_table_has_both_networks_and_their_difference():
    table = pd.DataFrame(
        rows(ahead(0.5, 0.3, 0.4), "trained", 0)
        + rows(ahead(0.2, 0.1, 0.2), "untrained", 0)
        + rows(senses(0.1), "both", 0)
    )
    found = claims.plan_table(evidence.Evidence(table))
    found = found.set_index(["against", "of"])["difference"]
    assert found["over M1", "trained"] == pytest.approx(0.2)
    assert found["over M1", "untrained"] == pytest.approx(0.1)
    assert found["over LPFC", "trained minus untrained"] == pytest.approx(0.1)
    assert len(found) == (3 + len(claims.SENSES)) * 3


@pytest.mark.parametrize(
    ("area", "lacks"),
    [("dense", "no PMC and no M1"), ("M1", "no PMC"), ("PMC", "no M1")],
)
def test_without_pmc_or_m1_nothing_is_said_of_them(area, lacks):
    """And what the network lacks is named, not what it has."""
    values = {(area, "past", "reward"): 0.5}
    table = evidence.Evidence(pd.DataFrame(rows(values, "trained", 0)))
    mixed = pd.DataFrame(columns=["policy", "area", "depth", "index"])
    found = claims.table(table, decoding(values), mixed)["verdict"].tolist()
    assert len(found) == 3
    assert found[:2] == [f"cannot be said: this network has {lacks}"] * 2


def test_the_recovered_figures_stand_beside_ours():
    values = {("PMC", "past", "reward"): 0.5, ("PMC", "4 s", "future turn"): 0.1}
    values |= {("PMC", "present", "cube position"): 0.3}
    values |= {("PMC", "present", "cube orientation"): 0.65}
    table = showcase.figures(decoding(values, {("PMC", "past", "reward"): 0.2}))
    pmc = table[table["source"] == "PMC"].set_index("quantity")
    assert pmc.loc["reward", ["showcase", "trained", "untrained"]].tolist() == [
        0.672, 0.5, 0.2,
    ]  # fmt: skip
    assert pmc.trained["turn 4 s"] == 0.1
    assert pmc.trained["cube pose"] == pytest.approx((3 * 0.3 + 4 * 0.65) / 7)
    assert np.isnan(pmc.untrained["turn 4 s"])
    # Of a cube seen without letters there is no orientation, and no pose to compare.
    del values["PMC", "present", "cube orientation"]
    table = showcase.figures(decoding(values)).set_index(["source", "quantity"])
    assert np.isnan(table.trained["PMC", "cube pose"])
    assert np.isnan(table.trained["PMC", "goal"])


@pytest.mark.parametrize(
    ("value", "said"),
    [(0.5, ".50"), (-0.07, "−.07"), (-0.001, ".00"), (0.996, "1.00"), (1.0, "1.00"),
     (-10.34, "−10.34"), (-20.5, "−20.50"), (-1.05, "−1.05"), (np.nan, "–")],
)  # fmt: skip
def test_the_report_leaves_out_no_nought_but_the_one_before_a_point(value, said):
    """R² far below 0 keeps its tens."""
    assert report._short(value) == said


def test_tables_survive_the_disk_and_leave_nothing_old(tmp_path):
    tables = {"a": pd.DataFrame({"x": [1.5, np.nan], "area": ["PMC", "−x"]})}
    store.save(tmp_path, {**tables, "old": tables["a"]}, {})
    store.save(tmp_path, tables, {"samples": 3})
    again, facts = store.load(tmp_path)
    assert facts == {"format": store.FORMAT, "samples": 3}
    assert list(again) == ["a"]
    pd.testing.assert_frame_equal(again["a"], tables["a"], check_dtype=False)
    names = {p.name for p in (tmp_path / "tables").iterdir()}
    assert names == {"a.csv"} | ({"a.parquet"} if store.parquet() else set())
    with pytest.raises(ConfigError, match="holds no analysis"):
        store.load(tmp_path / "nowhere")
    for damaged in ("half a li", "3"):
        (tmp_path / store.SUMMARY).write_text(damaged)
        with pytest.raises(ConfigError, match="is damaged"):
            store.load(tmp_path)


def test_parquet_holds_what_csv_does(tmp_path):
    pytest.importorskip("pyarrow")
    table = pd.DataFrame({"r2": [0.25, np.nan], "left_out": ["", "touch 3"]})
    store.save(tmp_path, {"a": table}, {})
    again = pd.read_parquet(tmp_path / "tables" / "a.parquet")
    pd.testing.assert_frame_equal(again, table, check_dtype=False)


def test_work_over_threads_keeps_its_order_and_its_errors():
    from threadpoolctl import threadpool_info

    blas = [p for p in threadpool_info() if p["user_api"] == "blas"]
    before = [p["num_threads"] for p in blas]

    def square(x):
        if x == 7:
            raise ValueError("seven")
        inside = [
            p["num_threads"] for p in threadpool_info() if p["user_api"] == "blas"
        ]
        return x * x, inside

    found = list(threads.each(square, range(6)))
    assert [(x, y) for x, (y, _) in found] == [(x, x * x) for x in range(6)]
    assert all(set(inside) == {1} for _, (_, inside) in found)
    with pytest.raises(ValueError, match="seven"):
        list(threads.each(square, range(20)))
    blas = [p for p in threadpool_info() if p["user_api"] == "blas"]
    assert [p["num_threads"] for p in blas] == before
