"""How a turn is divided between hand and wrist.

    python docs/in_hand.py pretrained:fpn-reorient --episodes 512

Plays whole episodes with goals in any orientation. From the moment a goal is given to the
moment it is reached, or lost, the cube turns by some angle in the world, by another in the frame
of the palm (the work of fingers and thumb), and the palm turns by a third (the wrist). Prints
the means as a table, by how far away goals were given.
"""

import argparse
import itertools
import math
import sys

import jax
import jax.numpy as jnp
import mujoco
import numpy as np

from mjxhand import batch, evaluate
from mjxhand.env import Env
from mjxhand.policy import Policy

BOUNDS = np.radians([0, 45, 90, 135, 180])


def angle(q: np.ndarray, p: np.ndarray) -> float:
    """Geodesic distance of two unit quaternions, rad."""
    return 2.0 * math.acos(min(1.0, abs(float(q @ p))))


class Frames:
    """Orientations of cube and palm, from qpos; C MuJoCo on the host."""

    def __init__(self, env: Env):
        self.scene = env.scene
        self.data = mujoco.MjData(env.scene.mj_model)
        self.palm = env.scene.mj_model.body("palm").id

    def __call__(self, qpos: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Quaternions of the cube in the world, of the cube in the palm, of the palm."""
        self.data.qpos[:] = qpos
        mujoco.mj_kinematics(self.scene.mj_model, self.data)
        palm = self.data.xquat[self.palm].copy()
        cube = self.data.qpos[self.scene.cube_qpos][3:].copy()
        cube /= np.linalg.norm(cube)
        back, in_palm = np.zeros(4), np.zeros(4)
        mujoco.mju_negQuat(back, palm)
        mujoco.mju_mulQuat(in_palm, back, cube)
        return cube, in_palm, palm


def play(policy: Policy, env: Env, episodes: int, seed: int):
    """Yields qpos, distance when given, success and end of every hand, step by step: numpy [N]."""
    params = env.make_params(evaluate.POOL_SEED + seed)
    params = params.replace(goal_angle_max=np.float32(math.pi))

    @jax.jit
    def step(state, memory, began, key):
        key, key_action = jax.random.split(key)
        memory, out = policy.agent.act(
            policy.params, policy.stats, memory, state.obs, began
        )
        action = policy.agent.distribution.sample(out.logits, key_action)
        after = jax.vmap(env.step, in_axes=(0, 0, None))(state, action, params)
        ended = after.terminated | after.truncated
        told = (after.physics.qpos, after.distance, after.metrics["success"], ended)
        # Of those that have ended nothing is read any more: they stay as they are.
        return batch.where(ended, state, after), memory, key, told

    key, key_reset = jax.random.split(jax.random.PRNGKey(seed))
    state = batch.reset(env, key_reset, episodes, params)
    none = jnp.zeros(episodes, bool)
    yield (*jax.device_get((state.physics.qpos, state.distance)), none, none)
    memory, began = policy.agent.initial_carry(episodes), ~none
    while True:
        state, memory, key, told = step(state, memory, began, key)
        began = none
        yield jax.device_get(told)


def turns(policy: Policy, env: Env, episodes: int, seed: int) -> np.ndarray:
    """[goals, 5]: reached, distance when given, turn of the cube, of the cube in the palm, of
    the palm; rad."""
    frames, rows = Frames(env), []
    steps = play(policy, env, episodes, seed)
    qpos, distance, *_ = next(steps)
    given, far = [frames(q) for q in qpos], np.array(distance)
    alive = np.ones(episodes, bool)
    while alive.any():
        qpos, distance, success, ended = next(steps)
        for i in np.flatnonzero(alive & ((success > 0) | ended)):
            now = frames(qpos[i])
            moved = map(angle, given[i], now)
            rows.append((success[i] > 0, far[i], *moved))
            given[i], far[i] = now, distance[i]
        alive &= ~ended
    return np.array(rows, float)


def table(rows: np.ndarray) -> str:
    """Markdown: a line for each class of distance, of goals reached and not."""
    lines = [
        "| goals | | n | cube in the world | cube in the palm | palm |",
        "|---|---|---|---|---|---|",
    ]
    for low, high in itertools.pairwise(BOUNDS):
        for reached in (True, False):
            near = (rows[:, 1] >= low) & (rows[:, 1] < high)
            some = rows[near & (rows[:, 0] == reached)]
            if len(some):
                means = " | ".join(f"{np.degrees(x):.0f}°" for x in some[:, 2:].mean(0))
                lines.append(
                    f"| {np.degrees(low):.0f}° to {np.degrees(high):.0f}° "
                    f"| {'reached' if reached else 'not'} | {len(some)} | {means} |"
                )
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("run", help="a run folder, or pretrained:NAME")
    parser.add_argument("--episodes", type=int, default=512)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    policy = evaluate.load_policy(args.run)
    env = evaluate.make_env(policy.config)
    print(table(turns(policy, env, args.episodes, args.seed)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
