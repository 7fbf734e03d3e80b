"""The hand's table against the model it is taken from, as gymnasium-robotics ships it."""

import importlib.util
from pathlib import Path

import mujoco
import numpy as np
import pytest

from mjxhand import hand, touch

PREFIX = "robot0:"
LINKS = [link.name for link in hand.LINKS]
JOINTS = [joint.name for joint in hand.JOINTS]
SERVOS = [joint.name for joint in hand.JOINTS if joint.kp]
COUPLINGS = [f"{finger}J1c" for finger in ("FF", "MF", "RF", "LF")]


@pytest.fixture(scope="module")
def published() -> mujoco.MjModel:
    # Found, not imported: importing it would start gymnasium.
    found = importlib.util.find_spec("gymnasium_robotics")
    assert found is not None, "pip install 'mjxhand[dev]'"
    assert found.submodule_search_locations is not None
    (package,) = found.submodule_search_locations
    assets = Path(package, "envs", "assets", "hand")
    return mujoco.MjModel.from_xml_path(
        str(assets / "manipulate_block_touch_sensors.xml")
    )


@pytest.fixture(scope="module")
def ours() -> mujoco.MjModel:
    return hand.shadow_hand().compile()


def rotation(quat: np.ndarray) -> np.ndarray:
    matrix = np.zeros(9)
    mujoco.mju_quat2Mat(matrix, quat)
    return matrix.reshape(3, 3)


def wraps_of(model: mujoco.MjModel, tendon) -> range:
    """Indices of the joints that a fixed tendon runs over."""
    first = model.tendon_adr[tendon.id]
    return range(first, first + model.tendon_num[tendon.id])


def test_joints_come_in_the_published_order(published):
    hinges = [published.joint(i).name for i in range(published.njnt)]
    assert [PREFIX + name for name in JOINTS] == hinges[: len(JOINTS)]


@pytest.mark.parametrize("name", JOINTS)
def test_joint_is_the_published_one(published, ours, name):
    theirs, mine = published.joint(PREFIX + name), ours.joint(name)
    for field in (
        "type",
        "axis",
        "pos",
        "range",
        "margin",
        "solref",
        "solimp",
        "stiffness",
    ):
        np.testing.assert_array_equal(
            getattr(mine, field), getattr(theirs, field), field
        )
    for field in ("damping", "armature", "frictionloss"):
        np.testing.assert_array_equal(
            getattr(mine, field), getattr(theirs, field), field
        )
    body = published.body(int(theirs.bodyid[0])).name
    assert body == PREFIX + ours.body(int(mine.bodyid[0])).name


@pytest.mark.parametrize("name", LINKS)
def test_link_is_the_published_one(published, ours, name):
    theirs, mine = published.body(PREFIX + name), ours.body(name)
    assert mine.mass == theirs.mass
    np.testing.assert_array_equal(mine.ipos, theirs.ipos)

    def inertia(body):
        turn = rotation(body.iquat)
        return turn @ np.diag(body.inertia) @ turn.T

    np.testing.assert_allclose(inertia(mine), inertia(theirs), rtol=1e-6, atol=1e-12)
    if name == "forearm":  # the root: we place it ourselves
        return
    np.testing.assert_array_equal(mine.pos, theirs.pos)
    np.testing.assert_allclose(mine.quat, theirs.quat, atol=1e-5)
    assert (
        PREFIX + ours.body(int(mine.parentid[0])).name
        == published.body(int(theirs.parentid[0])).name
    )


def test_servos_are_the_published_ones(published, ours):
    assert published.nu == ours.nu == 20
    assert [ours.actuator(i).name for i in range(20)] == SERVOS
    names = [published.actuator(i).name for i in range(20)]
    assert names == [f"{PREFIX}A_{name}" for name in SERVOS]
    for field in ("gainprm", "biasprm", "ctrlrange", "forcerange", "gear", "gaintype"):
        mine, theirs = (getattr(m, f"actuator_{field}") for m in (ours, published))
        np.testing.assert_array_equal(mine, theirs, field)
    np.testing.assert_array_equal(ours.actuator_trnid, published.actuator_trnid)
    assert ours.actuator_ctrllimited.all()
    assert ours.actuator_forcelimited.all()


