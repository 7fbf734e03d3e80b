"""`atlas show`: the report, the table, the figure, and its mistakes."""

import hashlib
import itertools
import json
import random
import re
import shutil
from types import SimpleNamespace

import pytest
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch
from matplotlib.path import Path
from pages import ROOT, blocks
from PIL import Image
from test_brains import TABLE, random_wiring

from mjxhand import atlas
from mjxhand.atlas import __main__ as command
from mjxhand.atlas import figure

OWN, NOTEBOOK = "docs/howto/own-brain.md", "notebooks/05_your_own_task_and_brain.ipynb"


def show(capsys, *argv):
    """What the command prints."""
    assert command.main(["show", *map(str, argv)]) == 0
    return capsys.readouterr().out


@pytest.fixture(scope="module")
def lines():
    """Lines of the report on the published network."""
    import contextlib
    import io

    with contextlib.redirect_stdout(io.StringIO()) as out:
        assert command.main(["show"]) == 0
    return out.getvalue().splitlines()


def line(lines, start):
    """The one line whose first words are `start`, as words."""
    (found,) = {x for x in lines if x.startswith(start)}
    return found.split()


def test_report_of_the_published_network(lines):
    assert lines[0] == "angorapy_v2: 8 areas, 2,992 units"
    assert line(lines, "PMC  ")[1:6] == ["256", "808", "8.3%", "network's", "1,401,856"]
    assert line(lines, "SSC  ")[1:4] == ["296", "x", "2"]
    assert "parameters: policy 3,335,252, with the value head 4,365,397" in lines
    # 456 units to the 4 gates of 256: SPL -> PMC.
    spl = line(lines, "SPL -> PMC")
    assert spl[3:] == [f"{456 * 4 * 256:,}", "9,342", "71", "mm", "53", "mm",
                       "at", "least", "5,000"]  # fmt: skip
    assert "below, kept: in the reference network" in " ".join(
        line(lines, "IPS -> LPFC")
    )
    assert line(lines, "M1 -> policy")[3] == f"{96 * 220:,}"


@pytest.mark.parametrize("task", ["opposition", "reach", "chain"])
def test_every_task_can_be_shown(capsys, task):
    assert "angorapy_v2: 8 areas" in show(capsys, "--task", task)


def test_report_names_its_sources(lines):
    text = "\n".join(lines)
    for words in ("von Economo", "Julich-Brain 2.9", "10.25493/NVS8-XS5", "CC BY-NC-SA",
                  "200 subjects", "AngoraPy"):  # fmt: skip
        assert words in text
    assert "CHANGED" not in text
    assert "note: pathways" not in text


