"""`atlas refresh`: through siibra's own API on local files, and every way to have no network.

Those that need siibra run where it is installed, or with SIIBRA_PYTHON=path/to/python.
"""

import importlib.util
import json
import os
import socket
import subprocess
import sys
import threading
import time

import fake_siibra as fake
import numpy as np
import pytest

from mjxhand import atlas
from mjxhand.atlas import __main__ as command
from mjxhand.atlas import folder, tables

HAVE = importlib.util.find_spec("siibra") is not None
PYTHON = os.environ.get("SIIBRA_PYTHON", sys.executable if HAVE else "")
needs_siibra = pytest.mark.skipif(not PYTHON, reason="siibra is not installed")


@pytest.fixture(autouse=True)
def untouched():
    """Whatever happens, the bundled tables stay as they are."""
    before = {p.name: p.read_bytes() for p in atlas.BUNDLED.iterdir()}
    yield
    assert {p.name: p.read_bytes() for p in atlas.BUNDLED.iterdir()} == before


@pytest.fixture
def environment(monkeypatch, tmp_path):
    """siibra's cache in a folder of the test."""
    monkeypatch.setenv("SIIBRA_CACHEDIR", str(tmp_path / "cache"))
    return monkeypatch


def refused(capsys, argv, code):
    """The one line on stderr of a command that ends with `code`."""
    assert command.main(argv) == code
    error = capsys.readouterr().err
    assert error.count("\n") == 1, error
    assert error.startswith("error: ")
    return error


@pytest.fixture(scope="module")
def refreshed(tmp_path_factory):
    """A folder made through siibra's API from the fake configuration."""
    if not PYTHON:
        pytest.skip("siibra is not installed")
    root = tmp_path_factory.mktemp("refreshed")
    configuration = fake.write(root / "configuration")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SIIBRA_USE_CONFIGURATION", str(configuration))
        patch.setenv("SIIBRA_CACHEDIR", str(root / "cache"))
        args = ["--out", str(root / "new"), "--python", PYTHON, "--timeout", "300"]
        assert command.main(["refresh", *args]) == 0
    assert sorted(p.name for p in root.iterdir() if p.name.startswith(".")) == []
    return root / "new"


def test_volumes_through_siibra(refreshed):
    """Voxels counted by hand: 1 + (i + side) % 5 of 2 mm each, hemispheres kept apart."""
    made = {r.name: r for r in atlas.load(refreshed).regions}
    for i, name in enumerate(fake.regions()):
        voxels = [1 + (i + side) % 5 for side in (0, 1)]
        assert made[name].volume == tuple(8.0 * n for n in voxels)
        for side in (0, 1):
            index = np.array([i, side, (voxels[side] - 1) / 2])
            centre = np.array(fake.ORIGIN) + fake.VOXEL * index
            np.testing.assert_allclose(made[name].centroid[side], centre, atol=0.051)


def test_streamlines_through_siibra(refreshed):
    """Means over both subjects, summed over pairs of regions, by plain indexing."""
    made = atlas.load(refreshed)
    members = folder.members(folder.groups(refreshed / "groups.tsv"))
    counts = fake.matrices().mean(0)
    present = fake.matrices() > 0
    lengths = fake.lengths().sum(0) / np.maximum(present.sum(0), 1)
    names = fake.names()
    for pair in made.pairs:
        for s, side in enumerate(fake.SIDES):
            rows = [names.index(f"{r} {side}") for r in members[pair.a]]
            columns = [names.index(f"{r} {side}") for r in members[pair.b]]
            n = counts[np.ix_(rows, columns)]
            mm = lengths[np.ix_(rows, columns)]
            assert pair.counts[s] == pytest.approx(n.sum(), abs=0.06)
            assert pair.lengths[s] == pytest.approx((n * mm).sum() / n.sum(), abs=0.06)


def test_refreshed_folder_says_where_it_is_from(refreshed):
    made = atlas.load(refreshed)
    assert made.changed() == ()
    about = made.provenance["tables"]["pairs.tsv"]
    assert about["cohort"] == "HCP"
    assert about["subjects"] == 2
    assert "3.1" in about["version"]
    assert "siibra 1.0.1" in about["read_from"]
    assert about["retrieved"].endswith("Z")
    names = {p.name for p in refreshed.iterdir()}
    assert names == {*folder.CHOICES, *folder.MEASUREMENTS, "provenance.json"}


def test_refreshed_folder_makes_a_brain(refreshed):
    brain = atlas.find(refreshed)
    assert {a.name: a.units for a in brain.areas} == atlas.load(refreshed).unit_counts()


