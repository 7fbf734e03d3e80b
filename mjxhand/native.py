"""C MuJoCo in threads: a batch of control steps, called from inside compiled programs.

`mujoco.rollout` would do nearly this, but it neither returns the solver's warm start nor
leaves out sensors in all but the last physics step.
"""

import copy
import math
import os
import queue
import sys
import threading
import time
import weakref
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager

import mujoco
import numpy as np

from mjxhand.physics_state import Index, part

_STATE = (
    mujoco.mjtState.mjSTATE_QPOS.value
    | mujoco.mjtState.mjSTATE_QVEL.value
    | mujoco.mjtState.mjSTATE_WARMSTART.value
)
_STATE_AND_CTRL = _STATE | mujoco.mjtState.mjSTATE_CTRL.value

KEPT = 4
"""So many steppers, those used last, keep their threads, models and data; the others make them
anew when they are used again. A stepper itself may live as long as the process, see `foreign`."""
_opening = threading.Lock()
_steppers: weakref.WeakSet["ThreadedStepper"] = weakref.WeakSet()


def blocks(count: int, threads: int) -> Iterator[tuple[int, int]]:
    """Begins and ends of the blocks of `count` copies that threads take one after another.

    Copies differ in cost (contacts) and cores in what else they do. So blocks shrink: each is a
    share of half of what is left, and the last ones, for which all other threads wait, are small.
    """
    begin = 0
    while begin < count:
        size = max(2, (count - begin) // (2 * threads))
        end = min(count, begin + size)
        yield begin, end
        begin = end


def _warn(message: str) -> None:
    """MuJoCo's warnings, less the one about bad states, which the environment counts."""
    if "Nan, Inf or huge value" not in message:
        print(f"MuJoCo: {message}", file=sys.stderr)


class ThreadedStepper:
    """Steps N copies of a model by `substeps` physics steps on a pool of threads.

    Bit for bit the same as `mj_setState` and `mj_step` on `model` with the solver
    settings of `native_model`. Safe to call from several threads: calls take turns.
    """

    def __init__(
        self,
        model: mujoco.MjModel,
        substeps: int,
        threads: int = 0,
        parts: Mapping[str, Index] | None = None,
    ):
        """`threads` 0: one per core that this process may use.

        Args:
          parts: what differs between copies, see `make_physics`.
        """
        self.model = native_model(model)
        self._substeps = substeps
        self._threads = threads or usable_cores()
        self._parts = parts or {}
        self._turn = threading.Lock()
        self._pool: _Pool | None = None
        self._used = 0.0
        with _opening:
            _steppers.add(self)
        # MuJoCo's own handler would write MUJOCO_LOG.TXT into the working folder.
        mujoco.set_mju_user_warning(_warn)

    def step(
        self,
        qpos: np.ndarray,
        qvel: np.ndarray,
        warmstart: np.ndarray,
        ctrl: np.ndarray,
        model: Sequence[np.ndarray] = (),
        last_ctrl: np.ndarray | None = None,
        delay: np.ndarray | None = None,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """One control step of every copy; leading axes are free and kept.

        Args:
          qpos: [..., nq]; qvel: [..., nv]; warmstart: [..., nv]; ctrl: [..., nu].
          model: [..., shape of the part], each copy's values of `parts`, in their order.
          last_ctrl: [..., nu], held for the first `delay` [...] physics steps, which
            are fewer than `substeps`.

        Returns:
          qpos, qvel, warmstart and sensordata [..., S] after it, float64.
        """
        nq, nv, size = self.model.nq, self.model.nv, self.model.nsensordata
        batch = qpos.shape[:-1]
        count = math.prod(batch)
        before = np.concatenate(
            [qpos, qvel, warmstart, ctrl], axis=-1, dtype=np.float64
        )
        before = before.reshape(count, before.shape[-1])
        after = np.empty((count, nq + 2 * nv))
        sensors = np.empty((count, size))
        late = None
        if last_ctrl is not None and delay is not None:
            late = (
                last_ctrl.reshape(count, self.model.nu),
                delay.reshape(count).astype(int),
            )
        values = [x.reshape(count, *x.shape[len(batch) :]) for x in model]
        shares = list(blocks(count, self._threads))
        left = iter(shares)  # of a list: threads may share it
        helpers = min(self._threads, len(shares)) - 1

        def work() -> None:
            with pool.borrowed() as worker:
                for begin, end in left:
                    numbers = range(begin, end)
                    self._step_block(
                        worker, numbers, before, after, sensors, late, values
                    )

        with self._turn:
            self._used = time.monotonic()
            # A reference of this call: the pool lasts as long, whoever closes it.
            pool = self._pool or self._open()
            others = [pool.helpers.submit(work) for _ in range(helpers)]
            try:
                work()
            finally:
                wait(others)  # they write into what this call returns
            for other in others:
                other.result()
        after = after.reshape(*batch, nq + 2 * nv)
        return (
            after[..., :nq],
            after[..., nq : nq + nv],
            after[..., nq + nv :],
            sensors.reshape(*batch, size),
        )

    def _open(self) -> "_Pool":
        """Threads and data for this stepper, in place of those that were unused for longest."""
        with _opening:
            having = [stepper for stepper in _steppers if stepper._pool]
            having.sort(key=lambda stepper: stepper._used, reverse=True)
            for stepper in having[KEPT - 1 :]:
                stepper._pool = None  # a call that still uses it holds it
            self._pool = pool = _Pool(self.model, self._parts, self._threads)
        return pool

    def _step_block(self, worker, numbers, before, after, sensors, late, values):
        model, data = worker.model, worker.data
        for i in numbers:
            worker.vary([x[i] for x in values])
            mujoco.mj_setState(model, data, before[i], _STATE_AND_CTRL)
            delay = late[1][i] if late else 0
            if delay:
                ctrl = data.ctrl.copy()
                data.ctrl[:] = late[0][i]
                worker.step(delay, sense=False)
                data.ctrl[:] = ctrl
            worker.step(self._substeps - 1 - delay, sense=False)
            worker.step(1, sense=True)
            mujoco.mj_getState(model, data, after[i], _STATE)
            sensors[i] = data.sensordata


class _Pool:
    """The threads of a stepper and what they step with; they end when nobody refers to it."""

    def __init__(self, model: mujoco.MjModel, parts: Mapping[str, Index], threads: int):
        # The thread that calls works, too.
        self.helpers = ThreadPoolExecutor(
            max(1, threads - 1), thread_name_prefix="mujoco"
        )
        self._workers: queue.SimpleQueue[_Worker] = queue.SimpleQueue()
        for _ in range(threads):
            self._workers.put(_Worker(model, parts))

    @contextmanager
    def borrowed(self) -> Iterator["_Worker"]:
        worker = self._workers.get()
        try:
            yield worker
        finally:
            self._workers.put(worker)


class _Worker:
    """What one thread steps with: a model of its own and its data."""

    def __init__(self, model: mujoco.MjModel, parts: Mapping[str, Index]):
        self.model = copy.copy(model)
        self.data = mujoco.MjData(self.model)
        self._loud = self.model.opt.disableflags
        self._quiet = self._loud | mujoco.mjtDisableBit.mjDSBL_SENSOR.value
        self._views = [part(self.model, name)[index] for name, index in parts.items()]

    def vary(self, values: Sequence[np.ndarray]) -> None:
        for there, value in zip(self._views, values, strict=True):
            there[...] = value

    def step(self, count: int, *, sense: bool) -> None:
        """`count` physics steps."""
        if count:
            self.model.opt.disableflags = self._loud if sense else self._quiet
            mujoco.mj_step(self.model, self.data, count)


def _begin_anew() -> None:
    """In a forked child, which has the thread that forked alone: locks and pools are stale."""
    global _opening
    _opening = threading.Lock()
    for stepper in _steppers:
        stepper._turn = threading.Lock()
        stepper._pool = None


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_begin_anew)


def usable_cores() -> int:
    if hasattr(os, "sched_getaffinity"):  # not on macOS
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def native_model(model: mujoco.MjModel) -> mujoco.MjModel:
    """A copy with the settings that suit C.

    Sparse Jacobians and no constraint islands: the same equations, the last digits
    differ, a tenth faster for one hand and one cube. No automatic reset: C would put a
    diverged state back to the start in silence; as in MJX, whoever steps is to see it.
    """
    model = copy.copy(model)
    model.opt.jacobian = mujoco.mjtJacobian.mjJAC_SPARSE
    model.opt.disableflags |= (
        mujoco.mjtDisableBit.mjDSBL_ISLAND.value
        | mujoco.mjtDisableBit.mjDSBL_AUTORESET.value
    )
    return model
