"""Names and signatures that programs outside the package rely on.

A name that nothing here calls any more may still be called elsewhere: take none of these away.
"""

import dataclasses
import importlib.util
import inspect

import pytest

import mjxhand
from mjxhand import atlas, hand, ppo, presets, rotations, scene, tasks
from mjxhand.env import Env, State

FINGER_JOINTS = [f"{f}J{i}" for f in ("FF", "MF", "RF") for i in (3, 2, 1, 0)]
JOINTS = ["WRJ1", "WRJ0", *FINGER_JOINTS]
JOINTS += [f"{f}J{i}" for f in ("LF", "TH") for i in (4, 3, 2, 1, 0)]
COUPLED = ["FFJ0", "MFJ0", "RFJ0", "LFJ0"]
SEGMENTS = ("knuckle", "proximal", "middle", "distal")
BODIES = ["forearm", "wrist", "palm", "thproximal", "thmiddle", "thdistal"]
BODIES += [f"{f}{segment}" for f in ("ff", "mf", "rf", "lf") for segment in SEGMENTS]
TIPS = ["fftip", "mftip", "rftip", "lftip", "thtip"]


def parameters(function) -> list[str]:
    return list(inspect.signature(function).parameters)


def test_the_hand_has_the_published_names():
    model = hand.shadow_hand().compile()
    assert [model.joint(i).name for i in range(model.njnt)] == JOINTS
    servos = [model.actuator(i).name for i in range(model.nu)]
    assert servos == [name for name in JOINTS if name not in COUPLED]
    for name in BODIES:
        assert model.body(name).name == name
    for name in TIPS:
        assert model.site(name).name == name


def test_rotations():
    assert parameters(rotations.angle_between) == ["q", "p"]
    assert parameters(rotations.random_quaternion) == ["key", "shape"]


def test_ppo():
    given = ["reward", "value", "next_value", "terminated", "episode_end"]
    assert parameters(ppo.gae) == [*given, "gamma", "lam"]


def test_scenes_and_environments():
    assert next(iter(parameters(scene.build))) == "cfg"
    assert "mj_model" in scene.Scene.__annotations__
    assert parameters(mjxhand.make) == ["task", "overrides"]
    assert {"reorient", "reach", "opposition", "chain"} <= set(tasks.TASKS)
    assert parameters(Env.reset)[:2] == ["self", "key"]
    assert parameters(Env.step)[:3] == ["self", "state", "action"]
    read = {"obs", "reward", "terminated", "truncated", "metrics"}
    assert read <= {field.name for field in dataclasses.fields(State)}


def test_the_atlas():
    bundled = atlas.load()
    assert parameters(bundled.unit_counts) == ["budget", "multiple"]
    assert next(iter(parameters(bundled.pathways))) == "min_streamlines"
    assert bundled.provenance


def test_presets():
    assert {"smoke", "laptop", "fpn", "baseline"} <= set(presets.PRESETS)


@pytest.mark.parametrize("name", ["train", "evaluate", "render", "analyse", "atlas"])
def test_modules_with_a_command_line(name):
    assert importlib.util.find_spec(f"mjxhand.{name}")
