"""`python -m mjxhand.render DIR`: a film of a trained policy, made without a display.

A recorded run is played again in C MuJoCo from the state at the start of each control step,
so that films run at 25 frames/s although the policy acts 12.5 times a second.
"""

import copy
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import mujoco
import numpy as np
from PIL import Image

from mjxhand import cli, evaluate, meshes, pretrained, touch
from mjxhand.command_options import RenderOptions
from mjxhand.config import ConfigError
from mjxhand.env import Env
from mjxhand.overlay import draw
from mjxhand.policy import lesioned, settings
from mjxhand.replay import Replay, Trajectory
from mjxhand.scene import Scene, build
from mjxhand.tasks import Mark
from mjxhand.video import save_whole, writer

# Farthest a corner of the cube is seen from its centre, m, with a little room.
CUBE_REACH = 0.046


def add_mark(scene: mujoco.MjvScene, mark: Mark, data: mujoco.MjData) -> None:
    """Add a sphere to a scene that is drawn, at its site or its place.

    Raises:
        ConfigError: the scene is full.
    """
    if scene.ngeom >= scene.maxgeom:
        raise ConfigError(f"a picture cannot show more than {scene.maxgeom} shapes")
    mujoco.mjv_initGeom(
        scene.geoms[scene.ngeom],
        mujoco.mjtGeom.mjGEOM_SPHERE,
        np.full(3, mark.radius),
        np.array(data.site(mark.site).xpos if mark.site else mark.pos, float),
        np.eye(3).ravel(),
        np.array(mark.rgba, np.float32),
    )
    scene.ngeom += 1


@dataclass(frozen=True)
class Camera:
    """Size of the pictures (pixels) and where they are taken from."""

    name: str | None = None  # None: the scene's first
    width: int = 640
    height: int = 480
    touch: bool = False  # whether touch regions that feel a force light up


class Renderer:
    """Draws a scene off screen. Use it as a context manager: it must be closed.

    Raises:
        ConfigError: no OpenGL library works, the pictures are too large for it, or there is
            no such camera.
    """

    def __init__(self, model: mujoco.MjModel, camera: Camera = Camera()):
        # A copy: the size of the off-screen buffer is part of the model.
        self.model = copy.copy(model)
        self.camera = camera
        self._id = _camera_id(self.model, camera.name)
        self._visible = mujoco.MjvOption()
        self._visible.sitegroup[touch.GROUP] = camera.touch
        buffer = self.model.vis.global_
        buffer.offwidth = max(buffer.offwidth, camera.width)
        buffer.offheight = max(buffer.offheight, camera.height)
        self._renderer = _open(self.model, camera)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # Left to the destructor it would print errors when the interpreter exits.
        self._renderer.close()

    def picture(self, data: mujoco.MjData, marks: Sequence[Mark] = ()) -> np.ndarray:
        """Picture of a state that `mj_forward` or `mj_step` has seen: uint8[H, W, 3]."""
        if self.camera.touch:
            touch.light(self.model, data)
        self._renderer.update_scene(data, self._id, self._visible)
        for mark in marks:
            add_mark(self._renderer.scene, mark, data)
        return self._renderer.render()

    def project_below(
        self, data: mujoco.MjData, cube: np.ndarray
    ) -> tuple[float, float]:
        """Pixel (x, y) just below a cube whose centre (world, m) is given."""
        axes = data.cam_xmat[self._id].reshape(3, 3)  # columns: right, up, back
        low = cube - CUBE_REACH * axes[:, 1]
        x, y, z = axes.T @ (low - data.cam_xpos[self._id])
        half = self.camera.height / 2
        scale = half / np.tan(np.radians(self.model.cam_fovy[self._id]) / 2) / -z
        return self.camera.width / 2 + scale * x, half - scale * y


def _camera_id(model: mujoco.MjModel, name: str | None) -> int:
    if name is None:
        return 0 if model.ncam else -1
    index = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_CAMERA, name)
    if index < 0:
        there = ", ".join(model.camera(i).name for i in range(model.ncam))
        raise ConfigError(f"no camera {name!r} in the scene: choose one of {there}")
    return index


def _advice(backend: str) -> str:
    """Where MuJoCo draws on a display, which may be that of a shell long closed."""
    display = os.environ.get("DISPLAY", "")
    if backend or not display:
        return ""
    return f"if the display {display} does not open, set MUJOCO_GL=egl; otherwise "


