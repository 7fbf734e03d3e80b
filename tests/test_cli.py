"""Command lines: every mistake is one line on stderr and exit code 2."""

import importlib.util
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from mjxhand import atlas, cli, presets, runs
from mjxhand.config import ConfigError
from mjxhand.presets import PRESETS, check
from mjxhand.tasks.variants import variants

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def on_a_cpu(monkeypatch):
    monkeypatch.setattr("jax.default_backend", lambda: "cpu")


def test_default_preset_and_folder():
    config, options = cli.parse_config([])
    assert config == PRESETS["laptop"]
    assert options.out == "runs/laptop"
    assert options.resume is None


@pytest.mark.parametrize(
    "argv",
    ["smoke --out x --no-film", "--out x --no-film smoke", "--no-film smoke --out=x"],
)
def test_preset_may_stand_anywhere(argv):
    config, options = cli.parse_config(argv.split())
    assert config.preset == "smoke"
    assert config.film is False
    assert options.out == "x"


def test_options_reach_their_fields():
    argv = (
        "smoke --ppo.gamma 0.9 --ppo.num_envs=1e3 --ppo.target-kl 1e-2 --ppo.value-clip none"
        " --env.reward.drop -5 --physics.impl jax --curriculum.enabled"
        " --ppo.no-normalize-obs --total-steps 2e6 --until-seconds 30 --quiet"
    )
    config, options = cli.parse_config(argv.split())
    assert config.ppo.gamma == 0.9
    assert config.ppo.num_envs == 1000
    assert config.ppo.target_kl == 0.01
    assert config.ppo.value_clip is None
    assert config.env.reward.drop == -5
    assert config.physics.impl == "jax"
    assert config.curriculum.enabled
    assert not config.ppo.normalize_obs
    assert config.total_steps == 2_000_000
    assert options.until_seconds == 30
    assert options.quiet


@pytest.mark.parametrize("given", [["--task", "chain"], ["--task=chain"]])
def test_short_names(given):
    config, _ = cli.parse_config(["smoke", *given, "--atlas", "derived"])
    assert config.env.task == "chain"
    assert config.network.atlas == "derived"


@pytest.mark.parametrize("preset", ["laptop", "fpn"])
@pytest.mark.parametrize(
    "argv",
    [
        "--task chain --env.sequence l_r",
        "--task reach",
        "--scene.object egg",
        "--env.vision pixels",
    ],
)
def test_a_preset_for_the_cube_serves_other_tasks_objects_and_eyes(preset, argv):
    config, _ = cli.parse_config([preset, *argv.split()])
    check(config, num_devices=1)


def test_a_task_of_ones_own_keeps_the_presets_curriculum():
    config, _ = cli.parse_config(["laptop", "--task", "my_file:MyTask"])
    assert config.curriculum == PRESETS["laptop"].curriculum


@pytest.mark.parametrize(
    ("argv", "other"),
    [
        ("laptop --task reach", "preset reach"),
        ("reach --task chain", "preset laptop"),
        ("laptop --task chain", ""),
        ("reach --task opposition", ""),
        ("turning --env.goal-encoding absolute", "add --env.pose-encoding absolute"),
        ("turning --env.goal-encoding absolute --env.pose-encoding absolute", ""),
    ],
)
def test_what_does_not_go_together_is_remarked_upon(argv, other):
    remark = presets.remark(cli.parse_config(argv.split())[0])
    assert other in remark
    assert bool(remark) == bool(other)


def test_frames_show_the_letters_whatever_a_run_says_of_a_pose():
    """Runs and code may hold both settings; command lines are refused that give both."""
    config = PRESETS["turning"]
    for vision, folded in (("pose", True), ("pixels", False)):
        env = replace(
            config.env, vision=vision, goal_encoding="absolute", pose_encoding="folded"
        )
        both = replace(config, env=env)
        assert ("seen without them" in presets.remark(both)) == folded
        assert ("the cube seen without letters" in variants(both, "cube")) == folded


def test_a_table_of_ones_own_has_the_units_that_it_says(tmp_path):
    """Presets narrow the networks of the package."""
    table = tmp_path / "brain.tsv"
    table.write_text(atlas.render(atlas.find("angorapy_v2")))
    scale = PRESETS["laptop"].network.units_scale
    assert scale < 1
    for argv, expected in (
        (["laptop", "--atlas", str(table)], 1.0),
        (["laptop", "--atlas", "derived"], scale),
        (["laptop", "--atlas", str(table), "--network.units-scale", "0.5"], 0.5),
    ):
        assert cli.parse_config(argv)[0].network.units_scale == expected


