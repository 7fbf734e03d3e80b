"""A cube dropped on the open palm: capsules against the published boxes.

Of 100 cubes all come to rest on the palm with either, and the medians agree; but only 70
lie within 3 mm and 5° of where the boxes leave them. That is no chaos (moved by 0.5 mm, the
box palm leaves all 100 within that). It has two causes, both of the palm's outline: the
groove between palm and little finger's metacarpal, 3 mm wide between the boxes and, between
round sides, 25 mm from crest to crest, into which a cube's edge tips (the cubes that
disagree lie tilted by 12° in the median); and the dips of 1.3 mm between capsules. With
capsules out to the boxes' side edges and twice as many of them, 95 agree. Our hand keeps
its seven: four more would cost each physics step as many more pairs with the object.
"""

import mujoco
import numpy as np
import pytest

from mjxhand import hand, look, scene
from mjxhand.config import SceneConfig

# Body, half sizes and centre (m) of the published collision boxes C_palm0, C_palm1 and
# C_lfmetacarpal; test_hand.py compares our capsules with the same ones.
BOXES = {
    "palm0": ("palm", (0.032, 0.0111, 0.049), (0.011, 0, 0.038)),
    "palmside": ("palm", (0.011, 0.0111, 0.025), (-0.032, 0, 0.014)),
    "lfmetacarpal": ("lfmetacarpal", (0.0095, 0.0111, 0.025), (-0.0165, 0, 0.01)),
}
CAPSULES = [
    *(f"palm{i}" for i in range(hand.PALM_CAPSULES)),
    "palmside",
    "lfmetacarpal",
]
CRESTS = {"palm0": 9, "palmside": 3, "lfmetacarpal": 3}
DROPS, SECONDS, HEIGHT = 100, 3.0, 0.06


def model(palm: str) -> mujoco.MjModel:
    """Hand and cube; `palm` "capsules": ours; "boxes": published; "to the edge": capsules
    whose crests reach the boxes' sides."""
    cfg = SceneConfig(timestep=0.002, iterations=50, ls_iterations=50)
    spec = hand.shadow_hand()
    scene._set_solver(spec, cfg)
    spec.add_material(name=look.CUBE)
    scene._add_object(spec, scene.object_shape("cube", cfg), cfg)
    if palm != "capsules":
        gone = set(CAPSULES) - (set(BOXES) if palm == "boxes" else set())
        for pair in list(spec.pairs):
            if {pair.geomname1, pair.geomname2} & gone:
                spec.delete(pair)
        for name in CAPSULES:
            spec.delete(spec.geom(name))
        shape = {"friction": hand.FRICTION, "condim": 3, "contype": 1, "conaffinity": 0}
        for name, (body, size, pos) in BOXES.items():
            if palm == "boxes":
                kind = mujoco.mjtGeom.mjGEOM_BOX
                spec.body(body).add_geom(
                    name=name, type=kind, size=size, pos=pos, **shape
                )
                continue
            radius, (x, _, z) = size[1], pos
            reach = size[2] - radius
            for i, side in enumerate(np.linspace(-size[0], size[0], CRESTS[name])):
                spec.body(body).add_geom(
                    name=f"{name}{i}",
                    type=mujoco.mjtGeom.mjGEOM_CAPSULE,
                    size=[radius, 0, 0],
                    fromto=[x + side, 0, z - reach, x + side, 0, z + reach],
                    **shape,
                )
    return spec.compile()


def rests(model: mujoco.MjModel, turns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where cubes dropped with orientations `turns` [N, 4] lie, in the palm's frame."""
    data = mujoco.MjData(model)
    cube = model.joint("cube").qposadr[0]
    places, frames = [], []
    for turn in turns:
        mujoco.mj_resetData(model, data)
        mujoco.mj_forward(model, data)
        palm = data.site("palm_centre")
        up = palm.xmat.reshape(3, 3) @ np.array([0, -1.0, 0])
        data.qpos[cube : cube + 3] = palm.xpos + HEIGHT * up
        data.qpos[cube + 3 : cube + 7] = turn
        mujoco.mj_step(model, data, round(SECONDS / model.opt.timestep))
        frame = data.site("palm_centre").xmat.reshape(3, 3)
        body = data.body("cube")
        places.append(frame.T @ (body.xpos - data.site("palm_centre").xpos))
        frames.append(frame.T @ body.xmat.reshape(3, 3))
    return np.array(places), np.array(frames)


@pytest.fixture(scope="module")
def rested():
    turns = np.random.default_rng(0).standard_normal((DROPS, 4))
    turns /= np.linalg.norm(turns, axis=1, keepdims=True)
    palms = ("capsules", "boxes", "to the edge")
    return {palm: rests(model(palm), turns) for palm in palms}


def apart(a, b) -> tuple[np.ndarray, np.ndarray]:
    """Distances, m, and angles, degrees, between cubes at rest."""
    cosine = (np.einsum("nij,nij->n", a[1], b[1]) - 1) / 2
    angle = np.degrees(np.arccos(np.clip(cosine, -1, 1)))
    return np.linalg.norm(a[0] - b[0], axis=1), angle


def test_every_cube_stays_on_every_palm(rested):
    for places, _ in rested.values():
        assert (-places[:, 1] > 0).all()


def test_cubes_lie_as_high_and_mostly_where_the_boxes_leave_them(rested):
    ours, theirs = rested["capsules"], rested["boxes"]
    assert abs(np.median(ours[0][:, 1]) - np.median(theirs[0][:, 1])) < 3e-4
    shift, angle = apart(ours, theirs)
    assert np.median(shift) < 0.002
    assert np.median(angle) < 2.0
    assert ((shift < 0.003) & (angle < 5)).sum() >= 65


def test_the_outline_is_what_differs(rested):
    """Crests at the boxes' sides bring agreement; those that disagreed lay tilted."""
    same = {}
    for palm in ("capsules", "to the edge"):
        shift, angle = apart(rested[palm], rested["boxes"])
        same[palm] = (shift < 0.003) & (angle < 5)
    assert same["to the edge"].sum() >= 92
    # The angle between the palm's normal and the cube's axis nearest to it.
    axes = np.abs(rested["boxes"][1][:, 1, :]).max(1)
    tilt = np.degrees(np.arccos(np.minimum(axes, 1)))
    assert np.median(tilt[~same["capsules"]]) > 8
    assert np.median(tilt[same["capsules"]]) < 2
