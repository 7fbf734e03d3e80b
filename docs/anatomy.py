"""With and without anatomy: figures and intervals of docs/learning.md, from the kept runs.

python docs/anatomy.py near    # docs/results/near-*-seed*.json → docs/near.png
python docs/anatomy.py full    # docs/results/full-*-seed*.json → docs/full.png
"""

import argparse
import json
import sys

import curves
import numpy as np
import showcase
from scipy import stats


def tell(what: str, of: dict[str, list[float]]) -> None:
    """Mean of each network over its seeds, their difference, and 95 % intervals."""
    for brain, values in of.items():
        half = stats.sem(values) * stats.t.ppf(0.975, len(values) - 1)
        print(
            f"{what}, {brain}: {np.mean(values):.2f} ± {half:.2f}, {len(values)} seeds"
        )
    network, dense = of.values()
    low, high = stats.ttest_ind(network, dense, equal_var=False).confidence_interval()
    difference = np.mean(network) - np.mean(dense)
    print(f"{what}, difference: {difference:.2f}, {low:.2f} to {high:.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("name", choices=("near", "full"), help="which runs")
    name = parser.parse_args().name
    runs = {
        brain: [
            json.loads(path.read_text())
            for path in sorted(curves.RESULTS.glob(f"{name}-{brain}-seed*.json"))
        ]
        for brain in showcase.BRAINS
    }
    if min(map(len, runs.values())) < 2:
        sys.exit(
            f"docs/results: needs two runs or more of each, {name}-BRAIN-seedN.json"
        )
    measures = {
        "goals": lambda run: run["evaluation"]["task"]["trained"]["goals"]["mean"],
        "farthest goal": lambda run: run["curve"][-1]["goal_angle_max"],
    }
    for what, measure in measures.items():
        values = {brain: [measure(run) for run in runs[brain]] for brain in runs}
        if len({value for several in values.values() for value in several}) > 1:
            tell(what, values)
    path = curves.RESULTS.parent / f"{name}.png"
    showcase.draw(runs, path)
    print(path)


if __name__ == "__main__":
    main()
