"""Films and pictures, made without a display; small, since a CPU draws them."""

import copy
import errno
import importlib.machinery
import math
import os
import subprocess
import sys
import types
from dataclasses import replace
from pathlib import Path
from unittest import mock

import imageio_ffmpeg
import jax
import mujoco
import numpy as np
import pytest
from PIL import Image

from mjxhand import _gl, agent, evaluate, meshes, overlay, render, scene, touch, video
from mjxhand.command_options import RenderOptions
from mjxhand.config import ConfigError
from mjxhand.env import Env
from mjxhand.presets import PRESETS
from mjxhand.replay import HOLD_SECONDS, Replay
from mjxhand.scene import Scene

SMALL = {"width": 128, "height": 96}
GOAL = np.array([0.5, 0.5, 0.5, 0.5])
SUBSTEPS = 10


@pytest.fixture(scope="module")
def env() -> Env:
    config = PRESETS["smoke"]
    return Env(replace(config, physics=replace(config.physics, impl="native")))


@pytest.fixture(scope="module")
def world(env) -> Scene:
    return env.scene


@pytest.fixture(scope="module")
def trajectory(world) -> dict[str, np.ndarray]:
    """Six control steps: a goal reached in the second, the cube dropped in the fourth."""
    model, data = world.mj_model, mujoco.MjData(world.mj_model)
    data.qpos[:], data.ctrl[:] = world.start_qpos, world.start_ctrl
    steps = []
    for t in range(6):
        steps.append(
            {
                "qpos": data.qpos.copy(),
                "qvel": data.qvel.copy(),
                "target": data.ctrl.copy(),
                "goal": GOAL,
                "distance": 2.0,
                "goals": int(t in (2, 3)),
                "goal_step": (0, 1, 0, 1, 0, 1)[t],
                "episode_step": (0, 1, 2, 3, 0, 1)[t],
                "success": t == 1,
                "dropped": t == 3,
                "ended": t == 3,
            }
        )
        for _ in range(SUBSTEPS):
            mujoco.mj_step(model, data)
    return {name: np.array([step[name] for step in steps]) for name in steps[0]}


@pytest.fixture
def replay(env, world, trajectory):
    with render.Renderer(world.mj_model, render.Camera(**SMALL)) as renderer:
        yield Replay(renderer, env.task, trajectory, SUBSTEPS)


def test_two_pictures_per_control_step_and_a_pause_at_the_end(replay):
    captions = [caption for _, caption in replay.frames(fps=25)]
    held = round(HOLD_SECONDS * 25)
    assert len(captions) == 6 * 2 + held
    times = [round(c.episode_time, 2) for c in captions]
    assert times[:8] == [0.0, 0.04, 0.08, 0.12, 0.16, 0.2, 0.24, 0.28]
    assert times[8 : 8 + held] == [0.32] * held
    assert times[-4:] == [0.0, 0.04, 0.08, 0.12]
    assert [round(c.goal_time, 2) for c in captions[2:6]] == [0.08, 0.12, 0.0, 0.04]


def test_between_control_steps_a_world_of_its_own_is_simulated(smoke):
    config = replace(
        smoke,
        physics=replace(smoke.physics, impl="native"),
        env=replace(
            smoke.env, randomize="link_mass,damping,gain,delay", goal_seconds=0.48
        ),
    )
    env = Env(config)
    made = agent.build(config, env.observation_sizes, env.num_actuators)
    params = made.init(jax.random.PRNGKey(0))
    policy = evaluate.Policy(config, made, params, made.init_stats(), update=0)
    steps, substeps = 12, config.physics.substeps
    seen = evaluate.Evaluator(env, made, 1).record(policy, steps=steps)
    off = {}
    with render.Renderer(env.scene.mj_model, render.Camera(**SMALL)) as renderer:
        for world in (seen["world"], {}):
            replay = Replay(
                renderer, env.task, seen | {"world": world}, substeps, env.scene
            )
            off[bool(world)] = []
            for t in range(steps - 1):
                replay._set(t)
                for substep in range(substeps):
                    replay._step(t, substep)
                if not seen["ended"][t]:
                    joints = replay.data.qpos - seen["qpos"][t + 1]
                    off[bool(world)].append(np.abs(joints[:24]).max())
    assert seen["ended"][:6].any()  # and the next episode has a world of its own
    assert max(off[True]) < 2e-3 < 0.02 < max(off[False])  # rad
    plain = scene.build(config.scene).mj_model
    np.testing.assert_array_equal(env.scene.mj_model.body_mass, plain.body_mass)


