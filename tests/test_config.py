"""Presets, cross-checks, and the configuration as JSON."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from mjxhand import checks, lock, presets, pretrained, runs
from mjxhand.checks import check, flatten
from mjxhand.config import Config, ConfigError
from mjxhand.presets import PRESETS


def changed(config: Config, name: str, value) -> Config:
    group, _, rest = name.partition(".")
    if rest:
        value = changed(getattr(config, group), rest, value)
    return replace(config, **{group: value})


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_possible_and_knows_its_name(name):
    check(PRESETS[name], num_devices=1)
    assert PRESETS[name].preset == name


def test_fpn_is_the_full_task_and_laptop_is_not():
    full = PRESETS["fpn"].env
    assert (full.goal_angle_max, full.goal_axis) == (math.pi, "any")
    near = PRESETS["laptop"].env
    assert (near.goal_angle_max, near.goal_axis) != (math.pi, "any")


@pytest.mark.parametrize(
    ("backend", "preset"), [("cpu", "laptop"), ("gpu", "fpn"), ("tpu", "fpn")]
)
def test_default_preset_follows_the_platform(monkeypatch, backend, preset):
    monkeypatch.setattr("jax.default_backend", lambda: backend)
    assert presets.default_preset() == preset


IMPOSSIBLE = [
    # field, value, devices, what the message must name
    ("ppo.num_envs", 17, 1, ["17", "num_minibatches (2)", "--ppo.num-envs 16"]),
    ("ppo.num_envs", 18, 4, ["18", "devices (4)", "--ppo.num-envs 16"]),
    ("ppo.num_envs", 20, 4, ["5", "num_minibatches (2)", "--ppo.num-envs"]),
    ("ppo.chunk_length", 12, 1, ["16", "12", "--ppo.unroll-length 12"]),
    ("ppo.chunk_length", 0, 1, ["chunk_length", "0", "at least 1"]),
    ("ppo.num_envs", -4, 1, ["num_envs", "-4", "at least 1"]),
    ("ppo.gamma", 1.5, 1, ["gamma", "1.5", "at most 1"]),
    ("ppo.learning_rate", math.nan, 1, ["learning_rate", "nan", "finite"]),
    ("ppo.learning_rate", 0.0, 1, ["learning_rate", "more than 0"]),
    ("scene.object_damping", -0.01, 1, ["object_damping", "-0.01", "at least 0"]),
    ("env.threshold", 1.2, 1, ["threshold (1.2", "goal_angle_max (1.2"]),
    ("env.goal_angle_max", 4.0, 1, ["goal_angle_max", "4", "3.14159"]),
    ("env.goal_seconds", 0.05, 1, ["0.05", "substeps (10)", "0.008", "0.08"]),
    ("env.goal_seconds", 1e9, 1, ["env.goal_seconds (1e+09 s)", "less time"]),
    ("env.max_goals", 10**8, 1, ["env.max_goals (100000000)", "fewer goals"]),
    ("env.max_goals", 10**10, 1, ["env.max_goals", "at most 2147483647"]),
    ("scene.iterations", 10**10, 1, ["scene.iterations", "at most 2147483647"]),
    ("physics.threads", 10**5, 1, ["physics.threads", "at most 1024"]),
    ("env.task", "juggle", 1, ["juggle", "reorient"]),
    ("env.control", "psychic", 1, ["psychic", "relative_to_target"]),
    ("network.distribution", "beta", 1, ["beta", "discrete", "continuous"]),
    ("seed", -1, 1, ["seed", "-1", "at least 0"]),
    pytest.param(
        "scene.cube_density", 10**400, 1, ["401 digits", "smaller"], id="digits"
    ),
    ("evaluate_episodes", -1, 1, ["evaluate_episodes", "at least 0"]),
]


@pytest.mark.parametrize(("name", "value", "devices", "words"), IMPOSSIBLE)
def test_impossible_settings_are_refused_in_one_line(
    name, value, devices, words, smoke
):
    with pytest.raises(ConfigError) as caught:
        check(changed(smoke, name, value), num_devices=devices)
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message, message


def test_the_fix_that_a_size_error_proposes_works(smoke):
    bad = changed(smoke, "ppo.num_envs", 45)
    with pytest.raises(ConfigError) as caught:
        check(bad, num_devices=4)
    fixed = int(str(caught.value).split()[-1])
    check(changed(bad, "ppo.num_envs", fixed), num_devices=4)


def test_goals_that_could_never_grow_are_refused():
    """An episode ends with its last goal: `laptop` waits for 1.5 in the mean."""
    laptop = PRESETS["laptop"]
    check(changed(laptop, "env.max_goals", 2), num_devices=1)
    with pytest.raises(
        ConfigError, match=r"goals would never grow .* --curriculum.goals 0.5"
    ):
        check(changed(laptop, "env.max_goals", 1), num_devices=1)


def test_curriculum_starts_between_threshold_and_farthest_goal():
    laptop = PRESETS["laptop"]
    for start in (laptop.env.threshold, 2.0):
        with pytest.raises(ConfigError, match=r"curriculum\.start"):
            check(changed(laptop, "curriculum.start", start), num_devices=1)
    off = changed(changed(laptop, "curriculum.start", 2.0), "curriculum.enabled", False)
    check(off, num_devices=1)
    # The full task from the beginning, π written with four digits.
    check(changed(PRESETS["turning"], "curriculum.start", 3.1416), num_devices=1)


@pytest.mark.parametrize("name", PRESETS)
def test_json_round_trip_is_exact(name):
    config = PRESETS[name]
    assert runs.config_from_json(runs.config_to_json(config)) == config


def test_fields_that_older_runs_lack_mean_what_those_did(smoke):
    data = json.loads(runs.config_to_json(smoke))
    del data["format"]
    for name in runs.ADDED:
        group, _, last = name.partition(".")
        del data[group][last]
    assert runs.config_from_json(json.dumps(data)) == smoke


def test_json_with_a_typo_a_gap_or_a_wrong_type_is_refused(smoke):
    def load(edit):
        data = json.loads(runs.config_to_json(smoke))
        edit(data)
        return runs.config_from_json(json.dumps(data))

    def rename(data):
        data["ppo"]["gama"] = data["ppo"].pop("gamma")

    with pytest.raises(ConfigError, match=r"unknown field ppo\.gama .*gamma"):
        load(rename)
    with pytest.raises(ConfigError, match=r"lacks the field env\.threshold"):
        load(lambda data: data["env"].pop("threshold"))
    with pytest.raises(ConfigError, match=r"ppo\.num_envs is '16'"):
        load(lambda data: data["ppo"].update(num_envs="16"))
    with pytest.raises(ConfigError, match=r"film is 1"):
        load(lambda data: data.update(film=1))
    with pytest.raises(ConfigError, match=r"object is 'cubez', not one of auto, cube"):
        load(lambda data: data["scene"].update(object="cubez"))
    with pytest.raises(ConfigError, match=r"network\.weights holds a NUL"):
        load(lambda data: data["network"].update(weights="a\0b"))
    with pytest.raises(ConfigError, match="scene is not an object"):
        load(lambda data: data.update(scene=3))
    with pytest.raises(ConfigError, match="not JSON"):
        runs.config_from_json('{"preset": ')


def test_folders_of_an_older_format_get_what_they_lack():
    """The package's own policy was written before there were formats."""
    path = pretrained.HERE / "laptop" / "config.json"
    assert "format" not in json.loads(path.read_text())
    config = runs.read_config(path.parent)
    assert config.preset == "laptop"
    assert config.ppo.max_skipped_updates == 5


