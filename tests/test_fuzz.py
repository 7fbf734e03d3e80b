"""Damaged and hostile inputs: always a whole result or one line that says what is wrong.

Everything that a run, a checkpoint, an atlas or a policy brings from elsewhere is data; these
tests write nonsense into it.
"""

import contextlib
import dataclasses
import io
import json
import math
import shutil
import types
import typing

import jax
import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from mjxhand import agent as agent_module
from mjxhand import atlas, evaluate, metrics, pretrained, runs, storage, tasks
from mjxhand.checkpoint import CheckpointError, Checkpoints
from mjxhand.checks import RANGES, check, flatten
from mjxhand.config import Config, ConfigError
from mjxhand.env import Env
from mjxhand.presets import PRESETS
from mjxhand.sharding import Program, make_mesh
from mjxhand.train import train

FAST = settings(
    deadline=None,
    derandomize=True,
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@contextlib.contextmanager
def whole_or_one_line():
    """Lets only errors meant for users pass, each one line."""
    message = "a whole result"
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            yield
    except (ConfigError, CheckpointError) as error:
        message = str(error)
    assert "\n" not in message
    assert 10 < len(message) < 1000


def mutated(data: bytes, edits) -> bytes:
    """Bytes with stretches replaced: `edits` are (place 0 … 1, length, new bytes)."""
    content = bytearray(data)
    for place, length, new in edits:
        start = int(place * len(content))
        content[start : start + length] = new
    return bytes(content)


PIECES = [b"", b"\n", b"\t", b"-9", b"nan", b"1e999", b'"', b"{", b"\xff"]
EDITS = st.lists(
    st.tuples(
        st.floats(0, 1),
        st.sampled_from([0, 0, 1, 1, 7, 10**9]),
        st.binary(max_size=3) | st.sampled_from(PIECES),
    ),
    min_size=1,
    max_size=3,
)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats()
    | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)


# config.json


@FAST
@given(EDITS)
def test_damaged_config(edits):
    text = mutated(runs.config_to_json(PRESETS["smoke"]).encode(), edits)
    with whole_or_one_line():
        check(runs.config_from_json(text.decode(errors="replace")), num_devices=1)


@FAST
@given(st.data())
def test_config_with_other_values(data):
    """Any value of a config.json replaced by any JSON, left out, or joined by another."""
    config = json.loads(runs.config_to_json(PRESETS["smoke"]))
    inner = config
    while True:
        name = data.draw(st.sampled_from(sorted(inner)))
        if not isinstance(inner[name], dict) or data.draw(st.booleans()):
            break
        inner = inner[name]
    how = data.draw(st.sampled_from(["other", "absent", "more"]))
    if how == "other":
        inner[name] = data.draw(JSON)
    elif how == "absent":
        del inner[name]
    else:
        inner[data.draw(st.text(max_size=5))] = data.draw(JSON)
    with whole_or_one_line():
        check(runs.config_from_json(json.dumps(config)), num_devices=1)


def test_nested_too_deep(tmp_path):
    (tmp_path / "config.json").write_text("[" * 10**6)
    with pytest.raises(ConfigError, match="not JSON"):
        runs.read_config(tmp_path)


# Checkpoints

TREE = {"a": np.arange(300, dtype=np.float32), "b": np.zeros((0, 3)), "c": np.int32(7)}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved")
    with Checkpoints(folder) as checkpoints:
        checkpoints.save(1, TREE, {"key": np.zeros((1, 2), np.uint32)})
    return folder


@FAST
@given(st.integers(0, 99), EDITS)
def test_damaged_checkpoint(saved, tmp_path_factory, which, edits):
    run = tmp_path_factory.mktemp("run") / "run"
    shutil.copytree(saved, run)
    files = sorted(p for p in run.rglob("*") if p.is_file())
    file = files[which % len(files)]
    file.write_bytes(mutated(file.read_bytes(), edits))
    with whole_or_one_line():
        _, got = Checkpoints(run).restore_learner(TREE)
        assert all(np.array_equal(got[n], TREE[n]) for n in TREE)
    shutil.rmtree(run)


def forged(saved, run, change) -> Checkpoints:
    """A checkpoint whose manifest was changed by someone who can compute its sum."""
    shutil.copytree(saved, run)
    path = run / "checkpoints/00000001/manifest.json"
    manifest = json.loads(path.read_text())
    change(manifest)
    manifest["sha256"] = storage._own_sum(manifest)
    path.write_text(json.dumps(manifest))
    return Checkpoints(run)


