"""Arrays as files, by orbax: uncompressed, in pieces small enough for any way to move files."""

import logging
import re
from collections.abc import Mapping
from pathlib import Path

import jax
import numpy as np

Arrays = dict[str, np.ndarray]

PIECE = 15 * 2**20
"""Most bytes of one file."""
# orbax fills files up to a target and then ends them with the chunk at hand.
TARGET, CHUNK = 8 * 2**20, 4 * 2**20
PATTERN = re.compile(r"[\[*\\]")


def check_path(folder: Path) -> None:
    """Refuse a folder whose path orbax would take for a pattern of names: it would find
    nothing of what it wrote there, and not say so.

    Raises:
        ValueError: which character is to blame.
    """
    found = PATTERN.search(str(folder.absolute()))
    if found:
        raise ValueError(
            f"{folder.absolute()} has a {found[0]} in it, and there checkpoints would be "
            "lost: choose another path"
        )


def write_arrays(folder: Path, arrays: Arrays) -> None:
    """Write arrays into a new folder.

    Raises:
        ValueError: its path is none that `check_path` lets pass, or what was written cannot
            be read.
    """
    check_path(folder)
    ocp = _orbax()
    full = {name: a for name, a in arrays.items() if a.size}  # orbax refuses empty ones
    full = full or {"empty": np.zeros(1)}
    chunks = {name: ocp.SaveArgs(chunk_byte_size=CHUNK) for name in full}
    saving = ocp.args.PyTreeSave(
        full, save_args=chunks, ocdbt_target_data_file_size=TARGET
    )
    with _checkpointer() as checkpointer:
        checkpointer.save(folder.absolute(), args=saving)
        _metadata(checkpointer, folder)


def read_arrays(folder: Path, kinds: Mapping[str, np.ndarray]) -> Arrays:
    """Read what `write_arrays` wrote.

    Args:
        kinds: for every array, one of its type and shape that takes no memory (broadcast).

    Raises:
        ValueError: the files cannot hold such arrays; nothing was allocated.
    """
    ocp = _orbax()
    needed = sum(kind.nbytes for kind in kinds.values())
    there = sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())
    if there < needed:
        raise ValueError(f"{folder} holds {there} bytes, not {needed}")
    full = {name: kind for name, kind in kinds.items() if kind.size}
    arrays = {name: np.array(k) for name, k in kinds.items() if not k.size}
    if not full:
        return arrays
    with _checkpointer() as checkpointer:
        tree = _metadata(checkpointer, folder)
        for name, kind in full.items():
            if name not in tree or _kind(tree[name]) != _kind(kind):
                raise ValueError(f"{folder} has no {name} of {_kind(kind)}")
        args = {name: ocp.RestoreArgs(restore_type=np.ndarray) for name in full}
        return arrays | checkpointer.restore(folder.absolute(), restore_args=args)


def _metadata(checkpointer, folder: Path) -> Mapping:
    """Type and shape of what a folder holds, by name."""
    metadata = checkpointer.metadata(folder.absolute()).item_metadata
    if metadata is None:  # in place of an error
        raise ValueError(f"{folder} holds no arrays that can be read")
    return metadata.tree


def _kind(array) -> tuple[str, tuple[int, ...]]:
    return np.dtype(array.dtype).name, tuple(array.shape)


def _checkpointer():
    """orbax for this process alone: among several it would wait for all of them, and its
    messages would cross those of the compiled programs."""
    ocp, index = _orbax(), jax.process_index()
    alone = ocp.options.MultiprocessingOptions(
        primary_host=index,
        active_processes={index},
        barrier_sync_key_prefix=f"process{index}",
    )
    handler = ocp.PyTreeCheckpointHandler(
        use_compression=False, multiprocessing_options=alone
    )
    return ocp.Checkpointer(handler, multiprocessing_options=alone)


def _orbax():
    """orbax, imported when needed (it takes seconds) and kept from logging every save.

    Of one that fails it would log pages; what is raised says it in a line.
    """
    import orbax.checkpoint as ocp

    logging.getLogger("absl").setLevel(logging.CRITICAL)
    return ocp
