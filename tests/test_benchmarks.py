"""Every case of the benchmarks has settings that its preset accepts."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "benchmarks"))
import cases
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
