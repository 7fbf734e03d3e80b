"""A new folder of atlas tables, measured live through siibra. Never the bundled one.

The work is done by `live.py` in a process that is killed when its time is over: siibra sets no
timeout, and a server that never answers would hang it for ever.
"""

import contextlib
import datetime
import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mjxhand.atlas import aggregate, brains, folder, live, tables
from mjxhand.config import ConfigError

EXTRA = "pip install 'mjxhand[siibra]'"


class AtlasError(Exception):
    """The live atlas could not be had. One line, and the exit code of the command."""

    code = 4


class AtlasUnavailable(AtlasError):
    """No network, no answer in time, or no siibra."""

    code = 3


@dataclass(frozen=True)
class RefreshOptions:
    """Measure the atlas anew, live from EBRAINS through siibra, into a new folder."""

    out: str = ""
    """Folder to write; must not exist. Train on it with --atlas."""
    parcellation: str = "julich 3.1"
    """Parcellation, as siibra finds it."""
    cohort: str = "HCP"
    """Cohort of the streamlines."""
    groups: str = ""
    """Table of which regions make up which area; by default the bundled groups.tsv."""
    subjects: int | None = None
    """Use only the first so many subjects."""
    timeout: float = 3600.0
    """Seconds after which it is given up, whatever it does."""
    request_timeout: float = 60.0
    """Seconds that one request may wait for an answer."""
    python: str | None = None
    """Python that has siibra, if it is another one."""
    cache: str | None = None
    """Folder of siibra's downloads; by default its own."""


def refresh(options: RefreshOptions) -> Path:
    """Ask siibra and write the folder, in whole or not at all.

    Raises:
      ConfigError: the folder exists or cannot be made, a number is impossible, or the groups do
        not fit the bundled areas and densities.
      AtlasUnavailable: no answer, or siibra is missing.
      AtlasError: the answer lacks regions, or is no matrix of streamlines.
    """
    out = _checked(options)
    hidden = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        hidden.mkdir(parents=True)
    except OSError as error:
        raise ConfigError(f"cannot write {out}: {error.strerror or error}") from None
    try:
        found = _ask(options, hidden / "live.json")
        (hidden / "live.json").unlink()
        _write(hidden, found, options)
        os.rename(hidden, out)
    finally:
        shutil.rmtree(hidden, ignore_errors=True)
    return out


def _checked(options: RefreshOptions) -> Path:
    if not options.out:
        raise ConfigError("refresh needs a folder to write: --out DIR")
    for name in ("timeout", "request_timeout", "subjects"):
        value = getattr(options, name)
        if value is not None and not value > 0:
            option = name.replace("_", "-")
            raise ConfigError(f"--{option} is {value:g}: give a positive number")
    out = Path(options.out)
    if out.exists():
        raise ConfigError(f"{out} exists already: choose another --out")
    if brains.BUNDLED in out.resolve().parents:
        raise ConfigError(f"{out} lies in the bundled atlas: choose another --out")
    _check_groups(_groups(options))
    return out


def _groups(options: RefreshOptions) -> Path:
    return Path(options.groups or brains.BUNDLED / "groups.tsv")


def _check_groups(path: Path) -> None:
    """Before anything is fetched: what the bundled tables lack would stop it afterwards."""
    bundled = folder.load(brains.BUNDLED)
    known = {area.name for area in bundled.areas}
    classes, rows = folder.densities(brains.BUNDLED), folder.groups(path)
    for row in rows:
        if row["area"] not in known:
            raise ConfigError(
                f"{path} speaks of {row['area']}, which is not in the bundled areas.tsv"
            )
        for name in filter(None, row["economo"].split("+")):
            if name not in classes:
                raise ConfigError(f"{path}: densities.tsv lacks {name}")
        if not row["economo"] and row["use"] != "pathways":
            raise ConfigError(
                f"{path}: {row['region']} counts for units but has no economo"
            )
    for area in bundled.areas:
        uses = {row["use"] for row in rows if row["area"] == area.name}
        for kind in ("pathways", "units") if area.layers else ("pathways",):
            if not uses & {kind, "both"}:
                raise ConfigError(
                    f"{path}: {area.name} has no region that counts for its {kind}"
                )


