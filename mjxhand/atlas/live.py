"""Asks siibra for volumes and streamlines. Runs in a process of its own, without mjxhand,
so any Python from 3.10 on that has siibra will do.

    python -I live.py RESULT < REQUEST

`refresh` starts it under a hard time limit, because siibra sets no timeout on its requests.
RESULT gets JSON: what was found, or {"error": kind, "message": one line}; kinds are
`dependency`, `unavailable` and `mismatch`.
"""

import json
import os
import re
import sys
from pathlib import Path

SIDES = ("left", "right")


class Failure(Exception):
    """What siibra could not give: kind and one line."""

    def __init__(self, kind, message):
        super().__init__(message)
        self.kind = kind


def normalise(name):
    """As `aggregate.normalise`: names differ in case and spaces between releases."""
    return re.sub(r"\s+", "", name).lower()


def demand(value, what):
    """`value`, unless it is None: some of siibra's calls return that when offline."""
    if value is None:
        raise Failure("unavailable", f"siibra returned nothing for {what}")
    return value


def set_timeouts(seconds):
    """Make every request of siibra's give up after `seconds`.

    Its session is private; without it the parent's limit is the only one.
    """
    try:
        from requests.adapters import HTTPAdapter
        from siibra.retrieval.requests import _SESSION  # pyright: ignore[reportMissingImports]
    except ImportError:
        return

    class Adapter(HTTPAdapter):
        def send(self, *args, **kwargs):
            kwargs["timeout"] = kwargs.get("timeout") or seconds
            return super().send(*args, **kwargs)

    for scheme in ("https://", "http://"):
        _SESSION.mount(scheme, Adapter())


def volumes(parcellation, space, regions):
    """[(region, side, mm³, centroid mm)] by counting the voxels of each label.

    One fetch per hemisphere: a plain fetch would merge the two, which share labels.
    """
    import numpy as np

    atlas_map = demand(parcellation.get_map(space), f"the map of {parcellation.name}")
    names = {normalise(name): name for name in atlas_map.regions}
    found = []
    for side in SIDES:
        keys = [normalise(f"{region} {side}") for region in regions]
        missing = [r for r, k in zip(regions, keys, strict=True) if k not in names]
        if missing:
            raise Failure(
                "mismatch",
                f"{parcellation.name} has no {', '.join(missing[:5])} ({side})"
                + f" and {len(missing) - 5} more" * (len(missing) > 5),
            )
        print(f"volumes, {side} hemisphere", flush=True)
        image = demand(
            atlas_map.fetch(fragment=f"{side} hemisphere"), f"the {side} label map"
        )
        labels = np.asarray(image.dataobj)
        affine = np.asarray(image.affine, float)
        voxel = abs(np.linalg.det(affine[:3, :3]))
        for region, key in zip(regions, keys, strict=True):
            label = atlas_map.get_index(names[key]).label
            where = np.argwhere(labels == label)
            if not len(where):
                raise Failure("mismatch", f"the {side} label map has no {region}")
            centre = affine[:3, :3] @ where.mean(0) + affine[:3, 3]
            found.append((region, side, float(len(where) * voxel), centre.tolist()))
    return found


def matrices(siibra, parcellation, kind, cohort, subjects, wanted):
    """Mean matrix over subjects, restricted to `wanted` names; and the subjects' names."""
    import numpy as np

    modality = getattr(siibra.features.connectivity, kind)
    features = demand(siibra.features.get(parcellation, modality), kind)
    chosen = [f for f in features if f.cohort.upper() == cohort.upper()]
    if not chosen:
        cohorts = sorted({f.cohort for f in features}) or ["none"]
        raise Failure(
            "mismatch",
            f"{parcellation.name} has no {kind} of cohort {cohort}; it has "
            f"{', '.join(cohorts)}",
        )
    feature = chosen[0]
    indices = list(getattr(feature, "indices", [None]))[:subjects]
    total, number, used = None, None, []
    for i, index in enumerate(indices):
        element = feature if index is None else feature.get_element(index)
        frame = demand(element.data, f"{kind} of subject {index}")
        names = [normalise(getattr(r, "name", "")) for r in frame.index]
        missing = [name for name in wanted if name not in names]
        if missing:
            raise Failure("mismatch", f"{kind} lacks {', '.join(missing[:5])}")
        rows = [names.index(name) for name in wanted]
        matrix = np.asarray(frame, float)[np.ix_(rows, rows)]
        if not np.isfinite(matrix).all() or matrix.min() < 0:
            raise Failure(
                "mismatch", f"{kind} of subject {index} is not ≥ 0 everywhere"
            )
        if np.abs(matrix - matrix.T).max() > 1e-6 * max(1.0, matrix.max()):
            raise Failure("mismatch", f"{kind} of subject {index} is not symmetric")
        # A length is known where there are streamlines: its mean is over those subjects.
        present = matrix > 0 if kind == "StreamlineLengths" else np.ones_like(matrix)
        total = matrix if total is None else total + matrix
        number = present * 1.0 if number is None else number + present
        used.append(str(index))
        if i % 20 == 0:
            print(f"{kind}, subject {i + 1} of {len(indices)}", flush=True)
    if total is None or number is None:
        raise Failure("mismatch", f"{kind} of cohort {cohort} has no subjects")
    return (total / np.maximum(number, 1)).tolist(), used, feature


def fetch(request):
    """Everything that `refresh` asks for."""
    os.environ.setdefault("SIIBRA_LOG_LEVEL", "ERROR")
    if request["cache"]:
        os.environ["SIIBRA_CACHEDIR"] = request["cache"]
    try:
        import siibra  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise Failure("dependency", f"cannot import siibra ({error})") from None
    set_timeouts(request["request_timeout"])
    wanted = request["parcellation"]
    print(f"parcellation {wanted}", flush=True)
    parcellation = demand(siibra.parcellations.get(wanted), f"parcellation {wanted}")
    space = demand(siibra.spaces.get("mni152"), "the space MNI152")
    found = volumes(parcellation, space, request["regions"])
    names = [normalise(f"{r} {side}") for r in request["members"] for side in SIDES]
    shared = (request["cohort"], request["subjects"], names)
    counts, subjects, feature = matrices(
        siibra, parcellation, "StreamlineCounts", *shared
    )
    lengths, _, _ = matrices(siibra, parcellation, "StreamlineLengths", *shared)
    return {
        "siibra": siibra.__version__,
        "parcellation": parcellation.name,
        "space": space.name,
        "cohort": feature.cohort,
        "dataset": str(feature.name),
        "subjects": len(subjects),
        "volumes": found,
        "names": names,
        "counts": counts,
        "lengths": lengths,
    }


def main():
    """Read the request, write the result; the exit status is 0 whenever there is one."""
    request = json.load(sys.stdin)
    try:
        result = fetch(request)
    except Failure as failure:
        result = {"error": failure.kind, "message": str(failure)}
    except (
        Exception
    ) as error:  # siibra raises its own, requests', OSError, AttributeError
        text = " ".join(str(error).split())[:300]
        result = {"error": "unavailable", "message": f"{type(error).__name__}: {text}"}
    path = Path(sys.argv[1])
    path.write_text(json.dumps(result), encoding="utf-8")


if __name__ == "__main__":
    main()
