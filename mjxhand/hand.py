"""The Shadow Dexterous Hand as a MuJoCo model, built from one table.

Figures: OpenAI's MuJoCo model of the hand (Plappert et al. 2018, arXiv:1802.09464) as
distributed with gymnasium-robotics 1.4; `tests/test_hand.py` compares every one of them.
Lengths m, masses kg, angles rad. Frames: z along the limb, -y out of the palm.

What differs from the published model, and why:
- boxes and the forearm's mesh are capsules of the same thickness: a box against the cube
  costs MJX seven times the whole rest of the step
  (tests/test_palm.py shows where that tells: on a palm whose sides are round);
- the 40 tendons that only limit are left out: none can be taut inside the joint ranges;
- two 1 mm boxes in the thumb, collidable by oversight, are left out.
"""

from dataclasses import dataclass

import mujoco

from mjxhand import touch

Vec = tuple[float, float, float]

X, Y, Z = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)
ZERO = (0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Joint:
    """A hinge and the position servo that drives it (`kp` 0: passive)."""

    name: str
    axis: Vec
    range: tuple[float, float]  # rad; also the servo's control range
    kp: float  # N·m/rad
    force: float  # N·m, largest torque of the servo
    damping: float = 0.1  # N·m·s/rad
    armature: float = 0.001  # kg·m²


@dataclass(frozen=True)
class Capsule:
    """A collision shape along the link's z axis, from `start` to `end`."""

    name: str
    radius: float
    start: Vec
    end: Vec
    condim: int = 3


@dataclass(frozen=True)
class Link:
    """A body: where it hangs, what it weighs, how it turns, what it touches with."""

    name: str
    parent: str
    pos: Vec
    mass: float
    com: Vec
    inertia: Vec  # principal moments, kg·m²
    joint: Joint | None = None
    capsules: tuple[Capsule, ...] = ()
    quat: tuple[float, float, float, float] = (1.0, 0.0, 0.0, 0.0)
    iquat: tuple[float, float, float, float] = (1.0, 0.0, 0.0, 0.0)


def _tube(name: str, radius: float, length: float, condim: int = 3) -> Capsule:
    """Capsule of a finger segment: from the joint along z."""
    return Capsule(name, radius, ZERO, (0.0, 0.0, length), condim)


TINY = (1e-5, 1e-5, 1e-5)  # published inertia of every link beyond the palm
PALM_CAPSULES = 5  # in place of the palm's box; neighbours 10 mm apart, dips of 1.3 mm


def _palm() -> tuple[Capsule, ...]:
    """Capsules inside the two published palm boxes, tangent to both faces.

    Box 0: half (.032, .0111, .049) at (.011, 0, .038); box 1: half (.011, .0111, .025)
    at (-.032, 0, .014).
    """
    radius = 0.0111
    reach = 0.032 - radius
    step = 2 * reach / (PALM_CAPSULES - 1)
    xs = [round(0.011 - reach + i * step, 6) for i in range(PALM_CAPSULES)]
    row = [
        Capsule(f"palm{i}", radius, (x, 0.0, 0.0001), (x, 0.0, 0.0759))
        for i, x in enumerate(xs)
    ]
    return (*row, Capsule("palmside", radius, (-0.032, 0, 0.0001), (-0.032, 0, 0.0279)))


def _finger(prefix: str, parent: str, pos: Vec, middle_com: float) -> tuple[Link, ...]:
    """Knuckle and three segments of a finger; J3 spreads, J2 to J0 flex."""
    name, low = prefix.upper(), prefix.lower()
    flex = (0.0, 1.571)
    return (
        Link(f"{low}knuckle", parent, pos, 0.008, ZERO, TINY,
             Joint(f"{name}J3", Y, (-0.349, 0.349), 1.0, 0.9)),
        Link(f"{low}proximal", f"{low}knuckle", ZERO, 0.014, (0, 0, 0.023), TINY,
             Joint(f"{name}J2", X, flex, 1.0, 0.9),
             (_tube(f"{low}proximal", 0.01, 0.045),)),
        Link(f"{low}middle", f"{low}proximal", (0, 0, 0.045), 0.012,
             (0, 0, middle_com), TINY,
             Joint(f"{name}J1", X, flex, 1.0, 0.7245),
             (_tube(f"{low}middle", 0.00805, 0.025),)),
        Link(f"{low}distal", f"{low}middle", (0, 0, 0.025), 0.010, (0, 0, 0.015), TINY,
             Joint(f"{name}J0", X, flex, 0.0, 0.0),
             (_tube(f"{low}distal", 0.00705, 0.024, condim=4),)),
    )  # fmt: skip


LINKS: tuple[Link, ...] = (
    Link("forearm", "world", ZERO, 4.0, (0.001, -0.002, 0.29), (0.01, 0.01, 0.0075),
         None, (Capsule("forearm", 0.06, (0, 0.01, 0.1), (0, 0.01, 0.19)),),
         iquat=(0.982, -0.016, 0.0, -0.188)),
    Link("wrist", "forearm", (0, 0, 0.256), 0.3, (0.003, 0, 0.016), (1e-3, 1e-3, 1e-3),
         Joint("WRJ1", Y, (-0.489, 0.14), 5.0, 4.785, 0.5, 0.005),
         (Capsule("wrist", 0.015, (0, 0.01, 0), (0, -0.01, 0)),)),
    Link("palm", "wrist", (0, 0, 0.034), 0.3, (0.006, 0, 0.036), (1e-3, 1e-3, 1e-3),
         Joint("WRJ0", X, (-0.698, 0.489), 5.0, 2.175, 0.5, 0.005),
         _palm()),
    *_finger("FF", "palm", (0.033, 0, 0.095), middle_com=0.011),
    *_finger("MF", "palm", (0.011, 0, 0.099), middle_com=0.012),
    *_finger("RF", "palm", (-0.011, 0, 0.095), middle_com=0.012),
    Link("lfmetacarpal", "palm", (-0.017, 0, 0.044), 0.075, (-0.014, 0.001, 0.014), TINY,
         Joint("LFJ4", (0.571, 0, 0.821), (0, 0.785), 1.0, 0.9),
         # Published box: half (.0095, .0111, .025) at (-.0165, 0, .01).
         (Capsule("lfmetacarpal", 0.0111, (-0.0165, 0, -0.0039), (-0.0165, 0, 0.0239)),)),
    *_finger("LF", "lfmetacarpal", (-0.017, 0, 0.044), middle_com=0.012),
    Link("thbase", "palm", (0.034, -0.009, 0.029), 0.010, ZERO, TINY,
         Joint("THJ4", (0, 0, -1), (-1.047, 1.047), 1.0, 2.3722),
         # 0.785 rad about y, as published (not a full 45°).
         quat=(0.92396, 0, 0.38250, 0)),
    Link("thproximal", "thbase", ZERO, 0.016, (0, 0, 0.017), TINY,
         Joint("THJ3", X, (0, 1.222), 1.0, 1.45),
         (_tube("thproximal", 0.013, 0.038),)),
    Link("thhub", "thproximal", (0, 0, 0.038), 0.002, ZERO, TINY,
         Joint("THJ2", X, (-0.209, 0.209), 1.0, 0.99)),
    Link("thmiddle", "thhub", ZERO, 0.016, (0, 0, 0.016), TINY,
         Joint("THJ1", Y, (-0.524, 0.524), 1.0, 0.99),
         (_tube("thmiddle", 0.011, 0.032),)),
    Link("thdistal", "thmiddle", (0, 0, 0.032), 0.016, (0, 0, 0.016), TINY,
         Joint("THJ0", Y, (-1.571, 0), 1.0, 0.81),
         (_tube("thdistal", 0.00918, 0.026, condim=4),)),
)  # fmt: skip

JOINTS = tuple(link.joint for link in LINKS if link.joint)
"""The 24 joints, in the order of qpos."""

FINGERTIPS: dict[str, tuple[str, Vec]] = {
    **{f"{f}tip": (f"{f}distal", (0, 0, 0.026)) for f in ("ff", "mf", "rf", "lf")},
    "thtip": ("thdistal", (0, 0, 0.0275)),
}
"""Site name → link and position in it."""

COUPLING = {"J0": 0.00705, "J1": -0.00805}
"""Moment arms (m) of the tendon that couples a finger's last two joints; its length
stays within ±1 mm, so J0 ≈ 1.14 J1 ± 0.14 rad."""
COUPLING_RANGE = (-0.001, 0.001)

SELF_CONTACTS: tuple[tuple[str, str], ...] = (
    *((f, "thdistal") for f in ("ffdistal", "ffmiddle", "ffproximal", "mfproximal")),
    *((f, "thdistal") for f in ("mfdistal", "rfdistal", "lfdistal")),
    *((f"palm{i}", "thdistal") for i in range(PALM_CAPSULES)),
    ("mfdistal", "ffdistal"), ("rfdistal", "mfdistal"), ("lfdistal", "rfdistal"),
    ("mfproximal", "ffproximal"), ("rfproximal", "mfproximal"),
    ("lfproximal", "rfproximal"), ("lfdistal", "mfdistal"), ("lfdistal", "rfmiddle"),
    ("lfmiddle", "rfdistal"), ("lfmiddle", "rfmiddle"),
)  # fmt: skip
"""The only parts of the hand that feel each other, without friction."""

FRICTION = (1.0, 0.005, 0.0001)
HIDDEN = 3
"""Geom group of the collision shapes that a dressed hand covers (not drawn)."""


def shadow_hand(
    pos: Vec = ZERO,
    quat: tuple[float, float, float, float] = (0.5, -0.5, 0.5, -0.5),
) -> mujoco.MjSpec:
    """The right hand: 24 hinges, 20 position servos, 92 touch sites, five fingertips.

    Args:
      pos: position of the forearm's root in the world, m.
      quat: its orientation, w x y z; the default turns the palm up, fingers along +x.

    Returns:
      A MjSpec ready to compile or to be added to. Collision geoms have contype 1 and
      conaffinity 0, so the hand feels only geoms with conaffinity 1 and SELF_CONTACTS.
    """
    spec = mujoco.MjSpec()
    spec.modelname = "shadow_hand"
    spec.compiler.degree = False
    bodies = {"world": spec.worldbody}
    for link in LINKS:
        bodies[link.name] = _add_link(bodies[link.parent], link)
    bodies["forearm"].pos, bodies["forearm"].quat = pos, quat
    for name, (body, at) in FINGERTIPS.items():
        bodies[body].add_site(name=name, pos=at, size=[0.002] * 3, group=4)
    bodies["palm"].add_site(
        name="palm_centre", pos=(0, 0, 0.05), size=[0.002] * 3, group=4
    )
    for pad in touch.PADS:
        bodies[pad.body].add_site(
            name=pad.name,
            pos=pad.pos,
            size=pad.size,
            type=pad.type,
            group=touch.GROUP,
        )
    for joint in JOINTS:
        if joint.kp:
            _add_servo(spec, joint)
    for finger in ("FF", "MF", "RF", "LF"):
        _add_coupling(spec, finger)
    for geom1, geom2 in SELF_CONTACTS:
        spec.add_pair(
            name=f"{geom1}_{geom2}", geomname1=geom1, geomname2=geom2, condim=1
        )
    return spec


def _add_link(parent: mujoco.MjsBody, link: Link) -> mujoco.MjsBody:
    body = parent.add_body(name=link.name, pos=link.pos, quat=link.quat)
    body.explicitinertial = True
    body.mass, body.ipos, body.iquat = link.mass, link.com, link.iquat
    body.inertia = link.inertia
    if link.joint:
        joint = link.joint
        body.add_joint(
            name=joint.name,
            type=mujoco.mjtJoint.mjJNT_HINGE,
            axis=joint.axis,
            range=joint.range,
            limited=mujoco.mjtLimited.mjLIMITED_TRUE,
            damping=joint.damping,
            armature=joint.armature,
            frictionloss=0.001,
            margin=0.01,
        )
    for shape in link.capsules:
        body.add_geom(
            name=shape.name,
            type=mujoco.mjtGeom.mjGEOM_CAPSULE,
            size=[shape.radius, 0, 0],
            fromto=[*shape.start, *shape.end],
            condim=shape.condim,
            friction=FRICTION,
            contype=1,
            conaffinity=0,
            group=HIDDEN,
        )
    return body


def _add_servo(spec: mujoco.MjSpec, joint: Joint) -> None:
    """Position servo: torque kp (ctrl - angle), within ±force."""
    actuator = spec.add_actuator(
        name=joint.name,
        target=joint.name,
        trntype=mujoco.mjtTrn.mjTRN_JOINT,
        ctrllimited=mujoco.mjtLimited.mjLIMITED_TRUE,
        ctrlrange=joint.range,
        forcelimited=mujoco.mjtLimited.mjLIMITED_TRUE,
        forcerange=(-joint.force, joint.force),
    )
    actuator.set_to_position(kp=joint.kp)


def _add_coupling(spec: mujoco.MjSpec, finger: str) -> None:
    tendon = spec.add_tendon(
        name=f"{finger}J1c",
        limited=mujoco.mjtLimited.mjLIMITED_TRUE,
        range=COUPLING_RANGE,
    )
    for joint, arm in COUPLING.items():
        tendon.wrap_joint(f"{finger}{joint}", arm)
