"""What the pages say can be typed: commands, options, modules, extras and snippets exist.

Nothing heavy is run. Commands are read by the parsers that they would start with; their
values are checked as before a run. The site itself is built by `.ci/run`.
"""

import ast
import importlib.util
import itertools
import json
import os
import re
import shlex
import signal
import subprocess
import time
import tomllib
from pathlib import Path

import pytest

from mjxhand import arguments, atlas, cli, presets, view
from mjxhand.analyse.command import AnalyseOptions
from mjxhand.analyse.command import parse as parse_analyse
from mjxhand.atlas import __main__ as atlas_command
from mjxhand.atlas.refresh import RefreshOptions
from mjxhand.config import Config
from mjxhand.wiring import STREAMS
from mjxhand.wiring import check as check_wiring

ROOT = Path(__file__).parent.parent
PAGES = sorted(
    {ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "benchmarks" / "README.md"}
    | set((ROOT / "docs").rglob("*.md"))
    | set((ROOT / "notebooks").glob("*.ipynb"))
)
FENCE = re.compile(r"^( *)```(\w*)(?: title=\S+)?\n(.*?)^\1```", re.M | re.S)
INLINE = re.compile(r"`([^`\n]+)`")
PYTHON = re.compile(r"(?:\S*/)?python3? +((?:-m +\w[\w.]*|\w+/\w+\.py)(?: .*)?)$")
VALUES = {"N": "1", "$SLURM_ARRAY_TASK_ID": "1"}
"""Values that stand for others on the pages."""
each_page = pytest.mark.parametrize(
    "page", PAGES, ids=lambda page: str(page.relative_to(ROOT))
)


def text_of(page: Path) -> str:
    """A page; of a notebook its texts."""
    text = page.read_text(encoding="utf-8")
    if page.suffix != ".ipynb":
        return text
    cells = json.loads(text)["cells"]
    return "\n\n".join("".join(c["source"]) for c in cells if c["cell_type"] != "code")


def blocks(page: Path, *languages: str) -> list[str]:
    """The code blocks in these languages, without their indentation."""
    found = FENCE.findall(text_of(page))
    return [
        re.sub(f"^{indent}", "", code, flags=re.M)
        for indent, language, code in found
        if language in languages
    ]


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
    module, argv = command[1], [VALUES.get(word, word) for word in command[2:]]
    if not module.startswith("mjxhand"):
        assert importlib.util.find_spec(module), f"{module} is not installed"
    elif "--help" in argv or not importlib.util.find_spec(module):
        assert importlib.util.find_spec(module), f"no module {module}"
    elif argv:
        parse(module, argv)


def known_options() -> set[str]:
    """Options of all commands, those that turn a switch off, and SLURM's."""
    kinds = (
        *(cli.TrainOptions, Config, cli.EvaluateOptions, cli.RenderOptions),
        *(view.ViewOptions, AnalyseOptions, atlas_command.ShowOptions, RefreshOptions),
    )
    options = {name for kind in kinds for name in arguments.option_types(kind)}
    off = {"--no-" + name.removeprefix("--") for name in options}
    return options | off | {*cli.ALIASES, "--help", "--signal", "--array"}


def accept_script(script: str, *argv: str) -> None:
    source = (ROOT / script).read_text(encoding="utf-8")
    for word in argv:
        if word.startswith("-"):
            assert f'"{word}"' in source, f"{script} has no {word}"


def parse(module: str, argv: list[str]) -> None:
    """Read the arguments as `python -m module` does."""
    if module == "mjxhand.train":
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
        raise AssertionError(f"python -m {module} takes no arguments")


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
    known = known_options()
    for code in INLINE.findall(FENCE.sub("", text_of(page))):
        if code.startswith("--"):
            for option in re.findall(r"(?<!\S)--[a-z][\w.-]*", code):
                assert option in known, f"no command has {option}"


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
def test_extras_exist(page):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = re.findall(r"(?:mjxhand|'\.)\[([\w,]+)\]", text_of(page))
    for extra in itertools.chain.from_iterable(n.split(",") for n in named):
        assert extra in project["optional-dependencies"]


@each_page
def test_snippets_name_what_exists(page):
    for code in blocks(page, "python"):
        for node in ast.walk(ast.parse(code)):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    assert importlib.util.find_spec(alias.name), alias.name
            elif isinstance(node, ast.ImportFrom):
                module = importlib.import_module(node.module or "")
                for alias in node.names:
                    found = hasattr(module, alias.name) or importlib.util.find_spec(
                        f"{node.module}.{alias.name}"
                    )
                    assert found, f"{node.module} has no {alias.name}"


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "README",
        "docs/quickstart",
        "docs/howto/own-task",
        "docs/howto/watch",
        "docs/howto/other-learners",
    ],
)
def test_snippets_run(name, tmp_path, monkeypatch, capsys):
    """A page's snippets, one after another, in a new folder that holds the page's files."""
    if name == "docs/howto/watch" and os.environ.get("MUJOCO_GL") == "disable":
        pytest.skip("no off-screen library to draw with")
    page = ROOT / f"{name}.md"
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    names: dict = {}
    for title, code in re.findall(
        r"^```python(?: title=\"(\S+)\")?\n(.*?)^```", text_of(page), re.M | re.S
    ):
        if title:
            (tmp_path / title).write_text(code)
        exec(compile(code, str(page), "exec"), names)
    if name == "docs/howto/own-task":
        said = re.findall(r"(.*): (\S+) goals", capsys.readouterr().out)
        goals = {what: float(number) for what, number in said}
        assert goals["hold still"] < 0.1 < goals["at random"]


