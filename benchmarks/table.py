"""Writes the tables of benchmarks/README.md from benchmarks/results/*.json.

    python benchmarks/table.py [--check]

`--check` writes nothing and fails if the README is not what the results say.
"""

import json
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
README = HERE / "README.md"
START, END = "<!-- tables: begin -->", "<!-- tables: end -->"


def where(result: dict) -> str:
    """Hardware, versions and commit, in words."""
    versions = result["versions"]
    parts = [
        f"{result['cores']} cores of {result['cpu']}",
        *([] if result["device"] == "cpu" else [result["device"]]),
        *(f"{name} {versions[name]}" for name in ("jax", "mujoco", "mujoco-mjx")),
        f"commit {result['commit'] or 'none'}",
    ]
    return ", ".join(parts)


def speed_table(report: dict) -> list[str]:
    """Lines of the table of a file that `run.py` wrote."""
    lines = [
        "| case | control steps/s | physics steps/s | compile | peak memory |",
        "|---|---|---|---|---|",
    ]
    for row in report["results"]:
        physics = row.get("physics_steps_per_second")
        lines.append(
            f"| {row['case']} | {row['control_steps_per_second']:,.0f} |"
            f" {f'{physics:,.0f}' if physics else '–'} | {row['compile_seconds']:.1f} s |"
            f" {row['peak_memory_mb']:,.0f} MB |"
        )
    return lines + ["", f"Measured on {where(report['results'][0])}."]


def accuracy_table(report: dict) -> list[str]:
    """Lines of the table of a file that `accuracy.py` wrote."""
    lines = [
        f"Distance from {report['reference']} after {report['seconds']:.2f} s: medians (± their"
        f" standard errors) of {report['rollouts']} rollouts from the {report['start_pose']}"
        " start pose:",
        "",
        "| setting | back end | cube position | cube angle |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| {row['name']} | {row['impl']}"
        f" | {row['position_mm']:.2f} ± {row['position_mm_error']:.2f} mm"
        f" | {row['angle_rad']:.4f} ± {row['angle_rad_error']:.4f} rad |"
        for row in report["rows"]
    ]
    return lines + ["", f"Measured on {where(report)}."]


def tables() -> str:
    """All tables, each under the command that made it."""
    blocks = []
    for path in sorted((HERE / "results").glob("*.json")):
        report = json.loads(path.read_text())
        lines = speed_table(report) if "results" in report else accuracy_table(report)
        blocks.append(
            "\n".join([f"### {path.stem}", "", f"`{report['command']}`", "", *lines])
        )
    return "\n\n".join(blocks)


def main() -> int:
    text = README.read_text()
    before, rest = text.split(START)
    _, after = rest.split(END)
    new = f"{before}{START}\n{tables()}\n{END}{after}"
    if "--check" in sys.argv[1:]:
        if new != text:
            print("benchmarks/README.md is stale: python benchmarks/table.py")
            return 1
        return 0
    README.write_text(new)
    return 0


if __name__ == "__main__":
    sys.exit(main())