def test_what_was_asked_for_is_not_dropped_with_the_presets_own():
    argv = ["fpn", "--task", "chain", "--curriculum.enabled"]
    with pytest.raises(ConfigError, match="no goal angles to grow"):
        check(cli.parse_config(argv)[0], num_devices=1)


@pytest.mark.parametrize(
    ("argv", "name"),
    [
        ("--task chain --env.max-goals 3", "env.max_goals"),
        ("--task reach --env.threshold 0.1", "env.threshold"),
        ("--task opposition --env.goal-encoding relative", "env.goal_encoding"),
        ("--env.tip-threshold 0.1", "env.tip_threshold"),
        ("--env.cameras top", "env.cameras"),
        ("--env.push-seconds 1", "env.push_seconds"),
        ("--env.actions continuous --env.bins 5", "env.bins"),
        ("--env.control absolute --env.relative-step 0.1", "env.relative_step"),
        ("--curriculum.start 0.9", "curriculum.start"),
        ("--curriculum.threshold-steps 10", "curriculum.threshold_steps"),
        ("--network.dropout-streams touch", "network.dropout_streams"),
        ("--network.name mlp --network.cell gru", "network.cell"),
        ("--network.recurrent PMC:gru --network.cell rnn", "network.cell"),
        ("--network.recurrent PMC:gru,M1:lstm --network.cell rnn", "network.cell"),
        ("--env.randomize fingertip_noise", "env.randomize"),
        ("--env.randomize delay --physics.substeps 1", "env.randomize"),
        ("--env.control relative_to_measured --env.target-lead 2", "env.target_lead"),
        ("--physics.impl jax --physics.threads 2", "physics.threads"),
        ("--task reach --env.reward.drop 40", "env.reward.drop"),
        ("--task reach --scene.cube-edge 0.04", "scene.cube_edge"),
        ("--task reach --scene.object-damping 0", "scene.object_damping"),
        (
            "--env.vision pixels --env.goal-encoding absolute --env.randomize gain,angle_bias",
            "env.randomize",
        ),
        (
            "--env.vision pixels --env.goal-encoding absolute --env.pose-encoding folded",
            "env.pose_encoding",
        ),
        ("--no-film --film-seconds 3", "film_seconds"),
    ],
)
def test_what_would_do_nothing_is_refused(argv, name):
    with pytest.raises(ConfigError, match=rf"^{re.escape(name)} does nothing "):
        cli.parse_config(["smoke", *argv.split()])


@pytest.mark.parametrize(
    "argv",
    [
        "--env.randomize push --env.push-seconds 0.5",
        "--env.randomize fingertip_noise,gain",
        "--task reach --env.randomize fingertip_noise",
        "--env.randomize delay",
        "--env.control relative_to_measured --env.target-lead 0.05",
        "--env.randomize all --env.push-seconds 0.5",
        "--network.recurrent PMC:gru,M1 --network.cell rnn",
        "--physics.impl native --scene.max-contact-points 3",
        "--env.vision pixels --env.goal-encoding absolute --env.randomize all",
        "--env.vision pixels --env.goal-encoding absolute --env.pose-encoding absolute",
    ],
)
def test_what_acts_is_not_refused(argv):
    cli.parse_config(["smoke", *argv.split()])


def test_presets_give_no_idle_settings_to_refuse():
    """What a preset says may wait for other options; only what is asked for must act."""
    for name in PRESETS:
        cli.parse_config([name, "--seed", "1"])


WRONG = [
    ("smok", "unknown preset 'smok' (did you mean smoke?)"),
    ("xyzzy", "choose smoke, laptop, turning, reach, opposition, fpn, baseline"),
    ("chain", "fpn, baseline; a task is given as --task chain"),
    ("smoke laptop", "one preset at a time"),
    ("--preset smoke", "given as a word"),
    ("--ppo.gama 0.9", "unknown option --ppo.gama (did you mean --ppo.gamma?)"),
    ("--gamma 0.9", "did you mean --ppo.gamma?"),
    ("--curriculum.enable", "did you mean --curriculum.enabled?"),
    ("--ppo.gamma x", "--ppo.gamma is 'x': give a number"),
    ("--ppo.num-envs 1.5", "--ppo.num-envs is '1.5': give a whole number"),
    ("--ppo.num-envs inf", "give a whole number"),
    ("--physics.impl foo", "one of auto, jax, warp, native"),
    ("--ppo.gamma", "--ppo.gamma needs a value"),
    ("--ppo.gamma --seed 1", "--ppo.gamma needs a value"),
    ("--resume --out runs/mine", "--resume needs a value: the folder of a run"),
    ("--film=3", "give --film or --no-film"),
    ("--film false", "give --film or --no-film"),
    ("-x", "unknown option -x"),
    ("--until-seconds 0", "give a positive time"),
    ("--resume nowhere", "nowhere holds no run"),
]