def test_more_pictures_than_physics_steps_keep_the_speed(replay):
    captions = [caption for _, caption in replay.frames(fps=250)]
    # The last physics step is shown at its begin alone.
    assert len(captions) == round(6 * 0.08 * 250) - 1 + round(HOLD_SECONDS * 250)


def test_events_are_announced_and_end_with_the_episode(replay):
    events = [caption.event for _, caption in replay.frames(fps=25)]
    assert events[:4] == [""] * 4
    assert set(events[4:8]) == {"goal reached"}
    assert set(events[8:-4]) == {"dropped"}
    assert events[-4:] == [""] * 4


def test_the_last_goal_of_an_episode_is_counted_in_its_last_picture(replay):
    trajectory = replay.trajectory | {"ended": replay.trajectory["success"]}
    replay.trajectory = {name: x[:2] for name, x in trajectory.items()}
    captions = [caption for _, caption in replay.frames(fps=25)]
    held = round(HOLD_SECONDS * 25)
    assert [caption.goals for caption in captions] == [0] * 4 + [1] * held
    assert {caption.event for caption in captions[4:]} == {"goal reached"}


def test_caption_tells_the_angle_to_the_goal(replay, trajectory):
    _, caption = next(iter(replay.frames(fps=25)))
    turn = np.array([1.0, 0.0, 0.0, 0.0])  # the cube's start orientation
    angle = math.degrees(2 * math.acos(abs(turn @ GOAL)))
    assert caption.text == f"{angle:.0f}° to the goal"
    assert caption.goals == 0


def test_the_simulation_between_control_steps_is_the_recorded_one(replay, trajectory):
    """Replaying a step from its recorded start ends where the next one was recorded."""
    frames = replay.frames(fps=25)
    for _ in range(3):  # the third picture is the start of step 1
        next(frames)
    np.testing.assert_allclose(replay.data.qpos, trajectory["qpos"][1], atol=1e-12)
    replay._set(0)
    for _ in range(SUBSTEPS):
        mujoco.mj_step(replay.model, replay.data)
    np.testing.assert_allclose(replay.data.qpos, trajectory["qpos"][1], atol=1e-4)


def ffmpeg(*arguments: str) -> subprocess.CompletedProcess:
    exe = imageio_ffmpeg.get_ffmpeg_exe()
    return subprocess.run([exe, *arguments], capture_output=True, check=False)


@pytest.mark.filterwarnings("error:os.fork")
def test_mp4_plays_everywhere(env, trajectory, tmp_path):
    path = render.film(
        env, trajectory, tmp_path / "new" / "film.mp4", camera=render.Camera(**SMALL)
    )
    about = ffmpeg("-i", str(path)).stderr.decode()
    for words in ("Video: h264", "yuv420p", "128x96", "25 fps"):
        assert words in about
    raw = ffmpeg("-i", str(path), "-f", "rawvideo", "-pix_fmt", "rgb24", "-").stdout
    frames = np.frombuffer(raw, np.uint8).reshape(-1, 96, 128, 3).astype(int)
    assert len(frames) == 12 + round(HOLD_SECONDS * 25)
    assert np.abs(frames[0] - frames[5]).mean() > 1  # a border flashes
    assert [p.name for p in path.parent.iterdir()] == ["film.mp4"]


@pytest.mark.filterwarnings("error:os.fork")
def test_mp4_runs_at_true_speed_at_any_rate(env, trajectory, tmp_path):
    """Six control steps take 0.48 s."""
    path = render.film(
        env, trajectory, tmp_path / "film.mp4", fps=50, camera=render.Camera(**SMALL)
    )
    about = ffmpeg("-i", str(path)).stderr.decode()
    seconds = 0.48 + HOLD_SECONDS
    assert f"Duration: 00:00:{seconds:05.2f}" in about
    assert "50 fps" in about


