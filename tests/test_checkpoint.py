"""Checkpoints: exact, whole or not there, never of another network."""

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from brax.training.acme import running_statistics, specs
from jax.sharding import NamedSharding, PartitionSpec

from mjxhand import arrays, checkpoint, storage
from mjxhand.checkpoint import CheckpointError, Checkpoints


@chex.dataclass(frozen=True)
class Learner:
    params: dict
    opt_state: optax.OptState
    obs_stats: object
    key: jax.Array
    typed_key: jax.Array
    update: jax.Array
    flag: jax.Array
    empty: jax.Array


def learner(width: int = 4, seed: int = 0) -> Learner:
    params = nn.Dense(width).init(jax.random.PRNGKey(seed), jnp.ones((1, 3)))
    return Learner(
        params=params,
        opt_state=optax.chain(optax.clip_by_global_norm(1.0), optax.adam(1e-3)).init(
            params
        ),
        obs_stats={
            "touch": running_statistics.init_state(specs.Array((5,), jnp.float32))
        },
        key=jax.random.PRNGKey(seed),
        typed_key=jax.random.key(seed),
        update=jnp.int32(seed),
        flag=jnp.array([True, False]),
        empty=jnp.zeros((0, 3)),
    )


def actors(seed: int = 0):
    return {
        "state": (jnp.arange(8.0) + seed, jnp.zeros((8, 2), jnp.bfloat16)),
        "none": None,
    }


def bits(tree) -> list:
    return [
        (name, a.dtype, a.shape, a.tobytes())
        for name, a in storage.to_arrays(tree).items()
    ]


@pytest.fixture
def saved(tmp_path) -> Checkpoints:
    """Updates 1 to 4 were saved, of which three are kept."""
    with Checkpoints(tmp_path) as checkpoints:
        for update in (1, 2, 3, 4):
            checkpoints.save(update, learner(seed=update), actors(seed=update))
    return checkpoints


def some_file(checkpoints: Checkpoints, update: int) -> Path:
    """The largest file of a checkpoint's learner."""
    files = (checkpoints.folder / f"{update:08d}" / "learner").rglob("*")
    return max((f for f in files if f.is_file()), key=lambda f: f.stat().st_size)


def test_round_trip_is_exact_and_keeps_the_structure(saved):
    update, got, got_actors = saved.restore(learner(), actors())
    assert update == 4
    assert bits(got) == bits(learner(seed=4))
    assert bits(got_actors) == bits(actors(seed=4))
    chex.assert_trees_all_equal_structs(got, learner())
    chex.assert_trees_all_equal_structs(got_actors, actors())
    assert jnp.issubdtype(got.typed_key.dtype, jax.dtypes.prng_key)


def test_learner_alone_from_shapes_alone(saved):
    shapes = jax.eval_shape(learner)
    update, got = saved.restore_learner(shapes, step=3)
    assert update == 3
    assert bits(got) == bits(learner(seed=3))


def test_three_are_kept(saved):
    assert saved.updates() == [2, 3, 4]
    assert saved.latest() == 4
    assert sorted(p.name for p in saved.folder.iterdir()) == [
        "00000002",
        "00000003",
        "00000004",
    ]


def test_files_of_others_stay_and_halves_of_a_killed_save_go(saved):
    folder = saved.folder
    (folder / ".DS_Store").write_text("Finder was here")
    (folder / ".trash").mkdir()
    (folder / ".00000999").mkdir()
    (folder / ".old-00000001").mkdir()
    saved.save(5, learner(seed=5))
    assert saved.latest() == 5
    hidden = {path.name for path in folder.glob(".*")}
    assert hidden == {".DS_Store", ".trash"}


def test_arrays_go_where_the_target_is(saved):
    mesh = jax.make_mesh((4,), ("device",))
    split = NamedSharding(mesh, PartitionSpec("device"))
    whole = NamedSharding(mesh, PartitionSpec())
    _, got, got_actors = saved.restore(
        jax.device_put(learner(), whole), jax.device_put(actors(), split)
    )
    assert got.params["params"]["kernel"].sharding == whole
    assert got_actors["state"][0].sharding == split
    assert bits(got_actors) == bits(actors(seed=4))


def test_what_is_saved_is_the_state_at_the_call(tmp_path):
    """A donated buffer may be overwritten while the thread still writes."""
    array = np.arange(4.0)
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, {"a": array})
        array[:] = -1
    _, got = checkpoints.restore_learner({"a": np.zeros(4)})
    np.testing.assert_array_equal(got["a"], np.arange(4.0))


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-9])


