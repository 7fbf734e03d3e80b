"""Pytrees as files: arrays by name, written by orbax, listed and summed in a manifest."""

import hashlib
import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

FORMAT = 1
MANIFEST = "manifest.json"

Arrays = dict[str, np.ndarray]


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


def _empty(spec: str) -> np.ndarray | None:
    """The array of a spec without elements; None: it has some."""
    dtype, _, shape = spec.rstrip("]").partition("[")
    sizes = [int(size) for size in shape.split(",") if size]
    return np.zeros(sizes, dtype) if 0 in sizes else None


def write_arrays(path: Path, arrays: Arrays) -> None:
    """Write arrays into a new folder."""
    full = {name: a for name, a in arrays.items() if a.size}  # orbax refuses empty ones
    with _checkpointer() as checkpointer:
        checkpointer.save(path.absolute(), full or {"empty": np.zeros(1)})


def read_arrays(path: Path, saved: dict[str, str]) -> Arrays:
    """Read what `write_arrays` wrote. `saved`: the specs in the manifest."""
    ocp = _orbax()
    empty = {n: a for n, spec in saved.items() if (a := _empty(spec)) is not None}
    args = {
        n: ocp.RestoreArgs(restore_type=np.ndarray) for n in saved if n not in empty
    }
    if not args:
        return empty
    with _checkpointer() as checkpointer:
        return empty | checkpointer.restore(path.absolute(), restore_args=args)


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
    """The manifest of a checkpoint."""
    return json.loads((folder / MANIFEST).read_text())


def _own_sum(manifest: Mapping[str, Any]) -> str:
    """Sum of everything in a manifest but the sum itself."""
    rest = {name: value for name, value in manifest.items() if name != "sha256"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def verify(folder: Path) -> None:
    """Raises OSError or ValueError that says what is wrong with a checkpoint."""
    if not (folder / MANIFEST).exists():
        raise ValueError(f"{MANIFEST} is missing")
    manifest = read_manifest(folder)
    if manifest["format"] != FORMAT:
        raise ValueError(f"format {manifest['format']}, this version reads {FORMAT}")
    if manifest["sha256"] != _own_sum(manifest):
        raise ValueError(f"the content of {MANIFEST} has changed")
    for name, expected in manifest["files"].items():
        file = folder / name
        if not file.exists():
            raise ValueError(f"{name} is missing")
        if file.stat().st_size != expected["size"]:
            raise ValueError(
                f"{name} has {file.stat().st_size} bytes, not {expected['size']}"
            )
        if _sha256(file) != expected["sha256"]:
            raise ValueError(f"the content of {name} has changed")


def write_text_atomically(path: Path, text: str) -> None:
    """Write a file so that it is there in whole or not at all."""
    hidden = path.with_name(f".{path.name}.tmp")
    hidden.write_text(text)
    sync(hidden)
    os.replace(hidden, path)


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


def _checkpointer():
    """orbax for this process alone: among several it would wait for all of them, and its
    messages would cross those of the compiled programs."""
    ocp, index = _orbax(), jax.process_index()
    alone = ocp.options.MultiprocessingOptions(
        primary_host=index,
        active_processes={index},
        barrier_sync_key_prefix=f"process{index}",
    )
    handler = ocp.PyTreeCheckpointHandler(multiprocessing_options=alone)
    return ocp.Checkpointer(handler, multiprocessing_options=alone)


def _orbax():
    """orbax, imported when needed (it takes seconds) and kept from logging every save."""
    import orbax.checkpoint as ocp

    logging.getLogger("absl").setLevel(logging.ERROR)
    return ocp