def test_what_is_new_is_known_as_new(smoke):
    """Each in the configuration, with its default for the value that means what was before."""
    known = flatten(Config())
    for name, (since, value) in runs.ADDED.items():
        assert 1 < since <= runs.FORMAT
        assert known[name][1] == value


def test_formats(smoke):
    data = json.loads(runs.config_to_json(smoke))
    assert data["format"] == runs.FORMAT
    del data["ppo"]["max_skipped_updates"]
    with pytest.raises(ConfigError, match=r"lacks the field ppo\.max_skipped_updates"):
        runs.config_from_json(json.dumps(data))  # a present one lacks nothing
    assert runs.config_from_json(json.dumps(data | {"format": 1})) == smoke
    for newer in (runs.FORMAT + 1, "2", 0, None, True):
        with pytest.raises(ConfigError, match=r"is of format .* update mjxhand"):
            runs.config_from_json(json.dumps(data | {"format": newer}))


def test_json_keeps_none_and_takes_whole_numbers_for_floats(smoke):
    data = json.loads(runs.config_to_json(smoke))
    data["ppo"]["gamma"] = 1
    config = runs.config_from_json(json.dumps(data))
    assert config.ppo.gamma == 1
    assert config.ppo.target_kl is None


def test_new_folder_gets_the_config(tmp_path, smoke):
    out = runs.prepare(tmp_path / "a" / "b", smoke)
    assert runs.read_config(out) == smoke
    assert sorted(p.name for p in out.iterdir()) == [lock.FILE, "config.json"]


