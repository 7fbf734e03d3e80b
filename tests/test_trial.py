"""A task of the user's own is traced before there is a run, and a right one passes."""

from dataclasses import replace

import pytest

from mjxhand import trial
from mjxhand.presets import PRESETS

OWN = """
from mjxhand.tasks.reorient import Reorient

class Same(Reorient):
    pass

class Broken(Reorient):
    def distance(self, goal, body):
        return goal["no such"]
"""


@pytest.fixture(scope="module", autouse=True)
def own_file(tmp_path_factory):
    folder = tmp_path_factory.mktemp("own")
    (folder / "own_cube_task.py").write_text(OWN)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        yield


def with_task(preset: str, name: str):
    config = PRESETS[preset]
    return replace(config, env=replace(config.env, task=f"own_cube_task:{name}"))


@pytest.mark.parametrize("preset", ["smoke", "laptop", "turning"])
def test_a_task_with_a_cube_passes(preset):
    trial.trace(with_task(preset, "Same"))


def test_what_goes_wrong_inside_is_told_with_its_place():
    with pytest.raises(Exception, match=r"no such|indices|str") as told:
        trial.trace(with_task("smoke", "Broken"))
    assert any("own_cube_task" in str(entry.path) for entry in told.traceback)
