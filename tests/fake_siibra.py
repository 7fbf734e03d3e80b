"""A siibra configuration of six files: one parcellation, its map, two subjects' streamlines.

Everything is local, so siibra's own API runs without a network. Dataset and publication
entries are left out, because siibra would look them up.
"""

import gzip
import json
import struct

import numpy as np

from mjxhand import atlas
from mjxhand.atlas import folder

SIDES = ("left", "right")
SPACE = "minds/core/referencespace/v1.0.0/dafcffc5-4826-4bf1-8ff6-46b8a31ff8e2"
PARCELLATION = "minds/core/parcellationatlas/v1.0.0/fake-310"
VOXEL = 2.0
ORIGIN = (-30.0, -40.0, 10.0)
SUBJECTS = ("000", "001")


def regions():
    """Names of all regions that the bundled atlas groups."""
    return [g["region"] for g in folder.groups(atlas.BUNDLED / "groups.tsv")]


def labels():
    """Label maps {side: int16[x, y, z]}: region i has 1 + (i + side) % 5 voxels in a row."""
    maps = {}
    for s, side in enumerate(SIDES):
        data = np.zeros((len(regions()), 3, 6), np.int16)
        for i in range(len(regions())):
            data[i, s, : 1 + (i + s) % 5] = i + 1
        maps[side] = data
    return maps


def matrices():
    """Two subjects' streamline counts, [2, n, n], left regions first; no negative ones."""
    n = 2 * len(regions())
    rng = np.random.default_rng(0)
    counts = rng.integers(0, 400, (2, n, n)).astype(float)
    return (counts + counts.transpose(0, 2, 1)) / 2


def lengths():
    """As `matrices`, in mm: zero wherever there are no streamlines."""
    n = 2 * len(regions())
    rng = np.random.default_rng(1)
    mm = rng.uniform(10, 100, (2, n, n))
    return np.where(matrices() > 0, (mm + mm.transpose(0, 2, 1)) / 2, 0.0)


def names():
    """Rows of the matrices."""
    return [f"{region} {side}" for side in SIDES for region in regions()]


def write(root, without=()):
    """Write the configuration; regions in `without` are missing from the parcellation."""
    kept = [r for r in regions() if r not in without]
    human = {"species": "Homo sapiens"}
    _json(
        root / "atlases/human.json",
        human,
        {"@type": "juelich/iav/atlas/v1.0.0", "@id": "juelich/iav/atlas/v1.0.0/1"},
        {"name": "Multilevel Human Atlas", "spaces": [SPACE]},
        {"parcellations": [PARCELLATION]},
    )
    _json(
        root / "spaces/mni152.json",
        human,
        {"@type": "siibra/space/v0.0.1", "@id": SPACE, "shortName": "MNI152"},
        {"name": "MNI 152 ICBM 2009c Nonlinear Asymmetric", "volumes": []},
    )
    tree = [
        {"name": r, "children": [{"name": f"{r} {s}"} for s in SIDES]} for r in kept
    ]
    _json(
        root / "parcellations/julich.json",
        human,
        {"@type": "siibra/parcellation/v0.0.1", "@id": PARCELLATION},
        {"name": "Julich-Brain Cytoarchitectonic Atlas (v3.1)", "regions": tree},
        {"shortName": "Julich-Brain 3.1"},
    )
    indices = {
        f"{region} {side}": [
            {"volume": 0, "label": i + 1, "fragment": f"{side} hemisphere"}
        ]
        for side in SIDES
        for i, region in enumerate(regions())
        if region in kept
    }
    files = {}
    for side, data in labels().items():
        path = root / f"{side}.nii.gz"
        path.write_bytes(nifti(data))
        files[f"{side} hemisphere"] = str(path)
    volume = {"@type": "siibra/volume/v0.0.1", "space": {"@id": SPACE}}
    _json(
        root / "maps/map.json",
        {"@type": "siibra/map/v0.0.1", "@id": "fake-map", "name": "fake map"},
        {"space": {"@id": SPACE}, "parcellation": {"@id": PARCELLATION}},
        {"indices": indices, "volumes": [volume | {"providers": {"nii": files}}]},
    )
    for kind, data in (
        ("StreamlineCounts", matrices()),
        ("StreamlineLengths", lengths()),
    ):
        data_folder = root / "data" / kind
        data_folder.mkdir(parents=True)
        for subject, matrix in zip(SUBJECTS, data, strict=True):
            np.savetxt(data_folder / f"{subject}.csv", matrix, delimiter=",")
        _json(
            root / f"features/connectivity/regional/{kind.lower()}/hcp.json",
            human,
            {"@type": "siibra/feature/connectivitymatrix/v0.3", "@id": f"fake-{kind}"},
            {"modality": kind, "cohort": "HCP", "regions": names()},
            {"parcellation": {"@id": PARCELLATION}},
            {"decoder": {"@type": "text/csv", "header": None}},
            {
                "repository": {
                    "@type": "siibra/repository/localfolder/v1.0.0",
                    "folder": str(data_folder),
                }
            },
            {"files": {subject: f"{subject}.csv" for subject in SUBJECTS}},
        )
    return root


def nifti(data):
    """A gzipped NIfTI-1 file of int16, `VOXEL` mm, with its corner at `ORIGIN`."""
    header = bytearray(352)
    struct.pack_into("<i", header, 0, 348)
    struct.pack_into("<8h", header, 40, 3, *data.shape, 1, 1, 1, 1)
    struct.pack_into("<2h", header, 70, 4, 16)  # int16
    struct.pack_into("<8f", header, 76, 1, *(VOXEL,) * 3, 0, 0, 0, 0)
    struct.pack_into("<2f", header, 108, 352, 1)  # where the voxels begin; slope
    struct.pack_into("<2h", header, 252, 0, 2)  # the rows below give the affine
    for i in range(3):
        row = [0.0] * 3 + [ORIGIN[i]]
        row[i] = VOXEL
        struct.pack_into("<4f", header, 280 + 16 * i, *row)
    header[344:348] = b"n+1\0"
    return gzip.compress(bytes(header) + data.tobytes(order="F"))


def _json(path, *parts):
    path.parent.mkdir(parents=True, exist_ok=True)
    merged = {key: value for part in parts for key, value in part.items()}
    path.write_text(json.dumps(merged))