@pytest.mark.parametrize(("argv", "words"), WRONG)
def test_a_mistake_is_one_line_and_exit_code_2(argv, words, capsys):
    @cli.main_guard
    def main():
        cli.parse_config(argv.split())
        return 0

    assert main() == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert words in err


@pytest.mark.parametrize(
    ("parse", "argv", "words"),
    [
        (
            cli.parse_config,
            ["--resume", ""],
            "--resume needs a value, not an empty text",
        ),
        (cli.parse_config, ["smoke", "--out", " "], "--out needs a value"),
        (cli.parse_config, ["smoke", "--from="], "--network.weights needs a value"),
        (cli.parse_config, ["smoke", "--atlas", ""], "--network.atlas needs a value"),
        (cli.parse_config, [""], "an argument is empty"),
        (cli.parse_evaluate, ["x", "--lesion", ""], "--lesion needs a value.* areas"),
        (cli.parse_evaluate, ["x", "--json", ""], "--json needs a value.* a file"),
        (cli.parse_evaluate, [""], "an argument is empty"),
        (cli.parse_render, ["x", "--out="], "--out needs a value"),
    ],
)
def test_an_empty_value_is_not_an_option_left_out(parse, argv, words):
    """As the variable of a shell gives it that was never set."""
    with pytest.raises(ConfigError, match=words):
        parse(argv)


def test_a_sequence_may_be_empty():
    """The order of the task itself, whatever the run was trained with."""
    assert cli.parse_evaluate(["x", "--sequence", ""]).sequence == ""
    config, _ = cli.parse_config(["opposition", "--env.sequence", ""])
    assert config.env.sequence == ""


def test_every_option_in_the_help_is_known(capsys):
    with pytest.raises(SystemExit) as stop:
        cli.parse_config(["smoke", "--help"])
    assert not stop.value.code
    out = capsys.readouterr().out
    for option in (
        "--out",
        "--resume",
        "--ppo.gamma",
        "--env.reward.drop",
        "--no-film",
    ):
        assert option in out
    assert "--preset" not in out
    assert "PRESET" in out
    assert "Discount per control step" in out
    assert "(default: 16)" in out  # the preset's own value of --ppo.num-envs


def test_resume_takes_the_runs_own_configuration(tmp_path):
    run = str(runs.prepare(tmp_path / "run", PRESETS["smoke"]))
    config, options = cli.parse_config(["--resume", run, "--total-steps", "9000"])
    assert config.ppo == PRESETS["smoke"].ppo
    assert config.total_steps == 9000
    assert options.out == options.resume == run
    for argv, words in (
        (["--seed", "3"], "--seed cannot change"),
        (["--env.sequence", "l_r"], r"--env.sequence cannot.*\(it has nothing\)"),
        (["--from", "other"], "^--from begins .* leave out --from"),
        (["laptop"], "was started from preset smoke, not laptop"),
        (["--out", "elsewhere"], "leave out --out"),
    ):
        with pytest.raises(ConfigError, match=words):
            cli.parse_config(["--resume", run, *argv])


def test_evaluate_and_render_options():
    options = cli.parse_evaluate("--episodes 8 runs/x --json r.json --impl jax".split())
    assert (options.dir, options.episodes) == ("runs/x", 8)
    assert (options.json, options.impl, options.step) == ("r.json", "jax", None)
    for parse in (cli.parse_evaluate, cli.parse_render):
        assert parse(["runs/x"]).randomize is None
        assert parse(["runs/x", "--randomize", "friction"]).randomize == "friction"
    film = cli.parse_render("runs/x --out a.gif --seconds 3".split())
    assert (film.dir, film.out, film.seconds) == ("runs/x", "a.gif", 3.0)


