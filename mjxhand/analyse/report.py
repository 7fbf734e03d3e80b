"""One self-contained HTML page: claims, figures with what they show, tables. From tables alone."""

import base64
import html
from pathlib import Path

import pandas as pd

from mjxhand.analyse.sections import SECTIONS, Section, Tables
from mjxhand.config import ConfigError
from mjxhand.storage import write_text_atomically

_CSS = """
body{font:15px/1.5 system-ui,sans-serif;color:#222;max-width:1000px;margin:2em auto;padding:0 1em}
h1{font-size:1.6em;margin-bottom:.2em}h2{font-size:1.15em;margin-top:2.2em}
p.note{color:#5b6068}img{width:100%;height:auto}
table{border-collapse:collapse;font-size:13px;margin:1em 0}
th,td{padding:.3em .6em;text-align:left;vertical-align:top;border-bottom:1px solid #dde0e4}
th{font-weight:600}td.v{font-weight:600}summary{cursor:pointer;color:#0072b2}
"""


def write(out: Path, tables: Tables, summary: dict) -> Path:
    """Draw every figure and write `report.html`; its path.

    Raises:
        ConfigError: the folder cannot be written, or a table that every analysis has is not there.
    """
    folder = out / "figures"
    if "claims" not in tables:
        raise ConfigError(f"{out} has no table claims: analyse that run anew")
    there = [s for s in SECTIONS if len(tables.get(s.needs, ()))]
    missing = [s.title for s in SECTIONS if s not in there]
    parts = [_head(summary, [s.title for s in there], missing), _areas(summary)]
    parts.append(_claims(tables["claims"]))
    if "showcase" in tables:
        parts.append(_showcase(tables["showcase"]))
    try:
        for section in there:
            section.draw(tables, folder)
            parts.append(_section(section, folder))
        parts.append(_tables(tables))
        path = out / "report.html"
        page = "\n".join(parts)
        write_text_atomically(path, f"{page}\n</body></html>\n")
    except OSError as error:
        raise ConfigError(f"cannot write to {out}: {error.strerror}") from None
    return path


def _head(summary: dict, there: list[str], missing: list[str]) -> str:
    network = summary["network"]
    facts = [
        f"{summary['task']}",
        f"network {network['name']} at {network['units_scale']:g} of its size, "
        f"update {summary['update']}",
        f"{summary['samples']:,} control steps of {1000 * summary['step_seconds']:.0f} ms, "
        f"{summary['episodes']:,} episodes, {summary.get('goals', 0):,} goals reached, "
        f"{summary['impl']} physics",
        f"{summary['groups']} groups of start states, {summary['permutations']} permutations",
    ]
    facts += [
        f"goals shown in {summary['goal_encoding']} encoding, the pose in "
        f"{summary['pose_encoding']} encoding",
        "one trained network and one untrained: intervals are over start states of these two, "
        "and say nothing of other seeds or other random weights"
        if summary["control"]
        else "one trained network, without an untrained one beside it: intervals are over its "
        "start states, and say nothing of other seeds",
    ]
    if missing:
        facts.append(f"not here (no data for it, or left out): {', '.join(missing)}")
    lines = "<br>".join(html.escape(f) for f in facts)
    links = " · ".join(f'<a href="#{_anchor(t)}">{html.escape(t)}</a>' for t in there)
    return (
        "<!doctype html><html lang=en><meta charset=utf-8>"
        "<meta name=viewport content='width=device-width'><title>mjxhand: analysis</title>"
        f"<style>{_CSS}</style><body><h1>What the network encodes</h1>"
        f"<p class=note>{lines}</p><p>{links}</p>"
    )


def _anchor(title: str) -> str:
    return title.lower().replace(" ", "-")


def _areas(summary: dict) -> str:
    """The areas by their anatomical names, with what each receives."""
    if not summary.get("areas"):
        return ""
    rows = []
    for area in summary["areas"]:
        layers = f"{area['layers']} × " if area["layers"] > 1 else ""
        late = ", ".join(f"{s} (one step late)" for s in area["feedback"])
        receives = ", ".join([*area["receives"], *([late] if late else [])])
        cells = (
            area["area"], area["label"], f"{layers}{area['units']}",
            "yes" if area["recurrent"] else "", receives,
        )  # fmt: skip
        rows.append("<tr>" + "".join(f"<td>{html.escape(c)}" for c in cells) + "</tr>")
    titles = "".join(f"<th>{t}" for t in ("area", "", "units", "memory", "receives"))
    return f"<h2>The network</h2><table><tr>{titles}</tr>{''.join(rows)}</table>"


