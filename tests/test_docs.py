"""What the pages say can be typed: commands, options and extras exist.

Nothing heavy is run. Commands are read by the parsers that they would start with; their
values are checked as before a run. The site itself is built by `.ci/run`.
"""

import functools
import importlib.util
import itertools
import json
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from pages import FENCE, INLINE, PAGES, ROOT, blocks, text_of

from mjxhand import arguments, cli, command_options, presets, view
from mjxhand.analyse.command import parse as parse_analyse
from mjxhand.atlas import __main__ as atlas_command
from mjxhand.atlas.refresh import RefreshOptions
from mjxhand.checks import flatten
from mjxhand.config import Config

PYTHON = re.compile(r"(?:\S*/)?python3? +((?:-m +\w[\w.]*|\w+/\w+\.py)(?: .*)?)$")
VALUES = {"N": "1", "$s": "1", "$SLURM_ARRAY_TASK_ID": "1"}
"""Values that stand for others on the pages."""
each_page = pytest.mark.parametrize(
    "page", PAGES, ids=lambda page: str(page.relative_to(ROOT))
)


def words(line: str) -> list[str]:
    """A shell line's words, up to what ends a command."""
    reader = shlex.shlex(line, posix=True, punctuation_chars=True)
    reader.whitespace_split = True
    ends = {"&", "&&", "|", "||", ";", ">", "<", ")", "("}
    return list(itertools.takewhile(lambda word: word not in ends, reader))


def commands(page: Path) -> list[list[str]]:
    """Every command that calls Python, as its words after `python`."""
    lines = [
        line
        for code in blocks(page, "sh", "bash", "")
        for line in code.replace("\\\n", " ").splitlines()
    ]
    lines += INLINE.findall(FENCE.sub("", text_of(page)))
    found = []
    for line in lines:
        for part in re.split(r"&&|;", line):
            if match := PYTHON.search(part.strip()):
                found += [words(choice) for choice in choices(match[1])]
    return found


def choices(command: str) -> list[str]:
    """`{a,b}` as one command each; `[PRESET]` and `…` left out."""
    command = re.sub(r"\[[A-Z]+\]|…|\.\.\.", "", command)
    if not (match := re.search(r"\{([\w,]+)\}", command)):
        return [command]
    return [command.replace(match[0], choice) for choice in match[1].split(",")]


def accept(command: list[str]) -> None:
    """Raises what the command itself would raise before it starts to work."""
    if command[0] != "-m":
        return accept_script(*command)
    module, argv = command[1], [VALUES.get(w, w) for w in command[2:] if w != "$@"]
    if not module.startswith("mjxhand"):
        package = module.partition(".")[0]
        known = package in extras() or importlib.util.find_spec(package)
        assert known, f"{package} is neither installed nor in an extra"
    elif "--help" in argv or not importlib.util.find_spec(module):
        assert importlib.util.find_spec(module), f"no module {module}"
    elif argv:
        parse(module, argv)


@functools.cache
def extras() -> set[str]:
    """Packages that an extra brings; not all of them are in the lock."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    every = itertools.chain.from_iterable(project["optional-dependencies"].values())
    return {re.split(r"[^\w-]", text)[0] for text in every}


@functools.cache
def printed_help(module: str) -> str:
    """What a command without a parser above prints with `--help`."""
    call = [sys.executable, "-m", module, "--help"]
    return subprocess.run(call, capture_output=True, text=True, cwd=ROOT).stdout


@functools.cache
def known_options() -> set[str]:
    """Options of training, those that turn a switch off, and SLURM's."""
    options = {
        name
        for kind in (command_options.TrainOptions, Config)
        for name in arguments.option_types(kind)
    }
    off = {"--no-" + name.removeprefix("--") for name in options}
    return (
        options
        | off
        | {*cli.ALIASES, "--help", "--signal", "--array", "--gpus-per-task"}
    )


@functools.cache
def source() -> str:
    """All of the package and of the scripts."""
    paths = [
        p for name in ("mjxhand", "benchmarks") for p in (ROOT / name).rglob("*.py")
    ]
    return "\n".join(path.read_text(encoding="utf-8") for path in paths)


def is_option(option: str) -> bool:
    """Whether training has it, or a field of another command's options or a parser."""
    field = option.removeprefix("--").replace("-", "_")
    found = re.search(rf"^    {re.escape(field)}: ", source(), re.M)
    return option in known_options() or bool(found) or f'"{option}"' in source()


