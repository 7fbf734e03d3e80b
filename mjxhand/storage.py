"""Pytrees as files: their arrays, and a manifest that lists and sums every file.

Reading runs no code of the files: they are bytes whose types, shapes and places the manifest
says, and the reader believes it only as far as the sizes of the files bear it out.
"""

import contextlib
import hashlib
import json
import math
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from mjxhand.arrays import Arrays, read_arrays

FORMAT = 2
"""1: compressed arrays, before version 0.1."""
MANIFEST = "manifest.json"
MAX_MANIFEST = 2**24
FILE_NAME = re.compile(r"[a-z]+(/(?!\.\.?(/|$))[\w.-]+)+")
SPEC = re.compile(r"([a-z]\w*)\[((?:\d{1,12},)*\d{1,12}|)\]")


def to_arrays(tree: Any) -> Arrays:
    """Host copies of a pytree's leaves by dotted name; typed PRNG keys as their data."""
    arrays: Arrays = {}
    for name, leaf in _named_leaves(tree):
        # A copy: the next update may overwrite the buffer, which it owns.
        arrays[name] = np.array(_raw(leaf))
    return arrays


def from_arrays(arrays: Mapping[str, np.ndarray], target: Any) -> Any:
    """The pytree like `target` that holds `arrays`, placed as its leaves are."""
    leaves = []
    for name, like in _named_leaves(target):
        array = arrays[name]
        if _is_key(like):
            impl = jax.random.key_impl(like) if isinstance(like, jax.Array) else None
            leaf = jax.random.wrap_key_data(jax.numpy.asarray(array), impl=impl)
        elif isinstance(like, np.ndarray | np.generic):
            leaves.append(array)
            continue
        else:
            leaf = array
        leaves.append(jax.device_put(leaf, getattr(like, "sharding", None)))
    return jax.tree.unflatten(jax.tree.structure(target), leaves)


def _named_leaves(tree: Any) -> list[tuple[str, Any]]:
    named = [
        (jax.tree_util.keystr(path, simple=True, separator="."), leaf)
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    ]
    if len(dict(named)) != len(named):
        raise ValueError("two leaves of the pytree have the same dotted name")
    return named


def _is_key(leaf: Any) -> bool:
    dtype = getattr(leaf, "dtype", None)
    return dtype is not None and jax.numpy.issubdtype(dtype, jax.dtypes.prng_key)


def _raw(leaf: Any) -> Any:
    """A leaf as it is stored: key data of a PRNG key, JAX's own type of a Python number."""
    if isinstance(leaf, bool | int | float | complex):
        return jax.numpy.asarray(leaf)
    return jax.random.key_data(leaf) if _is_key(leaf) else leaf


def specs(tree: Any) -> dict[str, str]:
    """Type and shape of every leaf as it is stored, such as `float32[3,4]`, by name."""
    return {name: _spec(leaf) for name, leaf in _named_leaves(tree)}


def _spec(leaf: Any) -> str:
    raw = jax.eval_shape(_raw, leaf) if _is_key(leaf) else _raw(leaf)
    return f"{np.dtype(raw.dtype).name}[{','.join(map(str, raw.shape))}]"


def read(folder: Path, saved: Mapping[str, str]) -> Arrays:
    """Read what `write_arrays` wrote. `saved`: the specs in the manifest.

    Raises:
        ValueError: the files do not hold what `saved` says; nothing was allocated.
    """
    kinds = {
        name: np.broadcast_to(np.zeros((), dtype), shape)
        for name, (dtype, shape) in ((n, _parse(spec)) for n, spec in saved.items())
    }
    return read_arrays(folder, kinds)


def num_bytes(saved: Mapping[str, str]) -> int:
    """Bytes that arrays of these specs take."""
    kinds = map(_parse, saved.values())
    return sum(dtype.itemsize * math.prod(shape) for dtype, shape in kinds)