@pytest.mark.parametrize("name", COUPLINGS)
def test_coupling_tendon_is_the_published_one(published, ours, name):
    def arms(model, tendon, prefix):
        wraps = wraps_of(model, tendon)
        joints = [model.joint(model.wrap_objid[i]).name for i in wraps]
        return {
            joint.removeprefix(prefix): model.wrap_prm[i]
            for joint, i in zip(joints, wraps, strict=True)
        }

    mine, theirs = ours.tendon(name), published.tendon(f"{PREFIX}T_{name}")
    assert arms(ours, mine, "") == arms(published, theirs, PREFIX)
    for field in ("range", "limited", "margin", "solref_lim", "solimp_lim"):
        np.testing.assert_array_equal(
            getattr(ours, f"tendon_{field}")[mine.id],
            getattr(published, f"tendon_{field}")[theirs.id],
            field,
        )


def test_the_tendons_left_out_cannot_be_taut(published):
    """Lengths over the whole box of joint ranges stay inside the tendons' limits."""
    left_out = [
        tendon
        for tendon in (published.tendon(i) for i in range(published.ntendon))
        if tendon.name.removeprefix(f"{PREFIX}T_") not in COUPLINGS
    ]
    assert len(left_out) == 40
    for tendon in left_out:
        ends = [
            published.wrap_prm[i] * published.jnt_range[published.wrap_objid[i]]
            for i in wraps_of(published, tendon)
        ]
        shortest, longest = sum(min(e) for e in ends), sum(max(e) for e in ends)
        low, high = published.tendon_range[tendon.id]
        assert low < shortest, tendon.name
        assert longest < high, tendon.name


def test_finger_capsules_are_the_published_ones(published, ours):
    compared = 0
    for i in range(published.ngeom):
        theirs = published.geom(i)
        if theirs.type != mujoco.mjtGeom.mjGEOM_CAPSULE:
            continue
        mine = ours.geom(theirs.name.removeprefix(f"{PREFIX}C_"))
        np.testing.assert_allclose(mine.size[:2], theirs.size[:2], atol=1e-9)
        np.testing.assert_allclose(mine.pos, theirs.pos, atol=1e-9)
        axes = [abs(rotation(geom.quat)[:, 2]) for geom in (mine, theirs)]
        np.testing.assert_allclose(axes[0], axes[1], atol=1e-3)
        for field in (
            "condim",
            "contype",
            "conaffinity",
            "friction",
            "solref",
            "solimp",
        ):
            np.testing.assert_array_equal(getattr(mine, field), getattr(theirs, field))
        assert mine.margin == theirs.margin
        compared += 1
    assert compared == 16  # 4 fingers × 3, thumb 3, wrist


@pytest.mark.parametrize(
    ("box", "names"),
    [
        ("palm0", [f"palm{i}" for i in range(hand.PALM_CAPSULES)]),
        ("palm1", ["palmside"]),
        ("lfmetacarpal", ["lfmetacarpal"]),
    ],
)
def test_capsules_have_the_extent_of_the_box_they_replace(published, ours, box, names):
    theirs = published.geom(f"{PREFIX}C_{box}")
    assert theirs.type == mujoco.mjtGeom.mjGEOM_BOX
    geoms = [ours.geom(name) for name in names]
    high = np.max(
        [g.pos + [g.size[0], g.size[0], g.size[0] + g.size[1]] for g in geoms], 0
    )
    low = np.min(
        [g.pos - [g.size[0], g.size[0], g.size[0] + g.size[1]] for g in geoms], 0
    )
    # Across: the same, but for the metacarpal, 1.6 mm wider on either side than its box.
    slack = 0.0017 if box == "lfmetacarpal" else 2e-4
    np.testing.assert_allclose(high, theirs.pos + theirs.size, atol=slack)
    np.testing.assert_allclose(low, theirs.pos - theirs.size, atol=slack)
    thickness = {g.size[0] for g in geoms}
    assert thickness == {theirs.size[1]}