def accept_script(script: str, *argv: str) -> None:
    source = (ROOT / script).read_text(encoding="utf-8")
    for word in argv:
        if word.startswith("-"):
            assert f'"{word}"' in source, f"{script} has no {word}"


def parse(module: str, argv: list[str]) -> None:
    """Read the arguments as `python -m module` does."""
    if module == "mjxhand.train":
        # As on a CPU and as on an accelerator, which have other presets.
        for preset in ("laptop", "fpn"):
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(presets, "default_preset", lambda name=preset: name)
                config, _ = cli.parse_config(argv)
            own = ":" in config.env.task + config.network.name
            if not own and config.network.atlas in ("angorapy_v2", "derived"):
                presets.check(config, num_devices=1)
    elif module == "mjxhand.evaluate":
        cli.parse_evaluate(argv)
    elif module == "mjxhand.render":
        cli.parse_render(argv)
    elif module == "mjxhand.view":
        arguments.split(argv, arguments.option_types(view.ViewOptions))
    elif module == "mjxhand.analyse":
        parse_analyse(argv)
    elif module == "mjxhand.atlas":
        kinds = {"show": atlas_command.ShowOptions, "refresh": RefreshOptions}
        arguments.split(argv[1:], arguments.option_types(kinds[argv[0]]))
    elif module == "mjxhand.pretrained":
        assert len(argv) == 2, "it takes a run and a folder"
    else:
        text = printed_help(module)
        for word in argv:
            if word.startswith("-"):
                assert word.partition("=")[0] in text, f"{module} has no {word}"


@pytest.fixture(autouse=True)
def a_run_to_resume(monkeypatch):
    """Wherever a page resumes a run, one of the preset `laptop` is there."""
    monkeypatch.setattr(cli, "read_config", lambda run: presets.PRESETS["laptop"])


def test_commands_are_found():
    lines = [" ".join(c) for page in PAGES for c in commands(page)]
    assert "-m mjxhand.train" in lines  # README, after &&
    assert any("--until-seconds 1800" in line for line in lines)
    assert len(lines) > 60


def check(page: Path) -> None:
    """Every command and every option of a page.

    Raises:
        AssertionError: one that does not exist, and why.
    """
    for command in commands(page):
        try:
            accept(command)
        except Exception as error:
            raise AssertionError(f"python {' '.join(command)}: {error}") from error
    for code in INLINE.findall(FENCE.sub("", text_of(page))):
        if code.startswith("--"):
            for option in re.findall(r"(?<!\S)--[a-z][\w.-]*", code):
                assert is_option(option), f"no command has {option}"


@each_page
def test_commands_and_options_exist(page):
    check(page)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("python -m mjxhand.train laptop --ppo.gama 0.9", "unknown option"),
        ("python -m mjxhand.train laptop --env.threshold 2", "is not below"),
        ("a && .venv/bin/python -m mjxhand.train labtop", "unknown preset"),
        ("python -m mjxhand.evaluate RUN --episode 3", "unknown option"),
        ("python -m mjxhand.render RUN --width 31", "must be even"),
        ("python -m mjxhand.atlas show derived --figures x.png", "unknown option"),
        ("python -m mjxhand.movie RUN", "no module mjxhand.movie"),
        ("python -m mjxhand.pretrained RUN", "a run and a folder"),
        ("python -m mjxhand.analyse.speed --stepz 3", "has no --stepz"),
        ("python benchmarks/run.py --jsno x", "has no --jsno"),
        ("python benchmarks/walk.py", "No such file"),
        ("--ppo.gama 0.9", "no command has --ppo.gama"),
    ],
)
def test_a_wrong_one_would_be_found(line, problem, tmp_path):
    page = tmp_path / "page.md"
    page.write_text(f"Type `{line}`.\n")
    with pytest.raises(Exception, match=problem):
        check(page)


@each_page
def test_links_lead_to_files(page):
    """In the repository, where pages are read too; the site has some of those outside docs/."""
    docs = ROOT / "docs"
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", FENCE.sub("", text_of(page))):
        if "://" not in target:
            path = (page.parent / target).resolve()
            assert path.exists(), target
            if docs in page.parents and docs not in path.parents:
                assert path in PAGES, target
                assert path.parent.name in ("benchmarks", "notebooks"), target


