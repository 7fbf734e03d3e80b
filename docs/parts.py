"""One training in parts, each begun with the weights of the one before, as one curve.

python docs/parts.py turning finer careful safe    # docs/results/NAME-seed0.json → docs/parts.png
"""

import argparse
import json
import sys

import curves

SHOWCASE = 35
"""Goals in a row of 50 after 5.9e8 control steps: Human Brain Project, deliverable D3.14."""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("names", nargs="+", help="parts, first to last")
    names = parser.parse_args().names
    paths = [curves.RESULTS / f"{name}-seed0.json" for name in names]
    if missing := [path.name for path in paths if not path.exists()]:
        sys.exit(
            f"docs/results has no {', '.join(missing)}: python docs/curves.py NAME RUN"
        )
    parts = [json.loads(path.read_text()) for path in paths]
    figure, axes = curves.plt.subplots(
        3, figsize=(9, 5), height_ratios=(3, 1, 1), sharex=True, layout="constrained"
    )
    goals, farthest, drops = axes
    rows = (
        (goals, "goals_per_episode", 1),
        (farthest, "goal_angle_max", 1),
        (drops, "drop_rate", 100),
    )
    begun = 0.0
    for index, (part, colour) in enumerate(zip(parts, curves.COLOURS, strict=False)):
        x = [(begun + point["env_steps"]) / 1e6 for point in part["curve"]]
        for axis, measure, scale in rows:
            y = [scale * point[measure] for point in part["curve"]]
            axis.plot(x, y, color=colour)
        trained = part["evaluation"]["task"]["trained"]["goals"]
        begun += part["env_steps"]
        goals.errorbar(
            begun / 1e6,
            trained["mean"],
            trained["ci95"],
            color=colour,
            fmt="o",
            capsize=3,
            label=f"part {index + 1}, evaluated: {trained['mean']:.1f}",
        )
    goals.axhline(SHOWCASE, color=curves.SOFT, linewidth=1, linestyle=":")
    goals.annotate(
        "the showcase, after 590 million", (0, SHOWCASE + 1), color=curves.SOFT
    )
    goals.set(ylabel="goals per\ntraining episode", ylim=(0, 52))
    goals.legend(frameon=False, loc="lower right")
    farthest.set(ylabel="farthest\ngoal, rad", ylim=(0, 3.4))
    drops.set(ylabel="drops, %", ylim=(0, 100), xlabel="control steps (millions)")
    path = curves.RESULTS.parent / "parts.png"
    figure.savefig(path, dpi=160)
    print(path)


if __name__ == "__main__":
    main()