@pytest.mark.parametrize(
    ("parse", "argv", "words"),
    [
        (cli.parse_evaluate, [], r"no run folder: .* DIR"),
        (cli.parse_evaluate, ["a", "b"], "one folder at a time"),
        (cli.parse_evaluate, ["a", "--episode", "3"], "did you mean --episodes"),
        (cli.parse_evaluate, ["a", "--episodes", "0"], "at least 1"),
        (
            cli.parse_evaluate,
            ["a", "--impl", "fast"],
            "one of auto, jax, warp, native or None",
        ),
        (cli.parse_render, ["a", "--width", "101"], "101 x 480.*even"),
        (
            cli.parse_evaluate,
            ["a", "--seed", "-5"],
            "--seed is -5: it must be at least 0",
        ),
        (cli.parse_render, ["a", "--seed", "4294967296"], "at most 4294967295"),
        (cli.parse_render, ["a", "--seconds", "-1"], "must be positive"),
        (cli.parse_render, ["a", "--seconds", "inf"], "give a finite number"),
        (cli.parse_render, ["a", "--seconds", "nan"], "must be positive"),
    ],
)
def test_wrong_options_of_the_other_commands(parse, argv, words):
    with pytest.raises(ConfigError, match=words):
        parse(argv)


def test_ctrl_c_is_exit_code_130(capsys):
    @cli.main_guard
    def main():
        raise KeyboardInterrupt

    assert main() == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_a_reader_that_has_left_ends_a_command_without_a_word():
    code = "from mjxhand import cli; sys.exit(cli.main_guard(lambda: print('x' * 10))() or 0)"
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as closed:
        done = subprocess.run(
            [sys.executable, "-c", f"import sys; {code}"],
            env={**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"},
            stdout=closed,
            stderr=subprocess.PIPE,
            text=True,
            timeout=120,
            check=False,
        )
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(28, "No space left on device"), "No space left on device"),
        (OSError(28, "No space left on device", "x.json"), "x.json: No space left"),
    ],
)
def test_a_full_disk_is_one_line(error, words, capsys):
    @cli.main_guard
    def main():
        raise error

    assert main() == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"error: {words}")
    assert err.count("\n") == 1


def test_other_errors_keep_their_traceback():
    @cli.main_guard
    def main():
        raise ValueError("a bug")

    with pytest.raises(ValueError, match="a bug"):
        main()


@pytest.mark.parametrize("command", ["train", "render"])
def test_the_real_commands_fail_in_one_line(command, tmp_path):
    """As a person types it: nothing but that line on stderr, and no file is made."""
    done = subprocess.run(
        [sys.executable, "-m", f"mjxhand.{command}", "nowhere"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1, done.stderr
    assert "nowhere" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["train smoke --out x", "doctor"])
@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("JAX_PLATFORMS", "cuda", "JAX_PLATFORMS is cuda: unset it, or install JAX"),
        ("JAX_PLATFORMS", "nonsense", "JAX_PLATFORMS is nonsense: unset it"),
        (
            "JAX_ENABLE_X64",
            "1",
            r"jax_enable_x64 is on: .* turn it off \(JAX_ENABLE_X64=0\)",
        ),
    ],
)
def test_a_variable_that_cannot_work_is_one_line(command, name, value, words, tmp_path):
    plugins = ("jax_cuda12_plugin", "jax_cuda13_plugin")
    if value == "cuda" and any(map(importlib.util.find_spec, plugins)):
        pytest.skip("JAX for CUDA is installed: the variable may work")
    done = subprocess.run(
        [sys.executable, "-m", *f"mjxhand.{command}".split()],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), name: value},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert re.fullmatch(f"error: {words}.*\n", done.stderr), done.stderr
    assert list(tmp_path.iterdir()) == []


def test_what_a_terminal_cannot_show_is_no_error():
    code = "from mjxhand import cli; cli.main_guard(lambda: print('8 ± 1'))()"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("8 ? 1\n", "")


@pytest.mark.parametrize("command", ["analyse", "analyse.across", "analyse.speed"])
def test_a_library_that_is_missing_is_one_line(command):
    """Of those that only analyses need: no traceback, and what to install."""
    program = (
        "import runpy, sys\n"
        "sys.modules['pandas'] = None\n"
        f"sys.argv = ['mjxhand.{command}']\n"
        f"runpy.run_module('mjxhand.{command}', run_name='__main__', alter_sys=True)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr == "error: pandas is missing: pip install 'mjxhand[analysis]'\n"
