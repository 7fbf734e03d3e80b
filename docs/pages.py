"""Pages that are made from what they describe, so that they cannot drift from it.

A hook of mkdocs (see mkdocs.yml): the commands' page is their own `--help`, the notebooks'
pages are the notebooks, the benchmarks' page is their README, the tables of runs and presets are
made of `results/*.json` and of the presets. A page that would fetch anything from another server
is refused.
"""

import functools
import json
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import yaml
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from nbconvert import MarkdownExporter

ROOT = Path(__file__).resolve().parent.parent
WIDTH = 80
"""Columns of a terminal whose lines fit the page."""

FIRST = "train laptop", "evaluate", "render", "view", "analyse"
"""The commands that come first; the others follow by name."""
PARTS = {"atlas": ("atlas show", "atlas refresh"), "atlas.live": (), "": ()}
"""What stands for a module that has commands of its own, that only lists them, or that is none
for users."""
SCRIPTS = "benchmarks/run.py", "benchmarks/accuracy.py"
LINKS = (
    (
        re.compile(r"\]\(((?:\.\./)*)\.\./notebooks/(\w+)\.ipynb"),
        r"](\1notebooks/\2.md",
    ),
    (re.compile(r"\]\(((?:\.\./)*)\.\./benchmarks/README\.md"), r"](\1benchmarks.md"),
    # The made page of the benchmarks stands in this folder itself.
    (re.compile(r"\]\(\.\./docs/"), "]("),
)
"""Links that lead out of this folder, and the made pages that they lead to in the site."""
WEIGHTS = {"finer-seed0": "b60fa66"}
"""Kept runs that began with a policy of the package: the commit that brought those weights into it.
Its name has others now."""
FETCHED = re.compile(
    r'<(?:script|img|iframe|source|link)\b[^>]*\b(?:src|href)="(?:https?:)?//[^"]*"'
)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put pages that mkdocs.yml does not name yet under the results."""
    listed = yaml.safe_dump(config.nav)
    folder = ROOT / "docs"
    pages = sorted(str(path.relative_to(folder)) for path in folder.rglob("*.md"))
    assert config.nav is not None
    (results,) = (entry["Results"] for entry in config.nav if "Results" in entry)
    results += [page for page in pages if page not in listed]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the made pages."""
    benchmarks = (ROOT / "benchmarks" / "README.md").read_text("utf-8")
    made: dict[str, str | bytes] = {"benchmarks.md": benchmarks}
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        made |= notebook(path)
    for name, content in made.items():
        files.append(File.generated(config, name, content=content))
    return files


def on_page_markdown(markdown: str, page, config: MkDocsConfig, files: Files) -> str:
    """Put what is made where its mark is, and let links lead to made pages."""
    for make in (commands, kept_runs, others, preset_table):
        mark = f"<!-- {make.__name__} -->"
        if mark in markdown:
            markdown = markdown.replace(mark, make())
    for link, made in LINKS:
        markdown = link.sub(made, markdown)
    return expand(markdown)


def on_post_page(output: str, page, config: MkDocsConfig) -> str:
    """Refuse a page that needs the network."""
    if found := FETCHED.search(output):
        raise PluginError(f"{page.file.src_uri} would fetch {found.group()}")
    return output


@functools.cache
def kept_runs() -> str:
    """A table of the evaluations in `results/`, a row for each run and task.

    Raises:
        PluginError: a run began with a policy of the package, and `WEIGHTS` lacks it.
    """
    lines = [
        "| command | task | untrained | trained | made on |",
        "|---|---|---|---|---|",
    ]
    for path in sorted((ROOT / "docs" / "results").glob("*.json")):
        run = json.loads(path.read_text("utf-8"))
        began = f"`{run['command'].replace('--network.weights', '--from')}`"
        if "pretrained:" in run["command"]:
            if path.stem not in WEIGHTS:
                raise PluginError(f"{path}: of which commit were its first weights?")
            began += f" (weights of commit {WEIGHTS[path.stem]})"
        made = f"{run['cores']} cores of {run['cpu']}"
        if run["device"] != "cpu":
            made = f"{run['num_devices']} {run['device']}"
        made += f", commit {run['commit'][:7]}, {run['env_steps'] / 1e6:.2g} M steps"
        for results in run["evaluation"].values():
            task = results["trained"]["task"].partition(",")[0]
            scores = [score(results[which]) for which in ("untrained", "trained")]
            cells = [began, task, *scores, made]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


