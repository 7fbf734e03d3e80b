"""Checkpoints of a run: whole or not there, checked on load, exact to the bit.

    RUN/checkpoints/00000120/   update 120
        learner/                arrays by name, written by orbax
        actors/                 the same; only what `--resume` needs
        manifest.json           format, shapes, and size and SHA-256 of every file

A checkpoint is written under a hidden name, its manifest last, and then renamed, so a kill
at any moment leaves every older one whole. Nothing is pickled.
"""

import os
import shutil
import sys
import threading
from pathlib import Path
from typing import Any, Self

from mjxhand import storage
from mjxhand.storage import Arrays

KEEP = 3


class CheckpointError(Exception):
    """A checkpoint that cannot be used. The message is one line."""


class Checkpoints:
    """The checkpoints of one run folder.

    `save` copies the arrays to the host and returns; a thread writes them. Use it as a
    context manager, or call `close`, so that the last one is complete before the process ends.
    """

    def __init__(self, run_dir: str | Path):
        self.run_dir = Path(run_dir)
        self.folder = self.run_dir / "checkpoints"
        self._thread: threading.Thread | None = None
        self._error: Exception | None = None
        self._last_saved: int | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def save(self, update: int, learner: Any, actors: Any = None) -> None:
        """Start saving; waits only for the save before this one.

        Args:
            update: updates done so far; the name of the checkpoint.
            learner: pytree of arrays; enough to evaluate.
            actors: pytree of arrays; needed besides to resume.

        Raises:
            CheckpointError: the save before this one failed.
        """
        self.wait()
        if update == self._last_saved:
            return
        parts = {"learner": storage.to_arrays(learner)}
        if actors is not None:
            parts["actors"] = storage.to_arrays(actors)
        self._last_saved = update
        self._thread = threading.Thread(
            target=self._write_guarded, args=(update, parts), name="checkpoint"
        )
        self._thread.start()

    def wait(self) -> None:
        """Block until the running save is on disk.

        Raises:
            CheckpointError: it failed.
        """
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._error is not None:
            error, self._error, self._last_saved = self._error, None, None
            text = " ".join(str(error).split())
            raise CheckpointError(
                f"could not save a checkpoint in {self.folder}: {text}"
            ) from error

    close = wait

    def updates(self) -> list[int]:
        """Updates that have a checkpoint, whole or not, oldest first."""
        if not self.folder.is_dir():
            return []
        names = (p.name for p in self.folder.iterdir() if p.is_dir())
        return sorted(int(n) for n in names if n.isdecimal())

    def latest(self) -> int | None:
        """Newest update whose checkpoint is whole."""
        self.wait()
        return next((u for u in reversed(self.updates()) if not self.damage(u)), None)

    def damage(self, update: int) -> str | None:
        """What is wrong with a checkpoint; None: it is whole."""
        try:
            storage.verify(self._path(update))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            return " ".join(str(error).split())
        return None

    def restore_learner(self, target: Any, step: int | None = None) -> tuple[int, Any]:
        """Restore the learner alone: `(update, learner)`. See `restore`."""
        update, (learner,) = self._restore({"learner": target}, step)
        return update, learner

    def restore(
        self, learner: Any, actors: Any, step: int | None = None
    ) -> tuple[int, Any, Any]:
        """Restore learner and actors: `(update, learner, actors)`.

        A damaged newest checkpoint is passed over, with one line on stderr that says so.

        Args:
            learner, actors: pytrees of arrays or `jax.ShapeDtypeStruct` with the structure and
                shapes expected; each array gets its counterpart's sharding.
            step: update to load; None: the newest whole one.

        Raises:
            CheckpointError: nothing whole is there, or it is of another network.
        """
        update, parts = self._restore({"learner": learner, "actors": actors}, step)
        return update, parts[0], parts[1]

    def _path(self, update: int) -> Path:
        return self.folder / f"{update:08d}"

    def _restore(self, targets: dict[str, Any], step: int | None) -> tuple[int, list]:
        self.wait()
        update = self._choose(step)
        path = self._path(update)
        shapes = storage.read_manifest(path)["arrays"]
        for part, target in targets.items():
            if part not in shapes:
                raise CheckpointError(f"{path} has no {part}, so it cannot be resumed")
            _check_same(path, part, shapes[part], target)
        restored = [
            storage.from_arrays(storage.read_arrays(path / part, shapes[part]), target)
            for part, target in targets.items()
        ]
        return update, restored

    def _choose(self, step: int | None) -> int:
        """Update to load, checked to be whole."""
        updates = self.updates()
        if not updates:
            raise CheckpointError(f"no checkpoint in {self.folder}")
        if step is not None and step not in updates:
            there = ", ".join(map(str, updates))
            raise CheckpointError(
                f"no checkpoint of update {step} in {self.folder}: there are {there}"
            )
        first = ""
        for update in [step] if step is not None else reversed(updates):
            damage = self.damage(update)
            if damage is None:
                if first:
                    print(f"warning: {first}; using update {update}", file=sys.stderr)
                return update
            first = first or f"checkpoint {self._path(update)} is damaged ({damage})"
        whole = "" if step is not None else ", and no older one is whole"
        raise CheckpointError(first + whole)

    def _write_guarded(self, update: int, parts: dict[str, Arrays]) -> None:
        try:
            self._write(update, parts)
        except Exception as error:  # handed to the main thread by `wait`
            self._error = error

    def _write(self, update: int, parts: dict[str, Arrays]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        for leftover in self.folder.glob(".*"):  # of a process that was killed
            shutil.rmtree(leftover)
        hidden = self.folder / f".{update:08d}"
        hidden.mkdir()
        for part, arrays in parts.items():
            storage.write_arrays(hidden / part, arrays)
        storage.write_manifest(hidden, update, parts)
        if self._path(update).exists():  # a damaged one that was passed over
            self._remove(update)
        os.rename(hidden, self._path(update))
        storage.sync(self.folder)
        # Later ones belong to a future that was abandoned when the run was resumed.
        earlier = [u for u in self.updates() if u <= update]
        for other in self.updates():
            if other not in earlier[-KEEP:]:
                self._remove(other)

    def _remove(self, update: int) -> None:
        doomed = self.folder / f".old-{update:08d}"
        os.rename(self._path(update), doomed)  # never half deleted under its own name
        shutil.rmtree(doomed)


def _check_same(path: Path, part: str, saved: dict[str, str], target: Any) -> None:
    """Raises CheckpointError that names the first leaf that differs."""
    wanted = storage.specs(target)
    # Parameters first: they say most about what differs.
    for name in sorted(wanted | saved, key=lambda name: not name.startswith("params")):
        there, here = saved.get(name, "absent"), wanted.get(name, "absent")
        if there != here:
            raise CheckpointError(
                f"{path} is of another network or configuration: {part}.{name} is "
                f"{there} there and {here} here"
            )