@needs_siibra
def test_groups_of_ones_own(refreshed, environment, tmp_path):
    """A region that goes to another area takes its cells and its streamlines along."""
    path, bundled = tmp_path / "groups.tsv", (atlas.BUNDLED / "groups.tsv").read_text()
    path.write_text(bundled.replace("M1\tArea 4a", "PMC\tArea 4a"))
    configuration = fake.write(tmp_path / "configuration")
    environment.setenv("SIIBRA_USE_CONFIGURATION", str(configuration))
    out = tmp_path / "moved"
    args = ["--out", str(out), "--python", PYTHON, "--groups", str(path)]
    assert command.main(["refresh", *args]) == 0
    before, after = atlas.load(refreshed), atlas.load(out)
    assert after.cells()["M1"] < before.cells()["M1"]
    assert sum(after.cells().values()) == pytest.approx(sum(before.cells().values()))
    assert after.changed() == ()
    assert after.provenance["tables"]["groups.tsv"]["source"] == str(path)

    def streamlines(made, area):
        return sum(p.streamlines for p in made.pairs if area in (p.a, p.b))

    assert streamlines(after, "M1") < streamlines(before, "M1")


@needs_siibra
def test_one_subject_only(environment, tmp_path):
    configuration = fake.write(tmp_path / "configuration")
    environment.setenv("SIIBRA_USE_CONFIGURATION", str(configuration))
    out = tmp_path / "one"
    args = ["--out", str(out), "--python", PYTHON, "--subjects", "1"]
    assert command.main(["refresh", *args]) == 0
    pair = atlas.load(out).pairs[0]
    members = folder.members(folder.groups(out / "groups.tsv"))
    names, first = fake.names(), fake.matrices()[0]
    rows = [names.index(f"{r} left") for r in members[pair.a]]
    columns = [names.index(f"{r} left") for r in members[pair.b]]
    assert pair.counts[0] == pytest.approx(first[np.ix_(rows, columns)].sum(), abs=0.06)


@needs_siibra
def test_missing_region_and_cohort_are_exit_4(environment, tmp_path, capsys):
    gone = fake.regions()[3]
    configuration = fake.write(tmp_path / "configuration", without=[gone])
    environment.setenv("SIIBRA_USE_CONFIGURATION", str(configuration))
    args = ["refresh", "--out", str(tmp_path / "new"), "--python", PYTHON]
    assert gone in refused(capsys, args, 4)
    whole = fake.write(tmp_path / "whole")
    environment.setenv("SIIBRA_USE_CONFIGURATION", str(whole))
    error = refused(capsys, [*args, "--cohort", "1000BRAINS"], 4)
    assert "no StreamlineCounts of cohort 1000BRAINS; it has HCP" in error
    assert not (tmp_path / "new").exists()
    assert [p for p in tmp_path.iterdir() if p.name.startswith(".")] == []


@needs_siibra
def test_nothing_fetched_is_a_failure(environment, tmp_path, capsys):
    """siibra's `fetch` gives None, not an error, when a map cannot be had."""
    configuration = fake.write(tmp_path / "configuration")
    (configuration / "right.nii.gz").unlink()
    environment.setenv("SIIBRA_USE_CONFIGURATION", str(configuration))
    args = ["refresh", "--out", str(tmp_path / "new"), "--python", PYTHON]
    error = refused(capsys, args, 3)
    assert "the bundled one works without it" in error
    assert not (tmp_path / "new").exists()


