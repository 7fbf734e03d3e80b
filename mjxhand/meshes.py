"""The published visual meshes of the hand, for pictures only.

They are not part of this package: the wheel of gymnasium-robotics has them, which
`pip install 'mjxhand[meshes]'` brings. (Models of the Shadow Robot Company, adapted by
OpenAI; the licence lies beside them.)
"""

import importlib.util
from pathlib import Path

import mujoco
import numpy as np

from mjxhand.config import ConfigError

FOLDER = "envs/assets/stls/hand"
MM = (1e-3, 1e-3, 1e-3)

# Name, file, scale to metres.
FILES = {
    "forearm": ("forearm_electric.stl", (1.0, 1.0, 1.0)),
    "wrist": ("wrist.stl", MM),
    "palm": ("palm.stl", MM),
    "knuckle": ("knuckle.stl", MM),
    "proximal": ("F3.stl", MM),
    "middle": ("F2.stl", MM),
    "distal": ("F1.stl", MM),
    "metacarpal": ("lfmetacarpal.stl", MM),
    "thproximal": ("TH3_z.stl", MM),
    "thmiddle": ("TH2_z.stl", MM),
    "thdistal": ("TH1_z.stl", MM),
}

# Body, mesh, its place (m) and turn about z (rad) in the body, material: as published.
PARTS = (
    ("forearm", "forearm", (0, 0.01, 0.04), 1.57, "shell"),
    ("wrist", "wrist", (0, 0, 0), 0.0, "joint"),
    ("palm", "palm", (0, 0, 0), 0.0, "shell"),
    ("lfmetacarpal", "metacarpal", (-0.016, 0, -0.023), 0.0, "shell"),
    *(
        (f"{finger}{mesh}", mesh, (0, 0, z), 0.0, material)
        for finger in ("ff", "mf", "rf", "lf")
        for mesh, z, material in (
            ("knuckle", 0.0, "joint"),
            ("proximal", 0.0, "shell"),
            ("middle", 0.0, "shell"),
            ("distal", 0.001, "pad"),
        )
    ),
    ("thproximal", "thproximal", (0, 0, 0), 0.0, "shell"),
    ("thmiddle", "thmiddle", (0, 0, 0), 0.0, "shell"),
    ("thdistal", "thdistal", (0, 0, 0), 0.0, "pad"),
)


def folder() -> Path:
    """Where the meshes lie.

    Raises:
      ConfigError: gymnasium-robotics is not installed, or has no meshes any more.
    """
    # Found, not imported: its import would start PyGame and others.
    spec = importlib.util.find_spec("gymnasium_robotics")
    if spec is None or spec.origin is None:
        raise ConfigError(
            "the published meshes are not installed: pip install 'mjxhand[meshes]', or "
            "leave out --meshes"
        )
    path = Path(spec.origin).parent / FOLDER
    missing = [name for name, _ in FILES.values() if not (path / name).is_file()]
    if missing:
        raise ConfigError(
            f"{path} has no {missing[0]}: install gymnasium-robotics 1.4, or leave out "
            "--meshes"
        )
    return path


def dress(spec: mujoco.MjSpec, hidden_group: int) -> None:
    """Draw the meshes in place of every shape of the hand, which go to `hidden_group`.

    What is added has no mass and touches nothing.
    """
    path = folder()
    for body in {body for body, *_ in PARTS} | {"thbase", "thhub"}:
        for geom in spec.body(body).geoms:
            geom.group = hidden_group
    for name, (file, scale) in FILES.items():
        mesh = spec.add_mesh(name=name, file=str(path / file), scale=scale)
        # Not all are closed, so that they have a surface but no volume.
        mesh.inertia = mujoco.mjtMeshInertia.mjMESH_INERTIA_SHELL
    for body, mesh, pos, turn, material in PARTS:
        spec.body(body).add_geom(
            name=f"mesh_{body}",
            type=mujoco.mjtGeom.mjGEOM_MESH,
            meshname=mesh,
            pos=pos,
            quat=(np.cos(turn / 2), 0, 0, np.sin(turn / 2)),
            material=material,
            contype=0,
            conaffinity=0,
            mass=0,
            group=1,
        )
