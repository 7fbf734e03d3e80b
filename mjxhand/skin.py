"""The lettered faces of an object as one mesh with a flat texture.

The batch renderer knows no cube maps, which `look` wraps round objects: it would show all six
faces on each. A mesh whose texture coordinates lie in one image of six faces looks the same.
"""

import mujoco
import numpy as np
from PIL import Image

from mjxhand import look

NAME = "skin"
FACE_PIXELS = 32
"""Edge of a face in the texture. The batch renderer does not average a texture down, so it
must not be much finer than the frames: there a face is 15 to 20 pixels wide."""

# Direction of a point of a face, by the row of its axes: (s, t) run right and down the image
# from -1 to 1. OpenGL's cube map (specification 4.6, table 8.19), in look.FACES' order.
_FACES = (
    ((0, 0, -1), (0, -1, 0), (1, 0, 0)),
    ((0, 0, 1), (0, -1, 0), (-1, 0, 0)),
    ((1, 0, 0), (0, 0, 1), (0, 1, 0)),
    ((1, 0, 0), (0, 0, -1), (0, -1, 0)),
    ((1, 0, 0), (0, -1, 0), (0, 0, 1)),
    ((-1, 0, 0), (0, -1, 0), (0, 0, -1)),
)
# Patches along a face's edge: a cube's is flat, others are round.
_PATCHES = {mujoco.mjtGeom.mjGEOM_BOX: 1}
_ROUND_PATCHES = 8


def add(spec: mujoco.MjSpec, body: str, shape: look.Shape) -> None:
    """Cover the object of `body` with a lettered mesh, named `skin`.

    It takes no part in the physics.
    """
    vertices, triangles, texcoords = mesh(shape)
    spec.add_mesh(
        name=NAME,
        uservert=vertices.ravel(),
        userface=triangles.ravel(),
        usertexcoord=texcoords.ravel(),
        userfacetexcoord=triangles.ravel(),
    )
    faces = [Image.fromarray(look.face_image(*face)) for face in look.FACES]
    small = [
        np.asarray(f.resize((FACE_PIXELS, FACE_PIXELS), Image.Resampling.BOX))
        for f in faces
    ]
    texture = spec.add_texture(
        name=NAME,
        type=mujoco.mjtTexture.mjTEXTURE_2D,
        width=FACE_PIXELS,
        height=len(small) * FACE_PIXELS,
        nchannel=3,
    )
    texture.data = np.concatenate(small).tobytes()
    material = spec.add_material(name=NAME, specular=0.3, shininess=0.4)
    material.textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = NAME
    spec.body(body).add_geom(
        name=NAME,
        type=mujoco.mjtGeom.mjGEOM_MESH,
        meshname=NAME,
        material=NAME,
        contype=0,
        conaffinity=0,
        mass=0,
    )


def mesh(shape: look.Shape) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vertices [V, 3] (m), triangles int[F, 3] counted outwards, texture coordinates [V, 2].

    Texture coordinates are those of six faces on top of each other, (0, 0) above left.
    """
    kind, size = shape
    patches = _PATCHES.get(kind, _ROUND_PATCHES)
    grid = np.linspace(-1.0, 1.0, patches + 1)
    t, s = (x.ravel() for x in np.meshgrid(grid, grid, indexing="ij"))
    corner = np.arange(patches)[:, None] * (patches + 1) + np.arange(patches)
    a, b = corner.ravel(), corner.ravel() + 1
    c, d = a + patches + 1, b + patches + 1
    square = np.concatenate([np.stack([a, d, b], 1), np.stack([a, c, d], 1)])
    # Half a texel off the rim, so that no face is blended with its neighbour in the image.
    inset = 1.0 - 1.0 / FACE_PIXELS
    vertices, triangles, texcoords = [], [], []
    for index, axes in enumerate(_FACES):
        directions = np.stack([s, t, np.ones_like(s)], 1) @ np.array(axes, float)
        vertices.append(_surface(kind, np.array(size), directions))
        u, v = 0.5 * (1.0 + inset * s), 0.5 * (1.0 + inset * t)
        texcoords.append(np.stack([u, (index + v) / len(_FACES)], 1))
        triangles.append(square + index * len(s))
    return (
        np.concatenate(vertices),
        np.concatenate(triangles),
        np.concatenate(texcoords),
    )


def _surface(
    kind: mujoco.mjtGeom, size: np.ndarray, directions: np.ndarray
) -> np.ndarray:
    """Where rays from the centre leave the shape, [V, 3]; a box's corners where they are."""
    if kind == mujoco.mjtGeom.mjGEOM_BOX:
        return directions * size
    unit = directions / np.linalg.norm(directions, axis=1, keepdims=True)
    if kind == mujoco.mjtGeom.mjGEOM_SPHERE:
        return size[0] * unit
    if kind == mujoco.mjtGeom.mjGEOM_ELLIPSOID:
        return size * unit
    radius, half = size[:2]  # a capsule along z
    sine = np.linalg.norm(unit[:, :2], axis=1)
    cosine = np.abs(unit[:, 2])
    side = radius / np.maximum(sine, 1e-9)
    inside = np.maximum(radius**2 - (half * sine) ** 2, 0.0)
    cap = half * cosine + np.sqrt(inside)
    return np.where(side * cosine <= half, side, cap)[:, None] * unit
