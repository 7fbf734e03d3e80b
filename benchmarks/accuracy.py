"""How far a physics setting is from fine-grained physics: cube pose after 0.48 s.

    python benchmarks/accuracy.py [--json FILE] [--no-jax]

Cubes held by the hand are carried along by the commands of an untrained policy: every
80 ms each servo's target moves by up to a quarter of its half range. Each setting starts
from the same states and gets the same commands as the reference, C MuJoCo at 1 ms and up
to 100 solver iterations. Contact is chaotic, so single rollouts part ways whatever the
setting: the table has medians.
"""

import argparse
from dataclasses import dataclass, replace
from pathlib import Path

import environment
import jax
import jax.numpy as jnp
import numpy as np

from mjxhand import physics, scene
from mjxhand.config import EnvConfig, Impl, PhysicsConfig, SceneConfig
from mjxhand.native import ThreadedStepper

ROLLOUTS = 240
CONTROL_SECONDS = 0.08
CONTROL_STEPS = 6  # 0.48 s
RELATIVE_STEP = EnvConfig().relative_step
SEEDS = (0, 1, 2)
DEFAULT = SceneConfig()


@dataclass(frozen=True)
class Case:
    """A setting and the back end that runs it."""

    name: str
    scene: SceneConfig
    impl: Impl = "native"


REFERENCE = replace(DEFAULT, timestep=0.001, iterations=100, ls_iterations=50)
SHOWCASE = replace(DEFAULT, iterations=20, ls_iterations=50, integrator="euler")
CASES = (
    Case("showcase: 8 ms, 20 iterations, Euler", SHOWCASE),
    Case("ours: SceneConfig()", DEFAULT),
    Case("showcase: 8 ms, 20 iterations, Euler", SHOWCASE, impl="jax"),
    Case("ours: SceneConfig()", DEFAULT, impl="jax"),
    *(
        Case(f"8 ms, {n} iteration{'s' * (n > 1)}", replace(DEFAULT, iterations=n))
        for n in (20, 4, 3, 1)
    ),
    *(
        Case(
            f"8 ms, 5 iterations, {n} of line search", replace(DEFAULT, ls_iterations=n)
        )
        for n in (50, 8, 4)
    ),
    *(
        Case(f"16 ms, {n} iterations", replace(DEFAULT, timestep=0.016, iterations=n))
        for n in (20, 5, 3)
    ),
)


def start_and_commands(
    seed: int, start_pose: str
) -> tuple[physics.PhysicsState, np.ndarray]:
    """ROLLOUTS held states and commands [CONTROL_STEPS, ROLLOUTS, 20]."""
    made = scene.build(replace(REFERENCE, start_pose=start_pose))
    cfg = PhysicsConfig(substeps=round(CONTROL_SECONDS / REFERENCE.timestep))
    states = physics.settle(made, cfg, ROLLOUTS, seconds=0.64, seed=seed)
    low, high = made.ctrl_range.T
    rng = np.random.default_rng(seed)
    moves = rng.uniform(-1, 1, (CONTROL_STEPS, ROLLOUTS, low.size))
    target, commands = np.tile(made.start_ctrl, (ROLLOUTS, 1)), []
    for move in moves:
        target = np.clip(target + RELATIVE_STEP * move * (high - low) / 2, low, high)
        commands.append(target)
    return states, np.stack(commands)


def final_cubes(
    case: Case, state: physics.PhysicsState, commands: np.ndarray
) -> np.ndarray:
    """Cube poses [ROLLOUTS, 7] after the commands."""
    made = scene.build(case.scene)
    substeps = round(CONTROL_SECONDS / case.scene.timestep)
    if case.impl == "native":
        step = ThreadedStepper(made.mj_model, substeps).step
        start = (state.qpos, state.qvel, state.qacc_warmstart)
        now = tuple(np.asarray(x) for x in start)
        for ctrl in commands:
            now = step(*now, ctrl)[:3]
        return np.asarray(now[0])[:, made.cube_qpos]
    back_end = physics.make_physics(
        made, PhysicsConfig(impl=case.impl, substeps=substeps)
    )
    step = jax.jit(jax.vmap(back_end.step))
    state = jax.tree.map(jnp.asarray, state)
    for ctrl in commands:
        state = step(state, jnp.asarray(ctrl, jnp.float32))
    return np.asarray(state.qpos[:, made.cube_qpos], np.float64)


def distance(pose: np.ndarray, reference: np.ndarray) -> tuple[float, float]:
    """Median position distance, m, and median angle, rad, of poses [N, 7]."""
    shift = np.linalg.norm(pose[:, :3] - reference[:, :3], axis=1)
    dot = np.abs(np.sum(pose[:, 3:] * reference[:, 3:], axis=1))
    return float(np.median(shift)), float(np.median(2 * np.arccos(np.minimum(dot, 1))))


def standard_error(pose: np.ndarray, reference: np.ndarray) -> tuple[float, float]:
    """Bootstrap standard error of both medians of `distance`."""
    rng = np.random.default_rng(0)
    picks = rng.integers(0, len(pose), (200, len(pose)))
    again = [distance(pose[pick], reference[pick]) for pick in picks]
    shift, angle = np.std(again, axis=0)
    return float(shift), float(angle)


def measure(cases: tuple[Case, ...], start_pose: str) -> list[dict]:
    """One row per case: medians per seed and over all seeds' rollouts."""
    starts = [start_and_commands(seed, start_pose) for seed in SEEDS]
    truth = [final_cubes(Case("reference", REFERENCE), *start) for start in starts]
    rows = []
    for case in cases:
        poses = [final_cubes(case, *start) for start in starts]
        seeds = [distance(p, t) for p, t in zip(poses, truth, strict=True)]
        both = np.concatenate(poses), np.concatenate(truth)
        shift, angle = distance(*both)
        shift_error, angle_error = standard_error(*both)
        rows.append(
            {
                "name": case.name,
                "impl": case.impl,
                "timestep": case.scene.timestep,
                "iterations": case.scene.iterations,
                "ls_iterations": case.scene.ls_iterations,
                "integrator": case.scene.integrator,
                "position_mm": 1000 * shift,
                "angle_rad": angle,
                "position_mm_error": 1000 * shift_error,
                "angle_rad_error": angle_error,
                "position_mm_by_seed": [1000 * s for s, _ in seeds],
                "angle_rad_by_seed": [a for _, a in seeds],
            }
        )
        print(
            f"| {case.name} | {case.impl} | {1000 * shift:.2f} ± {1000 * shift_error:.2f} mm"
            f" | {angle:.4f} ± {angle_error:.4f} rad |",
            flush=True,
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Distance of physics settings from fine-grained physics."
    )
    parser.add_argument("--json", type=Path, help="write the results to this file")
    parser.add_argument(
        "--no-jax", action="store_true", help="leave MJX out (it compiles)"
    )
    parser.add_argument("--start-pose", default=DEFAULT.start_pose)
    args = parser.parse_args()
    cases = tuple(c for c in CASES if not (args.no_jax and c.impl == "jax"))
    print("| setting | back end | cube position | cube angle |\n|---|---|---|---|")
    rows = measure(cases, args.start_pose)
    environment.save(
        args.json,
        rollouts=ROLLOUTS * len(SEEDS),
        seconds=CONTROL_STEPS * CONTROL_SECONDS,
        start_pose=args.start_pose,
        reference="C MuJoCo, 1 ms, 100 iterations",
        rows=rows,
    )


if __name__ == "__main__":
    main()
