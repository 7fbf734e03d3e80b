"""What holds over networks: means, intervals and refusals, from analyses made by hand."""

import numpy as np
import pandas as pd
import pytest

from mjxhand.analyse import across, store, style

AREAS = [
    {"area": "PMC", "units": 8, "receives": ["LPFC"]},
    {"area": "M1", "units": 4, "receives": ["PMC"]},
]
FACTS = {
    "task": "reorient",
    "update": 7,
    "areas": AREAS,
    "goal_encoding": "relative",
    "pose_encoding": "folded",
    "impl": "native",
    "step_seconds": 0.08,
    "network": {"weights": ""},
}
MEASURE = "R² of the last step's reward, above chance"


def tables(trained, untrained, ahead=(0.2, 0.1), lost=-3.0, verdict="agrees"):
    """An analysis: R² of the goal from PMC, trained and untrained; 0.3 from vision."""
    both = [("trained", "area/", trained), ("untrained", "control/", untrained)]
    rows = [
        {"source": prefix + "PMC", "area": "PMC", "policy": policy, "depth": 3,
         "window": "present", "target": "goal as shown", "r2": r2}
        for policy, prefix, r2 in both
    ]  # fmt: skip
    sense = {"source": "sense/vision", "area": "vision", "policy": "both", "depth": 0}
    rows.append(
        sense | {"window": "present", "target": "goal as shown", "r2": 0.3},
    )
    of = ("trained", "untrained", "trained minus untrained")
    return {
        "decoding": pd.DataFrame(rows),
        "selectivity": pd.DataFrame(
            [{"area": "PMC", "policy": p, "depth": 3, "index": 2.0 * r2} for p, _, r2 in both]
        ),
        "dimensions": pd.DataFrame(
            [{"area": "PMC", "policy": p, "depth": 3, "ratio": 4.0} for p, _, _ in both]
        ),
        "planning_test": pd.DataFrame(
            {"against": "over M1", "of": of, "difference": (*ahead, ahead[0] - ahead[1])}
        ),
        "lesions": pd.DataFrame(
            {
                "kind": ("intact", "area", "untrained"),
                "lesion": ("intact", "PMC", "untrained"),
                "change": (0.0, lost, -9.0),
            }
        ),
        "claims": pd.DataFrame(
            [{"claim": "M1 and PMC encode reward", "measure": MEASURE, "verdict": verdict}]
        ),
    }  # fmt: skip


THREE = [
    tables(0.5, 0.1, (0.2, 0.1), -3.0),
    tables(0.6, 0.1, (0.3, 0.1), -4.0, "does not agree"),
    tables(0.7, 0.1, (0.4, 0.6), -5.0),
]


def row(found, measure, area="PMC"):
    rows = found[(found["measure"] == measure) & (found["area"] == area)]
    assert len(rows) == 1
    return rows.iloc[0]


def test_means_and_intervals_are_over_networks():
    found = across.table(THREE)
    read = row(found, across.READ)
    # Mean of 0.4, 0.5, 0.6; deviation 0.1; t of two degrees of freedom is 4.3027.
    assert read["difference"] == pytest.approx(0.5)
    assert read["difference_ci95"] == pytest.approx(4.3027 * 0.1 / np.sqrt(3), rel=1e-4)
    assert (read["trained"], read["untrained"]) == pytest.approx((0.6, 0.1))
    assert read["untrained_ci95"] == pytest.approx(0.0, abs=1e-9)
    assert (read["networks"], read["above"], read["depth"]) == (3, 3, 3)
    assert row(found, across.SHARED)["difference"] == pytest.approx(1.0)
    assert row(found, across.RATIO)["difference"] == pytest.approx(0.0)


def test_the_difference_is_paired_network_by_network():
    # What all networks share must not widen the interval of what learning adds.
    found = across.table([tables(0.2, 0.1), tables(0.9, 0.8)])
    read = row(found, across.READ)
    assert read["difference_ci95"] == pytest.approx(0.0, abs=1e-9)
    assert read["trained_ci95"] > 1.0


def test_planning_counts_networks_and_lesions_leave_out_the_intact_one():
    found = across.table(THREE)
    plans = row(found, across.PLANS)
    assert plans["what"] == "over M1"
    assert plans["difference"] == pytest.approx((0.1 + 0.2 - 0.2) / 3)
    assert plans["above"] == 2
    lost = found[found["measure"] == across.LOSS]
    assert lost["area"].tolist() == ["PMC"]
    assert lost["trained"].item() == pytest.approx(-4.0)
    assert np.isnan(lost["difference"].item())


def test_what_networks_share_has_no_difference():
    sense = row(across.table(THREE), across.READ, "vision")
    assert sense["trained"] == pytest.approx(0.3)
    assert np.isnan(sense["difference"])


def test_a_quantity_that_one_network_lacks_is_counted_without_it():
    lacking = tables(0.9, 0.1)
    del lacking["lesions"]
    lacking["planning_test"] = lacking["planning_test"].iloc[:0]
    found = across.table([*THREE[:2], lacking])
    assert row(found, across.LOSS)["networks"] == 2
    assert row(found, across.PLANS)["networks"] == 2
    assert row(found, across.READ)["networks"] == 3


@pytest.fixture
def folders(tmp_path):
    paths = []
    for number, each in enumerate(THREE):
        paths.append(tmp_path / f"seed{number}")
        store.save(paths[-1], each, FACTS | {"run": f"runs/{number}", "seed": number})
    return paths