def _parse(spec: str) -> tuple[np.dtype, tuple[int, ...]]:
    """Type and shape of a spec such as `float32[3,4]`."""
    match = SPEC.fullmatch(spec)
    if not match:
        raise ValueError(f"{spec!r} is no type and shape of an array")
    try:
        dtype = np.dtype(match[1])
    except TypeError as error:
        raise ValueError(f"{spec!r}: {error}") from None
    if dtype.hasobject or not dtype.itemsize:
        raise ValueError(f"{spec!r} cannot be stored")
    return dtype, tuple(int(size) for size in match[2].split(",") if size)


def write_manifest(folder: Path, update: int, parts: dict[str, Arrays]) -> None:
    """List every file of a checkpoint and its content; the mark that it is whole."""
    files = {}
    for file in sorted(p for p in folder.rglob("*") if p.is_file()):
        sync(file)
        name = file.relative_to(folder).as_posix()
        files[name] = {"size": file.stat().st_size, "sha256": _sha256(file)}
    shapes = {part: specs(arrays) for part, arrays in parts.items()}
    manifest = {"format": FORMAT, "update": update, "arrays": shapes, "files": files}
    manifest["sha256"] = _own_sum(manifest)
    write_text_atomically(folder / MANIFEST, json.dumps(manifest, indent=1) + "\n")


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a checkpoint.

    Raises:
        OSError or ValueError: it says what is wrong with it.
    """
    path = folder / MANIFEST
    if not path.exists():
        raise ValueError(f"{MANIFEST} is missing")
    if path.stat().st_size > MAX_MANIFEST:
        raise ValueError(f"{MANIFEST} has {path.stat().st_size} bytes: that is none")
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{MANIFEST} is not JSON ({error})") from None
    if not isinstance(manifest, dict) or "format" not in manifest:
        raise ValueError(f"{MANIFEST} is none of a checkpoint")
    if manifest["format"] != FORMAT:
        raise ValueError(f"format {manifest['format']}, this version reads {FORMAT}")
    if manifest.get("sha256") != _own_sum(manifest):
        raise ValueError(f"the content of {MANIFEST} has changed")
    return manifest


def _own_sum(manifest: Mapping[str, Any]) -> str:
    """Sum of everything in a manifest but the sum itself."""
    rest = {name: value for name, value in manifest.items() if name != "sha256"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def verify(folder: Path) -> None:
    """Raises OSError or ValueError that says what is wrong with a checkpoint."""
    manifest = read_manifest(folder)
    for part, saved in manifest["arrays"].items():
        sizes = [
            f["size"] for n, f in manifest["files"].items() if n.startswith(f"{part}/")
        ]
        if sum(sizes) < num_bytes(saved):
            raise ValueError(f"{part} has {sum(sizes)} bytes, not {num_bytes(saved)}")
    for name, expected in manifest["files"].items():
        file = folder / name
        # Nothing outside the folder is opened, whatever a manifest names.
        if not FILE_NAME.fullmatch(name) or _leads_out(folder, file):
            raise ValueError(f"{name!r} is no file of a checkpoint")
        if not file.exists():
            raise ValueError(f"{name} is missing")
        if file.stat().st_size != expected["size"]:
            raise ValueError(
                f"{name} has {file.stat().st_size} bytes, not {expected['size']}"
            )
        if _sha256(file) != expected["sha256"]:
            raise ValueError(f"the content of {name} has changed")


def _leads_out(folder: Path, file: Path) -> bool:
    return any(p.is_symlink() for p in (file, *file.parents) if folder in p.parents)


def write_text_atomically(path: Path, text: str) -> None:
    """Write a file so that it is there in whole or not at all.

    Raises:
        OSError: it names the file, which the system does not where a disk is full.
    """
    hidden = path.with_name(f".{path.name}.tmp")
    try:
        hidden.write_text(text, encoding="utf-8")
        sync(hidden)
        os.replace(hidden, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            hidden.unlink(missing_ok=True)
        problem = error.strerror or str(error)
        raise OSError(error.errno, problem, str(path)) from error


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sync(path: Path) -> None:
    """Wait until a file or folder is on the disk itself."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
