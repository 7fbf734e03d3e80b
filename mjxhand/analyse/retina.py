"""Frames of a recording, drawn again: a recording keeps poses, and of frames a thumbnail only."""

from collections.abc import Mapping

import numpy as np

from mjxhand.policy import Policy, make_env

POSE = ("joint_angle", "cube_pos", "cube_quat")
"""Arrays of a recording that say where everything is."""


class Redraw:
    """Draws what a policy saw, uint8[..., H, W, C].

    Raises:
        ConfigError: this machine cannot draw.
    """

    def __init__(self, policy: Policy):
        self._env = make_env(policy.config)

    def __call__(self, pose: Mapping[str, np.ndarray]) -> np.ndarray:
        """Frames of poses, arrays `[..., size]` named as in `POSE`."""
        scene, eye = self._env.scene, self._env.eye
        assert eye is not None
        before = pose["joint_angle"].shape[:-1]
        qpos = np.zeros((int(np.prod(before)), scene.mj_model.nq), np.float32)
        qpos[:, scene.hand_qpos] = pose["joint_angle"].reshape(len(qpos), -1)
        if scene.object != "none":
            cube = np.concatenate([pose["cube_pos"], pose["cube_quat"]], axis=-1)
            qpos[:, scene.cube_qpos] = cube.reshape(len(qpos), -1)
        frames = eye.frames(qpos)
        return frames.reshape(*before, *frames.shape[1:])


def redraw(policy: Policy) -> Redraw | None:
    """What draws a policy's frames; None: it sees none."""
    return Redraw(policy) if policy.config.env.vision == "pixels" else None
