"""One run in two real processes, over loopback, against the same run in one."""

import dataclasses
import os
import signal
import socket
import subprocess
import sys
import time

import jax
import numpy as np
import pytest

from mjxhand import distributed, metrics, train
from mjxhand.checkpoint import Checkpoints
from mjxhand.config import ConfigError
from mjxhand.distributed import Cluster, find, first_host
from mjxhand.presets import PRESETS
from mjxhand.sharding import make_mesh

# One minibatch: the same environments, however they are split.
SMOKE = PRESETS["smoke"]
CONFIG = dataclasses.replace(
    SMOKE,
    ppo=dataclasses.replace(SMOKE.ppo, num_minibatches=1, num_epochs=1),
    evaluate_episodes=0,
    film=False,
)
ARGS = "smoke --evaluate-episodes 0 --no-film --ppo.num-minibatches 1 --ppo.num-epochs 1 --quiet"
# The command, and then every array of this process's learner in a file.
KEEPING = """
import sys, jax, numpy as np
from mjxhand import train
real = train.train
def kept(*args, **kwargs):
    run = real(*args, **kwargs)
    np.savez(sys.argv[1], *[np.asarray(x) for x in jax.tree.leaves(run.learner)])
    return run
train.train = kept
sys.exit(train.main(sys.argv[2:]))
"""
# What an update on a GPU is traced with, made by this process.
MODELS = """
import sys
from mjxhand import distributed, eye, physics, scene
from mjxhand.config import PhysicsConfig
distributed.start(distributed.Cluster(sys.argv[1], 2, int(sys.argv[2])))
made = scene.build()
for impl in ("jax", "warp"):
    physics.make_physics(made, PhysicsConfig(impl=impl))
eye.ByMjx(eye.visible(made), ("palm",), 16, eye.OPTIONS)
distributed.stop()
"""


def free_port():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]


@pytest.fixture
def start_two():
    """Starts both processes of a run, one CPU device each; kills what a test leaves."""
    processes = []

    def start(out, *args, keep=None):
        port = free_port()
        shared = [*ARGS.split(), "--out", out, "--coordinator", f"127.0.0.1:{port}"]
        for index in range(2):
            head = ["-m", "mjxhand.train"]
            if keep is not None:
                head = ["-c", KEEPING, keep / f"{index}.npz"]
            place = ["--num-processes", 2, "--process-id", index]
            command = [sys.executable, *head, *shared, *place, *args]
            processes.append(
                subprocess.Popen(
                    [*map(str, command)],
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                    env=os.environ | {"JAX_NUM_CPU_DEVICES": "1"},
                )
            )
        return processes

    yield start
    for process in processes:
        process.kill()
        process.communicate()


@pytest.fixture
def two_devices(monkeypatch):
    mesh = make_mesh(jax.devices()[:2])
    monkeypatch.setattr(train, "make_mesh", lambda: mesh)


@pytest.mark.slow
def test_two_processes_learn_what_one_does(tmp_path, two_devices, start_two):
    processes = start_two(tmp_path / "two", "--total-steps", 512, keep=tmp_path)
    told = [process.communicate(timeout=900) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], told
    assert "run: " in told[0][0]
    assert "run: " not in told[1][0]
    first, second = (np.load(tmp_path / f"{i}.npz").values() for i in range(2))
    config = dataclasses.replace(CONFIG, total_steps=512)
    (tmp_path / "one").mkdir()
    one = train.train(config, tmp_path / "one", quiet=True)
    leaves = jax.tree.leaves(one.learner)
    assert any(leaf.size > 100 for leaf in leaves)
    for a, b, alone in zip(first, second, leaves, strict=True):
        assert np.array_equal(a, b)
        assert np.allclose(a, alone, rtol=1e-5, atol=1e-6)
    # Written once, by process 0: metrics of both updates, and the other half's actors too.
    assert [line["update"] for line in metrics.read(tmp_path / "two")] == [1, 2]
    update, _, actors = Checkpoints(tmp_path / "two").restore(one.learner, one.actors)
    assert update == 2
    for a, b in zip(jax.tree.leaves(actors), jax.tree.leaves(one.actors), strict=True):
        assert np.allclose(a, b, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_a_lost_process_ends_the_other_and_the_run_goes_on(
    tmp_path, two_devices, start_two
):
    out = tmp_path / "run"
    many = ("--total-steps", 10**8, "--checkpoint-updates", 1)
    processes = start_two(out, *many)
    deadline = time.monotonic() + 900
    while len(Checkpoints(out).updates()) < 2:
        assert time.monotonic() < deadline
        assert all(process.poll() is None for process in processes)
        time.sleep(0.1)
    processes[1].send_signal(signal.SIGKILL)
    _, error = processes[0].communicate(timeout=60)
    processes[1].communicate(timeout=60)
    assert processes[0].returncode == distributed.LOST
    assert error.count("\n") == 1
    assert error.startswith("error: lost another process")
    assert f"--resume {out}" in error
    run = train.Run(CONFIG, out)
    run.restore()
    assert run.update >= 1
    assert run.step()["update"] == run.update


@pytest.mark.slow
def test_models_of_mjx_are_made_in_every_process():
    """Left to itself MJX puts them on the first device of all, which is process 0's."""
    pytest.importorskip("warp")
    place = f"127.0.0.1:{free_port()}"
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", MODELS, place, str(index)],
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"JAX_NUM_CPU_DEVICES": "1"},
        )
        for index in range(2)
    ]
    try:
        told = [process.communicate(timeout=300)[1] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0, 0], told


