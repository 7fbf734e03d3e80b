"""How the scene looks: materials, a lettered cube, a goal cube, light, cameras.

Nothing here touches the physics: what is added has no mass and no contacts.
"""

import mujoco
import numpy as np
from PIL import Image, ImageDraw, ImageFont

Shape = tuple[mujoco.mjtGeom, list[float]]
"""Type and half sizes (m) of an object."""

CUBE, GOAL = "cube", "goal"
"""Names of the materials of the object and of its goal."""

GOAL_POS = (0.37, 0.16, 0.06)
"""Where the goal cube is shown, m."""

FLOOR_HEIGHT = -0.12

# Colours that colour-blind people tell apart (Okabe and Ito 2008), and letters without
# rotational symmetry, so that a face shows its turn; in MuJoCo's order of a cube's
# faces (+x, -x, +y, -y, +z, -z).
FACES = (
    ("A", "#E69F00"),
    ("B", "#56B4E9"),
    ("C", "#009E73"),
    ("D", "#F0E442"),
    ("E", "#0072B2"),
    ("F", "#D55E00"),
)
FACE_PIXELS = 256

MATERIALS = {
    # name: rgba, specular, shininess
    "shell": ((0.115, 0.125, 0.145, 1.0), 0.45, 0.55),
    "joint": ((0.36, 0.39, 0.44, 1.0), 0.8, 0.7),
    "pad": ((0.80, 0.80, 0.78, 1.0), 0.15, 0.15),
    "floor": ((0.79, 0.81, 0.835, 1.0), 0.0, 0.0),
}

# Shells over the collision shapes: body, kind, material, half size, centre, and the axis
# (z unless named) of cylinders. They make one smooth palm of a row of capsules.
SHELLS = (
    ("forearm", "cylinder", "shell", (0.056, 0.085), (0, 0.01, 0.10), "z"),
    ("forearm", "cylinder", "joint", (0.057, 0.004), (0, 0.01, 0.187), "z"),
    ("forearm", "ellipsoid", "shell", (0.056, 0.056, 0.045), (0, 0.01, 0.189), "z"),
    ("forearm", "cylinder", "shell", (0.026, 0.02), (0, 0.002, 0.222), "z"),
    ("wrist", "cylinder", "joint", (0.0155, 0.019), (0, 0, 0), "y"),
    ("wrist", "cylinder", "shell", (0.011, 0.012), (0, 0, 0.017), "z"),
    ("palm", "box", "shell", (0.0209, 0.0111, 0.03795), (0.011, 0, 0.038), "z"),
    ("palm", "capsule", "shell", (0.0111, 0.0209), (0.011, 0, 0.0001), "x"),
    ("palm", "capsule", "shell", (0.0111, 0.0209), (0.011, 0, 0.0759), "x"),
    ("palm", "box", "shell", (0.0115, 0.0105, 0.014), (-0.021, 0, 0.014), "z"),
    ("palm", "cylinder", "joint", (0.0135, 0.017), (0, 0, 0), "x"),
    ("thbase", "ellipsoid", "joint", (0.0145, 0.0145, 0.0145), (0, 0, 0), "z"),
    ("thhub", "cylinder", "joint", (0.0095, 0.0135), (0, 0, 0), "x"),
    ("thdistal", "cylinder", "joint", (0.0085, 0.0115), (0, 0, 0), "y"),
    *(
        (f"{finger}{link}", "cylinder", "joint", half, (0, 0, 0), "x")
        for finger in ("ff", "mf", "rf", "lf")
        for link, half in (
            ("proximal", (0.0088, 0.0105)),
            ("middle", (0.0078, 0.0103)),
            ("distal", (0.0068, 0.0083)),
        )
    ),
)
QUARTER = 0.5**0.5
TURN = {  # quaternion that lays a geom's z axis along the named one
    "x": (QUARTER, 0.0, QUARTER, 0.0),
    "y": (QUARTER, QUARTER, 0.0, 0.0),
    "z": (1.0, 0.0, 0.0, 0.0),
}
HIDDEN_GROUP = 3
HIDDEN_SHAPES = ("forearm", "wrist")
"""Collision shapes that shells replace in the picture."""

# Camera: position, point it looks at, vertical field of view (degrees).
CAMERAS = {
    "front": ((0.72, -0.27, 0.30), (0.36, 0.055, 0.025), 33.0),
    "top": ((0.365, 0.045, 0.62), (0.365, 0.045, 0.0), 30.0),
    "palm": ((0.52, -0.085, 0.21), (0.37, 0.01, 0.015), 42.0),
}


def face_image(letter: str, colour: str, size: int = FACE_PIXELS) -> np.ndarray:
    """One face of the cube: uint8[size, size, 3]."""
    image = Image.new("RGB", (size, size), "#20242A")
    draw = ImageDraw.Draw(image)
    edge = size // 24
    draw.rounded_rectangle(
        (edge, edge, size - edge - 1, size - edge - 1), radius=size // 10, fill=colour
    )
    font = ImageFont.load_default(size=int(size * 0.72))
    draw.text(
        (size / 2, size / 2),
        letter,
        font=font,
        anchor="mm",
        fill="#15181C",
        stroke_width=size // 40,
        stroke_fill="#15181C",
    )
    return np.asarray(image)


