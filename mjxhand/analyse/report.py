"""One self-contained HTML page: claims, figures with what they show, tables. From tables alone."""

import base64
import html
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from mjxhand.analyse import (
    figures,
    figures_dynamics,
    figures_geometry,
    figures_lesions,
)
from mjxhand.config import ConfigError
from mjxhand.storage import write_text_atomically

Tables = dict[str, pd.DataFrame]


@dataclass(frozen=True)
class Section:
    """A part of the report: its figures, and how they are to be read."""

    title: str
    draw: Callable[[Tables, Path], None]
    pictures: tuple[str, ...]
    needs: str  # the table it is made of
    text: str


SECTIONS = (
    Section(
        "What each area tells of the present",
        figures.decoding,
        ("decoding",),
        "decoding",
        "Cross-validated R² of ridge regression from an area's activity, whole episodes left "
        "out. The untrained network was shown the same senses; only its weights differ. "
        "“reward” is what the last step brought, “reward to come” what the present action "
        "brings. Constant components are left out (column left_out of the table).",
    ),
    Section(
        "What a nonlinear decoder adds",
        figures.nonlinear,
        ("nonlinear",),
        "decoding",
        "Ridge regression on random Fourier features of the activity's leading components, "
        "minus linear ridge regression on the same samples.",
    ),
    Section(
        "What each area tells of the future",
        figures.future,
        ("future",),
        "decoding",
        "The same over the lead time. No window crosses a goal or an episode. Each lead has "
        "its own samples (goals that last so long), and “future turn” is the showcase's measure. "
        "Chance: 95 % of permutations of whole episodes, the highest of all sources.",
    ),
    Section(
        "Planning or executing",
        figures.planning,
        ("planning",),
        "planning_profile",
        "The mean command at each lead, all leads on the same samples. PMC plans if it "
        "foretells better than M1 and its advantage grows with the lead.",
    ),
    Section(
        "Dimensions",
        figures_geometry.dimensions,
        ("dimensions",),
        "dimensions",
        "Participation ratio (Σλ)²/Σλ² of each area's covariance; bars: 95 % interval.",
    ),
    Section(
        "Which areas are alike",
        figures_geometry.similarity,
        ("cka", "rsa"),
        "cka",
        "Linear CKA of activities, and Spearman correlation of their dissimilarities (pairs "
        "of steps of different episodes only).",
    ),
    Section(
        "Integration and abstraction",
        figures_geometry.selectivity,
        ("selectivity",),
        "selectivity",
        "Units predicted from the senses: from one alone; what it adds to the others; how many "
        "senses share in a unit; what products of the senses add.",
    ),
    Section(
        "Intrinsic time scales",
        figures_dynamics.time_scales,
        ("timescales",),
        "timescales",
        "A decaying exponential with an offset, fitted to the autocorrelation of each unit.",
    ),
    Section(
        "Dynamics of the recurrent area",
        figures_dynamics.dynamics,
        ("dynamics",),
        "spectrum",
        "Eigenvalues of the step's Jacobian at its fixed points under typical inputs (inside "
        "the circle: decaying), and mean paths of activity from a goal's start.",
    ),
    Section(
        "Lesions",
        figures_lesions.lesions,
        ("lesions",),
        "lesions",
        "Behaviour without each part, from the same start states and first goals. A silent "
        "sense is replaced by its running mean; without recurrence memory is zero at every step. "
        "Bars: 95 % interval; grey band: that of the intact network.",
    ),
    Section(
        "Tuning to turns",
        figures_dynamics.tuning,
        ("tuning",),
        "tuning_units",
        "Units whose activity differs between the six turns of the cube (about +x, along the "
        "fingers, to −z) beyond the best of all units when whole episodes change places (95 %).",
    ),
    Section(
        "Saliency",
        figures.saliency,
        ("saliency",),
        "saliency",
        "Integrated gradients from each area's activity, and from the mean commands, to the "
        "senses of the last eight steps.",
    ),
)

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
        ConfigError: the folder cannot be written.
    """
    parts = [_head(summary), _claims(tables["claims"]), _showcase(tables["showcase"])]
    folder = out / "figures"
    try:
        for section in SECTIONS:
            table = tables.get(section.needs)
            if table is None or not len(table):
                continue
            section.draw(tables, folder)
            parts.append(_section(section, folder))
        parts.append(_tables(tables))
        path = out / "report.html"
        page = "\n".join(parts)
        write_text_atomically(path, f"{page}\n</body></html>\n")
    except OSError as error:
        raise ConfigError(f"cannot write to {out}: {error.strerror}") from None
    return path


def _head(summary: dict) -> str:
    network = summary["network"]
    facts = [
        f"{summary['task']}",
        f"network {network['name']} at {network['units_scale']:g} of its size, "
        f"update {summary['update']}",
        f"{summary['samples']:,} control steps of {1000 * summary['step_seconds']:.0f} ms, "
        f"{summary['episodes']:,} episodes, {summary['impl']} physics",
        f"{summary['groups']} groups of episodes, {summary['permutations']} permutations",
    ]
    lines = "<br>".join(html.escape(f) for f in facts)
    return (
        "<!doctype html><html lang=en><meta charset=utf-8><title>mjxhand: analysis</title>"
        f"<style>{_CSS}</style><body><h1>What the network encodes</h1>"
        f"<p class=note>{lines}</p>"
    )


def _claims(claims: pd.DataFrame) -> str:
    head = ("claim", "showcase", "our measure", "trained", "untrained", "verdict")
    rows = "".join(
        "<tr>"
        + "".join(
            f"<td{' class=v' if c == 'verdict' else ''}>{_cell(row[c])}</td>"
            for c in ("claim", "showcase", "measure", "ours", "control", "verdict")
        )
        + "</tr>"
        for _, row in claims.iterrows()
    )
    titles = "".join(f"<th>{h}" for h in head)
    return f"<h2>The showcase's claims</h2><table><tr>{titles}</tr>{rows}</table>"


def _cell(value) -> str:
    return "" if pd.isna(value) else html.escape(str(value)).replace("; ", "<br>")


def _showcase(table: pd.DataFrame) -> str:
    quantities = list(dict.fromkeys(table["quantity"]))
    rows = []
    for source in dict.fromkeys(table["source"]):
        own = table[table["source"] == source].set_index("quantity")
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
        "goals; ours do not. Its network had learned the full task at full size.</p>"
        f"<table><tr><th>{titles}</tr>{''.join(rows)}</table>"
    )


def _short(value) -> str:
    return (
        "–"
        if pd.isna(value)
        else f"{value:.2f}".replace("-", "−").replace("0.", ".", 1)
    )


def _section(section: Section, folder: Path) -> str:
    pictures = ""
    for name in section.pictures:
        data = base64.b64encode((folder / f"{name}.png").read_bytes()).decode()
        pictures += f'<img alt="{section.title}" src="data:image/png;base64,{data}">'
    text = html.escape(section.text)
    return f"<h2>{section.title}</h2><p class=note>{text}</p>{pictures}"


def _tables(tables: Tables) -> str:
    """Small tables in full; the others by name."""
    parts = ["<h2>Tables</h2><p class=note>All of them are in tables/ as CSV.</p>"]
    for name, table in tables.items():
        if len(table) > 80 or name in ("claims", "showcase"):
            continue
        body = table.to_html(
            index=False, border=0, float_format="{:.3g}".format, na_rep="–"
        )
        parts.append(f"<details><summary>{name}</summary>{body}</details>")
    return "\n".join(parts)
