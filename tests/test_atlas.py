"""The atlas: bundled tables by golden values, derivations by hand, mistakes by name."""

import csv
import itertools
import json
import math
import random
import shutil

import numpy as np
import pytest

from mjxhand import atlas
from mjxhand.atlas import aggregate, tables
from mjxhand.atlas.folder import MEASUREMENTS, members
from mjxhand.config import ConfigError

DERIVED = {
    "SSC": 256, "SPL": 440, "IPL": 760, "IPS": 344,
    "MCC": 216, "LPFC": 376, "PMC": 248, "M1": 96,
}  # fmt: skip

# Two areas of one region each (A: 10 cells/mm³ · (30 + 10) mm³; B: 40 · (5 + 15) in two
# layers) and a sense; A - B 60 and 40 streamlines.
TINY = {
    "areas.tsv": "area\tlabel\tlayers\tcell\tstreams\theads\n"
    "V\tvision\t0\t-\tvision\t-\nA\tfirst\t1\t-\ttouch\t-\n"
    "B\tsecond\t2\t*\t-\tpolicy,value\n",
    "groups.tsv": "area\tregion\teconomo\tuse\n"
    "V\trv\t-\tpathways\nA\tra\tX\tboth\nB\trb\tX+Y\tboth\nB\trc\t-\tpathways\n",
    "kept.tsv": "source\ttarget\treason\nV\tB\twished\n",
    "rules.tsv": "rule\tvalue\tmeaning\nbudget\t120\t.\nmultiple\t8\t.\n"
    "min_streamlines\t50\t.\nvalue_layers\t1\t.\nvalue_units\t9\t.\n",
    "densities.tsv": "economo\tcells_per_mm3\tbasis\nX\t10\t.\nY\t70\t.\n",
    "volumes.tsv": "region\tleft_mm3\tright_mm3\tleft_xyz_mm\tright_xyz_mm\n"
    "rv\t1\t1\t0,0,0\t0,0,0\nra\t30\t10\t0,0,0\t0,0,0\n"
    "rb\t5\t15\t3,4,0\t0,0,9\nrc\t15\t5\t3,0,0\t0,0,1\n",
    "pairs.tsv": "a\tb\tleft\tright\tleft_length_mm\tright_length_mm\n"
    "V\tA\t10\t20\t5\t5\nB\tV\t1\t1\t5\t5\nA\tB\t60\t40\t10\t20\n",
}


def write(folder, changes=None):
    """An atlas's folder: the tiny one, with some tables replaced."""
    folder.mkdir(exist_ok=True)
    for name, text in (TINY | (changes or {})).items():
        (folder / name).write_text(text)
    sums = {n: {"sha256": tables.sha256(folder / n)} for n in TINY}
    text = json.dumps({"schema": 1, "tables": sums})
    (folder / "provenance.json").write_text(text)
    return folder


@pytest.fixture(scope="module")
def bundled():
    return atlas.load()


def test_derived_units(bundled):
    assert bundled.unit_counts(2992, 8) == bundled.unit_counts() == DERIVED


def test_cells_equal_an_independent_sum(bundled):
    """The same figures from the raw text, with numpy."""

    def rows(name):
        lines = (atlas.BUNDLED / name).read_text().splitlines()
        return list(csv.DictReader([x for x in lines if x[0] != "#"], delimiter="\t"))

    density = {r["economo"]: float(r["cells_per_mm3"]) for r in rows("densities.tsv")}
    volume = {
        r["region"]: float(r["left_mm3"]) + float(r["right_mm3"])
        for r in rows("volumes.tsv")
    }
    cells = dict.fromkeys(DERIVED, 0.0)
    for row in rows("groups.tsv"):
        if row["use"] != "pathways":
            classes = row["economo"].split("+")
            mean = np.mean([density[c] for c in classes])
            cells[row["area"]] += mean * volume[row["region"]]
    assert bundled.cells() == pytest.approx(cells)
    # Millions of cells, docs/atlas.md.
    assert cells["SSC"] / 1e6 == pytest.approx(1662, abs=1)
    assert cells["M1"] / 1e6 == pytest.approx(320, abs=1)