@functools.cache
def preset_table() -> str:
    """What the presets set: a column for each preset, a row for each setting in which one of them
    differs from the defaults."""
    from mjxhand.checks import flatten
    from mjxhand.config import Config
    from mjxhand.presets import PRESETS

    defaults = flatten(Config())
    flat = [flatten(preset) for preset in PRESETS.values()]
    lines = [
        f"| setting | {' | '.join(f'`{name}`' for name in PRESETS)} |",
        "|---|" + "---|" * len(PRESETS),
    ]
    for name in flat[0]:
        values = [shown(settings[name][1]) for settings in flat]
        if name != "preset" and {*values} != {shown(defaults[name][1])}:
            lines.append(f"| `{name}` | {' | '.join(values)} |")
    return "\n".join(lines)


def shown(value: object) -> str:
    """A setting's value in a table's cell."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.5g}"
    if isinstance(value, int):
        return f"{value:,}"
    return "–" if value is None else str(value)


def score(result: dict) -> str:
    """An evaluation in a table's cell."""
    goals = result["goals"]
    drops = 100 * result["drop_rate"]
    return f"{goals['mean']:.2f} ± {goals['ci95']:.2f}, {drops:.1f} %"


def modules() -> list[str]:
    """The package's modules, by name; not those that begin with `_`."""
    paths = sorted((ROOT / "mjxhand").rglob("*.py"))
    return [
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path in paths
        if not path.stem.startswith("_") or path.stem == "__init__"
    ]


def expand(markdown: str) -> str:
    """`::: package.*` as the package and each of its modules."""

    def each(match: re.Match) -> str:
        package = match[1]
        found = [m for m in modules() if f"{m}.".startswith(f"{package}.")]
        return "\n\n".join(f"::: {module}" for module in found)

    return re.sub(r"^::: (\S+)\.\*$", each, markdown, flags=re.M)


def others() -> str:
    """The modules that no page of the reference names yet, so that none is missing."""
    reference = (ROOT / "docs" / "reference").glob("*.md")
    pages = "\n".join(expand(page.read_text("utf-8")) for page in reference)
    named = {"mjxhand", *re.findall(r"^::: (\S+)$", pages, re.M)}
    return "\n\n".join(f"::: {m}" for m in modules() if m not in named)


@functools.cache
def commands() -> str:
    """What each command prints with `--help`, under its name."""
    calls = [f"-m mjxhand.{name}" for name in (*FIRST, *other_commands())]
    calls += SCRIPTS
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        texts = list(pool.map(help_of, calls))
    parts = []
    for command, text in zip(calls, texts, strict=True):
        title = command.removeprefix("-m ").removesuffix(" laptop")
        shown = f"python {command} --help"
        parts.append(f"## {title}\n\n```text title='{shown}'\n{text}\n```\n")
    return "\n".join(parts)


def other_commands() -> list[str]:
    """What else of the package runs with `python -m`."""
    package = ROOT / "mjxhand"
    files = [
        path.parent if path.stem == "__main__" else path.with_suffix("")
        for path in sorted(package.rglob("*.py"))
        if '__name__ == "__main__"' in path.read_text("utf-8")
    ]
    names = [".".join(path.relative_to(package).parts) for path in files]
    known = [first.split()[0] for first in FIRST]
    return [
        part for name in names if name not in known for part in PARTS.get(name, (name,))
    ]


def help_of(command: str) -> str:
    """What a command prints with `--help`.

    Raises:
        PluginError: it fails, or prints nothing.
    """
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {
        "COLUMNS": str(WIDTH),
        "JAX_PLATFORMS": "cpu",
        "NO_COLOR": "1",
        "PYTHONPATH": os.pathsep.join(paths),
    }
    done = subprocess.run(
        [sys.executable, *command.split(), "--help"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment,
    )
    if done.returncode or not done.stdout.strip():
        raise PluginError(f"python {command} --help: {done.stderr.strip()}")
    return done.stdout.strip()


def notebook(path: Path) -> dict[str, str | bytes]:
    """A notebook as a page, and its pictures, by their names in the site."""
    names = {"unique_key": path.stem, "output_files_dir": path.stem}
    body, resources = MarkdownExporter().from_filename(str(path), resources=names)
    title, _, rest = body.partition("\n")
    about = f"*This page is the notebook `notebooks/{path.name}` of the repository.*"
    made: dict[str, str | bytes] = {
        f"notebooks/{path.stem}.md": f"{title}\n\n{about}\n{rest}"
    }
    for name, content in resources["outputs"].items():
        made[f"notebooks/{name}"] = content
    return made
