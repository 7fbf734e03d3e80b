"""Verdicts on the showcase's claims, from tables whose answer is known; tables on disk."""

import numpy as np
import pandas as pd
import pytest

from mjxhand.analyse import claims, showcase, store, threads
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


PLANNING = ("now", "ahead", "change", "matched")


def planning(policy="trained", **values):
    row = {"policy": policy}
    for name in PLANNING:
        value = values.get(name, 0.0)
        row |= {name: value, f"{name}_low": value - 0.01, f"{name}_high": value + 0.01}
    return row


def turns(near, far, policy="trained"):
    return [
        {
            "policy": policy,
            "window": w,
            "difference": d,
            "low": d - 0.01,
            "high": d + 0.01,
        }
        for w, d in ((claims.NEAR, near), (claims.FAR, far))
    ]


def selectivity(index, policy="trained"):
    return [
        {"policy": policy, "area": f"A{i}", "depth": i, "index": v}
        for i, v in enumerate(index)
    ]


def verdicts(decoded=None, planned=(), turned=(), mixed=()):
    found = claims.table(
        decoding(rewards(0, 0, 0)) if decoded is None else decoded,
        pd.DataFrame(planned or []),
        pd.DataFrame(turned or [], columns=["policy", "window", "difference", "low", "high"]),
        pd.DataFrame(mixed or [], columns=["policy", "area", "depth", "index"]),
    )  # fmt: skip
    return found["verdict"].tolist()


@pytest.mark.parametrize(
    ("values", "control", "expected"),
    [
        ((0.6, 0.3, 0.05), (0, 0, 0), "agrees"),
        ((0.6, 0.3, 0.5), (0, 0, 0), "partly: other areas encode it as well"),
        ((0.6, 0.3, 0.05), (0, 0.29, 0), "partly: PMC only"),
        ((0.02, 0.01, 0.0), (0, 0, 0), "does not agree"),
        ((0.6, 0.3, 0.05), (0.6, 0.3, 0.05), "does not agree"),
    ],
)
def test_reward_must_beat_chance_the_untrained_network_and_the_others(
    values, control, expected
):
    found = verdicts(decoding(rewards(*values), rewards(*control)))
    assert found[:2] == [expected] * 2


def test_planning_is_asked_of_intervals_and_of_the_untrained_network():
    plans, executes = 3, 4
    right = planning(now=-0.2, ahead=0.1, change=0.3, matched=0.05)
    found = verdicts(planned=[right, planning("untrained")])
    assert (found[plans], found[executes]) == ("agrees", "agrees")
    found = verdicts(planned=[right, {**right, "policy": "untrained"}])
    assert found[plans] == found[executes] == f"partly: {claims.WIRING}"
    small = planning(now=0.005, ahead=0.1, change=0.3, matched=-0.05)
    found = verdicts(planned=[small])
    assert "greater number of units" in found[plans]
    assert found[executes] == "does not agree"
    assert verdicts(planned=[planning(ahead=0.1)])[plans].startswith("partly: PMC fore")
    assert verdicts()[plans] == "cannot be said"


def test_the_showcase_measure_needs_both_ends():
    assert verdicts(turned=turns(-0.1, 0.2))[2] == "agrees"
    assert verdicts(turned=turns(-0.1, 0.005))[2] == "partly: M1 first at 80 ms only"
    assert verdicts(turned=turns(0.1, -0.2))[2] == "does not agree"
    both = turns(-0.1, 0.2) + turns(-0.1, 0.2, "untrained")
    assert verdicts(turned=both)[2] == f"partly: {claims.WIRING}"


def test_integration_is_a_trend_over_depth():
    up, flat = (1, 1.1, 1.3, 1.6, 2.0), (1.5, 1.2, 1.6, 1.1, 1.4)
    assert verdicts(mixed=selectivity(up))[-1] == "agrees"
    assert verdicts(mixed=selectivity(flat))[-1] == "does not agree"
    assert verdicts(mixed=selectivity(up[::-1]))[-1] == "does not agree"
    both = selectivity(up) + selectivity(up, "untrained")
    assert verdicts(mixed=both)[-1] == f"partly: {claims.WIRING}"
    assert verdicts(mixed=selectivity([np.nan] * 5))[-1] == "cannot be said"


def test_without_pmc_and_m1_nothing_is_said_of_them():
    found = verdicts(decoding({("dense", "past", "reward"): 0.5}))
    assert all(
        v.startswith("cannot be said: this network has no PMC") for v in found[:3]
    )


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


def test_tables_survive_the_disk_and_leave_nothing_old(tmp_path):
    tables = {"a": pd.DataFrame({"x": [1.5, np.nan], "area": ["PMC", "−x"]})}
    store.save(tmp_path, {**tables, "old": tables["a"]}, {})
    store.save(tmp_path, tables, {"samples": 3})
    again, facts = store.load(tmp_path)
    assert facts == {"samples": 3}
    assert list(again) == ["a"]
    pd.testing.assert_frame_equal(again["a"], tables["a"], check_dtype=False)
    names = {p.name for p in (tmp_path / "tables").iterdir()}
    assert names == {"a.csv"} | ({"a.parquet"} if store.parquet() else set())
    with pytest.raises(ConfigError, match="holds no analysis"):
        store.load(tmp_path / "nowhere")


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