@FAST
@given(st.data())
def test_forged_manifest(saved, tmp_path_factory, data):
    """Any part of the manifest replaced by any JSON, with the right sum."""

    def change(manifest):
        inner = manifest
        while True:
            name = data.draw(st.sampled_from(sorted(inner)))
            if not isinstance(inner[name], dict) or data.draw(st.booleans()):
                break
            inner = inner[name]
            assume(inner)
        inner[name] = data.draw(JSON)

    checkpoints = forged(saved, tmp_path_factory.mktemp("run") / "run", change)
    with whole_or_one_line():
        _, got = checkpoints.restore_learner(TREE)
        assert all(np.array_equal(got[n], TREE[n]) for n in TREE)


@pytest.mark.parametrize("name", ["../../secret", "/etc/hostname", "learner/../x"])
def test_no_file_outside_a_checkpoint_is_opened(saved, tmp_path, name):
    def change(manifest):
        manifest["files"][name] = {"size": 0, "sha256": "0" * 64}

    (tmp_path / "secret").write_text("secret")
    checkpoints = forged(saved, tmp_path / "run", change)
    with pytest.raises(CheckpointError, match="is no file of a checkpoint"):
        checkpoints.restore_learner(TREE)


def test_no_link_is_followed(saved, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(saved, run)
    files = (run / "checkpoints/00000001/learner").rglob("*")
    piece = next(f for f in files if f.is_file())
    piece.rename(tmp_path / "elsewhere")
    piece.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CheckpointError, match="is no file of a checkpoint"):
        Checkpoints(run).restore_learner(TREE)


@pytest.mark.parametrize(
    "spec", ["float32[999999999999]", "object[300]", "float32[-1]"]
)
def test_sizes_are_checked_before_anything_is_allocated(saved, tmp_path, spec):
    def change(manifest):
        manifest["arrays"]["learner"]["a"] = spec

    checkpoints = forged(saved, tmp_path / "run", change)
    with pytest.raises(CheckpointError, match="is damaged"):
        checkpoints.restore_learner(TREE)


# Atlas and networks


@pytest.mark.parametrize("table", [*atlas.folder.CHOICES, *atlas.folder.MEASUREMENTS])
@settings(FAST, max_examples=12)
@given(edits=EDITS)
def test_damaged_atlas(tmp_path_factory, table, edits):
    folder = tmp_path_factory.mktemp("atlas") / "atlas"
    shutil.copytree(atlas.BUNDLED, folder)
    (folder / table).write_bytes(mutated((folder / table).read_bytes(), edits))
    with whole_or_one_line():
        read = atlas.load(folder)
        assert all(units >= 0 for units in read.unit_counts().values())
        read.pathways()
    shutil.rmtree(folder)


@FAST
@given(edits=EDITS)
def test_damaged_network_table(tmp_path_factory, edits):
    path = tmp_path_factory.mktemp("network") / "own.tsv"
    source = atlas.render(atlas.find("angorapy_v2"), *atlas.notes("angorapy_v2"))
    path.write_bytes(mutated(source.encode(), edits))
    changed = dataclasses.replace(PRESETS["smoke"].network, atlas=str(path))
    with whole_or_one_line():
        check(dataclasses.replace(PRESETS["smoke"], network=changed), num_devices=1)


# Metrics and policies


@FAST
@given(EDITS, st.integers(0, 6))
def test_damaged_metrics(tmp_path_factory, edits, resume_at):
    run = tmp_path_factory.mktemp("run")
    text = "".join(json.dumps({"update": n, "sps": 1.5}) + "\n" for n in range(1, 6))
    (run / metrics.FILE).write_bytes(mutated(text.encode(), edits))
    with contextlib.redirect_stderr(io.StringIO()):
        metrics.Metrics(run, resume_at=resume_at).close()
    updates = [line["update"] for line in metrics.read(run)]
    assert updates == sorted(set(updates))
    assert all(0 < update <= resume_at for update in updates)


@pytest.fixture(scope="module")
def policy(tmp_path_factory):
    path = tmp_path_factory.mktemp("policy") / pretrained.FILE
    pretrained.write(path, {"w": np.ones((40, 3), np.float32)}, {"m": np.ones(4)}, 3)
    return path


@FAST
@given(edits=EDITS)
def test_damaged_policy(policy, tmp_path_factory, edits):
    path = tmp_path_factory.mktemp("policy") / pretrained.FILE
    path.write_bytes(mutated(policy.read_bytes(), edits))
    like = {"w": np.zeros((40, 3), np.float32)}, {"m": np.zeros(4)}
    with whole_or_one_line():
        params, stats, update = pretrained.read(path, *like)
        assert (params["w"] == 1).all()
        assert (stats["m"] == 1).all()
        assert update == 3


def test_a_policy_that_claims_to_be_huge_or_to_hold_code(tmp_path):
    like = {"w": np.zeros((40, 3), np.float32)}, {"m": np.zeros(4)}
    path = tmp_path / pretrained.FILE
    np.savez(path, **{"update": np.int64(1), "params['w']": np.array([print])})
    with pytest.raises(ConfigError, match="another network's weights"):
        pretrained.read(path, *like)