def test_a_full_disk_is_told_with_the_file(tmp_path, monkeypatch):
    """The system names none where writing itself fails; the old file stays."""
    path = tmp_path / "result.json"
    storage.write_text_atomically(path, "old")

    def full(self, *_, **__):
        self.touch()
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="No space left") as caught:
        storage.write_text_atomically(path, "new")
    assert caught.value.filename == str(path)
    assert caught.value.errno == errno.ENOSPC
    assert [p.name for p in tmp_path.iterdir()] == ["result.json"]
    assert path.read_text() == "old"


@pytest.mark.parametrize("hurt", [flip, cut, Path.unlink])
@pytest.mark.parametrize("manifest", [False, True])
def test_damaged_newest_falls_back_and_says_so(saved, hurt, manifest, capsys):
    file = some_file(saved, 4)
    if manifest:
        file = saved.folder / "00000004" / "manifest.json"
    hurt(file)
    update, got = saved.restore_learner(learner())
    assert update == 3
    assert bits(got) == bits(learner(seed=3))
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "00000004 is damaged" in err
    assert "using update 3" in err
    assert saved.latest() == 3


def test_none_whole_and_none_at_all(saved, tmp_path):
    for update in saved.updates():
        flip(some_file(saved, update))
    with pytest.raises(
        CheckpointError, match=r"00000004 is damaged.*no older one"
    ) as bad:
        saved.restore_learner(learner())
    assert "\n" not in str(bad.value)
    with pytest.raises(CheckpointError, match="no checkpoint in"):
        Checkpoints(tmp_path / "other").restore_learner(learner())
    assert Checkpoints(tmp_path / "other").latest() is None


def test_a_step_asked_for_is_never_replaced_by_another(saved):
    flip(some_file(saved, 4))
    with pytest.raises(CheckpointError, match="00000004 is damaged"):
        saved.restore_learner(learner(), step=4)
    with pytest.raises(CheckpointError, match=r"no checkpoint of update 9 .* 2, 3, 4"):
        saved.restore_learner(learner(), step=9)


def test_another_network_is_named_by_its_first_leaf(saved):
    with pytest.raises(CheckpointError) as caught:
        saved.restore_learner(learner(width=5))
    message = str(caught.value)
    assert (
        "learner.params.params.bias is float32[4] there and float32[5] here" in message
    )
    assert "\n" not in message
    more = learner()
    more.params["params"]["extra"] = jnp.zeros(2)
    with pytest.raises(
        CheckpointError, match=r"extra is absent there and float32\[2\]"
    ):
        saved.restore_learner(more)
    less = learner().replace(params={"params": {"kernel": jnp.zeros((3, 4))}})
    with pytest.raises(CheckpointError, match=r"bias is float32\[4\] there and absent"):
        saved.restore_learner(less)


def test_learner_without_actors_starts_environments_anew_and_says_so(tmp_path, capsys):
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, learner(seed=7))
    update, got, got_actors = checkpoints.restore(learner(), actors())
    assert (update, got_actors) == (1, None)
    assert bits(got) == bits(learner(seed=7))
    assert capsys.readouterr().err.count("environments start anew") == 1


def test_another_number_of_devices_starts_environments_anew(tmp_path, capsys):
    def on(devices):
        return {"key": np.zeros((devices, 2), np.uint32), "qpos": np.zeros(8)}

    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, learner(), on(4))
    assert checkpoints.restore(learner(), on(2))[2] is None
    assert "another number of devices" in capsys.readouterr().err
    with pytest.raises(CheckpointError, match=r"actors\.qpos is float64\[8\] there"):
        checkpoints.restore(learner(), on(4) | {"qpos": np.zeros(9)})


def test_arrays_are_cut_in_pieces(tmp_path):
    """Larger than a piece, empty, of one element, of no dimension; each file can travel."""
    rng = np.random.default_rng(0)
    sizes = (0, 1, 3, 1000, 6_000_000)
    tree = {f"a{i}": rng.random(n, np.float32) for i, n in enumerate(sizes)}
    tree |= {"flag": np.array(True), "key": np.arange(2, dtype=np.uint32)}
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, tree)
    files = [f for f in tmp_path.rglob("*") if f.is_file()]
    assert max(f.stat().st_size for f in files) <= arrays.PIECE
    assert sum(f.stat().st_size for f in files) > 24_000_000
    assert bits(checkpoints.restore_learner(tree)[1]) == bits(tree)


def test_files_of_other_arrays_are_not_read(tmp_path):
    """Files whose own account of shapes and types is not the manifest's."""
    arrays.write_arrays(tmp_path / "x", {"a": np.zeros(8, np.float32)})
    for kind in (np.zeros(4, np.float32), np.zeros(8, np.int32)):
        with pytest.raises(ValueError, match="has no a of"):
            arrays.read_arrays(tmp_path / "x", {"a": kind})