def test_networks_without_pmc_and_m1_are_joined_too(tmp_path, capsys):
    """Their claims have no measure, which a CSV holds as nothing."""
    paths = []
    for number, each in enumerate(THREE):
        claims = each["claims"].assign(measure="", verdict="no PMC and M1")
        paths.append(tmp_path / f"seed{number}")
        facts = FACTS | {"run": f"runs/{number}", "seed": number}
        store.save(paths[-1], each | {"claims": claims}, facts)
    assert run(*paths, "--out", tmp_path / "joined") == 0
    assert f"{paths[1]}: no PMC and M1" in capsys.readouterr().out


def run(*arguments):
    return across.main([str(argument) for argument in arguments])


def test_the_command_writes_tables_and_a_figure(folders, tmp_path, capsys):
    out = tmp_path / "joined"
    assert run(*folders, "--out", out) == 0
    said = capsys.readouterr().out
    assert "PMC, goal as shown: +0.50 ± 0.25 (0.60 against 0.10)" in said
    assert "M1 and PMC encode reward: R² of the last step's reward\n" in said
    assert f"{folders[1]}: does not agree" in said
    assert "vision" not in said
    read = pd.read_csv(out / "across.csv")
    assert row(read, across.READ)["difference"] == pytest.approx(0.5)
    verdicts = pd.read_csv(out / "verdicts.csv")
    assert verdicts[str(folders[0])].tolist() == ["agrees"]
    assert (out / "across.png").stat().st_size > 1000
    assert "difference of R²" in (out / "across.svg").read_text()


@pytest.mark.parametrize(
    ("analyses", "trained", "added", "style_of"),
    [
        (THREE, 0.6, 0.5, "normal"),
        ([tables(0.9, 0.1), tables(0.3, 0.3)], 0.6, 0.4, "italic"),
    ],
    ids=["sure", "unsure"],
)
def test_the_figure_shows_what_learning_adds(
    tmp_path, monkeypatch, analyses, trained, added, style_of
):
    """In grey italics where the interval includes 0."""
    shown = []
    monkeypatch.setattr(
        style, "save", lambda made, path: shown.extend(
            (axis.images[0].get_array(), axis.texts) for axis in made.axes if axis.texts
        ),
    )  # fmt: skip
    across.draw(across.table(analyses), tmp_path)
    (first, _), (second, (text,)) = shown
    np.testing.assert_allclose(first, [[trained]])
    np.testing.assert_allclose(second, [[added]])
    assert text.get_fontstyle() == style_of


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"run": "runs/0"}, "both come of runs/0"),
        ({"run": "runs/0", "update": 8}, "both come of runs/0"),
        ({"seed": 0}, "both come of seed 0"),
        ({"network": {"weights": "runs/0"}}, "both come of runs/0"),
        ({"format": 1}, "was written by another version"),
        ({"task": "reach"}, "has task reach"),
        ({"pose_encoding": "absolute"}, "has pose encoding absolute"),
        ({"areas": AREAS[:1]}, "other areas, layers, units, pathways or memory"),
        ({"areas": [AREAS[0], AREAS[1] | {"recurrent": True}]}, "pathways or memory"),
        ({"areas": [AREAS[0] | {"layers": 2}, AREAS[1]]}, "other areas, layers"),
        ({"network": {"weights": "", "cell": "gru"}}, "has cell gru"),
        ({"control": False}, "was made with --no-control"),
    ],
)
def test_what_cannot_be_joined_is_refused_in_one_line(
    folders, tmp_path, capsys, facts, words
):
    store.save(folders[1], THREE[1], FACTS | {"run": "runs/1", "seed": 1} | facts)
    out = tmp_path / "joined"
    assert run(*folders, "--out", out) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1
    assert not out.exists()


def test_training_of_other_length_is_told(folders, tmp_path, capsys):
    named = [
        AREAS[0] | {"label": "premotor cortex"},
        AREAS[1],
    ]  # a name is no difference
    facts = {"run": "runs/1", "seed": 1, "update": 400, "areas": named}
    store.save(folders[1], THREE[1], FACTS | facts)
    assert run(*folders, "--out", tmp_path / "joined") == 0
    assert "networks after 7, 400 updates" in capsys.readouterr().out


def test_runs_from_weights_of_their_own_may_share_a_seed(folders, tmp_path):
    for number, folder in enumerate(folders):
        own = {
            "run": f"on/{number}",
            "seed": 0,
            "network": {"weights": f"runs/{number}"},
        }
        store.save(folder, THREE[number], FACTS | own)
    assert run(*folders, "--out", tmp_path / "joined") == 0


def test_two_finished_analyses_are_needed(folders, tmp_path, capsys):
    assert run(folders[0], "--out", tmp_path / "joined") == 2
    assert "at least two" in capsys.readouterr().err
    assert run(folders[0], tmp_path, "--out", tmp_path / "joined") == 2
    assert "holds no analysis" in capsys.readouterr().err
    old = {name: table for name, table in THREE[1].items() if name != "claims"}
    store.save(folders[1], old, FACTS | {"run": "runs/1", "seed": 1})
    assert run(*folders, "--out", tmp_path / "joined") == 2
    assert "has no table claims" in capsys.readouterr().err
