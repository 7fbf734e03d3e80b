"""A recorded trajectory simulated again, so that a film has more pictures than control steps."""

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jax
import mujoco
import numpy as np

from mjxhand import randomize
from mjxhand.overlay import Caption
from mjxhand.scene import Scene
from mjxhand.tasks import Sign, Task

if TYPE_CHECKING:
    from mjxhand.render import Renderer

Trajectory = Mapping[str, Any]
"""Arrays `[T, ...]` by name; `goal` is a pytree of them. See `evaluate.Evaluator.record`."""

# For how long an event is announced, and a last picture is held when an episode ends, s.
ANNOUNCE_SECONDS = 0.8
HOLD_SECONDS = 0.6


@dataclass
class Replay:
    """A recorded trajectory, simulated again between its control steps."""

    renderer: "Renderer"
    task: Task
    trajectory: Trajectory
    substeps: int
    scene: Scene | None = None
    """Of the environment, where its episodes have worlds of their own (`trajectory["world"]`)."""
    seen: np.ndarray | None = None
    """u8[T, H, W, 3·cameras]: the frame that each control step acted on, if there was one."""

    def __post_init__(self) -> None:
        self.model = copy.copy(self.renderer.model)
        self.data = mujoco.MjData(self.model)
        self.dt = self.model.opt.timestep  # s
        self.control = self.substeps * self.dt  # s

    def frames(self, fps: int) -> Iterator[tuple[np.ndarray, Caption]]:
        """Pictures 1/fps of simulated time apart, and what is written on them."""
        next_frame, event, event_time = 0, "", -np.inf
        for t in range(len(self.trajectory["qpos"])):
            self._set(t)
            for substep in range(self.substeps):
                now = t * self.control + substep * self.dt
                while now >= next_frame / fps - 1e-9:
                    shown = event if now - event_time < ANNOUNCE_SECONDS else ""
                    yield self._shot(t, substep * self.dt, shown)
                    next_frame += 1
                self._step(t, substep)
            if self._event(t):
                event, event_time = self._event(t), (t + 1) * self.control
            if self.trajectory["ended"][t]:
                last = self._shot(t, self.control, event)
                yield from [last] * round(HOLD_SECONDS * fps)
                event_time = -np.inf

    def _step(self, t: int, substep: int) -> None:
        """One physics step of control step t; commands arrive late in some worlds."""
        late = substep < self._delay(t)
        self.data.ctrl[:] = self.trajectory["held" if late else "target"][t]
        mujoco.mj_step(self.model, self.data)

    def _delay(self, t: int) -> int:
        """Physics steps until the command of control step t arrives."""
        world = self.trajectory.get("world") or {}
        seconds = float(world["delay"][t][0]) if "delay" in world else 0.0
        return min(round(seconds / self.dt), self.substeps - 1)

    def _set(self, t: int) -> None:
        world = self.trajectory.get("world") or {}
        if world and self.scene and (t == 0 or self.trajectory["began"][t]):
            drawn = {name: np.asarray(x[t]) for name, x in world.items()}
            randomize.write(self.model, self.scene, drawn)
            mujoco.mj_setConst(self.model, self.data)
        self.data.qpos[:] = self.trajectory["qpos"][t]
        self.data.qvel[:] = self.trajectory["qvel"][t]

    def _event(self, t: int) -> str:
        """What the control step t ended with."""
        if self.trajectory["dropped"][t]:
            return "dropped"
        if self.trajectory["success"][t]:
            return "goal reached"
        return "time is up" if self.trajectory["ended"][t] else ""

    def _shot(self, t: int, since: float, event: str) -> tuple[np.ndarray, Caption]:
        """Picture and caption `since` seconds after the start of control step t."""
        sign = self._sign(t)
        if sign.quat is not None:
            self.data.mocap_quat[:] = sign.quat
        mujoco.mj_forward(self.model, self.data)
        below = self.renderer.project_below(self.data, self.data.mocap_pos[0])
        # The last picture of an episode comes after its last step.
        reached = since >= self.control and self.trajectory["success"][t]
        caption = Caption(
            goals=int(self.trajectory["goals"][t]) + bool(reached),
            text=sign.text,
            goal_time=float(self.trajectory["goal_step"][t]) * self.control + since,
            episode_time=float(self.trajectory["episode_step"][t]) * self.control
            + since,
            goal_at=None if sign.quat is None else below,
            goal_name=sign.name,
            event=event,
            seen=None if self.seen is None else self.seen[t],
        )
        return self.renderer.picture(self.data, sign.marks), caption

    def _sign(self, t: int) -> Sign:
        goal = jax.tree.map(lambda x: x[t], self.trajectory["goal"])
        distance = float(self.trajectory["distance"][t])
        return self.task.show(goal, self.data.qpos, distance)