def test_folder_of_another_run_is_refused_and_untouched(tmp_path, smoke):
    runs.prepare(tmp_path / "run", smoke)
    before = (tmp_path / "run" / "config.json").read_bytes()
    with pytest.raises(ConfigError, match=r"already holds a run.*--resume"):
        runs.prepare(tmp_path / "run", PRESETS["laptop"])
    assert (tmp_path / "run" / "config.json").read_bytes() == before


def test_folder_with_other_files_and_a_file_are_refused(tmp_path, smoke):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ConfigError, match="not empty"):
        runs.prepare(tmp_path, smoke)
    with pytest.raises(ConfigError, match="is a file"):
        runs.prepare(tmp_path / "notes.txt", smoke)
    assert [p.name for p in tmp_path.iterdir()] == ["notes.txt"]
    with pytest.raises(ConfigError, match="cannot write"):
        runs.prepare(tmp_path / "notes.txt" / "run", smoke)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("a[b]", r"has a \[ in it"),
        ("a\\b", r"has a \\ in it"),
        ("*", r"has a \* in it"),
        ("pretrained:mine", "is a name of the package's own policies"),
    ],
)
def test_a_folder_that_no_command_could_read_is_refused(
    tmp_path, monkeypatch, smoke, name, words
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=words):
        runs.prepare(name, smoke)
    assert list(tmp_path.iterdir()) == []


def test_resume_may_lengthen_a_run_but_not_change_its_network(smoke):
    runs.check_resumed(smoke, replace(smoke, total_steps=10**6))
    with pytest.raises(ConfigError, match=r"--network\.units-scale.*0\.05"):
        runs.check_resumed(smoke, changed(smoke, "network.units_scale", 0.1))


def test_a_run_cannot_be_made_shorter_than_it_is(smoke):
    """Smoke gathers 256 control steps per update."""
    assert smoke.steps_per_update == 256
    runs.check_length(replace(smoke, total_steps=769), 4)
    with pytest.raises(ConfigError, match=r"update 4 is done.*must be at least 769"):
        runs.check_length(replace(smoke, total_steps=768), 4)


@pytest.mark.parametrize(
    ("name", "value", "word"),
    [
        ("env.threshold", "0.3", "give a number"),
        ("env.max_goals", 2.5, "give a whole number"),
        ("env.bins", 11.0, "give a whole number"),
        ("env.hold_wrist", 1, "give true or false"),
        ("env.target_lead", "x", "give a number or nothing"),
        ("env.max_goals", np.int64(5), ""),
        ("env.threshold", np.float32(0.3), ""),
        ("env.threshold", 1, ""),
    ],
)
def test_settings_from_python_have_their_types(smoke, name, value, word):
    if not word:
        return check(changed(smoke, name, value), num_devices=1)
    with pytest.raises(ConfigError, match=word):
        check(changed(smoke, name, value), num_devices=1)
    """`check` then says what is wrong with it."""
    hurt = changed(smoke, "ppo.gamma", math.nan)
    runs.check_resumed(hurt, hurt)
    with pytest.raises(ConfigError, match=r"ppo\.gamma is nan: give a finite number"):
        check(hurt, num_devices=1)


def test_every_number_has_a_range():
    named = {
        name
        for name, (_, value) in flatten(Config()).items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }
    free = {name for name in named if name.startswith("env.reward.")}
    assert named - free <= set(checks.RANGES)
    assert set(checks.RANGES) <= set(flatten(Config()))
