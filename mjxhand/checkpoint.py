"""Checkpoints of a run: whole or not there, checked on load, exact to the bit.

    RUN/checkpoints/00000120/   update 120
        learner/ …              arrays, by orbax, in files of at most 15 MiB
        actors/ …               the same; absent where a run came from another machine
        manifest.json           format, names, types, shapes; size and SHA-256 of every file

A checkpoint is written under a hidden name, its manifest last, and then renamed, so a kill
at any moment leaves every older one whole. Nothing in it is run or unpickled, and nothing
outside its folder is opened.
"""

import os
import re
import shutil
import sys
import threading
from pathlib import Path
from typing import Any, Self

from mjxhand import storage
from mjxhand.arrays import Arrays, write_arrays

KEEP = 3
OURS = re.compile(r"\.(old-)?\d+")
"""Hidden names of this module. Others in the folder, such as .DS_Store, are left alone."""


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
        # Other numbers are folders of others'.
        return sorted(
            int(n) for n in names if n.isdecimal() and n == self._path(int(n)).name
        )

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
        self.wait()
        update = self.choose(step)
        (learner,) = self._read(update, {"learner": target})
        return update, learner

    def arrays(self, update: int) -> dict[str, Arrays]:
        """What a whole checkpoint holds: arrays by name, by part."""
        path = self._path(update)
        shapes = storage.read_manifest(path)["arrays"]
        return {p: storage.read(path / p, shapes[p]) for p in shapes}

    def restore(
        self, learner: Any, actors: Any, step: int | None = None
    ) -> tuple[int, Any, Any]:
        """Restore learner and actors: `(update, learner, actors)`.

        A damaged newest checkpoint is passed over, with one line on stderr that says so.
        Actors are None where the checkpoint has none, or where they were saved on another
        number of devices; stderr says so.

        Args:
            learner, actors: pytrees of arrays or `jax.ShapeDtypeStruct` with the structure and
                shapes expected; each array gets its counterpart's sharding.
            step: update to load; None: the newest whole one.

        Raises:
            CheckpointError: nothing whole is there, or it is of another network.
        """
        self.wait()
        update = self.choose(step)
        (learner,) = self._read(update, {"learner": learner})
        problem = self._actors_problem(update, actors)
        if problem:
            print(f"note: {problem}: environments start anew", file=sys.stderr)
            return update, learner, None
        (actors,) = self._read(update, {"actors": actors})
        return update, learner, actors

    def _path(self, update: int) -> Path:
        return self.folder / f"{update:08d}"

    def _actors_problem(self, update: int, actors: Any) -> str:
        """Why the actors of a checkpoint cannot go on here; empty: they can.

        Raises:
            CheckpointError: they are of another configuration.
        """
        path = self._path(update)
        shapes = storage.read_manifest(path)["arrays"]
        if "actors" not in shapes:
            return f"{path} holds no environments"
        saved, wanted = shapes["actors"], storage.specs(actors)
        if saved.get("key") != wanted.get("key"):
            return f"{path} was saved on another number of devices"
        return ""

    def _read(self, update: int, targets: dict[str, Any]) -> list:
        path = self._path(update)
        shapes = storage.read_manifest(path)["arrays"]
        for part, target in targets.items():
            _check_same(path, part, shapes.get(part, {}), target)
        try:
            return [
                storage.from_arrays(storage.read(path / part, shapes[part]), target)
                for part, target in targets.items()
            ]
        except (OSError, ValueError) as error:
            raise CheckpointError(f"cannot read {path}: {error}") from None

    def choose(self, step: int | None = None) -> int:
        """Update to load, checked to be whole: `step`, or the newest.

        Raises:
            CheckpointError: there is none.
        """
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
            # A full disk gets back what the half checkpoint took.
            shutil.rmtree(self.folder / f".{update:08d}", ignore_errors=True)

    def _write(self, update: int, parts: dict[str, Arrays]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        for leftover in self.folder.glob(".*"):
            if OURS.fullmatch(leftover.name):  # of a process that was killed
                shutil.rmtree(leftover)
        hidden = self.folder / f".{update:08d}"
        hidden.mkdir()
        for part, arrays in parts.items():
            write_arrays(hidden / part, arrays)
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