def _claims(claims: pd.DataFrame) -> str:
    shown = ("claim", "showcase", "measure", "ours", "control", "difference", "verdict")
    head = (
        "claim", "showcase", "our measure", "trained", "untrained",
        "trained − untrained", "verdict",
    )  # fmt: skip
    rows = "".join(
        "<tr>"
        + "".join(
            f"<td{' class=v' if c == 'verdict' else ''}>{_cell(row[c])}</td>"
            for c in shown
        )
        + "</tr>"
        for _, row in claims.iterrows()
    )
    titles = "".join(f"<th>{h}" for h in head)
    return (
        "<h2>The showcase's claims</h2><p class=note>What the Human Brain Project's showcase "
        "(deliverable D3.14) said of its network (SSC, SPL, IPL, IPS, MCC, LPFC, PMC, "
        "M1), and what is found here. “Agrees”: every quantity is above 0 in the trained "
        "network and above that of the untrained network, both with a 95 % interval; the "
        "second is paired over the groups of "
        "start states that both networks saw. R² and differences of R². Areas that the critic "
        "reads are trained to predict return: that they tell of reward may come of that "
        "alone.</p>"
        f"<table><tr>{titles}</tr>{rows}</table>"
    )


def _cell(value) -> str:
    return "" if pd.isna(value) else html.escape(str(value)).replace("; ", "<br>")


def _showcase(table: pd.DataFrame) -> str:
    quantities = list(dict.fromkeys(table["quantity"]))
    rows = []
    for source in dict.fromkeys(table["source"]):
        own = table[table["source"] == source].set_index("quantity")
        if own["trained"].isna().to_numpy().all():  # an area that this network lacks
            continue
        cells = [
            " / ".join(
                _short(own.loc[q, c]) for c in ("showcase", "trained", "untrained")
            )
            for q in quantities
        ]
        rows.append(f"<tr><th>{source}" + "".join(f"<td>{c}" for c in cells) + "</tr>")
    titles = "".join(f"<th>{q}" for q in quantities)
    return (
        "<h2>The showcase's figures</h2><p class=note>R²: showcase (recovered, corrected) / "
        "trained / untrained. The showcase's splits leaked neighbours and its windows crossed "
        "goals; ours do not. Its network had learned the full task at full size, with absolute "
        "goals and poses. –: nothing to compare, as where this network is shown the rotation "
        "still to make in place of the goal (relative), or a cube without letters (folded). "
        "Orientations are four numbers there, six columns here.</p>"
        f"<table><tr><th>{titles}</tr>{''.join(rows)}</table>"
    )


def _short(value) -> str:
    if pd.isna(value):
        return "–"
    # Adding 0 after rounding turns −0.00 into 0.00.
    text = f"{round(float(value), 2) + 0.0:.2f}".replace("-", "−")
    return text.replace("0.", ".", 1) if abs(value) < 0.995 else text


def _section(section: Section, folder: Path) -> str:
    pictures = ""
    for name in section.pictures:
        data = base64.b64encode((folder / f"{name}.png").read_bytes()).decode()
        pictures += f'<img alt="{section.title}" src="data:image/png;base64,{data}">'
    text = html.escape(section.text)
    title = f'<h2 id="{_anchor(section.title)}">{section.title}</h2>'
    return f"{title}<p class=note>{text}</p>{pictures}"


def _tables(tables: Tables) -> str:
    """Small tables in full; the others by name."""
    parts = [
        "<h2>Tables</h2><p class=note>All of them are in tables/, as CSV and, where a "
        "library for it is installed, as Parquet.</p>"
    ]
    for name, table in tables.items():
        if len(table) > 80 or name in ("claims", "showcase"):
            continue
        body = table.to_html(
            index=False, border=0, float_format="{:.3g}".format, na_rep="–"
        )
        parts.append(f"<details><summary>{name}</summary>{body}</details>")
    return "\n".join(parts)
