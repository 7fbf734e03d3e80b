"""Every notebook runs from top to bottom with small settings, and is shaped like the others."""

import json
import os
import re
from pathlib import Path
from typing import Any

import nbclient
import nbformat
import pytest
from pages import cells

FOLDER = Path(__file__).parent.parent / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
SECONDS = 600
"""Most time of one cell; a busy machine compiles slowly."""
LARGEST = 600_000
"""Bytes of a notebook with its outputs."""

each = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def test_there_are_six():
    assert [path.stem[:2] for path in NOTEBOOKS] == ["01", "02", "03", "04", "05", "06"]


@each
def test_opening_and_end(path):
    texts = cells(path, "markdown")
    assert texts[0].startswith(f"# {int(path.stem[:2])} · ")
    assert "\n## What you will learn\n" in texts[0]
    assert "## What to try\n" in texts[-1]
    notebook = json.loads(path.read_text(encoding="utf-8"))
    assert notebook["cells"][-1]["cell_type"] == "markdown"


@each
def test_outputs_are_small_and_no_errors(path):
    assert path.stat().st_size < LARGEST
    text = path.read_text(encoding="utf-8")
    outputs = [c["outputs"] for c in json.loads(text)["cells"] if "outputs" in c]
    kinds = {output["output_type"] for found in outputs for output in found}
    assert "error" not in kinds
    shown = [kind for output in outputs for o in output for kind in o.get("data", ())]
    # What a reader without Python comes for: numbers, and figures where there are any.
    assert "stream" in kinds
    assert ("image/png" in shown) == ("plt.show()" in text)


def test_what_to_try_with_the_atlas_reaches_the_network(monkeypatch, capsys):
    """Notebook 3 with the constants that it suggests: in the list of pathways, the network
    built from them and the misfit."""
    code = "\n".join(cells(NOTEBOOKS[2], "code"))
    suggested = cells(NOTEBOOKS[2], "markdown")[-1]
    for name, value in (("BUDGET", 600), ("MIN_STREAMLINES", 790)):
        assert f"Set `{name}` to {value}" in suggested
        code, found = re.subn(rf"^{name} = \d+", f"{name} = {value}", code, flags=re.M)
        assert found == 1
    monkeypatch.setattr("matplotlib.pyplot.show", lambda: None)
    names: dict[str, Any] = {}
    exec(code, names)
    listed = names["tables"].pathways(790, kept=True)
    stream = {"VIS": "vision"}
    assert {(stream.get(p.source, p.source), p.target) for p in listed} <= {
        (pathway.source, pathway.target) for pathway, _ in names["shown"].pathways
    }
    assert f"units in all layers: {sum(names['total'])}\n" in capsys.readouterr().out
    assert abs(sum(names["total"]) - 600) <= 8 * 9 / 2
    assert names["misfit"] < 0.2


@pytest.mark.slow
@each
def test_it_runs(path, tmp_path, monkeypatch):
    root = str(FOLDER.parent)
    paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
    monkeypatch.setenv("MJXHAND_NOTEBOOK_SMALL", "1")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    notebook = nbformat.read(path, as_version=4)
    # Raises CellExecutionError, which shows the cell and its traceback.
    nbclient.NotebookClient(
        notebook,
        timeout=SECONDS,
        startup_timeout=SECONDS,
        kernel_name="python3",
        resources={"metadata": {"path": str(tmp_path)}},
    ).execute()
