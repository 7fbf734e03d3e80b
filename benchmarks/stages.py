"""What one C MuJoCo physics step spends its time on, by MuJoCo's own timers.

    python benchmarks/stages.py [--json FILE]

One thread, held cubes, the settings of the native back end, no sensors.
"""

import argparse
import copy
import sys
from pathlib import Path

import environment
import mujoco
import numpy as np
from programs import SCENE

from mjxhand import physics, scene
from mjxhand.config import PhysicsConfig
from mjxhand.native import native_model

STATES, STEPS = 256, 40
STAGES = {
    "kinematics": "POS_KINEMATICS",
    "inertia": "POS_INERTIA",
    "collision": "POS_COLLISION",
    "constraint: rows": "POS_MAKE",
    "constraint: projection": "POS_PROJECT",
    "velocity": "VELOCITY",
    "actuation": "ACTUATION",
    "solver": "CONSTRAINT",
    "integration": "ADVANCE",
}


def measure() -> dict:
    """Median microseconds of each stage of a physics step; means of the solver's counts."""
    made, cfg = scene.build(SCENE), PhysicsConfig()
    states = physics.settle(made, cfg, STATES, seconds=0.64, seed=0)
    model = copy.copy(native_model(made.mj_model))
    model.opt.disableflags |= mujoco.mjtDisableBit.mjDSBL_SENSOR.value
    data = mujoco.MjData(model)
    low, high = made.ctrl_range.T
    rng = np.random.default_rng(0)
    timers = [
        getattr(mujoco.mjtTimer, f"mjTIMER_{n}") for n in (*STAGES.values(), "STEP")
    ]
    counts, times = np.zeros(3), []
    for i in range(STATES):
        data.qpos, data.qvel = states.qpos[i], states.qvel[i]
        data.qacc_warmstart = states.qacc_warmstart[i]
        move = 0.125 * (high - low) * rng.uniform(-1, 1, low.size)
        data.ctrl = np.clip(made.start_ctrl + move, low, high)
        for _ in range(STEPS):
            before = [data.timer[t].duration for t in timers]
            mujoco.mj_step(model, data)
            after = [data.timer[t].duration for t in timers]
            times.append(np.subtract(after, before))
            counts += data.ncon, data.nefc, data.solver_niter[0]

    # Medians: a step during which the thread was off the core counts as one step.
    *parts, whole = 1e6 * np.median(times, axis=0)
    rows = dict(zip(STAGES, map(float, parts), strict=True))
    rows["the rest"] = float(whole - sum(parts))
    contacts, constraints, iterations = counts / (STATES * STEPS)
    return {
        "microseconds": rows,
        "contacts": contacts,
        "constraint_rows": constraints,
        "solver_iterations": iterations,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description="Stages of a C MuJoCo step.")
    parser.add_argument("--json", type=Path, help="write the result to this file")
    args = parser.parse_args()
    result = measure()
    for name, time in result["microseconds"].items():
        print(f"| {name} | {time:.2f} µs |")
    print(
        f"{sum(result['microseconds'].values()):.1f} µs; {result['contacts']:.1f} contacts, "
        f"{result['constraint_rows']:.1f} rows, {result['solver_iterations']:.2f} iterations"
    )
    environment.save(args.json, stages=result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
