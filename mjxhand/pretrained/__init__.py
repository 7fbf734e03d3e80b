"""Trained policies in the package: `pretrained:NAME` wherever a run folder is asked for.

    python -m mjxhand.evaluate pretrained:laptop

A policy that travels is a folder with the run's `config.json`, its `evaluation.json` and
`policy.npz`: weights as float16, the statistics that normalise observations as float32.
`python -m mjxhand.pretrained RUN FOLDER` makes one of a run; every command that takes a run
folder takes such a folder too. `pretrained:sight` is no policy but a visual stream, for
`--vision-stream`.
"""

import math
import zipfile
from pathlib import Path
from typing import Any

import jax
import numpy as np

from mjxhand.arguments import suggest
from mjxhand.config import ConfigError

PREFIX = "pretrained:"
FILE = "policy.npz"
ANOTHER = "it holds another network's weights than config.json beside it"
HERE = Path(__file__).resolve().parent


def names() -> list[str]:
    """Names of the policies in the package."""
    return sorted(path.parent.name for path in HERE.glob(f"*/{FILE}"))


def folder(run: str | Path) -> Path:
    """Where a run lies: `pretrained:NAME` in the package, anything else as it is given.

    Raises:
        ConfigError: there is no pretrained policy of that name.
    """
    if not str(run).startswith(PREFIX):
        return Path(run)
    name = str(run).removeprefix(PREFIX)
    if name not in names():
        hint = suggest(name, names()) or f": choose one of {', '.join(names())}"
        raise ConfigError(f"no pretrained policy {name!r}{hint}")
    return HERE / name


def refuse_name(out: str | Path) -> None:
    """Refuse a new folder that would be taken for a policy of the package.

    Raises:
        ConfigError: its name begins as theirs do.
    """
    if str(out).startswith(PREFIX):
        raise ConfigError(
            f"{out} is a name of the package's own policies: choose another folder"
        )


def output_folder(run: str | Path) -> Path:
    """Where what is made of a run goes: its own folder, or `runs/pretrained-NAME`."""
    if not str(run).startswith(PREFIX):
        return Path(run)
    return Path("runs") / str(run).replace(":", "-")


def write(path: Path, params: Any, stats: Any, update: int) -> None:
    """Write weights, statistics and the number of updates they had to an .npz file."""
    arrays: dict[str, Any] = {"update": np.int64(update)}
    for kind, tree, dtype in (("params", params, np.float16), ("stats", stats, None)):
        for name, leaf in _named(kind, tree).items():
            array = np.asarray(leaf)
            # Counters stay whole: only weights lose digits.
            floating = np.issubdtype(array.dtype, np.floating)
            arrays[name] = array.astype(dtype) if dtype and floating else array
    np.savez_compressed(path, **arrays)


def read(path: Path, params: Any, stats: Any) -> tuple[Any, Any, int]:
    """Arrays of the shapes of `params` and `stats`, and the number of updates.

    Raises:
        ConfigError: the file cannot be read, or holds another network's weights.
    """
    wanted = {"update": np.zeros((), np.int64)}
    wanted |= _named("params", params) | _named("stats", stats)
    try:
        with zipfile.ZipFile(path) as file:
            held = {n: _array(file, n, like.shape) for n, like in wanted.items()}
    # zipfile and zlib raise nearly anything at a damaged file.
    except Exception as error:
        text = " ".join(str(error).split()) or type(error).__name__
        raise ConfigError(f"cannot read {path}: {text}") from None

    def fill(kind: str, tree: Any) -> Any:
        return jax.tree_util.tree_map_with_path(
            lambda key_path, like: held[kind + jax.tree_util.keystr(key_path)].astype(
                like.dtype
            ),
            tree,
        )

    return fill("params", params), fill("stats", stats), int(held["update"])


def _array(file: zipfile.ZipFile, name: str, shape: tuple[int, ...]) -> np.ndarray:
    """An array of an .npz; its header is believed before its size is allocated."""
    try:
        member = file.open(f"{name}.npy")
    except KeyError:
        raise ValueError(f"{ANOTHER}: it lacks {name}") from None
    with member:
        np.lib.format.read_magic(member)
        there, fortran, dtype = np.lib.format.read_array_header_1_0(member)
        if there != shape or dtype.kind not in "fiu":
            raise ValueError(f"{ANOTHER}: {name} is {dtype}{list(there)}")
        content = member.read(dtype.itemsize * math.prod(shape))
        member.read(1)  # at the end zipfile compares the sum
    return np.frombuffer(content, dtype).reshape(shape, order="F" if fortran else "C")


def _named(kind: str, tree: Any) -> dict[str, Any]:
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {kind + jax.tree_util.keystr(path): leaf for path, leaf in leaves}