SLURM = {
    "SLURM_JOB_ID": "8195",
    "SLURM_PROCID": "5",
    "SLURM_LOCALID": "1",
    "SLURM_STEP_NUM_TASKS": "8",
    "SLURM_STEP_NUM_NODES": "2",
    "SLURM_STEP_NODELIST": "gpu[07,09-11]",
}


def test_slurm_step_is_found(monkeypatch):
    monkeypatch.setattr(distributed, "_gpus_here", list)
    # 8195 = 2 · 4096 + 3, above the first of the ports.
    assert find(None, None, None, SLURM) == Cluster("gpu07:61443", 8, 5)
    shared = SLURM | {"CUDA_VISIBLE_DEVICES": "0,1,2,3"}
    assert find(None, None, None, shared) == Cluster("gpu07:61443", 8, 5, (1,))
    pairs = SLURM | {"SLURM_STEP_NUM_NODES": "4", "CUDA_VISIBLE_DEVICES": "0,1,2,3"}
    assert find(None, None, None, pairs) == Cluster("gpu07:61443", 8, 5, (2, 3))
    with pytest.raises(ConfigError, match=r"4 processes .* share its 6 GPUs evenly"):
        find(None, None, None, SLURM | {"CUDA_VISIBLE_DEVICES": "0,1,2,3,4,5"})
    bound = SLURM | {"CUDA_VISIBLE_DEVICES": "1"}
    assert find(None, None, None, bound) == Cluster("gpu07:61443", 8, 5)
    two_each = shared | {"SLURM_GPUS_PER_TASK": "2", "CUDA_VISIBLE_DEVICES": "0,1"}
    assert find(None, None, None, two_each) == Cluster("gpu07:61443", 8, 5)
    one_per_node = shared | {"SLURM_STEP_NUM_TASKS": "2", "SLURM_PROCID": "1"}
    assert find(None, None, None, one_per_node) == Cluster("gpu07:61443", 2, 1)


def test_gpus_that_slurm_does_not_count_are_shared(monkeypatch):
    gpus = [f"/dev/nvidia{i}" for i in range(8)]
    monkeypatch.setattr(distributed, "_gpus_here", lambda: gpus)
    assert find(None, None, None, SLURM) == Cluster("gpu07:61443", 8, 5, (2, 3))
    # With none of them visible it computes on its CPU.
    hidden = SLURM | {"CUDA_VISIBLE_DEVICES": ""}
    assert find(None, None, None, hidden) == Cluster("gpu07:61443", 8, 5)


def test_slurm_without_srun_is_one_process():
    batch = {k: v for k, v in SLURM.items() if "STEP" not in k}
    assert find(None, None, None, batch) is None
    assert find(None, None, None, SLURM | {"SLURM_STEP_NUM_TASKS": "1"}) is None
    assert find(None, None, None, {}) is None


def test_options_come_before_slurm():
    assert find("a:1", 2, 0, SLURM) == Cluster("a:1", 2, 0)


@pytest.mark.parametrize(
    ("nodes", "host"),
    [
        ("a", "a"),
        ("a,b", "a"),
        ("a[03-05,9],b", "a03"),
        ("a[7,9]", "a7"),
        ("b,a[7,9]", "b"),
        ("a-x[1-2]", "a-x1"),
    ],
)
def test_first_host(nodes, host):
    assert first_host(nodes) == host


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("a:1", None, None), "--num-processes and --process-id missing"),
        (("a", 2, 0), "HOST:PORT"),
        (("a:b", 2, 0), "HOST:PORT"),
        (("a:1", 2, 2), "count processes from 0"),
        (("a:1", 0, 0), "count processes from 0"),
    ],
)
def test_bad_options_are_one_line(options, said):
    with pytest.raises(ConfigError, match=said):
        find(*options, environ={})


@pytest.mark.parametrize("named", [True, False])
def test_processes_keep_programs_only_where_they_are_told_to(monkeypatch, named):
    """In a home of its own, process 0 would read what the others compile and wait for."""
    changed = {}
    monkeypatch.setattr(jax.config, "update", changed.__setitem__)
    monkeypatch.setattr(jax.distributed, "initialize", lambda *_, **__: None)
    monkeypatch.delenv(distributed.CACHE, raising=False)
    if named:
        monkeypatch.setenv(distributed.CACHE, "shared")
    distributed.start(None)
    assert not changed  # a process alone keeps its own
    distributed.start(Cluster("a:1", 2, 0))
    kept = changed.get("jax_compilation_cache_dir", "as it was")
    assert kept == ("as it was" if named else None)


def test_watch_lets_other_errors_pass():
    with pytest.raises(ValueError, match="shape"), distributed.watch("resume"):
        raise ValueError("a shape that does not fit")
