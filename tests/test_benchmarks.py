"""The benchmarks: settings that each case's preset accepts, and the shares of an update."""

import collections
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "benchmarks"))
import breakdown
import cases
import hlo
import programs
import rival_processes

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
        ("transpose(jvp(FPN))/M1", ("mjxhand/ppo.py",), "learning: network backward"),
    ],
)
def test_an_operation_belongs_to_what_wrote_it(name, files, row):
    assert breakdown.category(hlo.Origin(name, files)) == row


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