# Configurations


def values(hint, name: str, sound: bool):
    """Values of a field, none that costs hours: possible ones, and unless they are to be
    `sound` also those at the border and wrong ones."""
    wrong = [] if sound else ["other", "a:b"]
    if typing.get_origin(hint) is typing.Literal:
        return st.sampled_from([*typing.get_args(hint), *wrong])
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return st.none() | values(typing.get_args(hint)[0], name, sound)
    if hint is bool:
        return st.booleans()
    if hint is int:
        return st.sampled_from([1, 2, 4, 8] if sound else [-1, 0, 1, 2, 3, 4, 6, 8])
    if hint is float:
        low, high, _ = RANGES.get(name, (-5.0, 5.0, True))
        inside = [low + part * (min(high, low + 1.0) - low) for part in (0.3, 0.9)]
        if sound:
            return st.sampled_from(inside)
        edges = [low, min(high, 4.0), low - 0.1, math.nan, math.inf]
        return st.sampled_from([*inside, *edges])
    return st.sampled_from(TEXTS.get(name, [""]) + wrong)


TEXTS = {
    "env.task": sorted(tasks.TASKS),
    "env.sequence": ["", "l_r_u_d_c_a", "ff_mf_rf_lf", "ff_xx"],
    "network.name": ["fpn", "baseline", "mlp", "lstm"],
    "network.atlas": ["angorapy_v2", "derived", "/nowhere"],
    "network.recurrent": ["table", "none", "all", "PMC,LPFC:gru", "PMC:"],
    "network.feedback": ["table", "none", "all", "M1:PMC", "M1"],
    "network.dropout_streams": ["vision", "vision,touch", "privileged"],
}
FIELDS = {
    name: hint
    for name, (hint, _) in flatten(Config()).items()
    # Words, or what only sets how much is done.
    if name not in ("preset", "seed", "total_steps", "film", "film_seconds")
}


def changed(config, name, value):
    group, _, rest = name.partition(".")
    if rest:
        value = changed(getattr(config, group), rest, value)
    return dataclasses.replace(config, **{group: value})


@st.composite
def configs(draw, fewest: int, most: int, sound: bool = False):
    """The smallest preset with some fields changed; `sound`: to what is not refused."""
    config = PRESETS["smoke"]
    fields = st.sampled_from(sorted(FIELDS))
    for name in draw(st.lists(fields, min_size=fewest, max_size=most, unique=True)):
        new = changed(config, name, draw(values(FIELDS[name], name, sound)))
        config = new if not sound or accepted(new) else config
    return config


def accepted(config) -> bool:
    try:
        check(config, num_devices=1)
    except ConfigError:
        return False
    return True


@settings(FAST, max_examples=200)
@given(configs(fewest=1, most=8))
def test_any_combination_is_possible_or_refused(config):
    with whole_or_one_line():
        check(config, num_devices=1)


def shapes_of_an_update(config):
    """Trace the whole program of a run; compile and run nothing of it."""
    native = dataclasses.replace(config.physics, impl="native", threads=1)
    env = Env(dataclasses.replace(config, physics=native))
    agent = agent_module.build(config, env.observation_sizes, env.num_actuators)
    program = Program(config, env, agent, make_mesh(jax.devices()[:1]))
    params = env.make_params(0)
    learner = jax.eval_shape(program.init_learner, 0)
    actors = jax.eval_shape(lambda: program.init_actors(0, params))
    after, _, numbers = jax.eval_shape(program.update, learner, actors, params)
    jax.tree.map(lambda a, b: (a.shape, a.dtype) == (b.shape, b.dtype), learner, after)
    return numbers


@settings(FAST, max_examples=6)
@given(configs(fewest=6, most=10, sound=True))
def test_what_is_not_refused_can_be_traced(config):
    with whole_or_one_line():
        check(config, num_devices=1)
        assert "loss/total" in shapes_of_an_update(config)


@pytest.mark.slow
@settings(FAST, max_examples=15)
@given(configs(fewest=8, most=16, sound=True))
def test_more_of_what_is_not_refused_can_be_traced(config):
    with whole_or_one_line():
        check(config, num_devices=1)
        assert "loss/total" in shapes_of_an_update(config)


@pytest.mark.slow
@settings(FAST, max_examples=3)
@given(configs(fewest=6, most=12, sound=True))
def test_what_is_not_refused_trains(tmp_path_factory, config):
    run = tmp_path_factory.mktemp("run")
    with whole_or_one_line():
        check(config, num_devices=jax.device_count())
        two = dataclasses.replace(config, total_steps=2 * config.steps_per_update)
        assert train(two, run, quiet=True).complete
        assert len(metrics.read(run)) == 2
        assert evaluate.load_policy(runs.prepare(run, two, resume=True)).update == 2