def test_report_tells_that_changed_groups_change_no_pathways(capsys, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(atlas.BUNDLED, copy)
    path = copy / "groups.tsv"
    path.write_text(path.read_text().replace("M1\tArea 4a", "PMC\tArea 4a"))
    said = show(capsys, copy)
    assert "groups.tsv (CHANGED" in said
    assert "note: pathways are still those of the groups before the change" in said


def test_a_copy_of_the_network_tells_which_tables_made_it(capsys, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(atlas.BUNDLED, copy)
    before = atlas.notes(copy)
    assert not any("CHANGED" in line for line in before)
    path = copy / "densities.tsv"
    path.write_text(path.read_text() + "# mine\n")
    show(capsys, copy, "--table", tmp_path / "net.tsv")
    (line,) = (
        s for s in (tmp_path / "net.tsv").read_text().splitlines() if "densities" in s
    )
    assert ", CHANGED since its provenance was written, sha256 " in line
    assert line.endswith(hashlib.sha256(path.read_bytes()).hexdigest())
    told = [line.partition(":")[0] for line in before[1:]]
    assert {"pairs.tsv", "areas.tsv", "kept.tsv", "groups.tsv", "rules.tsv"} < {*told}


def test_a_sense_that_no_area_receives_is_named(capsys, tmp_path):
    table = atlas.render(atlas.find("angorapy_v2"))
    assert "no area receives" not in show(capsys, "angorapy_v2")
    path = tmp_path / "blind.tsv"
    path.write_text(table.replace("touch", "proprioception"))
    said = show(capsys, path)
    assert "note: no area receives touch: actions do not depend on it" in said
    assert "cells and streamlines above are theirs" in said


def test_report_on_a_folder_without_descriptions_or_the_published_table(
    capsys, tmp_path
):
    copy = tmp_path / "copy"
    shutil.copytree(atlas.BUNDLED, copy)
    (copy / "angorapy_v2.tsv").unlink()
    path = copy / "provenance.json"
    told = json.loads(path.read_text())
    told["tables"]["rules.tsv"] = {"sha256": told["tables"]["rules.tsv"]["sha256"]}
    path.write_text(json.dumps(told))
    said = show(capsys, copy)
    assert "angorapy_v2.tsv (not in the folder): " in said
    assert "rules.tsv: licence: not told; sha256 " in said
    assert "CHANGED" not in said


def test_rules_derive_anew(capsys, tmp_path):
    path = tmp_path / "new.tsv"
    rules = [
        "--min-streamlines",
        "790",
        "--no-kept",
        "--budget",
        "1000",
        "--multiple",
        4,
    ]
    out = show(capsys, "derived", *rules, "--table", path)
    assert "IPL -> M1" in out
    assert "at least 790" in out
    expected = atlas.derive(
        atlas.load(), budget=1000, multiple=4, min_streamlines=790, kept=False
    )
    assert atlas.find(path) == expected


@pytest.mark.parametrize("ending", [".png", ".svg"])
def test_figure(capsys, tmp_path, ending):
    (tmp_path / "own.tsv").write_text(TABLE)
    path = tmp_path / f"f{ending}"
    assert "figure: " in show(capsys, tmp_path / "own.tsv", "--figure", path)
    if ending == ".png":
        with Image.open(path) as image:
            assert min(image.size) > 800
            assert len(image.convert("RGB").getcolors(1 << 24) or ()) > 500
    else:
        assert "parietal" not in path.read_text()[:50]
        assert path.stat().st_size > 20_000


def own_table(page, tmp_path):
    """The table of areas on a page: from the line of its columns to the value head's."""
    text = "\n".join(blocks(ROOT / page, "text", "python"))
    path = tmp_path / "brain.tsv"
    path.write_text(re.findall(r"^area +units.*?^value.*?$", text, re.M | re.S)[0])
    return path


@pytest.mark.parametrize("brain", ["angorapy_v2", "derived", OWN, NOTEBOOK])
def test_no_pathway_passes_behind_a_third_node(capsys, tmp_path, monkeypatch, brain):
    """It would read as two others."""
    figures = []
    monkeypatch.setattr(
        "matplotlib.figure.Figure.savefig", lambda made, *_, **__: figures.append(made)
    )
    source = own_table(brain, tmp_path) if "/" in brain else brain
    show(capsys, source, "--figure", tmp_path / "f.png")
    axes = figures[0].axes[0]
    figures[0].canvas.draw()
    arrows = [p for p in axes.patches if isinstance(p, FancyArrowPatch)]
    nodes = {node for arrow in arrows for node in (arrow.patchA, arrow.patchB)}
    assert len(arrows) > 10
    for arrow in arrows:
        line = axes.transData.transform_path(arrow.get_path())
        for part in line.to_polygons(closed_only=False):
            points = Path(part).interpolated(50).vertices
            for node in nodes - {arrow.patchA, arrow.patchB}:
                shape = node.get_transform().transform_path(node.get_path())
                assert not shape.contains_points(points).any()


@pytest.mark.parametrize("bend", [0.0, 0.2])
def test_an_arrow_bends_only_where_it_must(bend):
    """From (0, 0) to (2, 0), at whose middle an arc of bend b is b high, downwards."""
    beside = figure.Shape((1.0, 1.0), radius=0.5)
    assert figure.around((0.0, 0.0), (2.0, 0.0), bend, [beside]) == bend
    ahead = figure.Shape((1.0, -0.1), half=(0.1, 0.2))  # from -0.3 to 0.1
    assert (
        figure.around((0.0, 0.0), (2.0, 0.0), bend, [ahead])
        == {
            0.0: pytest.approx(-0.15),
            0.2: pytest.approx(0.35),
        }[bend]
    )
    wall = figure.Shape((1.0, 0.0), half=(0.1, 3.0))
    assert figure.around((0.0, 0.0), (2.0, 0.0), bend, [wall]) == bend


@pytest.mark.parametrize("seed", range(20))
def test_nothing_of_the_figure_lies_on_another(seed):
    places = figure.positions(random_wiring(random.Random(seed)))
    for (_, a), (_, b) in itertools.combinations(places.items(), 2):
        assert abs(a[0] - b[0]) > 0.3 or abs(a[1] - b[1]) > 0.3


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["angorapy_v3"], "angorapy_v2, derived, a folder"),
        (["derived", "angorapy_v2"], "one brain at a time"),
        (["--budget", "10"], "angorapy_v2 is not derived"),
        (["derived", "--no-kept"], "area LPFC receives nothing|nothing reads area MCC"),
        (["derived", "--multiple", "0"], "multiple 0"),
        (["--figure", "f.bmp"], "must end in .png"),
        (["--figure", "no/such/f.png"], "cannot write no/such/f.png"),
        (["--table", "no/such/t.tsv"], "cannot write no/such/t.tsv"),
        (["--task", "juggle"], "juggle"),
        (["--feedback", "M1"], "SOURCE:TARGET"),
        (["--celll", "gru"], "did you mean --cell"),
    ],
)
def test_mistakes_are_one_line_and_exit_2(capsys, tmp_path, monkeypatch, argv, words):
    monkeypatch.chdir(tmp_path)
    assert command.main(["show", *argv]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1, error
    assert any(word in error for word in words.split("|")), error
    assert list(tmp_path.iterdir()) == []


def test_the_figure_is_of_the_tables_numbers():
    """Parameters in thousands; centres of the left hemisphere, posterior to anterior."""
    tables = atlas.load()
    areas = {"SSC": 12_000, "M1": 3_000, "policy_head": 500, "value_head": 40_000}
    wiring = SimpleNamespace(areas=[SimpleNamespace(name=n) for n in ("SSC", "M1")])
    shown = SimpleNamespace(wiring=wiring, areas=areas, atlas=tables)
    bars, cortex = Figure().subplots(1, 2)
    figure._bars(bars, shown, {})
    assert [t.get_text() for t in bars.get_yticklabels()] == [
        "value head", "policy head", "M1", "SSC",
    ]  # fmt: skip
    assert [bar.get_width() for bar in bars.patches] == [40, 0.5, 3, 12]
    figure._cortex(cortex, shown, {})
    dots = [dot.get_offsets()[0].tolist() for dot in cortex.collections]
    left = [region.centroid[0] for region in tables.regions]
    assert dots == [[y, z] for _, y, z in left]
    names = {text.get_text(): text.get_position() for text in cortex.texts}
    # The hand's motor cortex lies behind the premotor, before the parietal.
    assert names["PMC"][0] > names["M1"][0] > names["SPL"][0]
