"""How far the tables explain a published network: the figures of docs/atlas.md.

python docs/atlas_evidence.py [FOLDER]      # a folder of atlas tables; default: the bundled ones
"""

import sys

import numpy as np

from mjxhand import atlas


def auc(score, hit) -> float:
    """Chance that a pathway scores above a pair that is none (ties count half)."""
    score, hit = np.asarray(score, float), np.asarray(hit, bool)
    above = score[hit][:, None] - score[~hit][None]
    return float(np.mean((above > 0) + 0.5 * (above == 0)))


def ranks(x) -> np.ndarray:
    """Ranks from 0, ties by their mean."""
    x = np.asarray(x, float)
    return np.array([((x < v).sum() + ((x == v).sum() - 1) / 2) for v in x])


def residual(y, x) -> np.ndarray:
    """What a straight line in `x` leaves of `y`."""
    slope, offset = np.polyfit(x, y, 1)
    return np.asarray(y) - slope * np.asarray(x) - offset


def pathways(tables: atlas.Atlas, published) -> None:
    """Streamlines, distance and both, against "is a published pathway"."""
    stream = {a.name: a.streams[0] for a in tables.areas if not a.layers}
    ends = {frozenset((p.source, p.target)) for p in published.pathways}
    pairs = tables.pairs
    hit = [
        frozenset((stream.get(p.a, p.a), stream.get(p.b, p.b))) in ends for p in pairs
    ]
    count = np.array([p.streamlines for p in pairs])
    distance = np.array([tables.distance(p.a, p.b) for p in pairs])
    log_count = np.log(count + 1)
    print(f"pathways: {sum(hit)} of {len(pairs)} pairs are in angorapy_v2")
    print(f"  AUC of the streamline count                    {auc(count, hit):.3f}")
    print(f"  AUC of minus the distance of the centres       {auc(-distance, hit):.3f}")
    left = residual(log_count, distance)
    print(f"  AUC of log count, distance regressed out       {auc(left, hit):.3f}")
    rho = np.corrcoef(ranks(count), ranks(distance))[0, 1]
    print(f"  Spearman correlation of count and distance     {rho:.2f}")
    for least in (790, 5000):
        found = count >= least
        hits = int((found & np.array(hit)).sum())
        print(f"  at least {least}: {found.sum()} pairs, {hits} of them published")
        for side, name in enumerate(("left", "right")):
            own = np.array([p.counts[side] for p in pairs]) >= least
            lost = ", ".join(
                f"{p.a}–{p.b} ({p.counts[side]:,.0f})"
                for p, is_lost in zip(pairs, found & ~own, strict=True)
                if is_lost
            )
            print(f"    {name} hemisphere alone: {own.sum()}, without {lost or 'none'}")


def units(tables: atlas.Atlas, published) -> None:
    """Root mean square of ln(derived/published), and what the densities add."""
    sizes = {a.name: a.units for a in published.areas}
    volumes = dict.fromkeys(sizes, 0.0)
    for region in tables.regions:
        if region.use != "pathways":
            volumes[region.area] += sum(region.volume)

    def error(amount, layers) -> float:
        """Both scaled to one total; an area's layers together or one of them."""
        names = list(sizes)
        mine = np.array([amount[n] for n in names])
        theirs = np.array([sizes[n] * layers[n] for n in names], float)
        log = np.log(mine / mine.sum() * theirs.sum() / theirs)
        return float(np.sqrt(np.mean(log**2)))

    both = {a.name: a.layers for a in published.areas}
    one = dict.fromkeys(sizes, 1)
    print("units: root mean square of ln(derived / published)")
    for name, amount in (
        ("density x volume", tables.cells()),
        ("volume alone", volumes),
        ("equal units", dict.fromkeys(sizes, 1.0)),
    ):
        print(
            f"  {name:<18}{error(amount, both):.3f} if SSC is both its layers, "
            f"{error(amount, one):.3f} if it is one"
        )


def main() -> None:
    """Print the figures."""
    tables = atlas.load(sys.argv[1] if len(sys.argv) > 1 else None)
    published = atlas.find("angorapy_v2")
    units(tables, published)
    pathways(tables, published)


if __name__ == "__main__":
    main()