@pytest.mark.parametrize(
    ("name", "error"),
    [("a[b]", ValueError), ("a\\b", ValueError), ("**", NotImplementedError)],
)
def test_a_path_in_which_arrays_would_be_lost_is_refused(
    tmp_path, name, error, monkeypatch
):
    """orbax looks for its own files by a pattern that begins with the folder."""
    some = {"a": np.zeros(8)}
    checkpoints = Checkpoints(tmp_path / name)
    checkpoints.save(1, some)
    with pytest.raises(CheckpointError, match=r"could not save .* in it, and there"):
        checkpoints.wait()
    assert checkpoints.updates() == []
    # Were it let pass, the loss would be noticed.
    monkeypatch.setattr(arrays, "check_path", lambda folder: None)
    with pytest.raises(error):
        arrays.write_arrays(tmp_path / name / "x", some)


def test_arrays_without_their_description_are_not_read(tmp_path):
    """As older versions left them in such a path."""
    some = {"a": np.zeros(8)}
    arrays.write_arrays(tmp_path / "x", some)
    (tmp_path / "x" / "_METADATA").unlink()
    with pytest.raises(ValueError, match="no arrays that can be read"):
        arrays.read_arrays(tmp_path / "x", some)


def test_other_unusual_paths_hold_arrays(tmp_path):
    some = {"a": np.arange(8.0)}
    with Checkpoints(tmp_path / "ü %20#:]{x}?") as checkpoints:
        checkpoints.save(1, some)
    assert bits(checkpoints.restore_learner(some)[1]) == bits(some)


FULL = """
import resource, sys
import numpy as np
from mjxhand.checkpoint import CheckpointError, Checkpoints
before = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
checkpoints = Checkpoints(sys.argv[1])
checkpoints.save(1, {"a": np.random.default_rng(0).random(200_000)})
try:
    checkpoints.wait()
except CheckpointError as error:
    print(error)
resource.setrlimit(resource.RLIMIT_FSIZE, before)  # coverage writes at the end
"""


def test_orbax_says_nothing_of_a_failing_save_itself(tmp_path):
    """It would say it with pages of tracebacks."""
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    command = [sys.executable, "-c", FULL, str(tmp_path)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300)
    assert done.stdout.count("could not save a checkpoint") == 1
    assert done.stderr == ""


@pytest.mark.parametrize("name", ["12", "000000012", "１"])
def test_folders_of_other_numbers_are_no_checkpoints(saved, name):
    (saved.folder / name).mkdir()
    assert saved.updates() == [2, 3, 4]
    saved.save(5, learner(seed=5))
    assert saved.latest() == 5
    assert (saved.folder / name).is_dir()


def test_saving_again_after_a_fall_back_replaces_the_abandoned_future(saved):
    flip(some_file(saved, 4))
    again = Checkpoints(saved.run_dir)
    assert again.restore_learner(learner())[0] == 3
    again.save(4, learner(seed=40))
    again.close()
    assert again.updates() == [2, 3, 4]
    assert bits(again.restore_learner(learner())[1]) == bits(learner(seed=40))
    Checkpoints(saved.run_dir).save(3, learner(seed=30))


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="no /proc")
def test_what_counts_as_whole_is_on_the_disk_before(tmp_path, monkeypatch):
    """Against a power cut: contents, then the manifest, then the names; only then others go."""
    events, folder = [], tmp_path / "checkpoints"
    fsync, rename, replace, rmtree = os.fsync, os.rename, os.replace, shutil.rmtree

    def name(path):
        return Path(path).relative_to(folder).as_posix()

    def synced(handle):
        events.append(("sync", name(os.readlink(f"/proc/self/fd/{handle}"))))
        fsync(handle)

    def moved(move):
        def moved(a, b):
            if folder in Path(b).parents:
                events.append(("name", name(b)))
            move(a, b)

        return moved

    def removed(path, *args, **options):
        events.append(("remove", name(path)))
        rmtree(path, *args, **options)

    with Checkpoints(tmp_path) as checkpoints:
        for update in (1, 2, 3):
            checkpoints.save(update, {"w": np.zeros(3)})
    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "rename", moved(rename))
    monkeypatch.setattr(os, "replace", moved(replace))
    monkeypatch.setattr(checkpoint.shutil, "rmtree", removed)
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(4, {"w": np.zeros(3)})
    monkeypatch.undo()
    new = folder / "00000004"
    files = [p.relative_to(new).as_posix() for p in new.rglob("*") if p.is_file()]
    manifest = events.index(("sync", ".00000004/.manifest.json.tmp"))
    for file in set(files) - {"manifest.json"}:
        assert ("sync", f".00000004/{file}") in events[:manifest], file
    assert events[manifest + 1 :] == [
        ("name", ".00000004/manifest.json"),
        ("name", "00000004"),
        ("sync", "."),
        ("name", ".old-00000001"),
        ("remove", ".old-00000001"),
    ]