def test_self_contacts_are_the_published_ones(published, ours):
    def pairs(model, prefix):
        return {
            frozenset(
                "palm" if name.startswith("palm") else name
                for name in (
                    model.geom(model.pair_geom1[i]).name.removeprefix(prefix),
                    model.geom(model.pair_geom2[i]).name.removeprefix(prefix),
                )
            )
            for i in range(model.npair)
        }

    assert pairs(ours, "") == pairs(published, f"{PREFIX}C_")
    assert (ours.pair_dim == 1).all()
    assert (published.pair_dim == 1).all()


def test_touch_pads_are_the_published_ones(published, ours):
    sensors = [published.sensor(i) for i in range(published.nsensor)]
    order = [
        published.site(int(sensor.objid[0])).name.removeprefix(f"{PREFIX}T_")
        for sensor in sensors
        if sensor.name.startswith(f"{PREFIX}TS_")
    ]
    assert [pad.name.removeprefix("touch_") for pad in touch.PADS] == order
    assert len(order) == 92
    for name in order:
        mine, theirs = ours.site(f"touch_{name}"), published.site(f"{PREFIX}T_{name}")
        np.testing.assert_allclose(mine.pos, theirs.pos, atol=1e-12)
        assert mine.type == theirs.type
        used = 1 if mine.type == mujoco.mjtGeom.mjGEOM_SPHERE else 3
        np.testing.assert_allclose(mine.size[:used], theirs.size[:used], atol=1e-12)
        body = published.body(int(theirs.bodyid[0])).name
        assert PREFIX + ours.body(int(mine.bodyid[0])).name == body


def in_forearm(data: mujoco.MjData, forearm: str, site: str) -> np.ndarray:
    body = data.body(forearm)
    return body.xmat.reshape(3, 3).T @ (data.site(site).xpos - body.xpos)


def test_fingertips_are_where_the_published_hand_has_them(published, ours):
    rng = np.random.default_rng(0)
    low, high = ours.jnt_range.T
    theirs, mine = mujoco.MjData(published), mujoco.MjData(ours)
    worst = 0.0
    for posture in rng.uniform(low, high, (1000, len(JOINTS))):
        mine.qpos[:], theirs.qpos[: len(JOINTS)] = posture, posture
        mujoco.mj_kinematics(ours, mine)
        mujoco.mj_kinematics(published, theirs)
        for tip in hand.FINGERTIPS:
            a = in_forearm(mine, "forearm", tip)
            b = in_forearm(theirs, f"{PREFIX}forearm", f"{PREFIX}S_{tip}")
            worst = max(worst, np.abs(a - b).max())
    assert worst < 1e-5


def test_moves_like_the_published_hand(published, ours):
    """2 s of random commands, contacts off in both, gravity turned to match the mount."""
    published.opt.disableflags |= mujoco.mjtDisableBit.mjDSBL_CONTACT.value
    ours.opt.disableflags |= mujoco.mjtDisableBit.mjDSBL_CONTACT.value
    ours.opt.timestep, ours.opt.iterations = published.opt.timestep, 100
    published.opt.iterations = 100
    theirs, mine = mujoco.MjData(published), mujoco.MjData(ours)
    mujoco.mj_kinematics(published, theirs)
    mujoco.mj_kinematics(ours, mine)
    turn = theirs.body(f"{PREFIX}forearm").xmat.reshape(3, 3)
    turn = turn @ mine.body("forearm").xmat.reshape(3, 3).T
    published.opt.gravity[:] = turn @ ours.opt.gravity
    rng = np.random.default_rng(0)
    low, high = ours.actuator_ctrlrange.T
    steps = round(0.08 / ours.opt.timestep)
    travelled = np.zeros(len(JOINTS))
    for _ in range(25):
        mine.ctrl[:] = theirs.ctrl[:] = rng.uniform(low, high)
        mujoco.mj_step(ours, mine, steps)
        mujoco.mj_step(published, theirs, steps)
        np.testing.assert_allclose(mine.qpos, theirs.qpos[: len(JOINTS)], atol=1e-3)
        travelled = np.maximum(travelled, np.abs(mine.qpos))
    assert (travelled > 0.1).all()
