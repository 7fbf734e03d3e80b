"""The world of the task: hand, object, goal, sensors, solver → one MjModel.

The object is called "cube" in the model's names, whatever its shape. An empty hand keeps
that body, without a shape, so that every state has one layout.
"""

from dataclasses import dataclass

import mujoco
import numpy as np

from mjxhand import hand, look, meshes, touch
from mjxhand.config import ConfigError, SceneConfig

CUBE_START = (0.36, 0.0, 0.10)
"""Where an episode's cube begins, m: above the palm (the showcase's place)."""

PARKED = (0.36, 0.0, -1.0)
"""Where the body of an absent object floats, m: without shape, contacts and weight."""

# Half sizes in half cube edges. A cylinder is a capsule: MJX collides those exactly.
OBJECTS = {
    "cube": (mujoco.mjtGeom.mjGEOM_BOX, (1.0, 1.0, 1.0)),
    "sphere": (mujoco.mjtGeom.mjGEOM_SPHERE, (1.0, 0.0, 0.0)),
    "capsule": (mujoco.mjtGeom.mjGEOM_CAPSULE, (0.7, 0.7, 0.0)),
    "egg": (mujoco.mjtGeom.mjGEOM_ELLIPSOID, (0.9, 0.9, 1.2)),
}

# Postures by joint, rad; joints not named stay at 0.
PUBLISHED_POSE = {
    "WRJ1": -0.165, "WRJ0": -0.320,
    "FFJ3": 0.143, "FFJ2": 0.320, "FFJ1": 0.713, "FFJ0": 0.671,
    "MFJ3": 0.0002, "MFJ2": 0.315, "MFJ1": 0.766, "MFJ0": 0.732,
    "RFJ3": 0.0004, "RFJ2": 0.367, "RFJ1": 0.712, "RFJ0": 0.670,
    "LFJ4": 0.053, "LFJ3": -0.136, "LFJ2": 0.399, "LFJ1": 0.742, "LFJ0": 0.704,
    "THJ4": 0.004, "THJ3": 0.551, "THJ2": -0.015, "THJ1": -0.002, "THJ0": -0.789,
}  # fmt: skip
CUPPED_POSE = {
    "WRJ1": -0.12, "WRJ0": -0.25,
    "FFJ3": 0.05, "FFJ2": 0.70, "FFJ1": 0.75, "FFJ0": 0.80,
    "MFJ3": 0.0, "MFJ2": 0.70, "MFJ1": 0.80, "MFJ0": 0.85,
    "RFJ3": 0.0, "RFJ2": 0.70, "RFJ1": 0.75, "RFJ0": 0.80,
    "LFJ4": 0.35, "LFJ3": -0.05, "LFJ2": 0.70, "LFJ1": 0.75, "LFJ0": 0.80,
    "THJ4": 0.30, "THJ3": 0.45, "THJ2": 0.0, "THJ1": 0.0, "THJ0": -0.35,
}  # fmt: skip
POSES = {"published": PUBLISHED_POSE, "cupped": CUPPED_POSE}

INTEGRATORS = {
    "euler": mujoco.mjtIntegrator.mjINT_EULER,
    "implicitfast": mujoco.mjtIntegrator.mjINT_IMPLICITFAST,
}


@dataclass(frozen=True)
class Scene:
    """A compiled model and the names its users need. Not a pytree: it is constant."""

    mj_model: mujoco.MjModel  # nq 31, nv 30, nu 20; mocap body "goal"
    spec: mujoco.MjSpec  # what mj_model was compiled from; copy it before a change
    shape: look.Shape | None  # of the object; None: there is none
    object: str  # what lies in the hand: a name in OBJECTS, or "none"
    sensors: dict[str, slice]  # name → place in sensordata, see SENSORS
    hand_qpos: slice  # 24 joint angles, rad
    cube_qpos: slice  # position (m), unit quaternion w x y z
    hand_qvel: slice  # 24 joint velocities, rad/s
    cube_qvel: slice  # linear velocity (world, m/s), angular velocity (cube, rad/s)
    actuated: np.ndarray  # int[20], index in qpos of the joint each actuator drives
    ctrl_range: np.ndarray  # float[20, 2], rad
    start_qpos: np.ndarray  # float[31], start pose with the cube above the palm
    start_ctrl: np.ndarray  # float[20], servo targets that hold the start pose
    palm_normal: np.ndarray  # float[3], out of the palm, in the frame of palm_centre


SENSORS = ("touch", "fingertip", "actuator_force", "cube_in_palm")
"""Groups of sensors: touch 92 (N), fingertip 15 (world, m; FF MF RF LF TH),
actuator_force 20 (N·m), cube_in_palm 3 (m, in the frame of site "palm_centre")."""