def _ask(options: RefreshOptions, result: Path) -> dict[str, Any]:
    """What `live.py` found. Its progress goes to stdout as it comes."""
    groups = folder.groups(_groups(options))
    members = folder.members(groups)
    request = {
        "parcellation": options.parcellation,
        "cohort": options.cohort,
        "subjects": options.subjects,
        "request_timeout": min(options.request_timeout, options.timeout),
        "cache": options.cache,
        "regions": [g["region"] for g in groups],
        "members": [region for regions in members.values() for region in regions],
    }
    command = [options.python or sys.executable, "-I", live.__file__, str(result)]
    log = result.with_name("live.log")
    with log.open("w") as stderr:
        try:
            child = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stderr=stderr,
                text=True,
                start_new_session=True,
            )
        except OSError as error:
            problem = error.strerror or error
            raise ConfigError(f"cannot run {command[0]}: {problem}") from None
        try:
            child.communicate(json.dumps(request), timeout=options.timeout)
        except subprocess.TimeoutExpired:
            raise _unavailable(f"no answer within {options.timeout:g} s") from None
        finally:
            _kill(child)
    last = log.read_text(errors="replace").strip().splitlines()[-1:]
    log.unlink()
    if not result.exists():
        said = f": {last[0]}" if last else ""
        raise _unavailable(f"siibra ended with status {child.returncode}{said}")
    found = json.loads(result.read_text(encoding="utf-8"))
    kind = found.get("error")
    if kind == "dependency":
        raise AtlasUnavailable(f"{found['message']}; install it: {EXTRA}")
    if kind == "unavailable":
        raise _unavailable(found["message"])
    if kind:
        raise AtlasError(found["message"])
    return found


def _unavailable(problem: str) -> AtlasUnavailable:
    return AtlasUnavailable(
        f"the live atlas cannot be reached ({problem}); the bundled one works without it"
    )


def _kill(child: subprocess.Popen) -> None:
    """End the process and all that it started."""
    if child.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def _write(path: Path, found: dict[str, Any], options: RefreshOptions) -> None:
    """The folder's tables; those that are choices, and the densities, are the bundled ones."""
    bundled = folder.load(brains.BUNDLED)
    for name in (*folder.CHOICES, "densities.tsv"):
        shutil.copy(brains.BUNDLED / name, path / name)
    shutil.copy(_groups(options), path / "groups.tsv")
    groups = folder.groups(path / "groups.tsv")
    volumes = {
        (aggregate.normalise(region), side): (volume, centre)
        for region, side, volume, centre in found["volumes"]
    }
    names = found["names"]

    def matrix(values):
        return {
            (a, b): values[i][j]
            for i, a in enumerate(names)
            for j, b in enumerate(names)
        }

    rows = aggregate.volume_rows([g["region"] for g in groups], volumes)
    pairs = aggregate.pair_rows(
        folder.members(groups), matrix(found["counts"]), matrix(found["lengths"])
    )
    (path / "volumes.tsv").write_text(
        aggregate.volumes_text(
            rows, f"{found['parcellation']}, labels in {found['space']}."
        )
    )
    (path / "pairs.tsv").write_text(
        aggregate.pairs_text(
            pairs,
            f"Streamlines between areas, mean over {found['subjects']} subjects of "
            f"{found['cohort']}, summed over",
            f"pairs of regions within a hemisphere; {found['parcellation']}.",
        )
    )
    about = bundled.provenance["tables"]
    if options.groups:
        own = {"source": options.groups, "licence": "not told"}
        about = {**about, "groups.tsv": {"what": about["groups.tsv"]["what"], **own}}
    provenance = _provenance(path, found, about)
    text = json.dumps(provenance, indent=1, ensure_ascii=False) + "\n"
    (path / folder.PROVENANCE).write_text(text, encoding="utf-8")
    new = brains.derive(folder.load(path), kept=True)
    before = bundled.unit_counts()
    for area in new.areas:
        if not 0.5 <= area.units / before[area.name] <= 1.5:
            print(
                f"note: {area.name} has {area.units} units, {before[area.name]} in the "
                "bundled atlas"
            )


def _provenance(path: Path, found: dict[str, Any], bundled: dict[str, Any]) -> dict:
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    shared = {"read_from": f"EBRAINS, through siibra {found['siibra']}"}
    about: dict[str, dict[str, Any]] = {
        "volumes.tsv": {
            **bundled["volumes.tsv"],
            **shared,
            "version": f"{found['parcellation']}, labelled map in {found['space']}",
            "retrieved": now,
        },
        "pairs.tsv": {
            **bundled["pairs.tsv"],
            **shared,
            "source": found["dataset"],
            "version": found["parcellation"],
            "cohort": found["cohort"],
            "subjects": found["subjects"],
            "statistic": "per pair of regions the mean over subjects; no direction",
            "retrieved": now,
        },
    }
    names = (*folder.CHOICES, *folder.MEASUREMENTS)
    return {
        "schema": folder.SCHEMA,
        "made": now[:10],
        "made_by": "python -m mjxhand.atlas refresh",
        "tables": {
            name: {
                **(about.get(name) or bundled[name]),
                "sha256": tables.sha256(path / name),
            }
            for name in names
        },
    }
