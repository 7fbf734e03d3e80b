"""What the 92 touch regions cost: CPU time of a control step with and without them.

    python benchmarks/touch.py [--impl native jax warp] [--json FILE]

The same held cubes and wandering servo targets in two scenes: the hand as it is, and one
without touch regions, whose observations lack touch. Calls of the two alternate, and CPU
time of the whole process is counted, so that other programs disturb it little.
"""

import argparse
import json
import statistics
import time
from pathlib import Path
from unittest import mock

import environment
import jax
import jax.numpy as jnp
import numpy as np

from mjxhand import physics, scene, touch
from mjxhand.config import EnvConfig, Impl, PhysicsConfig, SceneConfig

CUPPED = SceneConfig(start_pose="cupped")
STEPS = {"native": 8, "jax": 2, "warp": 2}
"""Control steps per call and environment."""


class Stepper:
    """Compiled control steps of `num_envs` held cubes in one scene."""

    def __init__(self, made: scene.Scene, impl: Impl, num_envs: int):
        # One thread: the native back end's threads would wait for cores that others use.
        cfg = PhysicsConfig(impl=impl, threads=1)
        step = jax.vmap(physics.make_physics(made, cfg).step)
        pool = physics.settle(made, cfg, num_envs, seconds=0.64, seed=0)
        self.states = jax.tree.map(jnp.asarray, pool)
        low, high = made.ctrl_range.T
        reach = EnvConfig().relative_step * (high - low) / 2
        rng = np.random.default_rng(0)
        moves = rng.uniform(-1, 1, (STEPS[impl], num_envs, low.size))
        targets = np.clip(made.start_ctrl + np.cumsum(reach * moves, 0), low, high)
        self.targets = jnp.asarray(targets, jnp.float32)
        self.call = jax.jit(
            lambda states, targets: jax.lax.scan(
                lambda s, ctrl: (step(s, ctrl), None), states, targets
            )[0]
        )
        self.seconds()  # compiles

    def seconds(self) -> float:
        """CPU time of one environment's control step, seconds."""
        begin = time.process_time()
        jax.block_until_ready(self.call(self.states, self.targets))
        spent = time.process_time() - begin
        return spent / (self.targets.shape[0] * self.targets.shape[1])


def measure(impl: Impl, num_envs: int, repeats: int) -> dict:
    """Medians over `repeats` pairs of calls."""
    made = scene.build(CUPPED)
    with mock.patch.object(touch, "PADS", ()):
        bare = scene.build(CUPPED)
    assert made.mj_model.nsensordata - bare.mj_model.nsensordata == len(touch.PADS)
    steppers = Stepper(made, impl, num_envs), Stepper(bare, impl, num_envs)
    pairs = [tuple(s.seconds() for s in steppers) for _ in range(repeats)]
    with_touch, without = (statistics.median(x) for x in zip(*pairs, strict=True))
    shares = [1 - b / a for a, b in pairs]
    quarter = statistics.quantiles(shares, n=4)
    return {
        "impl": impl,
        "num_envs": num_envs,
        "microseconds": 1e6 * with_touch,
        "microseconds_without_touch": 1e6 * without,
        "share": statistics.median(shares),
        "share_quartiles": [quarter[0], quarter[2]],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="The cost of the touch regions.")
    parser.add_argument("--impl", nargs="+", default=["native", "jax", "warp"])
    parser.add_argument("--num-envs", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=21)
    parser.add_argument("--json", type=Path, help="write the results to this file")
    args = parser.parse_args()
    print("| back end | a control step, CPU time | without touch | share of touch |")
    print("|---|---|---|---|")
    rows = []
    for impl in args.impl:
        row = measure(impl, args.num_envs, args.repeats)
        rows.append(row)
        low, high = row["share_quartiles"]
        print(
            f"| {impl} | {row['microseconds']:,.0f} µs"
            f" | {row['microseconds_without_touch']:,.0f} µs"
            f" | {100 * row['share']:.1f} % ({100 * low:.1f} to {100 * high:.1f}) |",
            flush=True,
        )
    if args.json:
        result = {"command": environment.command(), **environment.describe()}
        args.json.write_text(json.dumps({**result, "touch": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
