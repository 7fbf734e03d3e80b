"""Chooses MuJoCo's off-screen renderer; runs before `mujoco` is imported.

MuJoCo reads `MUJOCO_GL` once, at import. On Linux without a display it would pick GLFW,
which needs a window, so no picture could be made on a server.
"""

import ctypes
import ctypes.util
import os
import sys
from collections.abc import Callable, Mapping

ANYWHERE = "glfw enable enabled on true 1 disable disabled off false 0".split()
OWN = {"linux": ["glx", "egl", "osmesa"], "darwin": ["cgl"], "win32": ["wgl"]}
"""What MuJoCo knows; it does not import with anything else."""
LIBRARIES = {"egl": "EGL", "osmesa": "OSMesa"}


def installed(library: str) -> bool:
    """Whether the loader finds a shared library, such as `EGL`."""
    for name in (ctypes.util.find_library(library), f"lib{library}.so.1"):
        try:
            if name and ctypes.CDLL(name):
                return True
        except OSError:
            continue
    return False


def choose(
    environ: Mapping[str, str],
    platform: str,
    installed: Callable[[str], bool] = installed,
) -> str | None:
    """The value `MUJOCO_GL` should get; None: leave it as it is.

    `disable` where no off-screen library is there: importing MuJoCo would fail with the
    others, and one can train without pictures. `mjxhand.render` then says what to install.
    The same where the user's own choice is unknown, its library not there, or PyOpenGL, which
    MuJoCo draws with, told by `PYOPENGL_PLATFORM` to use another one.
    """
    told = environ.get("PYOPENGL_PLATFORM", "").lower()
    can = {gl for gl in LIBRARIES if told in ("", gl)}
    if given := environ.get("MUJOCO_GL", "").lower().strip():
        known = given in (*ANYWHERE, *OWN.get(platform, ()))
        there = given not in LIBRARIES or (given in can and installed(LIBRARIES[given]))
        return None if known and there else "disable"
    if platform != "linux":
        return None
    # The display of a job is that of the shell which submitted it, far away or long closed.
    here = "SLURM_JOB_ID" not in environ
    if here and (environ.get("DISPLAY") or environ.get("WAYLAND_DISPLAY")):
        return None
    usable = (gl for gl, name in LIBRARIES.items() if gl in can and installed(name))
    return next(usable, "disable")


_choice = choose(os.environ, sys.platform)
if _choice is not None:
    if os.environ.get("MUJOCO_GL", "").strip():
        print(
            f"note: MUJOCO_GL is {os.environ['MUJOCO_GL']}, which cannot be had here: no "
            "pictures (unset it for what can)",
            file=sys.stderr,
        )
    os.environ["MUJOCO_GL"] = _choice

# Only now may MuJoCo be imported, and here it is for the first time.
from mjxhand import _quiet  # noqa: E402, F401