@pytest.mark.parametrize("name", ["t10:30/a.mp4", "t10:30.mp4", "-x/a.mp4", "-x.mp4"])
def test_a_film_may_have_any_name(tmp_path, monkeypatch, name):
    """ffmpeg takes `t10:` for a protocol."""
    monkeypatch.chdir(tmp_path)
    path = Path(name)
    pictures = iter(np.zeros((3, 48, 64, 3), np.uint8))
    video.save_whole(path, lambda hidden: video.writer(path)(hidden, pictures, 25))
    assert path.stat().st_size > 500
    assert [p.name for p in path.absolute().parent.iterdir()] == [path.name]


def test_a_disk_that_became_read_only_is_one_line(tmp_path, monkeypatch):
    def read_only(*_, **__):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(Path, "unlink", read_only)
    with pytest.raises(ConfigError, match=r"cannot write .*Read-only file system"):
        video.save_whole(tmp_path / "a.gif", read_only)


def test_gif_has_the_same_length_and_is_in_colour(env, trajectory, tmp_path):
    path = render.film(
        env, trajectory, tmp_path / "film.gif", camera=render.Camera(**SMALL)
    )
    with Image.open(path) as gif:
        total = 0
        seen_green = False
        for index in range(gif.n_frames):  # equal pictures in a row are merged into one
            gif.seek(index)
            total += gif.info["duration"]
            corner = np.asarray(gif.convert("RGB"))[50, 0].astype(int)
            seen_green |= bool(np.abs(corner - (0, 158, 115)).max() < 30)
    assert total == 40 * (12 + round(HOLD_SECONDS * 25))
    assert seen_green


def test_gif_runs_at_true_speed_at_any_rate(tmp_path):
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 255, (48, 64, 3), np.uint8) for _ in range(30)]
    path = tmp_path / "film.gif"
    video.WRITERS[".gif"](path, iter(pictures), 30)
    with Image.open(path) as gif:
        total = 0
        for index in range(gif.n_frames):
            gif.seek(index)
            total += gif.info["duration"]
    assert total == 1000
    with pytest.raises(ConfigError, match="at most 50 pictures"):
        video.WRITERS[".gif"](path, iter(pictures), 60)


def test_still_shows_the_goal_cube_turning(world, tmp_path):
    pictures = []
    for name, goal in (("a", GOAL), ("b", np.array([0.9, 0.1, 0.3, 0.3]))):
        camera = render.Camera(**SMALL)
        path = render.still(
            world, world.start_qpos, goal, tmp_path / f"{name}.png", camera
        )
        with Image.open(path) as image:
            assert image.size == (128, 96)
            pictures.append(np.asarray(image).astype(int))
    changed = np.abs(pictures[0] - pictures[1]).max(axis=-1) > 20
    assert 10 < changed.sum() < 0.3 * changed.size
    assert len(np.unique(pictures[0].reshape(-1, 3), axis=0)) > 100


def test_a_still_of_a_goal_that_is_no_orientation_is_one_line(world, tmp_path):
    with pytest.raises(ConfigError, match=r"orientation of shape \(4,\), not \(15,\)"):
        render.still(world, world.start_qpos, np.zeros(15), tmp_path / "a.png")


def test_the_word_goal_stands_below_the_goal_cube(replay):
    data = replay.data
    replay.renderer.model.light_castshadow[:] = 0
    mujoco.mj_forward(replay.model, data)
    place = data.mocap_pos[0]
    x, y = replay.renderer.project_below(data, place)
    shown = replay.renderer.picture(data)
    data.mocap_pos[0] += [0, 0, 5.0]  # gone: what changes is where the cube was
    mujoco.mj_forward(replay.model, data)
    gone = replay.renderer.picture(data)
    rows, columns = np.nonzero(np.abs(shown.astype(int) - gone).max(axis=-1) > 40)
    assert columns.min() < x < columns.max()
    assert 0 <= y - np.percentile(rows, 95) < 20


@pytest.mark.parametrize("lacks", ["package", "program"])
def test_without_ffmpeg_a_film_is_refused_in_one_line(monkeypatch, tmp_path, lacks):
    """After a night of training, too, whose run is then complete but for its film."""
    if lacks == "package":
        monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    else:

        def none():
            raise RuntimeError("No ffmpeg exe could be found.")

        monkeypatch.setattr(imageio_ffmpeg, "get_ffmpeg_exe", none)
    path = tmp_path / "film.mp4"
    picture = np.zeros((16, 16, 3), np.uint8)
    with pytest.raises(ConfigError, match=r"pip install imageio-ffmpeg.*\.gif"):
        video.writer(path)(path, iter([picture]), 25)
    assert not path.exists()


