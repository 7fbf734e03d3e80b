"""The doctor: what it knows, what it finds, its exit code."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mjxhand import doctor, render, selftest
from mjxhand.config import ConfigError

WELL = doctor.Machine(
    backend="cpu",
    cores=2,
    threads=2,
    versions={
        "jax": "0.9.2",
        "jaxlib": "0.9.2",
        "mujoco": "3.17.0",
        "mujoco-mjx": "3.17.0",
    },
    driver="",
    free=2**40,
)


def other(**changes) -> doctor.Machine:
    versions = WELL.versions | changes.pop("versions", {})
    return dataclasses.replace(WELL, versions=versions, **changes)


def test_nothing_is_known_against_a_good_machine():
    assert doctor.problems(WELL) == []
    assert doctor.problems(other(versions={"jaxlib": "0.10.0"}, threads=16)) == []
    assert doctor.problems(other(versions={"jaxlib": "0.11.0"}, backend="gpu")) == []
    new = other(backend="gpu", driver="580.1", versions={"warp-lang": doctor.WARP})
    assert doctor.problems(new) == []
    # JAX alone does with it.
    assert doctor.problems(other(backend="gpu", driver="570.1")) == []


@pytest.mark.parametrize(
    ("machine", "words"),
    [
        (other(versions={"jaxlib": "0.10.2"}), ["wait for ever", "NPROC=16"]),
        (other(versions={"jaxlib": "1.0.0"}), ["wait for ever"]),
        (other(driver="570.1"), ["NVIDIA", "mjxhand[cuda]"]),
        (
            other(driver="580.1", versions={"jax-cuda13-plugin": "0.11.0"}),
            ["jax-cuda13-plugin 0.11.0", "jaxlib 0.9.2", "'jax[cuda13]==0.9.2'"],
        ),
        (
            other(driver="570.1", versions={"jax-cuda13-plugin": "0.9.2"}),
            ["driver 580", "570.1", "'jax[cuda12]==0.9.2'"],
        ),
        (
            other(driver="470.2", versions={"jax-cuda12-plugin": "0.9.2"}),
            ["driver 525", "470.2: a newer driver"],
        ),
        (
            other(driver="580.1", versions={"jax-cuda13-plugin": "0.9.2"}),
            ["does not start", "CUDA_VISIBLE_DEVICES"],
        ),
        (other(versions={"mujoco-mjx": "3.16.0"}), ["3.16.0", "same version"]),
        (other(versions={"warp-lang": "1.18.0"}), ["1.18.0", doctor.WARP]),
        (
            other(backend="gpu", driver="570.1", versions={"warp-lang": doctor.WARP}),
            ["570.1", "Warp needs 580", "--env.vision"],
        ),
        (other(free=10**8), ["95 MiB", "--out"]),
    ],
)
def test_each_known_problem_is_one_line_with_what_to_do(machine, words):
    (line,) = doctor.problems(machine)
    assert "\n" not in line
    for word in words:
        assert word in line


def test_the_choice_follows_the_platform():
    assert doctor.choice(WELL)[0] == "native"
    assert doctor.choice(other(backend="gpu"))[0] == "jax"


@pytest.fixture(scope="module")
def env():
    return selftest.environment("native")


@pytest.mark.parametrize(
    ("name", "broken", "words"),
    [
        ("sqrt", lambda x: 0 * x, r"sqrt; operations alone"),
        # As it was reported, for operations that are programs of their own alone.
        ("outer", lambda x, y: np.full((8, 8), np.nan), "product"),
        ("argsort", lambda x: np.zeros(8, int), "order"),
    ],
)
def test_operations_that_are_wrong_are_found(env, monkeypatch, name, broken, words):
    assert "NumPy" in selftest.arithmetic(env)
    monkeypatch.setattr(selftest.jnp, name, broken)
    with pytest.raises(selftest.Failed, match=rf"JAX .* computes wrongly .*{words}"):
        selftest.arithmetic(env)


@pytest.mark.parametrize("name", ["uniform", "normal"])
def test_random_numbers_that_are_none_are_found(env, monkeypatch, name):
    nothing = np.full(1000, np.nan, np.float32)
    monkeypatch.setattr(selftest.jax.random, name, lambda *_: nothing)
    with pytest.raises(selftest.Failed, match=f"{name} numbers"):
        selftest.arithmetic(env)


def test_physics_that_differs_is_found(env, monkeypatch):
    assert "native" in selftest.physics(env)
    real = selftest._step_in_c
    monkeypatch.setattr(
        selftest, "_step_in_c", lambda *args: real(*args) + 2e-3 * np.ones(31)
    )
    with pytest.raises(selftest.Failed, match=r"3\.46 mm from where C MuJoCo"):
        selftest.physics(env)


def test_an_empty_picture_is_found(env, monkeypatch):
    assert "640 × 480" in selftest.picture(env)
    monkeypatch.setattr(
        render.Renderer, "picture", lambda *_: np.zeros((480, 640, 3), np.uint8)
    )
    with pytest.raises(selftest.Failed, match="empty"):
        selftest.picture(env)


def test_a_folder_that_cannot_be_written_is_found(env, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert str(tmp_path) in selftest.writing(env)
    assert list(tmp_path.iterdir()) == []

    def read_only(*_, **__):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(selftest.tempfile, "TemporaryDirectory", read_only)
    with pytest.raises(selftest.Failed, match="Read-only file system"):
        selftest.writing(env)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (None, "✓ only"),
        (selftest.Failed("ill"), "✗ only"),
        (ValueError("two\nlines"), "ValueError: two lines"),
        (ConfigError("no such thing"), "no such thing"),
    ],
)
def test_the_exit_code_says_it(monkeypatch, capsys, error, words):
    def test(env):
        if error:
            raise error
        return "fine"

    monkeypatch.setattr(selftest, "TESTS", {"only": test})
    assert doctor.main([]) == (1 if error else 0)
    out = capsys.readouterr().out
    assert words in out
    assert ("not fit for training" if error else "all well") in out


def test_it_takes_no_options(capsys):
    assert doctor.main(["--fast"]) == 2
    assert "no options" in capsys.readouterr().err


@pytest.mark.slow
def test_the_command_finds_this_machine_well(tmp_path):
    env = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, "-m", "mjxhand.doctor"],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    for name in selftest.TESTS:
        assert f"✓ {name}" in done.stdout
    assert "all well" in done.stdout
