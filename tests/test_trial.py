"""A task of the user's own is traced before there is a run, and a right one passes."""

import re
from dataclasses import replace

import pytest

from mjxhand import trial
from mjxhand.config import ConfigError
from mjxhand.presets import PRESETS

OWN = """
from mjxhand.tasks.reorient import Reorient

class Same(Reorient):
    pass

class Mute(Reorient):
    @property
    def sizes(self):
        return super().sizes | {"goal": 0}

class Broken(Reorient):
    def distance(self, goal, body):
        return goal["no such"]
"""


NETS = """
import flax.linen as nn
import jax.numpy as jnp
from mjxhand.networks.types import Output

class Net(nn.Module):
    num_outputs: int
    value: tuple = ()
    more: int = 0
    wide: int = 0

    @nn.compact
    def __call__(self, carry, obs, began):
        x = nn.Dense(self.num_outputs + self.more)(obs["goal"])
        value = jnp.zeros((*began.shape, *self.value))
        return jnp.zeros((began.shape[1], 3 + self.wide)), Output(logits=x, value=value, areas={})

    def initial_carry(self, batch, key=None):
        return jnp.zeros((batch, 3))

class NoKey(Net):
    def initial_carry(self, batch):
        return jnp.zeros((batch, 3))

def right(network, sizes, n): return Net(n)
def value(network, sizes, n): return Net(n, value=(1,))
def logits(network, sizes, n): return Net(n, more=1)
def carry(network, sizes, n): return Net(n, wide=1)
def no_key(network, sizes, n): return NoKey(n)
"""


@pytest.fixture(scope="module", autouse=True)
def own_file(tmp_path_factory):
    folder = tmp_path_factory.mktemp("own")
    (folder / "own_cube_task.py").write_text(OWN)
    (folder / "own_nets.py").write_text(NETS)
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


def test_a_stream_without_numbers_is_refused():
    with pytest.raises(ConfigError, match="'goal' at least one number, not 0"):
        trial.trace(with_task("smoke", "Mute"))


def with_network(name: str):
    config = PRESETS["smoke"]
    return replace(config, network=replace(config.network, name=f"own_nets:{name}"))


def test_a_network_of_ones_own_passes():
    trial.trace(with_network("right"))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("value", "its value must have the shape [T, B], not [T, B, 1]"),
        ("logits", "its logits must have the shape [T, B, 220], not [T, B, 221]"),
        (
            "carry",
            "its carry is ((2, 3), 'float32') before a step and ((2, 4), 'float32')",
        ),
        ("no_key", "cannot be called as initial_carry(batch, key)"),
    ],
)
def test_a_network_with_other_shapes_is_refused_in_one_line(name, words):
    with pytest.raises(ConfigError, match=re.escape(words)) as told:
        trial.trace(with_network(name))
    assert "\n" not in str(told.value)
