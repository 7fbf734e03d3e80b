"""A cube dropped on the open palm: capsules against the published boxes.

Of 100 cubes all come to rest on the palm with either, and the medians agree; but only 70
lie within 3 mm and 5° of where the boxes leave them. That is no chaos (moved by 0.5 mm, the
box palm leaves all 100 within that) and hardly the dips between capsules (nine capsules
instead of five: 75). What remains is the rim, round where the box's is sharp; that it is the
cause has not been shown.
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
DROPS, SECONDS, HEIGHT = 100, 3.0, 0.06


def model(boxes: bool) -> mujoco.MjModel:
    cfg = SceneConfig(timestep=0.002, iterations=50, ls_iterations=50)
    spec = hand.shadow_hand()
    scene._set_solver(spec, cfg)
    spec.add_material(name=look.CUBE)
    scene._add_object(spec, scene.object_shape("cube", cfg), cfg)
    if boxes:
        gone = set(CAPSULES) - set(BOXES)
        for pair in list(spec.pairs):
            if {pair.geomname1, pair.geomname2} & gone:
                spec.delete(pair)
        for name in CAPSULES:
            spec.delete(spec.geom(name))
        for name, (body, size, pos) in BOXES.items():
            spec.body(body).add_geom(
                name=name,
                type=mujoco.mjtGeom.mjGEOM_BOX,
                size=size,
                pos=pos,
                condim=3,
                friction=hand.FRICTION,
                contype=1,
                conaffinity=0,
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
    return rests(model(boxes=False), turns), rests(model(boxes=True), turns)


def test_every_cube_stays_on_either_palm(rested):
    for places, _ in rested:
        assert (-places[:, 1] > 0).all()


def test_cubes_lie_as_high_and_mostly_where_the_boxes_leave_them(rested):
    (ours, our_frames), (theirs, their_frames) = rested
    assert abs(np.median(ours[:, 1]) - np.median(theirs[:, 1])) < 3e-4
    apart = np.linalg.norm(ours - theirs, axis=1)
    cosine = (np.einsum("nij,nij->n", our_frames, their_frames) - 1) / 2
    angle = np.degrees(np.arccos(np.clip(cosine, -1, 1)))
    assert np.median(apart) < 0.002
    assert np.median(angle) < 2.0
    assert ((apart < 0.003) & (angle < 5)).sum() >= 65
