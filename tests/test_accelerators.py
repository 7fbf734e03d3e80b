"""What can be told of GPUs and TPUs without one: the update as it would be compiled for them."""

import dataclasses
import functools
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path
from unittest import mock

import jax
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "benchmarks"))
import cases
import environment
import run

from mjxhand import agent as agent_module
from mjxhand import eye, presets
from mjxhand.env import Env
from mjxhand.sharding import Program, make_mesh

BENCHMARKS = Path(run.__file__).parent


@functools.cache
def traced(vision: str):
    """A whole update on the jax back end."""
    config = presets.fitted(presets.PRESETS["smoke"], {"env.vision": vision})
    config = dataclasses.replace(
        config,
        env=dataclasses.replace(config.env, vision=vision, pool_size=8),
        physics=dataclasses.replace(config.physics, impl="jax"),
        ppo=dataclasses.replace(config.ppo, num_envs=4),
    )
    if vision == "perceived":
        network = dataclasses.replace(config.network, vision_stream="pretrained:sight")
        config = dataclasses.replace(config, network=network)
    # A CPU draws in another way.
    with mock.patch.object(eye, "Painters", eye.ByMjx):
        env = Env(config)
    agent = agent_module.build(config, env.observation_sizes, env.num_actuators)
    program = Program(config, env, agent, make_mesh(jax.devices()[:1]))
    params = program.place_params(env.make_params(0))
    keys = jax.random.split(jax.random.PRNGKey(0), 1)
    actors = jax.eval_shape(program._init_actors, keys, params)
    return program.update.trace(program.learner_shapes(), actors, params)


def calls(vision: str, platform: str) -> set[str]:
    """What that update calls outside of XLA."""
    text = traced(vision).lower(lowering_platforms=(platform,)).as_text()
    return set(re.findall(r"custom_call @([\w.]+)", text))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("platform", "allowed"),
    [
        ("cuda", {"cusolver_potrf_ffi"}),
        ("rocm", {"hipsolver_potrf_ffi"}),
        ("tpu", set()),
    ],
)
def test_an_update_is_one_program_without_the_host(platform, allowed):
    """Batched Cholesky factors of the vendor's library, and no function of Python."""
    assert calls("pose", platform) == allowed


@pytest.mark.slow
@pytest.mark.parametrize("vision", ["pixels", "perceived"])
def test_frames_are_drawn_by_kernels_of_warp(vision):
    pytest.importorskip("warp")
    own = calls(vision, "cuda") - {"cusolver_potrf_ffi"}
    # Its launches, by JAX's foreign function interface; a callback would be `xla_python_…`.
    assert own
    assert all(name.startswith("jax_callable_") for name in own)


def gpu_sh(tmp_path, python="", **env) -> subprocess.CompletedProcess:
    """`gpu.sh` with a stand-in for Python, a shell script."""
    stand_in = tmp_path / "python"
    stand_in.write_text(f"#!/bin/sh\n{python}\n")
    stand_in.chmod(0o755)
    return subprocess.run(
        ["bash", str(BENCHMARKS / "gpu.sh"), str(tmp_path / "out")],
        env=os.environ | {"PYTHON": str(stand_in), "TINY": ""} | env,
        capture_output=True,
        text=True,
        timeout=60,
    )


def lines_of(tmp_path, **env) -> list[list[str]]:
    """Arguments of all Pythons that `gpu.sh` starts, less the question for an accelerator."""
    log = tmp_path / "log"
    log.unlink(missing_ok=True)
    done = gpu_sh(tmp_path, f'echo "$CUDA_VISIBLE_DEVICES $@" >> {log}', **env)
    assert done.returncode == 0, done.stderr
    # Regular expressions hold what a shell would read otherwise: words are split at spaces.
    lines = [line.split(" ") for line in log.read_text().splitlines()]
    assert {line[0] for line in lines} == {env.get("CUDA_VISIBLE_DEVICES", "0")}
    return [line[1:] for line in lines if "environment.py" not in line[1]]


def chosen(line: list[str]) -> list[str]:
    """Names of the cases that a line of run.py times."""
    on, pattern = (line[line.index(name) + 1] for name in ("--on", "-f"))
    return [c.name for c in cases.CASES if c.on == on and re.search(pattern, c.name)]


def test_a_dry_run_is_the_same_lines_at_other_sizes(tmp_path, monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    full = lines_of(tmp_path)
    tiny = lines_of(tmp_path, TINY="1", CUDA_VISIBLE_DEVICES="3")
    assert [line[0] for line in full] == [line[0] for line in tiny]
    for lines, on in ((full, "accelerator"), (tiny, "tiny")):
        timed = [chosen(line) for line in lines if line[0].endswith("run.py")]
        assert all(timed)
        # Every case once.
        names = [name for names in timed for name in names]
        assert sorted(names) == sorted(c.name for c in cases.CASES if c.on == on)
    # What matters most comes first.
    assert [chosen(line) for line in full[:4]] == [
        ["physics/jax/8192"],
        ["physics/warp/8192"],
        ["update/fpn/jax/8192"],
        ["update/fpn/warp/8192"],
    ]


def test_a_line_that_hangs_or_fails_costs_no_other(tmp_path):
    slow = 'case "$*" in *env/*) sleep 60;; *first.py*) exit 4;; esac'
    done = gpu_sh(tmp_path, slow, TINY="1", IMPLS="native", LIMIT="5")
    assert done.returncode == 1
    failed = [line for line in done.stderr.splitlines() if line.startswith("failed")]
    assert [line.split()[1].strip("(;") for line in failed] == ["124", "4"]
    assert "2 failures" in done.stdout


def test_without_an_accelerator_nothing_is_measured(tmp_path, monkeypatch, capsys):
    """One line, exit code 2: on a CPU the cases would compile for hours."""
    env = {"PYTHON": sys.executable, "JAX_PLATFORMS": "cpu"}
    done = gpu_sh(tmp_path, **env)
    assert done.returncode == 2
    assert re.fullmatch(r"no accelerator: JAX runs on the CPU.*\n", done.stderr)
    assert not (tmp_path / "out").exists()
    # Where there is one, the check says nothing and lets the script go on.
    monkeypatch.setattr(run.jax, "default_backend", lambda: "gpu")
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(environment.__file__, run_name="__main__")
    assert not ended.value.code
    monkeypatch.undo()
    monkeypatch.setattr(
        run.environment, "alone", lambda function, *args: function(*args)
    )
    monkeypatch.setattr(sys, "argv", ["run.py", "--on", "accelerator"])
    assert run.main() == 2
    assert capsys.readouterr().err == done.stderr
