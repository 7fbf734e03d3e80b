"""What parts of a control step cost: CPU time with and without them.

    python benchmarks/cost.py [--part touch randomize] [--impl native jax warp] [--json FILE]

`touch`: the 92 touch regions, against a scene that lacks them. `randomize`: worlds of all
rows of domain randomisation, a delay among them, against none. The same held cubes and
wandering servo targets in both; calls of the two alternate, and CPU time of the whole
process is counted, so that other programs disturb it little.
"""

import argparse
import statistics
import time
from pathlib import Path
from unittest import mock

import environment
import jax
import jax.numpy as jnp
import numpy as np

from mjxhand import physics, randomize, scene, touch
from mjxhand.config import EnvConfig, Impl, PhysicsConfig, SceneConfig

CUPPED = SceneConfig(start_pose="cupped")
STEPS = {"native": 8, "jax": 2, "warp": 2}
"""Control steps per call and environment."""


ROWS = {name: row for name, row in randomize.TABLE.items() if row.drawn == "episode"}


class Stepper:
    """Compiled control steps of `num_envs` held cubes, each in a world of `rows`."""

    def __init__(
        self, made: scene.Scene, impl: Impl, num_envs: int, rows: dict | None = None
    ):
        # One thread: the native back end's threads would wait for cores that others use.
        cfg = PhysicsConfig(impl=impl, threads=1)
        rows = rows or {}
        step = physics.make_physics(made, cfg, randomize.parts(made, rows)).step
        pool, worlds = physics.settle_in_worlds(made, cfg, num_envs, 0.64, 0, rows)
        self.states, worlds = jax.tree.map(jnp.asarray, (pool, worlds))
        start = jnp.asarray(made.start_ctrl, jnp.float32)

        def one(state, ctrl, world):
            variant = randomize.variant_of(world, made, cfg.substeps, start)
            return step(state, ctrl, variant)

        step_all = jax.vmap(one)
        low, high = made.ctrl_range.T
        reach = EnvConfig().relative_step * (high - low) / 2
        rng = np.random.default_rng(0)
        moves = rng.uniform(-1, 1, (STEPS[impl], num_envs, low.size))
        targets = np.clip(made.start_ctrl + np.cumsum(reach * moves, 0), low, high)
        self.targets = jnp.asarray(targets, jnp.float32)
        self.call = jax.jit(
            lambda states, targets: jax.lax.scan(
                lambda s, ctrl: (step_all(s, ctrl, worlds), None), states, targets
            )[0]
        )
        self.seconds()  # compiles

    def seconds(self) -> float:
        """CPU time of one environment's control step, seconds."""
        begin = time.process_time()
        jax.block_until_ready(self.call(self.states, self.targets))
        spent = time.process_time() - begin
        return spent / (self.targets.shape[0] * self.targets.shape[1])


def touch_and_none(impl: Impl, num_envs: int) -> tuple[Stepper, Stepper]:
    """The hand as it is, and without touch regions."""
    made = scene.build(CUPPED)
    with mock.patch.object(touch, "PADS", ()):
        bare = scene.build(CUPPED)
    assert made.mj_model.nsensordata - bare.mj_model.nsensordata == len(touch.PADS)
    return Stepper(made, impl, num_envs), Stepper(bare, impl, num_envs)


def worlds_and_none(impl: Impl, num_envs: int) -> tuple[Stepper, Stepper]:
    """Each cube and hand in a world of its own, and all in the same."""
    made = scene.build(CUPPED)
    return Stepper(made, impl, num_envs, ROWS), Stepper(made, impl, num_envs)


PARTS = {"touch": touch_and_none, "randomize": worlds_and_none}


def measure(part: str, impl: Impl, num_envs: int, repeats: int) -> dict:
    """Medians over `repeats` pairs of calls."""
    steppers = PARTS[part](impl, num_envs)
    pairs = [tuple(s.seconds() for s in steppers) for _ in range(repeats)]
    having, lacking = (statistics.median(x) for x in zip(*pairs, strict=True))
    shares = [1 - b / a for a, b in pairs]
    quarter = statistics.quantiles(shares, n=4)
    return {
        "part": part,
        "impl": impl,
        "num_envs": num_envs,
        "microseconds": 1e6 * having,
        "microseconds_without": 1e6 * lacking,
        "share": statistics.median(shares),
        "share_quartiles": [quarter[0], quarter[2]],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="What parts of a control step cost.")
    parser.add_argument("--part", nargs="+", default=list(PARTS), choices=list(PARTS))
    parser.add_argument("--impl", nargs="+", default=["native", "jax", "warp"])
    parser.add_argument("--num-envs", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=21)
    parser.add_argument("--json", type=Path, help="write the results to this file")
    args = parser.parse_args()
    print("| part | back end | a control step, CPU time | without it | its share |")
    print("|---|---|---|---|---|")
    rows = []
    for part in args.part:
        for impl in args.impl:
            row = measure(part, impl, args.num_envs, args.repeats)
            rows.append(row)
            low, high = row["share_quartiles"]
            print(
                f"| {part} | {impl} | {row['microseconds']:,.0f} µs"
                f" | {row['microseconds_without']:,.0f} µs"
                f" | {100 * row['share']:.1f} % ({100 * low:.1f} to {100 * high:.1f}) |",
                flush=True,
            )
            environment.save(args.json, parts=rows)


if __name__ == "__main__":
    main()