def test_ffmpeg_that_fails_leaves_no_file_and_says_why(env, trajectory, tmp_path):
    odd = render.Camera(width=127, height=96)
    with pytest.raises(
        ConfigError, match=r"cannot write .*film\.mp4: ffmpeg"
    ) as caught:
        render.film(env, trajectory, tmp_path / "film.mp4", camera=odd)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["film.avi", "film"])
def test_other_suffixes_are_refused_before_anything_is_drawn(
    env, trajectory, tmp_path, name
):
    with pytest.raises(ConfigError, match=r"must end in \.mp4 or \.gif"):
        render.film(env, trajectory, tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_unknown_camera_lists_those_there(world, tmp_path):
    with pytest.raises(ConfigError, match=r"no camera 'moon'.*front") as caught:
        render.still(
            world, world.start_qpos, GOAL, tmp_path / "a.png", render.Camera("moon")
        )
    assert "\n" not in str(caught.value)


def test_no_library_to_draw_with_is_one_line(world, monkeypatch):
    monkeypatch.setenv("MUJOCO_GL", "disable")
    monkeypatch.delenv("PYOPENGL_PLATFORM", raising=False)
    with pytest.raises(ConfigError, match="install EGL") as caught:
        render.Renderer(world.mj_model)
    assert "\n" not in str(caught.value)
    assert "PYOPENGL_PLATFORM" not in str(caught.value)
    monkeypatch.setenv("PYOPENGL_PLATFORM", "glx")
    with pytest.raises(ConfigError, match=r"unset PYOPENGL_PLATFORM, which is glx$"):
        render.Renderer(world.mj_model)


def test_pictures_too_large_for_the_library_are_one_line(world, monkeypatch):
    def full(*_):
        raise mujoco.FatalError("Offscreen framebuffer is not complete\n")

    monkeypatch.setattr(mujoco, "Renderer", full)
    with pytest.raises(
        ConfigError, match=r"200000 x 20000 pixels .*not complete\): make them smaller"
    ) as caught:
        render.Renderer(world.mj_model, render.Camera(width=200_000, height=20_000))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("backend", "camera", "words"),
    [("disable", None, "cannot draw without a display"), (None, "moon", "no camera")],
)
def test_what_cannot_be_drawn_is_not_played(monkeypatch, backend, camera, words):
    def load_policy(*_):
        raise AssertionError("loaded for nothing")

    monkeypatch.setattr(render.evaluate, "load_policy", load_policy)
    if backend:
        monkeypatch.setenv("MUJOCO_GL", backend)
    with pytest.raises(ConfigError, match=words):
        render.film_run(RenderOptions("pretrained:laptop", camera=camera))


def test_a_broken_driver_is_one_line(world, monkeypatch):
    def broken(*_):
        raise RuntimeError("Cannot initialize\na EGL device display")

    monkeypatch.setattr(mujoco, "Renderer", broken)
    with pytest.raises(
        ConfigError, match=r"Cannot initialize a EGL.*libegl1"
    ) as caught:
        render.Renderer(world.mj_model)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("environ", "platform", "there", "choice"),
    [
        ({}, "linux", ["EGL", "OSMesa"], "egl"),
        ({}, "linux", ["OSMesa"], "osmesa"),
        ({}, "linux", [], "disable"),
        ({"DISPLAY": ":0"}, "linux", ["EGL"], None),
        ({"WAYLAND_DISPLAY": "wayland-0"}, "linux", ["EGL"], None),
        ({"DISPLAY": "login:10.0", "SLURM_JOB_ID": "7"}, "linux", ["EGL"], "egl"),
        ({"MUJOCO_GL": "glfw"}, "linux", ["EGL"], None),
        ({"DISPLAY": ""}, "linux", ["EGL"], "egl"),
        ({"MUJOCO_GL": "OSMesa "}, "linux", ["OSMesa"], None),
        ({"MUJOCO_GL": "osmesa"}, "linux", ["EGL"], "disable"),
        ({"MUJOCO_GL": "egl"}, "linux", [], "disable"),
        ({"MUJOCO_GL": "nonsense"}, "linux", ["EGL"], "disable"),
        ({"MUJOCO_GL": "off"}, "linux", [], None),
        ({"MUJOCO_GL": "egl"}, "darwin", ["EGL"], "disable"),
        ({"MUJOCO_GL": "cgl"}, "darwin", [], None),
        ({}, "darwin", ["EGL"], None),
        ({}, "win32", [], None),
        ({"PYOPENGL_PLATFORM": "osmesa"}, "linux", ["EGL", "OSMesa"], "osmesa"),
        ({"PYOPENGL_PLATFORM": "osmesa"}, "linux", ["EGL"], "disable"),
        ({"PYOPENGL_PLATFORM": "egl"}, "linux", ["EGL", "OSMesa"], "egl"),
        ({"PYOPENGL_PLATFORM": "glx"}, "linux", ["EGL", "OSMesa"], "disable"),
        (
            {"PYOPENGL_PLATFORM": "glx", "MUJOCO_GL": "egl"},
            "linux",
            ["EGL"],
            "disable",
        ),
        ({"PYOPENGL_PLATFORM": "glx", "MUJOCO_GL": "glfw"}, "linux", ["EGL"], None),
    ],
)
def test_choice_of_renderer(environ, platform, there, choice):
    assert _gl.choose(environ, platform, lambda name: name in there) == choice