@needs_siibra
def test_no_network_is_one_line_and_exit_3(environment, tmp_path, capsys):
    """A proxy that nobody runs: every connection is refused."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        proxy = f"http://127.0.0.1:{unused.getsockname()[1]}"
    _use_proxy(environment, proxy)
    args = ["refresh", "--out", str(tmp_path / "new"), "--python", PYTHON]
    error = refused(capsys, args, 3)
    assert "the live atlas cannot be reached" in error
    assert "the bundled one works without it" in error
    assert not (tmp_path / "new").exists()


@pytest.fixture
def silent():
    """A server that takes connections and never answers; its address."""
    server = socket.create_server(("127.0.0.1", 0))
    held, over = [], threading.Event()
    server.settimeout(0.1)

    def accept():
        while not over.is_set():
            try:
                held.append(server.accept()[0])
            except TimeoutError:
                continue

    thread = threading.Thread(target=accept)
    thread.start()
    yield f"http://127.0.0.1:{server.getsockname()[1]}", held
    over.set()
    thread.join()
    for connection in (*held, server):
        connection.close()


@needs_siibra
@pytest.mark.parametrize("limit", ["--timeout", "--request-timeout"])
def test_a_server_that_never_answers(environment, tmp_path, capsys, silent, limit):
    """Killed at the limit, or given up by the request; siibra alone would wait for ever."""
    proxy, held = silent
    _use_proxy(environment, proxy)
    args = ["refresh", "--out", str(tmp_path / "new"), "--python", PYTHON]
    seconds = 20 if limit == "--timeout" else 3
    start = time.monotonic()
    error = refused(capsys, [*args, limit, str(seconds)], 3)
    assert time.monotonic() - start < 120
    assert held, "siibra connected to the silent server"
    if limit == "--timeout":
        assert "no answer within 20 s" in error
    else:
        assert "imeout" in error or "timed out" in error
    assert not (tmp_path / "new").exists()
    assert [p for p in tmp_path.iterdir() if p.name.startswith(".")] == []


def _use_proxy(environment, proxy):
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        environment.setenv(name, proxy)
    for name in ("NO_PROXY", "no_proxy", "SIIBRA_USE_CONFIGURATION"):
        environment.delenv(name, raising=False)


def script(tmp_path, text):
    """A stand-in for a Python: an executable that runs `text` in the shell."""
    path = tmp_path / "python"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def test_without_siibra_it_says_how_to_get_it(tmp_path, capsys):
    body = json.dumps({"error": "dependency", "message": "cannot import siibra"})
    python = script(tmp_path, f"cat > /dev/null; printf '%s' '{body}' > \"$3\"")
    args = ["refresh", "--out", str(tmp_path / "new"), "--python", python]
    assert "pip install 'mjxhand[siibra]'" in refused(capsys, args, 3)


@pytest.mark.skipif(HAVE, reason="siibra is installed")
def test_really_without_siibra(tmp_path, capsys):
    error = refused(capsys, ["refresh", "--out", str(tmp_path / "new")], 3)
    assert "cannot import siibra" in error
    assert "pip install 'mjxhand[siibra]'" in error


def test_a_process_that_hangs_is_killed_with_its_children(tmp_path, capsys):
    pids = tmp_path / "pids"
    python = script(tmp_path, f"sleep 600 & echo $! > {pids}; echo $$ >> {pids}; wait")
    args = ["refresh", "--out", str(tmp_path / "new"), "--python", python]
    assert "no answer within 1 s" in refused(capsys, [*args, "--timeout", "1"], 3)
    for pid in pids.read_text().split():
        deadline = time.monotonic() + 5
        while _runs(int(pid)) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not _runs(int(pid))
    assert not (tmp_path / "new").exists()


def _runs(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = subprocess.run(
        ["ps", "-o", "stat=", "-p", str(pid)],
        capture_output=True,
        text=True,
        check=False,
    )
    return state.stdout.strip()[:1] not in ("", "Z")


def test_a_process_that_dies_is_reported(tmp_path, capsys):
    python = script(tmp_path, "echo first >&2; echo 'the last words' >&2; exit 9")
    args = ["refresh", "--out", str(tmp_path / "new"), "--python", python]
    error = refused(capsys, args, 3)
    assert "status 9" in error
    assert "the last words" in error


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("M1\tArea 4a", "M2\tArea 4a", "speaks of M2"),
        ("\tFA\t", "\tXX\t", "lacks XX"),
        ("Area 4a (PreCG)\tFA", "Area 4a (PreCG)\t-", "counts for units but has no"),
        ("M1\tArea 4", "PMC\tArea 4", "M1 has no region that counts for its pathways"),
    ],
)
def test_groups_that_fit_nothing_are_refused_before_anything_is_fetched(
    tmp_path, capsys, old, new, words
):
    path, bundled = tmp_path / "groups.tsv", (atlas.BUNDLED / "groups.tsv").read_text()
    assert old in bundled
    path.write_text(bundled.replace(old, new))
    args = ["--groups", str(path), "--out", str(tmp_path / "new")]
    assert words in refused(capsys, ["refresh", *args], 2)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["refresh"], "--out DIR"),
        (["refresh", "somewhere"], "--out DIR"),
        (["refresh", "--out", "OLD"], "exists already"),
        (["refresh", "--out", str(atlas.BUNDLED)], "exists already"),
        (["refresh", "--out", str(atlas.BUNDLED / "new")], "bundled atlas"),
        (["refresh", "--out", "x", "--timeout", "0"], "--timeout is 0"),
        (["refresh", "--out", "x", "--subjects", "-1"], "--subjects is -1"),
        (["refresh", "--out", "x", "--timeot", "3"], "did you mean --timeout"),
        (["refresh", "--out", "x", "--python", "/no/python"], "cannot run /no/python"),
        (["refresj"], "did you mean refresh"),
        ([], "show,refresh"),
    ],
)
def test_wrong_options_are_exit_2(tmp_path, capsys, monkeypatch, argv, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "OLD").mkdir()
    assert words in refused(capsys, argv, 2)
    assert [p.name for p in tmp_path.iterdir()] == ["OLD"]


def test_tables_of_the_fake_are_what_they_should_be(tmp_path):
    """The helper itself: shapes, symmetry, and a length wherever there is a count."""
    counts, lengths = fake.matrices(), fake.lengths()
    assert counts.shape == lengths.shape == (2, 126, 126)
    assert (counts == counts.transpose(0, 2, 1)).all()
    assert ((lengths > 0) == (counts > 0)).all()
    assert tables.sha256(fake.write(tmp_path / "c") / "maps/map.json")