def test_golden_pathways(bundled):
    counted = bundled.pathways(5000)
    assert [(p.source, p.target) for p in counted] == [
        ("SPL", "IPS"), ("IPL", "IPS"), ("SSC", "IPL"), ("PMC", "M1"),
        ("LPFC", "PMC"), ("SPL", "IPL"), ("VIS", "IPS"), ("SSC", "PMC"),
        ("SSC", "SPL"), ("SPL", "PMC"), ("SSC", "M1"), ("SPL", "M1"),
        ("SSC", "IPS"), ("VIS", "IPL"),
    ]  # fmt: skip
    assert {p.reason for p in counted} == {"count"}
    kept = [p for p in bundled.pathways(kept=True) if p.reason != "count"]
    assert [(p.source, p.target, round(p.streamlines)) for p in kept] == [
        ("IPL", "LPFC", 2153), ("MCC", "LPFC", 1678), ("IPS", "LPFC", 797),
    ]  # fmt: skip
    assert len(bundled.pathways(0, kept=True)) == len(bundled.pathways(0)) == 36
    assert bundled.pathways(1e9) == ()


def test_provenance_is_complete_and_true(bundled):
    assert bundled.changed() == ()
    files = {p.name for p in atlas.BUNDLED.iterdir()} - {"provenance.json"}
    assert set(bundled.provenance["tables"]) == files
    for name, about in bundled.provenance["tables"].items():
        assert about["what"], name
        assert about["source"], name
        assert about["licence"], name
        if name in MEASUREMENTS:
            assert {"version", "cohort", "subjects", "read_from"} <= set(about), name
    assert sum(p.stat().st_size for p in atlas.BUNDLED.iterdir()) < 60_000


def test_tiny_atlas_by_hand(tmp_path):
    tiny = atlas.load(write(tmp_path / "t"))
    # B takes the mean of X and Y: 40 cells/mm³ · 20 mm³; rc counts for pathways only.
    assert tiny.cells() == {"A": 400, "B": 800}
    # 120 units: A 40; B 80, 40 in each of two layers.
    assert tiny.unit_counts() == {"A": 40, "B": 40}
    # 100 units: 33.3 and 2 · 33.3.
    assert tiny.unit_counts(100, 8) == {"A": 32, "B": 32}
    assert tiny.unit_counts(100, 1) == {"A": 33, "B": 33}
    assert tiny.unit_counts(1, 8) == {"A": 8, "B": 8}, "at least one multiple"
    assert tiny.unit_counts(108, 8) == {"A": 40, "B": 40}, "36 lies midway: upward"
    (strong, wished) = tiny.pathways(kept=True)
    assert (strong.source, strong.target, strong.reason) == ("A", "B", "count")
    assert strong.streamlines == 50
    assert strong.length == pytest.approx((60 * 10 + 40 * 20) / 100)
    assert (wished.source, wished.target, wished.reason) == ("V", "B", "wished")
    assert tiny.pathways(50.1) == ()
    assert tiny.pathways(50) == tiny.pathways() == (strong,)
    # Left: (3, 1, 0) of weights 5 and 15; right: (0, 0, 7) of 15 and 5; A at 0.
    left, right = tiny.centroids()["B"]
    assert left == pytest.approx((3, 1, 0))
    assert right == pytest.approx((0, 0, 7))
    assert tiny.distance("A", "B") == pytest.approx((math.sqrt(10) + 7) / 2)


def test_units_follow_the_tables(tmp_path, bundled):
    """A table is changed and the sizes change; provenance then says which."""
    copy = tmp_path / "copy"
    shutil.copytree(atlas.BUNDLED, copy)
    path = copy / "densities.tsv"
    path.write_text(path.read_text().replace("FA\t21035.3", "FA\t42070.6"))
    changed = atlas.load(copy)
    assert changed.changed() == ("densities.tsv",)
    assert changed.cells()["M1"] == pytest.approx(2 * bundled.cells()["M1"])
    assert changed.unit_counts()["M1"] > bundled.unit_counts()["M1"]


def test_more_budget_never_gives_fewer_units(bundled):
    rng = random.Random(0)
    budgets = sorted(rng.uniform(10, 1e5) for _ in range(50))
    counts = [bundled.unit_counts(b, 8) for b in budgets]
    for before, after in itertools.pairwise(counts):
        assert all(after[name] >= n for name, n in before.items())
    for count, budget in zip(counts, budgets, strict=True):
        assert all(n % 8 == 0 and n > 0 for n in count.values())
        layers = {area.name: area.layers for area in bundled.areas}
        total = sum(n * layers[name] for name, n in count.items())
        assert total == pytest.approx(budget, abs=8 * 9)


