"""The benchmarks: cases, what rivals are given, the shares of an update, results and tables."""

import collections
import json
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
import pytest
from brax.training.agents.ppo import train as brax_ppo
from mujoco import mjx

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "benchmarks"))
import breakdown
import cases
import environment
import first
import hlo
import programs
import rival_brax
import rival_physics
import rival_processes
import rivals
import run
import table

from mjxhand import physics
from mjxhand.env import Env

OF_A_PRESET = (programs.update_program, programs.policy_program)


@pytest.fixture
def one_device(monkeypatch):
    """Sizes are for one device; the tests have eight."""
    monkeypatch.setattr(programs.jax, "device_count", lambda: 1)


@pytest.mark.parametrize(
    "case",
    [case for case in cases.CASES if case.make.func in OF_A_PRESET],
    ids=lambda case: case.name,
)
def test_a_preset_accepts_the_settings_of_a_case(case, one_device):
    preset, impl, num_envs = case.make.args[:3]
    pixels = case.make.keywords.get("pixels", False)
    config = programs.config_of(preset, impl, num_envs, pixels=pixels)
    assert config.ppo.num_envs == num_envs
    assert config.physics.impl == impl


def test_the_preset_accepts_the_environments_of_the_processes(one_device):
    programs.config_of("fpn", "native", rival_processes.ENVS)


@pytest.mark.parametrize(
    ("name", "files", "row"),
    [
        ("step/ffi_call", ("mujoco/mjx/_src/forward.py",), breakdown.WARP),
        ("step/ffi_call", ("mjxhand/foreign.py", "mjxhand/physics.py"), "C MuJoCo"),
        ("while/add", ("mjxhand/newton.py", "mjxhand/mjx_steps.py"), "MJX: solver"),
        ("step/mul", ("mujoco/mjx/_src/smooth.py",), "MJX: the rest"),
        ("step/ffi_call", ("/home/me/mjx/mjxhand/foreign.py",), "C MuJoCo"),
        (
            "step/dot_general",
            ("mujoco/mjx/_src/math.py", "mujoco/mjx/_src/collision_convex.py"),
            "MJX: collision",
        ),
        ("step/div", ("mjxhand/rotations.py", "mjxhand/smooth.py"), "MJX: the rest"),
        ("step/div", ("mjxhand/rotations.py", "mjxhand/env.py"), "environment"),
        ("transpose(jvp(FPN))/M1", ("mjxhand/ppo.py",), "learning: network backward"),
    ],
)
def test_an_operation_belongs_to_what_wrote_it(name, files, row):
    assert breakdown.category(hlo.Origin(name, files)) == row


@pytest.mark.parametrize("impl", ["jax", "native"])
def test_brax_trains_our_environment(impl, one_device, monkeypatch):
    """The same but for the back end; episodes as long as ours may get: 50 goals of 100 steps."""
    asked = {}

    def train(env, *, progress_fn, **settings):
        asked.update(settings, env=env)
        for speed in (1.0, 20.0, 50.0, 70.0, 60.0, 90.0, 40.0):  # the first two compile
            progress_fn(0, {"training/sps": speed})

    monkeypatch.setattr(brax_ppo, "train", train)
    assert rival_brax._theirs(impl) == 60.0
    ours, theirs = Env(rival_brax.config()).config, asked["env"].env.config
    assert ours.physics.impl == "native"
    assert theirs.physics == replace(ours.physics, impl=impl)
    assert (theirs.scene, theirs.env) == (ours.scene, ours.env)
    assert not ours.curriculum.enabled  # goals as far as brax's from the first update
    assert asked["episode_length"] == 50 * 100
    assert asked["num_timesteps"] == 7 * ours.steps_per_update
    assert asked["num_evals"] == 7 + 1  # an epoch of brax's is one update
    assert (asked["num_envs"], asked["unroll_length"]) == (256, 16)


@pytest.mark.parametrize(("late", "word"), [(1, ""), (2, "compilations in each: ")])
def test_updates_that_compile_are_not_timed(late, word):
    def compiled(x):
        return jax.jit(lambda y: y + x)(1.0)

    with rival_brax.Updates() as updates:
        for update in range(rival_brax.UPDATES):
            if update in (0, late):
                compiled(float(update)).block_until_ready()
            updates.add(float(update))
    if word:
        with pytest.raises(RuntimeError, match=word):
            updates.speed()
    else:
        assert updates.speed() == 4.0


def test_the_published_step_is_built_of_what_the_back_end_has(one_device, monkeypatch):
    """It uses private functions of it. Here `mjx.step` counts the steps of 8 ms."""

    def count(model, data):
        return data.replace(qpos=data.qpos + 1)

    monkeypatch.setattr(mjx, "step", count)
    with rival_brax._published_step():
        env = rival_brax.brax_side("jax").env
    model = env.scene.mj_model
    state = physics.PhysicsState(
        qpos=jnp.zeros(model.nq),
        qvel=jnp.zeros(model.nv),
        qacc_warmstart=jnp.zeros(model.nv),
        sensordata=jnp.zeros(model.nsensordata),
    )
    after = env.physics.step(state, jnp.zeros(model.nu))
    assert (after.qpos == 10).all()