def test_a_failing_save_is_one_line_and_leaves_the_others(saved, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(storage, "write_manifest", full)
    saved.save(5, learner())
    with pytest.raises(
        CheckpointError, match=r"could not save.*No space left"
    ) as caught:
        saved.wait()
    assert "\n" not in str(caught.value)
    monkeypatch.undo()
    assert saved.latest() == 4
    saved.save(5, learner(seed=5))
    assert saved.latest() == 5
    assert not list(saved.folder.glob(".*"))


def test_a_single_changed_digit_of_the_manifest_is_noticed(saved):
    file = saved.folder / "00000004" / "manifest.json"
    file.write_text(file.read_text().replace("float32[3,4]", "float32[3,5]", 1))
    assert saved.damage(4) == "the content of manifest.json has changed"


def test_a_newer_format_is_not_misread(saved):
    for update in saved.updates():
        file = saved.folder / f"{update:08d}" / "manifest.json"
        manifest = json.loads(file.read_text()) | {"format": 3}
        file.write_text(json.dumps(manifest))
    with pytest.raises(CheckpointError, match="format 3, this version reads 2"):
        saved.restore_learner(learner())


# Imports once; each child is a fork that goes on from what the killed one left.
SAVERS = """
import os, random, signal, sys, time
import numpy as np
import orbax.checkpoint
from mjxhand.checkpoint import Checkpoints

def save_for_ever(folder):
    checkpoints = Checkpoints(folder)
    update, size = checkpoints.latest() or 0, 200_000
    if update:
        _, got = checkpoints.restore_learner({"a": np.zeros(size), "b": np.zeros(3)})
        assert (got["a"] == update).all() and (got["b"] == update).all()
    while True:
        update += 1
        checkpoints.save(update, {"a": np.full(size, update, float),
                                  "b": np.full(3, update, float)})

folder, kills = sys.argv[1], int(sys.argv[2])
draw = random.Random(0)
for _ in range(kills):
    child = os.fork()
    if not child:
        try:
            save_for_ever(folder)
        except BaseException as error:
            print(repr(error), file=sys.stderr, flush=True)
            os._exit(1)
    time.sleep(draw.uniform(0.0, 0.8))
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), status
"""


@pytest.mark.slow
def test_killed_at_fifty_random_moments_a_whole_one_is_there(tmp_path):
    """SIGKILL of processes that do nothing but save and go on from what is there."""
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    command = [sys.executable, "-c", SAVERS, str(tmp_path), "50"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    checkpoints = Checkpoints(tmp_path)
    target = {"a": np.zeros(200_000), "b": np.zeros(3)}
    update, got = checkpoints.restore_learner(target)
    assert update > 10  # the killed ones came that far
    assert (got["a"] == update).all()
    assert [u for u in checkpoints.updates() if checkpoints.damage(u)] == []


def test_a_full_disk_and_then_room(tmp_path, monkeypatch, capfd):
    """A write that fails in its middle leaves nothing of itself; the next one works."""

    def half(folder, arrays_):
        arrays.write_arrays(folder, dict(list(arrays_.items())[:1]))
        raise OSError(28, "No space left on device")

    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, learner(seed=1))
    checkpoints.wait()
    monkeypatch.setattr(checkpoint, "write_arrays", half)
    checkpoints.save(2, learner(seed=2))
    with pytest.raises(CheckpointError, match="No space left on device"):
        checkpoints.wait()
    assert [p.name for p in checkpoints.folder.iterdir()] == ["00000001"]
    monkeypatch.undo()
    checkpoints.save(2, learner(seed=2))
    checkpoints.close()
    assert bits(checkpoints.restore_learner(learner())[1]) == bits(learner(seed=2))


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is read-only to root")
def test_a_read_only_folder_is_one_line(tmp_path):
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, learner(seed=1))
    checkpoints.folder.chmod(0o500)
    try:
        checkpoints.save(2, learner(seed=2))
        with pytest.raises(CheckpointError, match="Permission denied"):
            checkpoints.wait()
        assert checkpoints.latest() == 1
    finally:
        checkpoints.folder.chmod(0o700)