@pytest.mark.parametrize(
    ("table", "old", "new", "words"),
    [
        ("densities.tsv", "X\t10", "X\tmany", "line 2.*'many'.*give a number"),
        ("densities.tsv", "X\t10", "X\t-1", "not negative"),
        ("densities.tsv", "X\t10", "X\tnan", "finite"),
        ("densities.tsv", "X\t10\t.", "X\t10", "2 entries under 3 columns"),
        ("densities.tsv", "economo", "class", "has the columns class"),
        ("densities.tsv", "Y\t70\t.\n", "", "densities.tsv lacks Y"),
        ("volumes.tsv", "rb\t5", "rz\t5", "volumes.tsv lacks rb"),
        ("volumes.tsv", "3,4,0", "3,4", "three numbers"),
        ("groups.tsv", "A\tra\tX\tboth", "A\tra\t-\tboth", "ra counts for units"),
        ("groups.tsv", "A\tra\tX\tboth", "A\tra\tX\teach", "choose one of units"),
        ("groups.tsv", "A\tra", "C\tra", "A has no region that counts for its path"),
        ("groups.tsv", "A\tra\tX\tboth", "A\tra\tX\tunits", "A has no region that c"),
        ("groups.tsv", "B\trb", "C\trb", "groups.tsv speaks of C"),
        ("pairs.tsv", "V\tA", "V\tQ", "pairs.tsv speaks of Q"),
        ("pairs.tsv", "V\tA\t10\t20\t5\t5\n", "", "V and A in exactly one line"),
        ("kept.tsv", "V\tB", "B\tA", "B does not precede A"),
        ("areas.tsv", "B\tsecond", "A\tsecond", "names A twice"),
        ("areas.tsv", "\t0\t-\tvision\t", "\t0\t-\t-\t", "stand for one stream"),
        ("rules.tsv", "budget", "money", "choose one of budget"),
        ("rules.tsv", "budget\t120\t.\n", "", "lacks the rule budget"),
        ("rules.tsv", "layers\t1", "layers\t0", "value_layers is 0: .*at least 1"),
        ("rules.tsv", "layers\t1", "layers\t1.5", "value_layers is 1.5: .*whole"),
        ("rules.tsv", "units\t9", "units\t64.7", "value_units is 64.7: .*whole"),
        ("rules.tsv", "multiple", "budget", "line 3: budget stands in line 2 too"),
        ("volumes.tsv", "rc\t15", "rb\t15", "line 5: rb stands in line 4 too"),
        ("densities.tsv", "Y\t70", "X\t70", "line 3: X stands in line 2 too"),
        ("kept.tsv", "wished", "w\nV\tB\tx", "line 3: V, B stands in line 2 too"),
        ("groups.tsv", "B\trc", "B\trb", "line 5: rb stands in line 4 too"),
        ("groups.tsv", "B\trc", "A\trb", "line 5: rb stands in line 4 too"),
        ("areas.tsv", "policy", "polcy", "line 4.*choose one of policy, value"),
        ("areas.tsv", "0\t-\tvision", "0\t*\tvision", "V has no layers.*nor heads"),
        ("areas.tsv", "vision\t-\nA", "vision\tvalue\nA", "V has no layers.*nor h"),
    ],
)
def test_a_wrong_table_is_one_line(tmp_path, table, old, new, words):
    assert old in TINY[table]
    folder = write(tmp_path / "t", {table: TINY[table].replace(old, new)})
    with pytest.raises(ConfigError, match=words) as caught:
        atlas.load(folder)
    assert "\n" not in str(caught.value)


def test_a_stream_that_reaches_no_area_is_refused(tmp_path):
    """Since its stand-in comes last, or below the threshold."""
    tiny = atlas.load(write(tmp_path / "t"))
    assert tiny.pathways(kept=True)[-1].source == "V"
    with pytest.raises(ConfigError, match=r"V has no pathway.*receive vision"):
        atlas.derive(tiny, kept=False)
    header, v, a, b = TINY["areas.tsv"].splitlines(keepends=True)
    changes = {"areas.tsv": header + a + b + v, "kept.tsv": "source\ttarget\treason\n"}
    last = atlas.load(write(tmp_path / "last", changes))
    with pytest.raises(ConfigError, match=r"V has no pathway.*receive vision"):
        atlas.derive(last, min_streamlines=0)


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ([], "tables is no object"),
        ({}, "no sha256 of areas.tsv"),
        ({n: {"what": "."} for n in TINY}, "no sha256 of areas.tsv"),
        ({n: {"sha256": "0"} for n in TINY} | {"x.tsv": 1}, "no sha256 of x.tsv"),
    ],
)
def test_a_wrong_provenance_is_one_line(tmp_path, told, words):
    folder = write(tmp_path / "t")
    text = json.dumps({"schema": 1, "tables": told})
    (folder / "provenance.json").write_text(text)
    with pytest.raises(ConfigError, match=f"provenance.json.*{words}"):
        atlas.load(folder)