def test_both_hands_of_box_hand_step_alike():
    """Every option of the solver and the integrator, and no sensors; other figures."""
    pytest.importorskip("gymnasium_robotics")
    ours, theirs = rival_physics.both_hands()
    options = [name for name in dir(ours.opt) if not name.startswith("_")]
    assert {"timestep", "iterations", "disableflags"} <= set(options)
    for name in options:
        a, b = (getattr(model.opt, name) for model in (ours, theirs))
        assert np.array_equal(a, b), name
    assert ours.opt.disableflags & mujoco.mjtDisableBit.mjDSBL_SENSOR
    assert (theirs.geom_margin == 0).all()
    address = theirs.joint("object:joint").qposadr[0]
    states, _ = rival_physics._dropped(
        theirs,
        theirs.qpos0,
        slice(address, address + 7),
        theirs.actuator_ctrlrange.mean(1),
    )
    # Most blocks lie on the palm, 16 cm above the floor; what fell off is under it.
    assert (states["qpos"][:, address + 2] > 0.14).mean() > 0.8


def test_the_rollout_rival_runs(monkeypatch):
    monkeypatch.setattr(rival_physics, "ENVS", 4)
    row = rivals.compare(rivals.RIVALS[0], rounds=1)
    assert row["name"] == "rollout"
    assert row["ratio"] == row["ours_per_second"] / row["theirs_per_second"] > 0


def test_rivals_are_told_apart():
    assert len({rival.name for rival in rivals.RIVALS}) == len(rivals.RIVALS)
    assert len({(r.ours, r.theirs) for r in rivals.RIVALS}) == len(rivals.RIVALS)


@dataclass
class Event:
    name: str
    start_ns: float
    duration_ns: float
    stats: tuple = ()


def test_an_operation_took_what_those_inside_it_did_not():
    seconds = collections.defaultdict(float)
    events = [
        Event("loop", 0e9, 10e9),
        Event("dot", 1e9, 4e9),
        Event("wait for completion", 2e9, 1e9),
        Event("dot", 6e9, 2e9),
    ]
    breakdown._add_line(events, seconds)
    assert seconds == pytest.approx({"loop": 4.0, "dot": 5.0})


def test_what_runs_for_no_operation_is_of_warp_where_there_is_warp():
    """2 s of a product and 3 s of a graph that Warp launched, on the stream alone."""
    stream = SimpleNamespace(
        name="Stream #7(Compute)",
        events=[
            Event("sm90_gemm", 0e9, 2e9, (("hlo_op", "dot.1"),)),
            Event("CudaGraphExec:5", 2e9, 3e9),
        ],
    )
    other = SimpleNamespace(name="XLA Ops", events=[Event("dot.1", 0e9, 9e9)])
    device = SimpleNamespace(name="/device:GPU:0", lines=[stream, other])
    host = SimpleNamespace(name="/host:CPU", lines=[stream])
    data = SimpleNamespace(planes=[device, host])
    assert breakdown.self_times(data) == {"dot.1": 2.0, "CudaGraphExec:5": 3.0}
    seconds = breakdown.self_times(data, breakdown.WARP)
    where = {"dot.1": hlo.Origin("transpose(jvp(FPN))/M1", ("mjxhand/ppo.py",))}
    assert breakdown.shares(seconds, where, wall=6.0) == {
        breakdown.WARP: 3.0,
        "learning: network backward": 2.0,
        "idle": 1.0,
    }


@pytest.mark.parametrize("backend", ["cpu", "gpu"])
def test_on_a_gpu_an_update_is_traced_without_graphs(monkeypatch, backend):
    """Kernels in XLA's graphs would all be told of as `other`, or as Warp's."""
    asked = []

    class Lowered:
        def lower(self, *_):
            return self

        def compile(self, options):
            asked.append(options)
            raise NotImplementedError

    # Put back afterwards: it is timed from here on.
    step = breakdown.native.ThreadedStepper.step
    monkeypatch.setattr(breakdown.native.ThreadedStepper, "step", step)
    program = SimpleNamespace(function=Lowered(), args=())
    monkeypatch.setattr(breakdown.programs, "update_program", lambda *_: program)
    monkeypatch.setattr(breakdown.jax, "default_backend", lambda: backend)
    with pytest.raises(NotImplementedError):
        breakdown.trace("smoke", "jax", None)
    assert asked == [breakdown.UNGRAPHED if backend == "gpu" else None]
    # XLA knows the option, and takes it empty.
    lowered = jax.jit(lambda x: x + 1).lower(1.0)
    assert lowered.compile(breakdown.UNGRAPHED)(1.0) == 2.0


