"""C MuJoCo in threads: a batch of control steps, called from inside compiled programs.

`mujoco.rollout` would do nearly this, but it neither returns the solver's warm start nor
leaves out sensors in all but the last physics step.
"""

import copy
import os
import queue
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import mujoco
import numpy as np

_STATE = (
    mujoco.mjtState.mjSTATE_QPOS.value
    | mujoco.mjtState.mjSTATE_QVEL.value
    | mujoco.mjtState.mjSTATE_WARMSTART.value
)
_STATE_AND_CTRL = _STATE | mujoco.mjtState.mjSTATE_CTRL.value

BLOCKS_PER_THREAD = 4
"""Copies differ in cost (contacts), so threads take blocks from a common queue."""


def _warn(message: str) -> None:
    """MuJoCo's warnings, less the one about bad states, which the environment counts."""
    if "Nan, Inf or huge value" not in message:
        print(f"MuJoCo: {message}", file=sys.stderr)


class ThreadedStepper:
    """Steps N copies of a model by `substeps` physics steps on a pool of threads.

    Bit for bit the same as `mj_setState` and `mj_step` on `model` with the solver
    settings of `native_model`. Safe to call from several threads: calls take turns.
    """

    def __init__(self, model: mujoco.MjModel, substeps: int, threads: int = 0):
        """`threads` 0: one per core that this process may use."""
        threads = threads or usable_cores()
        self.model = native_model(model)
        self._quiet = copy.copy(self.model)
        self._quiet.opt.disableflags |= mujoco.mjtDisableBit.mjDSBL_SENSOR.value
        self._substeps = substeps
        self._blocks = BLOCKS_PER_THREAD * threads
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="mujoco")
        self._data: queue.SimpleQueue[mujoco.MjData] = queue.SimpleQueue()
        for _ in range(threads):
            self._data.put(mujoco.MjData(self.model))
        self._turn = threading.Lock()
        # MuJoCo's own handler would write MUJOCO_LOG.TXT into the working folder.
        mujoco.set_mju_user_warning(_warn)

    def step(
        self,
        qpos: np.ndarray,
        qvel: np.ndarray,
        warmstart: np.ndarray,
        ctrl: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """One control step of every copy; leading axes are free and kept.

        Args:
          qpos: [..., nq]; qvel: [..., nv]; warmstart: [..., nv]; ctrl: [..., nu].

        Returns:
          qpos, qvel, warmstart and sensordata [..., S] after it, float64.
        """
        nq, nv = self.model.nq, self.model.nv
        batch = qpos.shape[:-1]
        before = np.concatenate(
            [qpos, qvel, warmstart, ctrl], axis=-1, dtype=np.float64
        )
        before = before.reshape(-1, before.shape[-1])
        count = before.shape[0]
        after = np.empty((count, nq + 2 * nv))
        sensors = np.empty((count, self.model.nsensordata))
        edges = np.linspace(0, count, min(self._blocks, count) + 1).astype(int)
        with self._turn:
            done = self._pool.map(
                lambda i, j: self._step_block(before[i:j], after[i:j], sensors[i:j]),
                edges[:-1],
                edges[1:],
            )
            for _ in done:
                pass
        after = after.reshape(*batch, -1)
        return (
            after[..., :nq],
            after[..., nq : nq + nv],
            after[..., nq + nv :],
            sensors.reshape(*batch, -1),
        )

    def _step_block(self, before, after, sensors) -> None:
        data = self._data.get()
        try:
            for i in range(before.shape[0]):
                mujoco.mj_setState(self.model, data, before[i], _STATE_AND_CTRL)
                if self._substeps > 1:
                    mujoco.mj_step(self._quiet, data, self._substeps - 1)
                mujoco.mj_step(self.model, data)
                mujoco.mj_getState(self.model, data, after[i], _STATE)
                sensors[i] = data.sensordata
        finally:
            self._data.put(data)


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