def dress(spec: mujoco.MjSpec, shape: Shape | None) -> None:
    """Add everything that is only to be looked at, the goal object among it.

    The faces of the cube are also wrapped round other shapes, so that they show how they
    are turned.
    """
    _add_materials(spec)
    _add_goal(spec, shape)
    _dress_hand(spec)
    _add_stage(spec)


def _add_materials(spec: mujoco.MjSpec) -> None:
    pixels = np.concatenate([face_image(*face) for face in FACES])
    texture = spec.add_texture(
        name="faces",
        type=mujoco.mjtTexture.mjTEXTURE_CUBE,
        width=FACE_PIXELS,
        height=6 * FACE_PIXELS,
        nchannel=3,
    )
    texture.data = pixels.tobytes()
    for name, alpha in ((CUBE, 1.0), (GOAL, 0.6)):
        material = spec.add_material(
            name=name, rgba=(1, 1, 1, alpha), specular=0.3, shininess=0.4
        )
        material.textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = "faces"
    for name, (rgba, specular, shininess) in MATERIALS.items():
        spec.add_material(name=name, rgba=rgba, specular=specular, shininess=shininess)


def _add_goal(spec: mujoco.MjSpec, shape: Shape | None) -> None:
    goal = spec.worldbody.add_body(name="goal", pos=GOAL_POS, mocap=True)
    if shape is None:
        return
    kind, size = shape
    goal.add_geom(
        name="goal",
        type=kind,
        size=size,
        contype=0,
        conaffinity=0,
        group=1,
        mass=0,
        material=GOAL,
    )


def _dress_hand(spec: mujoco.MjSpec) -> None:
    """Draw the collision shapes where they look like a hand, and shells elsewhere."""
    for geom in spec.geoms:
        if geom.type == mujoco.mjtGeom.mjGEOM_CAPSULE and geom.contype:
            hidden = geom.name in HIDDEN_SHAPES
            geom.group = HIDDEN_GROUP if hidden else 0
            geom.material = "pad" if geom.name.endswith("distal") else "shell"
    kinds = {
        "box": mujoco.mjtGeom.mjGEOM_BOX,
        "capsule": mujoco.mjtGeom.mjGEOM_CAPSULE,
        "cylinder": mujoco.mjtGeom.mjGEOM_CYLINDER,
        "ellipsoid": mujoco.mjtGeom.mjGEOM_ELLIPSOID,
    }
    for i, (body, kind, material, half, centre, axis) in enumerate(SHELLS):
        spec.body(body).add_geom(
            name=f"shell{i}_{body}",
            type=kinds[kind],
            size=[*half, *([0.0] * (3 - len(half)))],
            pos=centre,
            quat=TURN[axis],
            material=material,
            contype=0,
            conaffinity=0,
            mass=0,
            group=1,
        )


def _add_stage(spec: mujoco.MjSpec) -> None:
    """Floor, sky, light and cameras."""
    world = spec.worldbody
    visual = spec.visual
    visual.global_.offwidth, visual.global_.offheight = 1920, 1080
    visual.quality.shadowsize, visual.quality.offsamples = 4096, 8
    visual.map.znear = 0.01
    visual.headlight.ambient = (0.50, 0.50, 0.51)
    visual.headlight.diffuse = (0.16, 0.16, 0.16)
    visual.headlight.specular = (0.1, 0.1, 0.1)
    spec.stat.extent, spec.stat.center = 0.6, (0.35, 0.0, 0.0)
    spec.add_texture(
        name="sky",
        type=mujoco.mjtTexture.mjTEXTURE_SKYBOX,
        builtin=mujoco.mjtBuiltin.mjBUILTIN_GRADIENT,
        rgb1=(0.93, 0.95, 0.97),
        rgb2=(0.80, 0.83, 0.87),
        width=256,
        height=256,
    )
    world.add_geom(
        name="floor",
        type=mujoco.mjtGeom.mjGEOM_PLANE,
        size=[0, 0, 0.05],
        pos=(0, 0, FLOOR_HEIGHT),
        material="floor",
        contype=0,
        conaffinity=0,
        group=1,
    )
    lights = (
        ("key", (0.15, -0.35, 1.0), (0.36, 0.36, 0.34), True),
        ("fill", (0.9, 0.5, 0.8), (0.20, 0.21, 0.24), False),
    )
    for name, pos, diffuse, shadow in lights:
        aim = np.array([0.37, 0.03, 0.0]) - pos
        world.add_light(
            name=name,
            type=mujoco.mjtLightType.mjLIGHT_DIRECTIONAL,
            pos=pos,
            dir=aim / np.linalg.norm(aim),
            diffuse=diffuse,
            specular=(0.25, 0.25, 0.25),
            castshadow=shadow,
        )
    for name, (pos, target, fovy) in CAMERAS.items():
        world.add_camera(name=name, pos=pos, quat=_look_at(pos, target), fovy=fovy)


def _look_at(pos, target) -> np.ndarray:
    """Quaternion of a camera at `pos` with `target` in its centre, z upright.

    A camera looks along its own -z, with y up in the picture; straight down, the
    fingers (+x) point up in it.
    """
    back = np.subtract(pos, target)
    back /= np.linalg.norm(back)
    up = np.array([1.0, 0, 0]) if abs(back[2]) > 0.999 else np.array([0, 0, 1.0])
    right = np.cross(up, back)
    right /= np.linalg.norm(right)
    axes = np.stack([right, np.cross(back, right), back], axis=1)
    quat = np.zeros(4)
    mujoco.mju_mat2Quat(quat, axes.ravel())
    return quat
