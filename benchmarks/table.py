"""Writes the tables of benchmarks/README.md from benchmarks/results/*.json.

    python benchmarks/table.py [--check]

`--check` writes nothing and fails if the README is not what the results say.
"""

import json
import statistics
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
    """Lines of the table of a file that `run.py` wrote.

    A column of the first calls where one took far longer than the next: Warp builds its kernels.
    """
    rows = report["results"]
    slow = any(
        row.get("first_call_seconds", 0) > 1 + 2 * statistics.median(row["run_seconds"])
        for row in rows
    )
    first = " first call |" if slow else ""
    lines = [
        f"| case | control steps/s | physics steps/s | compile |{first} peak memory |",
        "|---|---|---|---|---|" + "---|" * slow,
    ]
    for row in rows:
        used = row.get("devices_used", 1)
        case = row["case"] + (f", {used} devices" if used > 1 else "")
        physics = row.get("physics_steps_per_second")
        first = f"{row['first_call_seconds']:.1f} s" if slow else ""
        device = row.get("device_peak_memory_mb")
        memory = (
            f"{device:,.0f} MB of the device"
            if device
            else f"{row['peak_memory_mb']:,.0f} MB"
        )
        lines.append(
            f"| {case} | {row['control_steps_per_second']:,.0f} |"
            f" {f'{physics:,.0f}' if physics else '–'} | {row['compile_seconds']:.1f} s |"
            + f" {first} |" * slow
            + f" {memory} |"
        )
    return lines + ["", f"Measured on {where(rows[0])}."]


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


def rivals_table(report: dict) -> list[str]:
    """Lines of the table of a file that `rivals.py` wrote."""
    lines = ["| | ours | theirs | ratio (of each turn) |", "|---|---|---|---|"]
    for row in report["rivals"]:
        ratios = row["ratios"]
        turns = (
            f"{min(ratios):.2f}–{max(ratios):.2f}" if len(ratios) > 1 else "one turn"
        )
        lines.append(
            f"| {row['unit']} | {row['ours']}: {row['ours_per_second']:,.0f}"
            f" | {row['theirs']}: {row['theirs_per_second']:,.0f}"
            f" | **{row['ratio']:.2f}** ({turns}) |"
        )
    return lines + ["", f"Measured on {where(report)}."]


def breakdown_table(report: dict) -> list[str]:
    """Lines of the table of a file that `breakdown.py` wrote."""
    result = report["breakdown"]
    total = sum(result["rows"].values())
    steps = result["control_steps"]
    lines = ["| part | share | per control step |", "|---|---|---|"]
    lines += [
        f"| {name} | {100 * seconds / total:.1f} % | {1e6 * seconds / steps:.1f} µs |"
        for name, seconds in result["rows"].items()
    ]
    told = f"One update of {steps:,} control steps took {result['wall_seconds']:.2f} s"
    return lines + ["", f"{told}. Measured on {where(report)}."]


def stages_table(report: dict) -> list[str]:
    """Lines of the table of a file that `stages.py` wrote."""
    result = report["stages"]
    lines = ["| stage | per physics step, one thread |", "|---|---|"]
    lines += [f"| {k} | {v:.2f} µs |" for k, v in result["microseconds"].items()]
    told = (
        f"{sum(result['microseconds'].values()):.1f} µs in all; on average"
        f" {result['contacts']:.1f} contacts, {result['constraint_rows']:.1f} constraint rows,"
        f" {result['solver_iterations']:.2f} solver iterations"
    )
    return lines + ["", f"{told}. Measured on {where(report)}."]


def scaling_table(report: dict) -> list[str]:
    """Lines of the table of a file that `scaling.py` wrote."""
    lines = [
        "| devices | gradient reductions | other reductions | kinds |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| {row['devices']} | {row['gradient_reductions']}, {row['gradient_bytes'] / 1e6:.2f} MB"
        f" | {row['other_reductions']}, {row['other_bytes'] / 1e3:.2f} kB"
        f" | {', '.join(row['kinds']) or 'none'} |"
        for row in report["scaling"]
    ]
    parameters = report["scaling"][0]["parameters"]
    told = f"Preset {report['preset']}, {parameters:,} parameters, per update"
    return lines + ["", f"{told}. Compiled on {where(report)}."]


def first_table(report: dict) -> list[str]:
    """Lines of the table of a file that `first.py` wrote."""
    lines = ["| preset | cache | until the first update | in it |", "|---|---|---|---|"]
    lines += [
        f"| {row['preset']} | {row['cache']} | {row['seconds']:.1f} s"
        f" | {row['update_seconds']:.1f} s |"
        for row in report["first"]
    ]
    return lines + ["", f"Measured on {where(report)}."]


