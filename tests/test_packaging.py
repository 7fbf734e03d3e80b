"""The lock is whole, so that it can be installed with nothing left to resolve."""

import re
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from pages import PAGES

ROOT = Path(__file__).resolve().parent.parent
LOCK = "requirements.lock"


def locked() -> dict[str, str]:
    """Version of every package in the lock that this platform installs."""
    versions = {}
    for line in (ROOT / LOCK).read_text().splitlines():
        if line and line[0].isalnum():
            requirement = Requirement(line.rstrip(" \\"))
            if not requirement.marker or requirement.marker.evaluate():
                (pin,) = requirement.specifier
                assert pin.operator == "=="
                versions[canonicalize_name(requirement.name)] = pin.version
    return versions


def needed(
    requirements: list[str], extras: set[str], seen: set, versions: dict[str, str]
) -> Iterator[tuple]:
    """Every package that `requirements` lead to, as (name, requirement).

    What a package needs is read off the installed one, if that is the locked version.
    """
    for text in requirements:
        wanted = Requirement(text)
        marker = wanted.marker
        environments = [{"extra": extra} for extra in extras or {""}]
        if marker and not any(marker.evaluate(e) for e in environments):
            continue
        name = canonicalize_name(wanted.name)
        yield name, wanted
        key = (name, frozenset(wanted.extras))
        if key not in seen:
            seen.add(key)
            try:
                installed = metadata.distribution(name)
            except metadata.PackageNotFoundError:
                continue
            if installed.version == versions.get(name):
                yield from needed(
                    installed.requires or [], wanted.extras, seen, versions
                )


def test_the_lock_names_everything_that_anything_in_it_needs():
    """`pip install --no-deps -r requirements.lock` installs what is listed, no more."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    direct = project["dependencies"] + extras["dev"]
    for own in [text for text in direct if text.startswith("mjxhand[")]:
        direct.remove(own)
        direct += [text for e in Requirement(own).extras for text in extras[e]]
    versions = locked()
    checked = set()
    for name, wanted in needed(direct, set(), set(), versions):
        assert name in versions, f"{wanted} is not in {LOCK}"
        assert wanted.specifier.contains(versions[name], prereleases=True), wanted
        checked.add(name)
    assert {
        "jax",
        "jaxlib",
        "coverage",
        "etils",
        "warp-lang",
    } <= checked  # of several levels


@pytest.mark.parametrize("file", [*PAGES, ROOT / ".ci" / "run"], ids=lambda p: p.name)
def test_the_lock_is_installed_as_it_is(file):
    """Left to resolve, old pips pick `coverage[toml]` anew and find no hash of it."""
    for line in file.read_text().splitlines():
        if f"-r {LOCK}" in line and "pip install" in line:
            assert "--no-deps" in line


def test_jax_for_gpus_is_of_the_locked_version():
    """Another one would pull another jax in, or find no plugin of its own."""
    told = re.findall(r"jax\[cuda13\]==([\d.]+)", "".join(p.read_text() for p in PAGES))
    assert set(told) == {locked()["jax"]}
