"""Frames on a CPU: MuJoCo-Warp's renderer on all cores.

Warp runs a kernel on one core of a CPU. Here every thread has a renderer of its own and draws
one block of states after another; the frames are those that MJX-Warp's `render` gives.
"""

import queue
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import mujoco
import numpy as np

from mjxhand import foreign
from mjxhand.native import usable_cores
from mjxhand.physics import fingerprint, vary_like

BLOCK = 16
"""Most states that a thread draws at once."""
# Warp's device is one for all threads, so calls take turns.
_turn = threading.Lock()


class Painters:
    """Draws states of a model as cameras see them; `options` are those of the renderer."""

    def __init__(
        self,
        model: mujoco.MjModel,
        cameras: Sequence[str],
        size: int,
        options: dict[str, Any],
    ):
        self.model = model
        self._cameras = tuple(cameras)
        self._size = size
        self._options = options
        self._shape = (size, size, 3 * len(self._cameras))
        self._threads = usable_cores()
        # By the number of states that they draw.
        self._idle: dict[int, queue.SimpleQueue[_Painter]] = {}
        name = f"mjxhand_eye_{fingerprint(model, f'{self._cameras} {size} {options}')}"
        foreign.register(name, self._in_place)
        result = jax.ShapeDtypeStruct(self._shape, jnp.uint8)
        self._call = jax.ffi.ffi_call(name, result, vmap_method="broadcast_all")

    def __call__(self, qpos: jax.Array) -> jax.Array:
        """uint8[H, W, 3·cameras] of one state `qpos` [nq]; under vmap all are drawn at once."""
        qpos = jnp.asarray(qpos, jnp.float32)
        return jnp.asarray(vary_like([self._call(qpos)], [qpos])[0])

    def draw(self, qpos: np.ndarray) -> np.ndarray:
        """uint8[P, H, W, 3·cameras] of the states `qpos` [P, nq]."""
        frames = np.empty((len(qpos), *self._shape), np.uint8)
        # Powers of two, so that few numbers of states serve all batches.
        share = max(1, -(-len(qpos) // self._threads))
        size = min(BLOCK, 1 << (share - 1).bit_length())
        blocks = range(0, len(qpos), size)
        idle = self._idle.setdefault(size, queue.SimpleQueue())

        def paint(begin: int) -> None:
            painter = idle.get()
            try:
                block = slice(begin, begin + size)
                frames[block] = painter.paint(qpos[block])
            finally:
                idle.put(painter)

        import warp  # pyright: ignore[reportMissingImports]

        threads = min(self._threads, len(blocks))
        with _turn, warp.ScopedDevice("cpu"):
            while idle.qsize() < threads:
                painter = _Painter(
                    self.model, size, self._cameras, self._size, self._options
                )
                painter.paint(qpos[:1])  # kernels are loaded by one thread
                idle.put(painter)
            if threads == 1:
                for begin in blocks:
                    paint(begin)
            elif threads:
                with ThreadPoolExecutor(threads, "eye") as pool:
                    list(pool.map(paint, blocks))
        return frames

    def _in_place(
        self, args: Sequence[np.ndarray], results: Sequence[np.ndarray]
    ) -> None:
        (qpos,), (frames,) = args, results
        flat = self.draw(qpos.reshape(-1, qpos.shape[-1]))
        frames[...] = flat.reshape(frames.shape)


class _Painter:
    """What one thread draws with: copies of the model's state and their trees of shapes."""

    def __init__(
        self,
        model: mujoco.MjModel,
        copies: int,
        cameras: Sequence[str],
        size: int,
        options: dict[str, Any],
    ):
        from mujoco.mjx.third_party import mujoco_warp

        self._warp = mujoco_warp
        self._size, self._cameras = size, len(cameras)
        self._qpos = np.repeat(np.asarray(model.qpos0, np.float32)[None], copies, 0)
        self._model = mujoco_warp.put_model(model)
        self._data = mujoco_warp.make_data(model, nworld=copies, nconmax=1, njmax=1)
        self._context = mujoco_warp.create_render_context(
            model,
            nworld=copies,
            cam_res=(size, size),
            cam_active=list(cameras),
            **options,
        )
        self._starts = self._context.rgb_adr.numpy()
        # Cameras and lights do not move.
        host = mujoco.MjData(model)
        mujoco.mj_forward(model, host)
        for name in ("cam_xpos", "cam_xmat", "light_xpos", "light_xdir"):
            there = getattr(self._data, name)
            value = np.asarray(getattr(host, name), np.float32)
            value = value.reshape(1, *there.numpy().shape[1:])
            there.assign(np.repeat(value, copies, 0))

    def paint(self, qpos: np.ndarray) -> np.ndarray:
        """uint8[P, H, W, 3·cameras] of at most as many states [P, nq] as there are copies."""
        model, data, context = self._model, self._data, self._context
        self._qpos[: len(qpos)] = qpos
        data.qpos.assign(self._qpos)
        self._warp.kinematics(model, data)
        self._warp.refit_bvh(model, data, context)
        self._warp.render(model, data, context)
        packed = context.rgb_data.numpy()[: len(qpos)]
        views = []
        for start in self._starts:
            view = packed[:, start : start + self._size**2]
            view = view.reshape(-1, self._size, self._size)
            views += [(view >> shift) & 255 for shift in (16, 8, 0)]
        return np.stack(views, axis=-1).astype(np.uint8)