def build(cfg: SceneConfig = SceneConfig(), *, with_meshes: bool = False) -> Scene:
    """Compile the scene.

    Args:
      with_meshes: for pictures: draw the published meshes, see `mjxhand.meshes`.

    Raises:
      ConfigError: there are no meshes.
      ValueError: if MuJoCo cannot compile it (a size or density that is not positive).
    """
    spec = hand.shadow_hand()
    _set_solver(spec, cfg)
    thing = "cube" if cfg.object == "auto" else cfg.object
    shape = object_shape(thing, cfg)
    _add_object(spec, shape, cfg)
    widths = _add_sensors(spec)
    look.dress(spec, shape)
    if with_meshes:
        meshes.dress(spec, hand.HIDDEN)
    _pair_up(spec)
    spec.add_numeric(name="max_contact_points", data=[cfg.max_contact_points])
    start_qpos, start_ctrl = _start(cfg, CUBE_START if shape else PARKED)
    spec.add_key(name="start", qpos=start_qpos, ctrl=start_ctrl)
    try:
        model = spec.compile()
    except ValueError as error:  # as MuJoCo says it, of too small a mass
        raise ConfigError(
            f"MuJoCo cannot make the scene ({' '.join(str(error).split())}): change "
            f"scene.cube_edge ({cfg.cube_edge:g} m) or "
            f"scene.cube_density ({cfg.cube_density:g} kg/m³)"
        ) from None
    ends = np.cumsum(list(widths.values()))
    joint = model.actuator_trnid[:, 0]
    return Scene(
        mj_model=model,
        spec=spec,
        shape=shape,
        object=thing,
        sensors={
            name: slice(int(end) - width, int(end))
            for (name, width), end in zip(widths.items(), ends, strict=True)
        },
        hand_qpos=slice(0, 24),
        cube_qpos=slice(24, 31),
        hand_qvel=slice(0, 24),
        cube_qvel=slice(24, 30),
        actuated=model.jnt_qposadr[joint],
        ctrl_range=model.actuator_ctrlrange.copy(),
        start_qpos=start_qpos,
        start_ctrl=start_ctrl,
        palm_normal=np.array([0.0, -1.0, 0.0]),
    )


def _set_solver(spec: mujoco.MjSpec, cfg: SceneConfig) -> None:
    option = spec.option
    option.timestep = cfg.timestep
    option.iterations = cfg.iterations
    option.ls_iterations = cfg.ls_iterations
    option.integrator = INTEGRATORS[cfg.integrator]
    option.solver = mujoco.mjtSolver.mjSOL_NEWTON
    option.cone = mujoco.mjtCone.mjCONE_PYRAMIDAL
    # What MJX does best on an accelerator; `native` takes its own choice in C.
    option.jacobian = mujoco.mjtJacobian.mjJAC_DENSE


def object_shape(thing: str, cfg: SceneConfig) -> look.Shape | None:
    """Geom type and half sizes (m) of an object; None for "none"."""
    if thing == "none":
        return None
    kind, halves = OBJECTS[thing]
    return kind, [half * cfg.cube_edge / 2 for half in halves]


def _add_object(
    spec: mujoco.MjSpec, shape: look.Shape | None, cfg: SceneConfig
) -> None:
    body = spec.worldbody.add_body(name="cube", pos=CUBE_START if shape else PARKED)
    body.add_joint(
        name="cube", type=mujoco.mjtJoint.mjJNT_FREE, damping=cfg.object_damping
    )
    if shape is None:
        body.gravcomp = 1.0
        body.explicitinertial = True
        body.mass, body.inertia = 0.07, [3e-5] * 3
        return
    kind, size = shape
    body.add_geom(
        name="cube",
        type=kind,
        size=size,
        density=cfg.cube_density,
        friction=hand.FRICTION,
        condim=4,
        contype=0,
        conaffinity=1,
        material=look.CUBE,
    )


def _pair_up(spec: mujoco.MjSpec) -> None:
    """Name every pair of geoms that may touch, instead of masks that select them.

    C MuJoCo then looks at these pairs alone and has no broad phase.
    The contacts are the same.
    """
    parts = [geom for geom in spec.geoms if geom.contype]
    things = [geom for geom in spec.geoms if geom.conaffinity]
    for thing in things:
        for part in parts:
            # What MuJoCo makes of two geoms of equal priority: the larger of each.
            slide, spin, roll = np.maximum(part.friction, thing.friction)
            spec.add_pair(
                name=f"{part.name}_{thing.name}",
                geomname1=part.name,
                geomname2=thing.name,
                condim=max(part.condim, thing.condim),
                friction=[slide, slide, spin, roll, roll],
            )
    for geom in (*parts, *things):
        geom.contype = geom.conaffinity = 0


def _add_sensors(spec: mujoco.MjSpec) -> dict[str, int]:
    """Add every sensor, in the order of SENSORS; returns the width of each group."""
    kind, obj = mujoco.mjtSensor, mujoco.mjtObj
    for pad in touch.PADS:
        spec.add_sensor(
            name=pad.name,
            type=kind.mjSENS_TOUCH,
            objtype=obj.mjOBJ_SITE,
            objname=pad.name,
        )
    for tip in hand.FINGERTIPS:
        spec.add_sensor(
            name=tip, type=kind.mjSENS_FRAMEPOS, objtype=obj.mjOBJ_SITE, objname=tip
        )
    servos = [joint.name for joint in hand.JOINTS if joint.kp]
    for name in servos:
        spec.add_sensor(
            name=f"force_{name}",
            type=kind.mjSENS_ACTUATORFRC,
            objtype=obj.mjOBJ_ACTUATOR,
            objname=name,
        )
    spec.add_sensor(
        name="cube_in_palm",
        type=kind.mjSENS_FRAMEPOS,
        objtype=obj.mjOBJ_XBODY,
        objname="cube",
        reftype=obj.mjOBJ_SITE,
        refname="palm_centre",
    )
    sizes = (len(touch.PADS), 3 * len(hand.FINGERTIPS), len(servos), 3)
    return dict(zip(SENSORS, sizes, strict=True))


def _start(
    cfg: SceneConfig, place: tuple[float, float, float]
) -> tuple[np.ndarray, np.ndarray]:
    """qpos [31] of the start pose and the servo targets [20] that hold it."""
    pose = POSES[cfg.start_pose]
    angles = [pose.get(joint.name, 0.0) for joint in hand.JOINTS]
    targets = [pose.get(joint.name, 0.0) for joint in hand.JOINTS if joint.kp]
    return np.array([*angles, *place, 1.0, 0.0, 0.0, 0.0]), np.array(targets)
