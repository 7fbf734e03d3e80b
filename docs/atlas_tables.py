"""Makes the measured tables of the bundled atlas from files that anyone can get.

    python docs/atlas_tables.py FOLDER --out DIR

FOLDER holds what docs/atlas.md names:

    volumes.csv     region, hemisphere, volume_mm3, centroid_x, centroid_y, centroid_z:
                    voxels and centroids per label of the Julich-Brain 3.1 maximum
                    probability maps (MNI152, 1 mm)
    economo.csv     area, mean_cells_per_mm3_as_printed, mean_cells_per_mm3_dome_weighted
    counts.csv      mean streamline counts, HCP-200 on Julich-Brain 2.9: a square matrix with
                    the regions' names in its first row and column
    lengths.csv     the same of streamline lengths, mm

DIR gets densities.tsv, volumes.tsv and pairs.tsv. The choices (areas.tsv, groups.tsv) are
read from the package.
"""

import argparse
import csv
from pathlib import Path

from mjxhand import atlas
from mjxhand.atlas import aggregate, folder, tables

# Printed mean 72,298/mm³: its "overall thickness" of layer IV (0.90 mm, 0.36 at the dome)
# reads like a shifted row, and the other areas agree within 13 % with the dome's.
DOME = ("PC",)


def densities(path: Path, classes: list[str]) -> str:
    """Cells/mm³ of the von Economo areas in use."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = {r["area"].replace("Δ", "delta"): r for r in csv.DictReader(file)}
    table = []
    for name in classes:
        basis = "dome_weighted" if name in DOME else "as_printed"
        value = round(float(rows[name][f"mean_cells_per_mm3_{basis}"]), 1)
        table.append((name, value, basis.replace("_", " ")))
    return tables.render(
        ("economo", "cells_per_mm3", "basis"),
        table,
        "Nerve cells per mm³, mean over the layers weighted by their thickness: von Economo",
        "and Koskinas 1925. 'dome weighted': the thickness at the dome of the gyrus.",
    )


def volumes(path: Path) -> aggregate.Volumes:
    """Volume and centroid of every region and hemisphere."""
    with path.open(newline="", encoding="utf-8") as file:
        return {
            (aggregate.normalise(r["region"]), r["hemisphere"]): (
                float(r["volume_mm3"]),
                [float(r[f"centroid_{axis}"]) for axis in "xyz"],
            )
            for r in csv.DictReader(file)
        }


def matrix(path: Path) -> aggregate.Matrix:
    """A square matrix with names, by pair of normalised names."""
    with path.open(newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    names = [aggregate.normalise(name) for name in header[1:]]
    return {
        (aggregate.normalise(row[0]), name): float(value)
        for row in rows
        for name, value in zip(names, row[1:], strict=True)
    }


def main() -> None:
    """Write the three tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    groups = folder.groups(atlas.BUNDLED / "groups.tsv")
    classes = sorted({c for g in groups for c in g["economo"].split("+") if c})
    rows = aggregate.volume_rows(
        [g["region"] for g in groups], volumes(args.folder / "volumes.csv")
    )
    pairs = aggregate.pair_rows(
        folder.members(groups),
        matrix(args.folder / "counts.csv"),
        matrix(args.folder / "lengths.csv"),
    )
    texts = {
        "densities.tsv": densities(args.folder / "economo.csv", classes),
        "volumes.tsv": aggregate.volumes_text(
            rows, "Julich-Brain 3.1, maximum probability maps in MNI152, 1 mm voxels."
        ),
        "pairs.tsv": aggregate.pairs_text(
            pairs,
            "Streamlines between areas, mean over HCP subjects, summed over pairs of",
            "regions within a hemisphere; Julich-Brain 2.9.",
        ),
    }
    args.out.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (args.out / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
