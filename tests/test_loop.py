"""The host's loop around a learner that costs nothing: time, failing disks, bad numbers."""

import types
from dataclasses import replace

import numpy as np
import pytest

from mjxhand import checkpoint, ppo, train
from mjxhand.checkpoint import CheckpointError, Checkpoints
from mjxhand.config import ConfigError
from mjxhand.metrics import read
from mjxhand.presets import PRESETS

CONFIG = replace(PRESETS["smoke"], checkpoint_updates=2, total_steps=12 * 256)


class Fake(train.Run):
    """Counts updates; `clock` moves by 50 s in the first one and by 10 s in the others."""

    clock = 0.0
    skipped = 0.0

    def __init__(self, config, out, debug_nans=False, env=None):
        physics = types.SimpleNamespace(impl="none")
        self.env = types.SimpleNamespace(label="nothing", physics=physics)
        self.config, self.out, self.checkpoints = config, out, Checkpoints(out)
        self.update = 0
        self.learner, self.actors = {"w": np.zeros(3)}, {"n": np.zeros(2)}

    def step(self):
        seconds = 10.0 if self.update else 50.0
        type(self).clock += seconds
        self.update += 1
        self.learner = {"w": np.full(3, float(self.update))}
        return {
            "update": self.update,
            "env_steps": 256 * self.update,
            "seconds": seconds,
            ppo.SKIPPED: self.skipped,
        }


@pytest.fixture
def fake(monkeypatch):
    """`Fake` in the place of a run, its clock in that of the time."""

    class Fresh(Fake):
        pass

    monkeypatch.setattr(train, "Run", Fresh)
    monkeypatch.setattr(
        train, "time", types.SimpleNamespace(monotonic=lambda: Fresh.clock)
    )
    return Fresh


@pytest.mark.parametrize(
    ("seconds", "updates"), [(100, 6), (95, 5), (10, 1), (59, 2), (None, 12)]
)
def test_time_given_holds_compilation_and_no_update_that_ends_later(
    fake, tmp_path, seconds, updates
):
    """50 s compile and go first, then 10 s each, which is known once the second has ended."""
    run = train.train(CONFIG, tmp_path, until_seconds=seconds, quiet=True)
    assert run.update == updates
    assert len(read(tmp_path)) == updates
    update, learner = Checkpoints(tmp_path).restore_learner({"w": np.zeros(3)})
    assert update == updates
    assert (learner["w"] == updates).all()


def test_a_disk_that_fills_up_and_is_emptied(fake, tmp_path, monkeypatch, capsys):
    """Checkpoints of updates 2 and 4 find no room: told, and training goes on."""
    write = checkpoint.write_arrays

    def full_at_first(folder, arrays):
        write(folder, arrays)
        if folder.parent.name in (".00000002", ".00000004"):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "write_arrays", full_at_first)
    run = train.train(CONFIG, tmp_path, quiet=True)
    assert run.complete
    err = capsys.readouterr().err.splitlines()
    assert len(err) == 2
    assert all("could not save a checkpoint" in line for line in err)
    assert all("No space left on device; training goes on" in line for line in err)
    assert run.checkpoints.updates() == [8, 10, 12]
    assert not list(run.checkpoints.folder.glob(".*"))


def test_a_disk_that_stays_full_ends_in_one_line(fake, tmp_path, monkeypatch, capsys):
    def full(*_):
        raise OSError(28, "No space left on device")

    train.train(replace(CONFIG, total_steps=256), tmp_path, quiet=True)
    monkeypatch.setattr(checkpoint, "write_arrays", full)
    with pytest.raises(CheckpointError, match="No space left") as caught:
        train.train(replace(CONFIG, total_steps=512), tmp_path, quiet=True)
    assert "\n" not in str(caught.value)
    assert Checkpoints(tmp_path).updates() == [1]  # what was there is as it was


def test_updates_that_learn_nothing_stop_it_saved(fake, tmp_path):
    fake.skipped = 2.0
    config = replace(CONFIG, ppo=replace(CONFIG.ppo, max_skipped_updates=3))
    with pytest.raises(ConfigError, match=r"update 3: .* 3 updates in a row") as caught:
        train.train(config, tmp_path, quiet=True)
    assert f"--resume {tmp_path} --debug-nans" in str(caught.value)
    assert Checkpoints(tmp_path).latest() == 3
