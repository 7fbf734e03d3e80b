"""The file of a pretrained visual stream: weights of V1 to IT and of the pose head.

An .npz of arrays named `V1.filters.kernel` and so on, and of one text, `about`, which is JSON:
what the frames were and how well the pose is read from them.
"""

import json
import os
from pathlib import Path
from typing import Any

import jax
import numpy as np

from mjxhand import pretrained, storage
from mjxhand.config import ConfigError

ABOUT = "about"
TOLD = ("frame", "cameras", "units_scale", "object")
"""What every file tells of the frames and the network that it is for."""
FILE = "vision.npz"
"""Its name in the folder of a run, or of the package."""


def write(path: str | Path, params: Any, about: dict[str, Any]) -> None:
    """Write the parameters {"params": {area: ...}} of a `VisualStream`, whole or not at all."""
    path = Path(path)
    hidden = path.with_name(f".{path.name}.tmp")
    arrays: dict[str, Any] = storage.to_arrays(params["params"])
    arrays[ABOUT] = np.array(json.dumps(about))
    with hidden.open("wb") as file:
        np.savez_compressed(file, **arrays)
    storage.sync(hidden)
    os.replace(hidden, path)


def locate(path: str | Path) -> Path:
    """Where a stream lies: `pretrained:NAME` in the package, anything else as it is given.

    Raises:
        ConfigError: the package has no stream of that name.
    """
    if not str(path).startswith(pretrained.PREFIX):
        return Path(path)
    there = {f"{pretrained.PREFIX}{p.parent.name}": p for p in _packaged()}
    if str(path) not in there:
        choices = " or ".join([*there, "a file of mjxhand.pretrain"])
        raise ConfigError(
            f"network.vision_stream: the package has no stream {path}: give {choices}"
        )
    return there[str(path)]


def _packaged() -> list[Path]:
    return sorted(pretrained.HERE.glob(f"*/{FILE}"))


def read(path: str | Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Arrays by dotted name, and what is told about them.

    Args:
        path: a file, or `pretrained:NAME`.

    Raises:
        ConfigError: the file cannot be read, or is no such file.
    """
    path = locate(path)
    try:
        with np.load(path, allow_pickle=False) as file:
            held = {name: file[name] for name in file.files}
        about = json.loads(str(held.pop(ABOUT)))
        if not {*TOLD} <= set(dict(about)):
            raise ValueError(f"it must tell {TOLD}")
    # zipfile, zlib and numpy raise nearly anything at a file of another kind.
    except Exception as error:
        problem = (
            getattr(error, "strerror", None) or "it is no file of mjxhand.pretrain"
        )
        raise ConfigError(
            f"network.vision_stream: cannot read {path}: {problem}"
        ) from None
    return held, about


def _names(cameras: str) -> list[str]:
    return [name.strip() for name in cameras.split(",")]


def put(
    params: Any,
    path: str | Path,
    cameras: str | None = None,
    frame_size: int | None = None,
) -> Any:
    """`params` of a network with the file's weights in place of its own.

    Raises:
        ConfigError: the network has no such areas, or they have another size, or see other
            frames, or those of other `cameras` (`env.cameras`) or of another `frame_size`
            (`env.frame_size`, pixels) if these are given.
    """
    held, about = read(path)
    if cameras and _names(about["cameras"]) != _names(cameras):
        raise ConfigError(
            f"network.vision_stream: {path} was trained on frames of --env.cameras "
            f"{about['cameras']}, not {cameras}: give those, or train a stream for these"
        )
    # Filters of one size fit frames of many, but would see another scale.
    size = (about.get("frame") or [frame_size])[0]
    if frame_size and size != frame_size:
        raise ConfigError(
            f"network.vision_stream: {path} was trained on frames of --env.frame-size {size}, "
            f"not {frame_size}: give that, or train a stream for these"
        )
    own = storage.specs(params["params"])
    given = storage.specs(held)
    for name, spec in given.items():
        if own.get(name) != spec:
            raise ConfigError(
                f"network.vision_stream: {path} has {name} as {spec}, the network "
                f"{'lacks it' if name not in own else 'as ' + own[name]}: the file is "
                f"for frames of {about.get('frame')} and --network.units-scale "
                f"{about.get('units_scale')}"
            )
    arrays = storage.to_arrays(params["params"]) | held
    filled = storage.from_arrays(
        arrays, jax.tree.map(np.asarray, jax.device_get(params["params"]))
    )
    return {**params, "params": filled}
