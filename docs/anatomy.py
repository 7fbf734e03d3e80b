"""With and without anatomy: figure and interval of docs/learning.md, from the kept runs.

python docs/anatomy.py    # docs/results/near-*-seed*.json → docs/near.png
"""

import json

import curves
import numpy as np
import showcase
from scipy import stats


def main() -> None:
    runs = {
        brain: [
            json.loads(path.read_text())
            for path in sorted(curves.RESULTS.glob(f"near-{brain}-seed*.json"))
        ]
        for brain in showcase.BRAINS
    }
    goals = {
        brain: [
            run["evaluation"]["task"]["trained"]["goals"]["mean"] for run in several
        ]
        for brain, several in runs.items()
    }
    for brain, means in goals.items():
        half = stats.sem(means) * stats.t.ppf(0.975, len(means) - 1)
        print(f"{brain}: {np.mean(means):.2f} ± {half:.2f} over {len(means)} seeds")
    network, dense = goals.values()
    low, high = stats.ttest_ind(network, dense, equal_var=False).confidence_interval()
    print(
        f"difference {np.mean(network) - np.mean(dense):.2f}, {low:.2f} to {high:.2f}"
    )
    path = curves.RESULTS.parent / "near.png"
    showcase.draw(runs, path)
    print(path)


if __name__ == "__main__":
    main()
