"""The hand's 92 touch pads: volumes in which contact forces are summed.

Figures: the published MuJoCo model (see `hand.py`). The order is that of the touch
observation: palm, then each finger from its root, then the thumb. Pads overlap, so a
force may be felt by two of them. -y is the palmar side.
"""

from dataclasses import dataclass

import mujoco
import numpy as np

Vec = tuple[float, float, float]


@dataclass(frozen=True)
class Pad:
    """A touch volume; `size` holds half lengths of a box, or a sphere's radius."""

    name: str
    body: str
    pos: Vec  # m, in the body's frame
    size: Vec  # m

    @property
    def type(self) -> mujoco.mjtGeom:
        """A sphere where only a radius is given."""
        sphere = self.size[1] == 0.0
        return mujoco.mjtGeom.mjGEOM_SPHERE if sphere else mujoco.mjtGeom.mjGEOM_BOX


PALM = (
    ("b0", (0.011, -0.005, 0.006), (0.033, 0.007, 0.019)),
    ("bl", (-0.011, -0.005, 0.041), (0.011, 0.007, 0.016)),
    ("bm", (0.011, -0.005, 0.041), (0.011, 0.007, 0.016)),
    ("br", (0.033, -0.005, 0.041), (0.011, 0.007, 0.016)),
    ("fl", (-0.011, -0.005, 0.073), (0.011, 0.007, 0.016)),
    ("fm", (0.011, -0.005, 0.073), (0.011, 0.007, 0.016)),
    ("fr", (0.033, -0.005, 0.073), (0.011, 0.007, 0.016)),
    ("b1", (-0.0325, -0.005, 0.014), (0.012, 0.007, 0.027)),
)


def _ring(name: str, body: str, offset: float, z: float, half: float):
    """Four boxes around a segment: front left and right, back left and right."""
    size = (offset, offset, half)
    sides = {"front": -offset, "back": offset}
    return [
        Pad(f"touch_{name}_{side}_{hand}", body, (x, y, z), size)
        for side, y in sides.items()
        for hand, x in (("left", -offset), ("right", offset))
    ]


def _ball(name: str, body: str, z: float, radius: float) -> Pad:
    return Pad(f"touch_{name}_tip", body, (0.0, 0.0, z), (radius, 0.0, 0.0))


def _proximal(finger: str) -> list[Pad]:
    """A finger's first segment: the palmar side is split into bottom and top."""
    body, half = f"{finger}proximal", 0.005
    front = [
        Pad(
            f"touch_{body}_front_{hand}_{end}",
            body,
            (x, -half, z),
            (half, half, 0.01625),
        )
        for end, z in (("bottom", 0.00625), ("top", 0.03875))
        for hand, x in (("left", -half), ("right", half))
    ]
    back = _ring(body, body, half, 0.0225, 0.0325)[2:]
    return [*front, *back, _ball(body, body, 0.045, 0.011)]


def _finger(finger: str) -> list[Pad]:
    middle, distal, tip = f"{finger}middle", f"{finger}distal", f"{finger}tip"
    return [
        *_proximal(finger),
        *_ring(middle, middle, 0.00451, 0.0125, 0.02055),
        _ball(middle, middle, 0.025, 0.009),
        *_ring(tip, distal, 0.00451, 0.012, 0.01905),
        _ball(tip, distal, 0.024, 0.008),
    ]


METACARPAL = Pad(
    "touch_lfmetacarpal_front",
    "lfmetacarpal",
    (-0.0165, -0.005, 0.00975),
    (0.01, 0.007, 0.026),
)

PADS: tuple[Pad, ...] = (
    *(Pad(f"touch_palm_{name}", "palm", pos, size) for name, pos, size in PALM),
    *_finger("ff"),
    *_finger("mf"),
    *_finger("rf"),
    METACARPAL,
    *_finger("lf"),
    *_ring("thproximal", "thproximal", 0.007, 0.019, 0.032),
    _ball("thproximal", "thproximal", 0.038, 0.014),
    *_ring("thmiddle", "thmiddle", 0.006, 0.016, 0.027),
    _ball("thmiddle", "thmiddle", 0.032, 0.012),
    *_ring("thtip", "thdistal", 0.0056, 0.013, 0.02218),
    _ball("thtip", "thdistal", 0.026, 0.01),
)
"""All 92, in the order of the touch observation."""

GROUP = 5
"""Group of the pads' sites; drawn only where they are lit."""
LIGHT = (1.0, 0.72, 0.15)
BRIGHT = 1.0
"""Force at which a lit pad is brightest, N."""


def light(model: mujoco.MjModel, data: mujoco.MjData) -> None:
    """Colour the pads of a model that is drawn: the clearer, the more force they feel."""
    forces = np.array([data.sensor(pad.name).data[0] for pad in PADS])
    sites = [model.site(pad.name).id for pad in PADS]
    model.site_rgba[sites, :3] = LIGHT
    # Alpha 0 is not drawn at all.
    felt = np.where(forces > 0, 0.25 + 0.65 * np.minimum(forces / BRIGHT, 1.0), 0.0)
    model.site_rgba[sites, 3] = felt