def test_parts_of_an_update_add_up_to_all_cores():
    """Of 20 core-seconds 12 were the physics', 4 traced, 1 more used by other threads."""
    where = {
        "call": hlo.Origin("jit(f)/ffi_call", ()),
        "dot": hlo.Origin("jit(f)/transpose(jvp(FPN))/M1", ("mjxhand/ppo.py",)),
    }
    seconds = {"call": 6.0, "dot": 3.0, "copy": 1.0}
    rows = breakdown.shares(seconds, where, wall=10.0, cores=2, busy=17.0, physics=12.0)
    assert rows == {
        "C MuJoCo": 12.0,
        "learning: network backward": 3.0,
        "idle": 3.0,
        "other": 1.0,
        breakdown.HELPERS: 1.0,
    }
    assert list(rows.values()) == sorted(rows.values(), reverse=True)
    # A stream of an accelerator: what no operation took is idle.
    assert breakdown.shares({"dot": 3.0}, where, wall=10.0)["idle"] == 7.0


def result(name: str, *_) -> dict:
    """What `run_case` returns, as far as tables read it."""
    return {
        "case": name,
        "control_steps_per_second": 1000.0,
        "physics_steps_per_second": 10000.0,
        "compile_seconds": 2.0,
        "first_call_seconds": 0.6,
        "run_seconds": [0.5, 0.5],
        "operations": 7,
        "peak_memory_mb": 900.0,
        "device_peak_memory_mb": None,
        "devices_used": 1,
        **environment.describe(),
    }


def test_each_result_is_written_before_the_next_case(monkeypatch, tmp_path):
    """Killed in the second case, the first one's result is there, and whole."""
    path = tmp_path / "speed.json"

    def alone(_, name, repeats):
        if name.endswith("/512"):
            raise KeyboardInterrupt
        return result(name)

    monkeypatch.setattr(run.environment, "alone", alone)
    argv = ["run.py", "-f", "^physics/native/", "--json", str(path)]
    monkeypatch.setattr(sys, "argv", argv)
    with pytest.raises(KeyboardInterrupt):
        run.main()
    (row,) = json.loads(path.read_text())["results"]
    assert row["case"] == "physics/native/64"
    assert list(tmp_path.iterdir()) == [path]


def test_a_table_tells_of_the_first_call_where_it_is_long():
    """And of the device's memory, not the host's; and of several devices."""
    plain = table.speed_table({"results": [result("physics/jax/64")]})
    assert plain[0].count("|") == 6
    assert plain[2] == "| physics/jax/64 | 1,000 | 10,000 | 2.0 s | 900 MB |"
    row = result("update/fpn/warp/64") | {
        "first_call_seconds": 52.3,
        "device_peak_memory_mb": 1234.5,
        "devices_used": 4,
    }
    lines = table.speed_table({"results": [row]})
    assert lines[0].count("|") == lines[1].count("|") == 7
    assert lines[2] == (
        "| update/fpn/warp/64, 4 devices | 1,000 | 10,000 | 2.0 s | 52.3 s "
        "| 1,234 MB of the device |"
    )


def test_the_tables_are_those_of_the_results():
    assert table.main(["--check"]) == 0


def test_a_results_file_of_no_table_is_named(monkeypatch, tmp_path):
    (tmp_path / "results").mkdir()
    soak = {"command": "python benchmarks/soak.py out", "memory_growth": 0.0}
    (tmp_path / "results/soak.json").write_text(json.dumps(soak))
    monkeypatch.setattr(table, "HERE", tmp_path)
    with pytest.raises(SystemExit, match=r"results/soak.json: no table.*soak.py out"):
        table.tables()


def test_a_table_of_what_parts_cost():
    row = {
        "part": "touch",
        "impl": "native",
        "num_envs": 64,
        "microseconds": 400.0,
        "microseconds_without": 300.0,
        "share": 0.25,
        "share_quartiles": [0.2, 0.3],
    }
    line = table.cost_table({"parts": [row], **environment.describe()})[2]
    assert line == (
        "| touch | native, 64 hands | 400 µs | 300 µs | 25.0 % (20.0 to 30.0) |"
    )


def test_a_cold_start_is_cold_for_warp_too(monkeypatch, tmp_path):
    seen = {}

    class Process:
        def __init__(self, command, env):
            seen.update(env)
            out = Path(command[command.index("--out") + 1])
            out.mkdir()
            (out / "metrics.jsonl").write_text('{"seconds": 1.5}\n')

        def wait(self):
            pass

        def poll(self):
            return 0

    monkeypatch.setattr(first.subprocess, "Popen", Process)
    row = first.wait("smoke", [], tmp_path / "cache", tmp_path / "out")
    assert row["update_seconds"] == 1.5
    for name in ("JAX_COMPILATION_CACHE_DIR", "WARP_CACHE_PATH"):
        assert Path(seen[name]).parent == tmp_path / "cache"


def test_a_start_that_ends_without_an_update_is_not_waited_for(tmp_path):
    """As after `--help`, which is no failure by its exit code."""
    with pytest.raises(SystemExit, match="ended without an update"):
        first.wait("smoke", ["--help"], tmp_path / "cache", tmp_path / "out")
