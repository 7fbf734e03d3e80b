"""The snippets, the brain and the job script on the pages work; the reference is whole."""

import ast
import importlib
import importlib.util
import os
import re
import signal
import subprocess
import sys
import time

import pytest
from pages import PAGES, ROOT, blocks, text_of

from mjxhand import atlas, cli
from mjxhand.wiring import STREAMS
from mjxhand.wiring import check as check_wiring


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_snippets_name_what_exists(page):
    for code in blocks(page, "python"):
        for node in ast.walk(ast.parse(code)):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    assert importlib.util.find_spec(alias.name), alias.name
            elif isinstance(node, ast.ImportFrom):
                module = importlib.import_module(node.module or "")
                for alias in node.names:
                    found = hasattr(module, alias.name) or (
                        hasattr(module, "__path__")
                        and importlib.util.find_spec(f"{node.module}.{alias.name}")
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


def test_a_stimulus_on_the_page_is_seen(capsys):
    page = text_of(ROOT / "docs" / "howto" / "analyse.md")
    (code,) = re.findall(
        r'^```python title="stimulus.py"\n(.*?)^```', page, re.M | re.S
    )
    names: dict = {}
    exec(compile(code, "stimulus.py", "exec"), names)
    response, pmc = names["response"], names["areas"]["PMC"]
    assert (response[:10] == 0).all()
    assert response[10] > 0.001
    assert response[39] < 0.1 * response[19]  # it is forgotten
    assert abs(pmc[40, :, :10] - pmc[39, :, :10] - 0.5).max() < 0.1
    assert capsys.readouterr().out.count("differ by") == 4


def test_the_brain_on_the_page_works():
    page = text_of(ROOT / "docs" / "howto" / "own-brain.md")
    (table,) = re.findall(r'^```text title="brain.tsv"\n(.*?)^```', page, re.M | re.S)
    brain = atlas.parse(table)
    check_wiring(brain, STREAMS)
    assert [area.name for area in brain.areas] == ["SSC", "PPC", "PMC", "M1"]


def test_reference_names_each_module_once():
    """And has a place for those that no page names yet; mkdocs refuses unknown ones."""
    text = "".join(p.read_text() for p in (ROOT / "docs" / "reference").glob("*.md"))
    named = re.findall(r"^::: (\S+)$", text, re.M)
    assert len(named) == len(set(named)) > 30
    assert text.count("<!-- others -->") == 1


# The job script of the cluster's page, with a trainer and a scheduler that only say what
# they were asked.
TRAINER = """#!/bin/bash
echo "$@" >> asked
mkdir -p runs/fpn-seed3
touch runs/fpn-seed3/config.json
case "$MODE" in
    done) exit 0 ;;
    fails) exit 2 ;;
    evaluates) echo ready >> asked; exec sleep 60 ;;
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
def cluster(tmp_path):
    """A folder with the stand-ins."""
    for path, text in {
        ".venv/bin/python": TRAINER,
        "bin/scontrol": '#!/bin/bash\necho "scontrol $@" >> asked\n',
    }.items():
        program = tmp_path / path
        program.parent.mkdir(parents=True)
        program.write_text(text)
        program.chmod(0o755)
    return tmp_path


@pytest.fixture
def job(cluster, tmp_path):
    """Runs the job script to its end, after a signal if one is given; what was asked."""
    (script,) = blocks(ROOT / "docs" / "howto" / "cluster.md", "bash")
    (tmp_path / "train.sbatch").write_text(script)

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


BEGIN = "-m mjxhand.train fpn --out runs/fpn-seed3 --seed 3"
RESUME = "-m mjxhand.train --resume runs/fpn-seed3"


def test_the_job_queues_itself_again_and_resumes(job):
    again = "scontrol requeue 77"
    assert job("trains", signal.SIGUSR1) == (0, [BEGIN, "saved", again])
    assert job("trains", signal.SIGUSR1) == (0, [RESUME, "saved", again])
    assert job("done") == (0, [RESUME])


def test_the_job_that_is_cancelled_saves_and_is_not_queued_again(job):
    """Nor is one that is preempted: SLURM does that itself."""
    assert job("trains", signal.SIGTERM) == (0, [BEGIN, "saved"])


def test_the_job_that_was_evaluating_is_queued_again(job):
    code, asked = job("evaluates", signal.SIGUSR1)
    assert code == 143
    assert asked[1:] == ["scontrol requeue 77"]


def test_the_job_that_fails_is_not_queued_again(job):
    code, asked = job("fails")
    assert code == 2
    assert len(asked) == 1


def test_the_job_that_saved_nothing_is_resumed_all_the_same(job, tmp_path):
    """`--resume` begins anew where there is no checkpoint yet."""
    run = tmp_path / "runs" / "fpn-seed3"
    run.mkdir(parents=True)
    (run / "config.json").touch()
    assert job("done") == (0, [RESUME])


def test_the_jobs_without_gpus(cluster):
    """Each of an array trains another seed, or another setting; submitted again it goes on."""
    page = ROOT / "docs" / "howto" / "cluster.md"
    scripts = [text for text in blocks(page, "sh") if "SLURM_ARRAY_TASK_ID" in text]
    others = [
        "",
        "--network.name baseline --network.units-scale 0.3 ",
        "--env.hold-wrist ",
    ]
    jobs = (
        ([f"laptop --seed {n} " for n in range(3)], "runs/laptop-seed", 3000),
        ([f"turning {other}" for other in others], "runs/turning-", 13800),
    )
    asked = cluster / "asked"
    for script, (begins, out, seconds) in zip(scripts, jobs, strict=True):
        head = script.split("\n\n")[0].splitlines()
        assert head[0] == "#!/bin/bash"
        for option in ("ntasks", "cpus-per-task", "mem", "time", "array"):
            assert sum(line.startswith(f"#SBATCH --{option}=") for line in head) == 1
        for number, begin in enumerate(begins):
            folder = f"{out}{number}"
            task = {"MODE": "done", "SLURM_ARRAY_TASK_ID": str(number)}
            for what in (f"{begin}--out {folder}", f"--resume {folder}"):
                call = ["bash", "-c", script]
                subprocess.run(call, cwd=cluster, env=os.environ | task, check=True)
                line = asked.read_text().strip()
                assert line == f"-m mjxhand.train {what} --until-seconds {seconds}"
                asked.unlink()
                if not what.startswith("--resume"):
                    cli.parse_config(line.split()[2:])
                (cluster / folder).mkdir(parents=True, exist_ok=True)
                (cluster / folder / "config.json").touch()


# Saves for a second after Ctrl-C or SIGTERM, as a training run may.
SLOW = """#!/bin/bash
save() { sleep 1; echo saved > saved; exit 0; }
trap save INT TERM
touch ready
while :; do sleep 0.05; done
"""


@pytest.fixture
def interrupts():
    """What Ctrl-C does, also where the tests were started in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("group", [True, False])
def test_the_showcase_waits_until_what_it_trains_has_saved(tmp_path, group, interrupts):
    """Ctrl-C comes to both from the terminal, SIGTERM from a program to the parent alone."""
    fake = tmp_path / "python"
    fake.write_text(SLOW)
    fake.chmod(0o755)
    call = (
        "import sys, showcase; sys.executable = sys.argv[1]; showcase.command('train')"
    )
    paths = [str(ROOT / "docs"), str(ROOT / "benchmarks"), str(ROOT)]
    process = subprocess.Popen(
        [sys.executable, "-c", call, str(fake)],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": ":".join(paths)},
        start_new_session=True,
    )
    while not (tmp_path / "ready").exists():
        assert process.poll() is None
        time.sleep(0.05)
    if group:
        os.killpg(process.pid, signal.SIGINT)
    else:
        process.terminate()
    assert process.wait(timeout=30) == 0
    assert (tmp_path / "saved").exists()


SRUN = """#!/bin/bash
echo "$@" >> asked
mkdir -p runs/fpn
touch runs/fpn/config.json
[ -z "$COMPLETE" ] || touch runs/fpn/evaluation.json
[ -z "$CANCELLED" ] || kill -TERM "$PPID"
exit "$CODE"
"""


@pytest.mark.parametrize(
    ("code", "complete", "cancelled", "again"),
    [
        ("0", "", "", True),
        ("143", "", "", True),
        ("0", "1", "", False),
        ("2", "", "", False),
        ("0", "", "1", False),
    ],
)
def test_the_job_of_several_nodes(tmp_path, code, complete, cancelled, again):
    """It is queued again if its time was over, and not if it failed, is complete or was
    cancelled."""
    for name, text in {
        "srun": SRUN,
        "scontrol": '#!/bin/bash\necho "scontrol $@" >> asked\n',
    }.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    environment = os.environ | {
        "CODE": code,
        "COMPLETE": complete,
        "CANCELLED": cancelled,
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "SLURM_JOB_ID": "77",
    }
    call = ["bash", str(ROOT / "docs" / "slurm.sh")]
    done = subprocess.run(call, cwd=tmp_path, env=environment)
    assert done.returncode == int(code)
    assert ("scontrol requeue 77" in (tmp_path / "asked").read_text()) == again
    subprocess.run(call, cwd=tmp_path, env=environment)
    last = [x for x in (tmp_path / "asked").read_text().splitlines() if "train" in x]
    assert last[-1].endswith("-m mjxhand.train --resume runs/fpn")


# Notes what it was asked; the second part is stopped, and resumed the next time.
PARTS = """#!/bin/bash
echo "$@" >> asked
all="$*"
run="${all##*--resume }"
[[ "$all" == *--out* ]] && run="${all##*--out }"
run="${run%% *}"
mkdir -p "$run"
touch "$run/config.json"
[[ "$all" == *"--out brain/finer"* ]] || touch "$run/evaluation.json"
"""


def test_the_full_task_in_parts_goes_on_where_it_was_stopped(tmp_path):
    fake = tmp_path / "python"
    fake.write_text(PARTS)
    fake.chmod(0o755)
    call = ["bash", ROOT / "docs" / "full_task.sh", "brain", "--seed", "3"]
    environment = os.environ | {"PYTHON": str(fake)}

    def asked() -> list[list[str]]:
        subprocess.run(call, cwd=tmp_path, env=environment, check=True)
        lines = (tmp_path / "asked").read_text().splitlines()
        (tmp_path / "asked").unlink()
        return [line.split()[2:] for line in lines]  # without -m mjxhand.train

    first, second = asked()
    again, *rest = asked()
    assert again == ["--resume", "brain/finer"]
    parts = [cli.parse_config(words)[0] for words in (first, second, *rest)]
    assert [part.network.weights for part in parts] == [
        "",
        "brain/turning",
        "brain/finer",
        "brain/careful",
    ]
    assert [part.env.reward.drop for part in parts] == [10, 10, 40, 150]
    assert [part.scene.timestep for part in parts] == [0.016, 0.008, 0.008, 0.008]
    assert {part.seed for part in parts} == {3}
    # As the kept runs, whose sum the page tells.
    assert sum(part.total_steps for part in parts) == pytest.approx(47.4e6)


def test_the_notebook_has_the_same_job():
    (script,) = blocks(ROOT / "docs" / "howto" / "cluster.md", "bash")
    (shown,) = blocks(ROOT / "notebooks" / "06_from_one_gpu_to_a_cluster.ipynb", "bash")
    assert shown == script