@each_page
def test_extras_exist(page):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = re.findall(r"(?:mjxhand|'\.)\[([\w,]+)\]", text_of(page))
    for extra in itertools.chain.from_iterable(n.split(",") for n in named):
        assert extra in project["optional-dependencies"]


@functools.cache
def hook():
    """`docs/pages.py`, which makes the tables of runs and presets."""
    spec = importlib.util.spec_from_file_location("hook", ROOT / "docs" / "pages.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_settings_that_no_row_names_have_their_defaults_in_every_preset():
    named = re.findall(r"^\| `([\w.]+)` \|", hook().preset_table(), re.M)
    assert {"ppo.unroll_length", "ppo.num_epochs", "env.control"} <= {*named}
    defaults = flatten(Config())
    for name, preset in presets.PRESETS.items():
        settings = flatten(preset)
        others = [key for key in defaults if key not in (*named, "preset")]
        changed = [key for key in others if settings[key][1] != defaults[key][1]]
        assert not changed, name


def test_kept_runs_say_whose_weights_they_began_with():
    rows = [row for row in hook().kept_runs().splitlines() if "--from" in row]
    (named,) = (row for row in rows if "pretrained:" in row)
    assert "--from pretrained:fpn-reorient" in named
    assert "(weights of commit b60fa66)" in named


@pytest.mark.parametrize(
    ("row", "run", "which"),
    [
        ("0 | 0.01", "turning", "untrained"),
        ("5.01 M |", "full-fpn", "trained"),
        ("18.4 M, end of part 1 |", "turning", "trained"),
        ("33.4 M, end of part 2 |", "finer", "trained"),
        ("43.4 M, end of part 3 |", "careful", "trained"),
        ("47.4 M, end of part 4 |", "safe", "trained"),
    ],
)
def test_goals_by_distance_are_those_of_the_kept_runs(row, run, which):
    page = text_of(ROOT / "docs" / "learning.md")
    (line,) = (x for x in page.splitlines() if x.startswith(f"| {row}"))
    _, _, goals, near, *far, _ = [cell.strip(" *") for cell in line.split("|")]
    kept = json.loads((ROOT / "docs" / "results" / f"{run}-seed0.json").read_text())
    result = kept["evaluation"]["task"][which]

    def told(number: str, value: float) -> None:
        """It is the value, to as many decimals as it has."""
        decimals = len(number.partition(".")[2])
        assert number == f"{value:,.{decimals}f}", line

    for number, name in zip(goals.split(" ± "), ("mean", "ci95"), strict=True):
        told(number, result["goals"][name])
    first, *others = result["by_distance"]
    assert near == f"{first['reached']:,} of {first['goals']:,}"
    for cell, band in zip(far, others, strict=True):
        share, goals = cell.split(" % of ")
        told(share, 100 * band["reached"] / band["goals"])
        told(goals, band["goals"])


@functools.cache
def history() -> set[str]:
    """Commits of the repository, seven digits of each; empty where git has not all of them."""
    call = ["git", "-C", str(ROOT)]
    shallow = [*call, "rev-parse", "--is-shallow-repository", "--show-toplevel"]
    try:
        told = subprocess.run(shallow, capture_output=True, text=True).stdout.split()
    except FileNotFoundError:
        return set()
    if told != ["false", str(ROOT.resolve())]:
        return set()
    listed = [*call, "rev-list", "--abbrev=7", "--abbrev-commit", "HEAD"]
    found = subprocess.run(listed, capture_output=True, text=True).stdout.split()
    return {commit[:7] for commit in found}


def named_commits(text: str) -> list[str]:
    """What looks like a commit: seven hexadecimal digits, letters and numbers among them."""
    mixed = re.findall(r"\b(?=\d*[a-f])(?=[a-f]*\d)[0-9a-f]{7}\b", text)
    return mixed + re.findall(r"\bcommits? (\d{7})\b", text)


def test_commits_are_recognised():
    assert named_commits("856bf83 to b60fa66, commit 2287848; 1000000, feedbed") == [
        "856bf83",
        "b60fa66",
        "2287848",
    ]


@each_page
def test_commits_exist(page):
    if not history():
        pytest.skip("no history of the repository")
    assert {*named_commits(text_of(page))} <= history()