def test_the_brain_on_the_page_works():
    page = text_of(ROOT / "docs" / "howto" / "own-brain.md")
    (table,) = re.findall(r'^```text title="brain.tsv"\n(.*?)^```', page, re.M | re.S)
    brain = atlas.parse(table)
    check_wiring(brain, STREAMS)
    assert [area.name for area in brain.areas] == ["SSC", "PPC", "PMC", "M1"]


def test_reference_has_every_module_once():
    text = "".join(p.read_text() for p in (ROOT / "docs" / "reference").glob("*.md"))
    named = re.findall(r"^::: (\S+)$", text, re.M)
    there = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path in (ROOT / "mjxhand").rglob("*.py")
        if not path.stem.startswith("_") or path.stem == "__init__"
    ]
    assert sorted(named) == sorted(set(there) - {"mjxhand"})


# The job script of the cluster's page, with a trainer and a scheduler that only say what
# they were asked.
TRAINER = """#!/bin/bash
echo "$@" >> asked
case "$MODE" in
    done) exit 0 ;;
    fails) exit 2 ;;
esac
save() {
    sleep 0.3
    mkdir -p runs/fpn-seed3/checkpoints/00000050
    touch runs/fpn-seed3/checkpoints/00000050/manifest.json
    echo saved >> asked
    exit 0
}
trap save TERM
echo ready >> asked
while :; do sleep 0.05; done
"""


@pytest.fixture
def job(tmp_path):
    """Runs the job script to its end, after a signal if one is given; what was asked."""
    (script,) = blocks(ROOT / "docs" / "howto" / "cluster.md", "bash")
    (tmp_path / "train.sbatch").write_text(script)
    for path, text in {
        ".venv/bin/python": TRAINER,
        "bin/scontrol": '#!/bin/bash\necho "scontrol $@" >> asked\n',
    }.items():
        program = tmp_path / path
        program.parent.mkdir(parents=True)
        program.write_text(text)
        program.chmod(0o755)

    def run(mode: str, number: int = 0) -> tuple[int, list[str]]:
        asked = tmp_path / "asked"
        asked.unlink(missing_ok=True)
        environment = os.environ | {
            "MODE": mode,
            "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
            "SLURM_ARRAY_TASK_ID": "3",
            "SLURM_JOB_ID": "77",
        }
        process = subprocess.Popen(
            ["bash", "train.sbatch"], cwd=tmp_path, env=environment
        )
        while number and "ready" not in (asked.read_text() if asked.exists() else ""):
            assert process.poll() is None
            time.sleep(0.05)
        if number:
            process.send_signal(number)
        code = process.wait(timeout=60)
        lines = asked.read_text().splitlines()
        return code, [line for line in lines if line != "ready"]

    return run


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGTERM])
def test_the_job_queues_itself_again_and_resumes(job, number):
    begin = "-m mjxhand.train fpn --out runs/fpn-seed3 --seed 3"
    resume = "-m mjxhand.train --resume runs/fpn-seed3"
    assert job("trains", number) == (0, [begin, "saved", "scontrol requeue 77"])
    assert job("trains", number) == (0, [resume, "saved", "scontrol requeue 77"])
    assert job("done") == (0, [resume])


def test_the_job_that_fails_is_not_queued_again(job):
    code, asked = job("fails")
    assert code == 2
    assert len(asked) == 1


def test_the_job_moves_aside_what_saved_nothing(job, tmp_path):
    left = tmp_path / "runs" / "fpn-seed3" / "checkpoints" / ".writing"
    left.mkdir(parents=True)
    (left / "manifest.json").touch()
    code, asked = job("done")
    assert (code, asked) == (0, ["-m mjxhand.train fpn --out runs/fpn-seed3 --seed 3"])
    (aside,) = (tmp_path / "runs").iterdir()
    assert aside.name.startswith("fpn-seed3.nothing-saved-")


def test_the_notebook_has_the_same_job():
    (script,) = blocks(ROOT / "docs" / "howto" / "cluster.md", "bash")
    (shown,) = blocks(ROOT / "notebooks" / "06_from_one_gpu_to_a_cluster.ipynb", "bash")
    assert shown == script