def memory_table(report: dict) -> list[str]:
    """Lines of the table of a file that `memory.py` wrote."""
    lines = [
        "| environments | control steps | memory of an update | of it only while it runs |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| {row['num_envs']:,} | {row['control_steps']:,} | {row['total'] / 2**20:,.0f} MiB"
        f" | {row['temporaries'] / 2**20:,.0f} MiB |"
        for row in report["memory"]
    ]
    told = f"Preset {report['preset']}, back end {report['impl']}, as compiled"
    return lines + ["", f"{told} {_compiled(report)}."]


def kernels_table(report: dict) -> list[str]:
    """Lines of the table of a file that `kernels.py` wrote."""
    result = report["kernels"]
    rows = result["rows"]
    seconds = sum(row["seconds"] for row in rows.values())
    lines = ["| part | kernels | moved | at best | share |", "|---|---|---|---|---|"]
    lines += [
        f"| {name} | {row['kernels']:,} | {row['bytes'] / 1e9:.1f} GB"
        f" | {1e3 * row['seconds']:.1f} ms | {100 * row['seconds'] / seconds:.1f} % |"
        for name, row in rows.items()
    ]
    steps = result["control_steps"]
    told = (
        f"Preset {result['preset']}, back end {result['impl']},"
        f" {result['num_envs']:,} environments: {steps:,} control steps in {seconds:.3f} s"
        f" at best, {steps / seconds:,.0f} per second; traced in"
        f" {result['trace_seconds']:.0f} s, compiled in {result['compile_seconds']:.0f} s"
    )
    lines += ["", f"{told} {_compiled(report)}."]
    if any("Warp" in name for name in rows):
        lines += [
            "",
            "Of Warp the buffers it is given are counted; its kernels come on top.",
        ]
    return lines


def cost_table(report: dict) -> list[str]:
    """Lines of the table of a file that `cost.py` wrote."""
    lines = [
        "| part | back end | a control step, processor time | without it | its share |",
        "|---|---|---|---|---|",
    ]
    for row in report["parts"]:
        low, high = (100 * x for x in row["share_quartiles"])
        lines.append(
            f"| {row['part']} | {row['impl']}, {row['num_envs']} hands"
            f" | {row['microseconds']:,.0f} µs | {row['microseconds_without']:,.0f} µs"
            f" | {100 * row['share']:.1f} % ({low:.1f} to {high:.1f}) |"
        )
    return lines + ["", f"`native` on one thread. Measured on {where(report)}."]


def _compiled(report: dict) -> str:
    """For what, and where."""
    if report.get("on"):
        return (
            f"for one {report['on'].upper()}, which was not there, on {where(report)}"
        )
    return f"for {where(report)}"


KINDS = {
    "results": speed_table,
    "rivals": rivals_table,
    "breakdown": breakdown_table,
    "stages": stages_table,
    "scaling": scaling_table,
    "first": first_table,
    "memory": memory_table,
    "kernels": kernels_table,
    "rows": accuracy_table,
    "parts": cost_table,
}


def tables() -> str:
    """All tables, each under the command that made it."""
    blocks = []
    for path in sorted((HERE / "results").rglob("*.json")):
        report = json.loads(path.read_text())
        kinds = [name for name in KINDS if name in report]
        if len(kinds) != 1:
            raise SystemExit(
                f"benchmarks/results/{path.relative_to(HERE / 'results')}: no table is made of "
                f"results of {report.get('command', 'an unknown command')!r}: keep them elsewhere"
            )
        (kind,) = kinds
        title = path.relative_to(HERE / "results").with_suffix("").as_posix()
        lines = KINDS[kind](report)
        if "note" in report:  # written by hand: what the machine did besides
            lines += ["", report["note"]]
        blocks.append(
            "\n".join([f"### {title}", "", f"`{report['command']}`", "", *lines])
        )
    return "\n\n".join(blocks)


def main(argv: list[str] | None = None) -> int:
    argv = sys.argv[1:] if argv is None else argv
    text = README.read_text()
    before, rest = text.split(START)
    _, after = rest.split(END)
    new = f"{before}{START}\n{tables()}\n{END}{after}"
    if "--check" in argv:
        if new != text:
            print("benchmarks/README.md is stale: python benchmarks/table.py")
            return 1
        return 0
    README.write_text(new)
    return 0


if __name__ == "__main__":
    sys.exit(main())