def _open(model: mujoco.MjModel, camera: Camera) -> mujoco.Renderer:
    backend = os.environ.get("MUJOCO_GL", "")
    problem = "no library for it is installed"
    if backend not in ("disable", "disabled", "off", "false", "0"):
        try:
            return mujoco.Renderer(model, camera.height, camera.width)
        # As of a picture that does not fit in memory.
        except mujoco.FatalError as error:
            problem = " ".join(str(error).split())[:120]
            raise ConfigError(
                f"cannot draw pictures of {camera.width} x {camera.height} pixels "
                f"(MUJOCO_GL={backend}: {problem}): {_advice(backend)}make them smaller, "
                "or see python -m mjxhand.doctor"
            ) from None
        # What a broken driver raises depends on the library: any of these.
        except (
            RuntimeError,
            ImportError,
            AttributeError,
            OSError,
            ValueError,
        ) as error:
            problem = " ".join(str(error).split())[:120]
    # MuJoCo itself sets it where it draws with EGL or OSMesa.
    told = os.environ.get("PYOPENGL_PLATFORM", "") if backend == "disable" else ""
    unset = f", or unset PYOPENGL_PLATFORM, which is {told}" if told else ""
    raise ConfigError(
        f"cannot draw without a display (MUJOCO_GL={backend}: {problem}): install EGL "
        f"(Debian and Ubuntu: libegl1 and libgl1-mesa-dri) or OSMesa (libosmesa6){unset}"
    )


def still(
    scene: Scene,
    qpos: np.ndarray,
    goal: np.ndarray,
    path: str | Path,
    camera: Camera = Camera(),
) -> Path:
    """Save a PNG of one state.

    Args:
        qpos: [nq] state.
        goal: [4] orientation of the goal cube, w x y z.

    Raises:
        ConfigError: a goal that is no orientation, such as those of reach.
    """
    if np.shape(goal) != (4,):
        raise ConfigError(
            f"a still shows a goal that is an orientation of shape (4,), not {np.shape(goal)}: "
            "give one, or make a film (render.film)"
        )
    with Renderer(scene.mj_model, camera) as renderer:
        data = mujoco.MjData(renderer.model)
        data.qpos[:] = qpos
        data.mocap_quat[:] = goal
        mujoco.mj_forward(renderer.model, data)
        picture = renderer.picture(data)
    return save_whole(Path(path), lambda hidden: Image.fromarray(picture).save(hidden))


def film(
    env: Env,
    trajectory: Trajectory,
    path: str | Path,
    *,
    fps: int = 25,
    camera: Camera = Camera(),
    with_meshes: bool = False,
) -> Path:
    """Save a film of recorded control steps, MP4 or GIF by the path's suffix.

    Where frames are seen, they are shown at the lower left.

    Args:
        env: where they were recorded; its label is shown in every picture.
        trajectory: arrays `[T, ...]` by name, one entry per control step, as
            `evaluate.Evaluator.record` returns them.
        fps: pictures per second of simulated time, which runs at its true speed.
        with_meshes: draw the published meshes, see `mjxhand.meshes`.

    Raises:
        ConfigError: another suffix, nothing to draw with, the path cannot be written, or
            there are no meshes.
    """
    path = Path(path)
    write = writer(path)
    scene = build(env.config.scene, with_meshes=True) if with_meshes else env.scene
    with Renderer(scene.mj_model, camera) as renderer:
        substeps = env.config.physics.substeps
        seen = env.eye.frames(np.asarray(trajectory["qpos"])) if env.eye else None
        replay = Replay(renderer, env.task, trajectory, substeps, scene, seen)
        seconds = env.config.env.goal_seconds
        pictures = (
            draw(picture, caption, label=env.label, goal_seconds=seconds)
            for picture, caption in replay.frames(fps)
        )
        return save_whole(path, lambda hidden: write(hidden, pictures, fps))


def film_run(options: RenderOptions) -> Path:
    """Play the policy of a run folder and film it; by default into `RUN/film.mp4`."""
    path = Path(options.out or pretrained.output_folder(options.dir) / "film.mp4")
    writer(path)  # refuse the name before the policy has played
    if options.meshes:
        meshes.folder()
    env = evaluate.make_env(
        settings(options.dir),
        impl=options.impl,
        sequence=options.sequence,
        hold_wrist=options.hold_wrist or None,
        randomize=options.randomize,
        vision_stream=options.vision_stream,
    )
    camera = Camera(options.camera, options.width, options.height, options.touch)
    with Renderer(env.scene.mj_model, camera):
        pass  # what cannot be drawn need not be loaded, compiled and played
    policy = evaluate.load_policy(options.dir, options.step)
    if options.lesion is not None:
        policy = lesioned(policy, options.lesion)
    play = evaluate.Evaluator(env, policy.agent, 1, options.deterministic)
    steps = max(1, round(options.seconds / env.config.control_seconds))
    return film(
        env,
        play.record(policy, seed=options.seed, steps=steps),
        path,
        fps=options.fps,
        camera=camera,
        with_meshes=options.meshes,
    )


@cli.main_guard
def main(argv: Sequence[str] | None = None) -> int:
    """Command line of `python -m mjxhand.render`."""
    options = cli.parse_render(sys.argv[1:] if argv is None else argv)
    print(f"film: {film_run(options)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