def test_line_ends_and_byte_order_marks_change_nothing(tmp_path):
    folder = write(tmp_path / "t")
    plain = atlas.load(folder)
    for name in TINY:
        text = TINY[name].replace("\n", "\r\n")
        (folder / name).write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert atlas.load(folder) == plain
    assert atlas.load(folder).changed() == ()


def test_missing_files_are_one_line(tmp_path):
    with pytest.raises(ConfigError, match="no folder"):
        atlas.load(tmp_path / "nowhere")
    folder = write(tmp_path / "t")
    (folder / "provenance.json").write_text("{}")
    with pytest.raises(ConfigError, match="schema 1"):
        atlas.load(folder)
    (folder / "pairs.tsv").unlink()
    with pytest.raises(ConfigError, match=r"cannot read .*pairs.tsv: No such file"):
        atlas.load(folder)


@pytest.mark.parametrize(
    ("budget", "multiple"), [(0, 8), (-1, 8), (100, 0), (100, 1.5), (math.inf, 8)]
)
def test_impossible_sizes_are_refused(bundled, budget, multiple):
    with pytest.raises(ConfigError, match="budget"):
        bundled.unit_counts(budget, multiple)


def test_area_without_cells_is_refused(tmp_path):
    groups = TINY["groups.tsv"].replace("A\tra\tX\tboth", "A\tra\tX\tpathways")
    tiny = atlas.load(write(tmp_path / "t", {"groups.tsv": groups}))
    with pytest.raises(ConfigError, match="area A has no cells"):
        tiny.unit_counts()


def test_negative_threshold_is_refused(bundled):
    with pytest.raises(ConfigError, match="min_streamlines"):
        bundled.pathways(-1)


def test_pair_rows_by_hand():
    """Sums over pairs of regions; lengths weighted by count; names differ in spaces."""
    members = {"A": ["r 1"], "B": ["r 2", "r 3"]}

    def matrix(*values):
        keys = [("r1left", "r2left"), ("r1left", "r3left")]
        keys += [("r1right", "r2right"), ("r1right", "r3right")]
        return dict(zip(keys, values, strict=True))

    counts, lengths = matrix(1, 3, 0, 0), matrix(10, 20, 7, 9)
    assert aggregate.pair_rows(members, counts, lengths) == [
        ("A", "B", 4.0, 0.0, 17.5, 0.0)
    ]
    with pytest.raises(ConfigError, match="-1"):
        aggregate.pair_rows(members, matrix(1, -1, 0, 0), lengths)
    with pytest.raises(ConfigError, match=r"lacks r1left or r4left"):
        aggregate.pair_rows({"A": ["r 1"], "B": ["r 4"]}, counts, lengths)


def test_regions_that_count_for_sizes_alone_have_no_streamlines():
    rows = [
        {"area": area, "region": region, "use": use}
        for area, region, use in (
            ("A", "a", "both"), ("A", "b", "units"), ("B", "c", "units"),
            ("B", "d", "pathways"), ("A", "e", "pathways"),
        )
    ]  # fmt: skip
    assert members(rows) == {"A": ["a", "e"], "B": ["d"]}


def test_missing_regions_are_listed():
    with pytest.raises(
        ConfigError, match=r"r 1 left, r 1 right, r 2 left.* and 1 more"
    ):
        aggregate.volume_rows(["r 1", "r 2", "r 3"], {})


def test_tables_survive_a_round_trip(tmp_path):
    path = tmp_path / "t.tsv"
    path.write_text(tables.render(("a", "b"), [("x", 0.1), ("y", 1e6)], "note"))
    rows = tables.read(path, {"b": tables.number, "a": tables.text})
    assert rows == [{"a": "x", "b": 0.1}, {"a": "y", "b": 1e6}]
