"""What is decoded: quantities of a step, and of windows that begin at it.

No window crosses an episode's end, and none ahead in time a change of goal: where it would, the
sample is left out.
Arrays are environment-major, `[N, T, ...]`, as `recording.Recording.read` gives them.
"""

from dataclasses import dataclass

import numpy as np

from mjxhand.analyse.recording import SENSE, Arrays
from mjxhand.config import EnvConfig

SECONDS = (0.08, 0.16, 0.4, 0.8, 1.6, 4.0)
"""Lead times, s: from the next control step to half of the time allowed for a goal.

Names of windows say these; with another control period the nearest whole step is taken."""
FLAGS = ("began", "ended", "success", "episode", "segment")
NEEDED = (
    *FLAGS,
    "action",
    "command",
    "reward",
    "value",
    "goal",
    "distance",
    "cube_pos",
    "cube_quat",
    "cube_linear_velocity",
    "cube_angular_velocity",
    "fingertips",
    SENSE + "touch",
    SENSE + "proprioception",
    SENSE + "goal",
    SENSE + "vision",
)
"""Arrays that targets are made of, besides `remaining` where the task has it. `command` is the
mean command of the network that acts, whichever network is decoded."""


@dataclass(frozen=True)
class Windowed:
    """Targets `[N, T, k]` by name, and the samples `[N, T]` whose window is whole."""

    values: dict[str, np.ndarray]
    valid: np.ndarray


def steps_of(seconds: float, step_seconds: float) -> int:
    """Control steps of a lead time; at least 1."""
    return max(1, round(seconds / step_seconds))


def present(arrays: Arrays, env: EnvConfig) -> dict[str, np.ndarray]:
    """Targets of the step itself, `[N, T, k]` by name.

    `reward to come` is what the action taken at this step brings; `value` the acting network's
    estimate of the return. Orientations are two columns of their rotation matrix, which are
    continuous where quaternions are not (Zhou et al. 2019, arXiv:1812.07035). A goal is an
    orientation where the task tells the rotation that remains.

    What the network is never shown is left out. Where goals are relative, `goal as shown` takes
    the place of `goal`; where the cube is seen without letters (folded), `pose as seen` that of
    `cube orientation`.

    Args:
        env: of the run, for its encodings.
    """
    goal = arrays["goal"]
    oriented = "remaining" in arrays
    values = {"reward to come": arrays["reward"][..., None]}
    values["value"] = arrays["value"][..., None]
    if env.goal_encoding == "absolute":
        values["goal"] = columns(goal) if oriented else goal
    else:
        values["goal as shown"] = arrays[SENSE + "goal"]
    if env.pose_encoding == "absolute":
        values["cube orientation"] = columns(arrays["cube_quat"])
    else:
        values["pose as seen"] = arrays[SENSE + "vision"]
    values |= {
        "distance to goal": arrays["distance"][..., None],
        "cube position": arrays["cube_pos"],
        "cube velocity": np.concatenate(
            [arrays["cube_linear_velocity"], arrays["cube_angular_velocity"]], axis=-1
        ),
        "fingertips": arrays["fingertips"],
        "touch": arrays[SENSE + "touch"],
        "proprioception": arrays[SENSE + "proprioception"],
        "action": arrays["action"],
        "command": arrays["command"],
    }
    if oriented:
        values["remaining rotation"] = arrays["remaining"]
    return values


def past(arrays: Arrays) -> Windowed:
    """`reward`: what the last step of the episode brought.

    The step before a new goal is the one that reached the last, and its bonus counts: the
    network could have felt it. An episode's first step has none before it.
    """
    reward, episode = arrays["reward"], arrays["episode"]
    before = np.roll(reward, 1, axis=1)
    valid = np.zeros(episode.shape, bool)
    valid[:, 1:] = episode[:, 1:] == episode[:, :-1]
    return Windowed({"reward": before[..., None]}, valid)


def future(arrays: Arrays, steps: int, length: int) -> Windowed:
    """Targets `steps` ahead of the first `length` steps.

    `future rotation`: rotation vector (rad) of the cube between the two; `future turn`: its
    length, which is what the showcase decoded; `future action`: what the policy then does;
    `future command`: its mean, without the noise of sampling.

    Args:
        arrays: with up to `steps` more steps than `length`; fewer at the end of a recording.
    """
    segment, quat = arrays["segment"], arrays["cube_quat"]
    index = np.arange(length) + steps
    inside = index < segment.shape[1]
    index = np.minimum(index, segment.shape[1] - 1)
    turn = rotation_vector(quat[:, :length], quat[:, index])
    values = {
        "future rotation": turn,
        "future turn": np.linalg.norm(turn, axis=-1, keepdims=True),
        "future action": arrays["action"][:, index],
        "future command": arrays["command"][:, index],
    }
    valid = inside & (segment[:, index] == segment[:, :length])
    return Windowed(values, valid)


def success_soon(arrays: Arrays, steps: int, length: int) -> Windowed:
    """Whether the present goal is reached within the next `steps` steps: 0 or 1.

    A goal that ends otherwise counts as 0. Left out are the last `steps` steps of a recording:
    of goals whose end it hides, those that are reached soon would be known more often.
    """
    over = arrays["ended"] | arrays["success"]
    total = over.shape[1]
    at = np.where(over, np.arange(total), total)
    end = np.minimum.accumulate(at[:, ::-1], axis=1)[:, ::-1][:, :length]
    known = end < total
    reached = np.take_along_axis(arrays["success"], np.minimum(end, total - 1), axis=1)
    start = np.arange(length)
    soon = known & reached & (end - start < steps)
    valid = np.broadcast_to(start + steps <= total, soon.shape)
    return Windowed({"success soon": soon[..., None].astype(np.float32)}, valid)


def columns(quat: np.ndarray) -> np.ndarray:
    """First two columns of the rotation matrix of unit quaternions: `[..., 4]` → `[..., 6]`."""
    w, x, y, z = np.moveaxis(quat, -1, 0)
    return np.stack(
        [
            1 - 2 * (y * y + z * z),
            2 * (x * y + w * z),
            2 * (x * z - w * y),
            2 * (x * y - w * z),
            1 - 2 * (x * x + z * z),
            2 * (y * z + w * x),
        ],
        axis=-1,
    )


def rotation_vector(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """World-frame turn that leads from `start` to `end`, `[..., 4]` → `[..., 3]` rad, |·| ≤ π."""
    w1, v1 = end[..., :1], end[..., 1:]
    w2, v2 = start[..., :1], -start[..., 1:]
    w = w1 * w2 - (v1 * v2).sum(-1, keepdims=True)
    v = w1 * v2 + w2 * v1 + np.cross(v1, v2)
    v = np.where(w < 0, -v, v)
    norm = np.linalg.norm(v, axis=-1, keepdims=True)
    angle = 2.0 * np.arctan2(norm, np.abs(w))
    return v * np.where(norm > 1e-7, angle / np.maximum(norm, 1e-7), 2.0)


def component_names(name: str, size: int) -> list[str]:
    """Names of a target's components: `cube position 0`, …; the name alone if there is one."""
    return [name] if size == 1 else [f"{name} {i}" for i in range(size)]