def test_nothing_is_printed_by_import_and_exit(tmp_path):
    """The renderer's destructor would print at exit; MJX prints at import."""
    code = (
        "from mjxhand import render, scene; import numpy as np; s = scene.build();"
        "c = render.Camera(width=32, height=32);"
        "render.still(s, s.start_qpos, np.array([1., 0, 0, 0]), 'a.png', c)"
    )
    env = {k: v for k, v in os.environ.items() if k not in ("DISPLAY", "MUJOCO_GL")}
    env |= {"PYTHONPATH": str(Path(__file__).parents[1]), "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert (done.stdout, done.stderr) == ("", "")
    assert (tmp_path / "a.png").exists()


def test_what_pyopengl_is_told_does_not_keep_the_package_from_importing():
    """MuJoCo would come without a renderer, and `mjxhand.render` names its type."""
    env = {k: v for k, v in os.environ.items() if k not in ("DISPLAY", "MUJOCO_GL")}
    env |= {"PYOPENGL_PLATFORM": "glx"}
    env["PYTHONPATH"] = str(Path(__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", "import mjxhand.render"],
        env=env,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_renderer_that_cannot_be_had_is_one_note():
    """MuJoCo would not even import."""
    env = {**os.environ, "MUJOCO_GL": "nonsense"}
    env["PYTHONPATH"] = str(Path(__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", "import mjxhand.render, mujoco"],
        env=env,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith("note: MUJOCO_GL is nonsense, which cannot be had")
    assert done.stderr.count("\n") == 1


def test_caption_is_drawn_inside_the_picture():
    picture = np.zeros((240, 320, 3), np.uint8)
    caption = overlay.Caption(
        goals=3,
        text="57° to the goal",
        goal_time=9.0,
        episode_time=20.0,
        goal_at=(160, 60),
    )
    drawn = overlay.draw(picture, caption, label="a long name " * 5, goal_seconds=8.0)
    assert drawn.shape == picture.shape
    assert drawn[-1, -1].tolist() == [0xE6, 0x9F, 0x00]  # the bar, full and late
    assert not drawn[100:200].any()  # the middle stays free
    flash = overlay.draw(
        picture,
        overlay.Caption(
            goals=3,
            text="57° to the goal",
            goal_time=1.0,
            episode_time=2.0,
            goal_at=(160, 60),
            event="dropped",
        ),
        label="x",
        goal_seconds=8.0,
    )
    assert flash[120, 0].tolist() == [0xD5, 0x5E, 0x00]


def test_frames_of_both_cameras_are_shown_pixel_for_pixel():
    seen = np.random.default_rng(0).integers(0, 256, (65, 65, 6), np.uint8)
    caption = overlay.Caption(
        goals=0, text="", goal_time=0.0, episode_time=0.0, goal_at=None, seen=seen
    )
    grey = np.full((240, 320, 3), 200, np.uint8)
    drawn = overlay.draw(grey, caption, label="x", goal_seconds=8.0)
    top = round(240 - 52 * 0.7) - 65
    for number in range(2):
        left = round(8 * 0.7) + 65 * number
        part = drawn[top : top + 65, left : left + 65]
        np.testing.assert_array_equal(part, seen[..., 3 * number :][..., :3])
    assert (drawn[top : top + 65, 5 + 2 * 65 + 2 :] == 200).all()


def test_a_film_shows_the_frame_that_each_control_step_acted_on(replay, env, tmp_path):
    def frames(qpos):
        return np.stack([np.full((2, 2, 3), t) for t in range(len(qpos))])

    seeing = types.SimpleNamespace(
        eye=types.SimpleNamespace(frames=frames),
        config=env.config,
        scene=env.scene,
        task=env.task,
        label="x",
    )
    drawn = []
    with mock.patch.object(
        render, "draw", lambda picture, caption, **_: drawn.append(caption) or picture
    ):
        camera = render.Camera(**SMALL)
        path = tmp_path / "f.gif"
        render.film(seeing, replay.trajectory, path, fps=25, camera=camera)
    assert [int(c.seen[0, 0, 0]) for c in drawn[:4]] == [0, 0, 1, 1]
    assert int(drawn[-1].seen[0, 0, 0]) == 5


@pytest.fixture(scope="module")
def held(env):
    """A state with a cube in the hand, in C MuJoCo."""
    data = mujoco.MjData(env.scene.mj_model)
    data.qpos[:] = env.params.pool.qpos[0]
    mujoco.mj_forward(env.scene.mj_model, data)
    return data


def test_lit_pads_are_those_that_feel_a_force(env, held):
    model = copy.copy(env.scene.mj_model)
    touch.light(model, held)
    forces = held.sensordata[env.scene.sensors["touch"]]
    sites = [model.site(pad.name).id for pad in touch.PADS]
    alpha = model.site_rgba[sites, 3]
    assert (forces > 0).any()
    np.testing.assert_array_equal(alpha > 0, forces > 0)
    # The clearer, the more force: 0.25 for a breath, 0.9 from BRIGHT on.
    np.testing.assert_allclose(
        alpha[forces > 0], 0.25 + 0.65 * np.minimum(forces[forces > 0], 1.0), rtol=1e-6
    )
    with (
        render.Renderer(
            env.scene.mj_model, render.Camera(width=160, height=120)
        ) as dark,
        render.Renderer(
            env.scene.mj_model, render.Camera(width=160, height=120, touch=True)
        ) as lit,
    ):
        changed = (dark.picture(held) != lit.picture(held)).any(-1).mean()
    assert 0.001 < changed < 0.2


def test_published_meshes_replace_the_shapes_and_no_physics(env, held):
    pytest.importorskip("gymnasium_robotics")
    dressed = scene.build(env.config.scene, with_meshes=True).mj_model
    plain = env.scene.mj_model
    names = [dressed.geom(i).name for i in range(dressed.ngeom)]
    assert sum(name.startswith("mesh_") for name in names) == len(meshes.PARTS)
    visible = dressed.geom_group < 3
    assert not any(
        visible[i] and (name.startswith("shell") or plain.geom(name).contype[0])
        for i, name in enumerate(names)
        if not name.startswith("mesh_")
    )
    np.testing.assert_array_equal(dressed.body_mass, plain.body_mass)
    np.testing.assert_array_equal(dressed.body_inertia, plain.body_inertia)
    data = mujoco.MjData(dressed)
    data.qpos[:], data.qvel[:] = held.qpos, held.qvel
    other = copy.copy(held)
    for _ in range(20):
        mujoco.mj_step(dressed, data)
        mujoco.mj_step(plain, other)
    np.testing.assert_allclose(data.qpos, other.qpos, atol=1e-12)
    # Each mesh lies about where the shape does that it replaces.
    for finger in ("ff", "mf", "rf", "lf", "th"):
        mesh = data.geom(f"mesh_{finger}distal").xpos
        capsule = data.geom(f"{finger}distal").xpos
        assert np.linalg.norm(mesh - capsule) < 0.006


def test_without_the_meshes_one_line_says_what_to_install(env, monkeypatch, tmp_path):
    monkeypatch.setattr(meshes.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'mjxhand\[meshes\]'"):
        scene.build(env.config.scene, with_meshes=True)
    found = importlib.machinery.ModuleSpec("gymnasium_robotics", None)
    found.origin = str(tmp_path / "__init__.py")
    monkeypatch.setattr(meshes.importlib.util, "find_spec", lambda name: found)
    with pytest.raises(ConfigError, match=r"has no forearm_electric\.stl"):
        meshes.folder()
