"""Numpy functions inside compiled programs, which JAX's compilation cache may keep.

`jax.pure_callback` does the same work, but JAX never stores a program that holds one, so that
every start would compile for a minute. Here the function is registered under a name with
XLA's foreign function interface, of which this is the part of the C header
`xla/ffi/api/c_api.h` (shipped with jaxlib, see `jax.ffi.include_dir()`) that a call on a CPU
needs.
"""

import ctypes
from collections.abc import Callable, Sequence
from ctypes import POINTER, Structure, c_char_p, c_int, c_int64, c_size_t, c_uint32
from ctypes import c_void_p as pointer

import jax
import numpy as np

Function = Callable[[Sequence[np.ndarray], Sequence[np.ndarray]], None]
"""(args, results) → None; fills the results. Both live only as long as the call."""

_HEAD = [("struct_size", c_size_t), ("extension", pointer)]


class _Buffer(Structure):
    _fields_ = [
        *_HEAD,
        ("dtype", c_int),
        ("data", pointer),
        ("rank", c_int64),
        ("dims", POINTER(c_int64)),
    ]


class _Buffers(Structure):
    """XLA_FFI_Args and XLA_FFI_Rets, which have the same layout."""

    _fields_ = [
        *_HEAD,
        ("size", c_int64),
        ("types", POINTER(c_int)),
        ("buffers", POINTER(POINTER(_Buffer))),
    ]


class _Version(Structure):
    _fields_ = [*_HEAD, ("major", c_int), ("minor", c_int)]


class _Error(Structure):
    _fields_ = [*_HEAD, ("message", c_char_p), ("code", c_int)]


class _Api(Structure):
    _fields_ = [
        *_HEAD,
        ("version", _Version),
        ("internal", pointer),
        ("make_error", ctypes.CFUNCTYPE(pointer, POINTER(_Error))),
    ]


class _Metadata(Structure):
    _fields_ = [("struct_size", c_size_t), ("version", _Version), ("traits", c_uint32)]


class _Extension(Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("type", c_int),
        ("next", pointer),
        ("metadata", POINTER(_Metadata)),
    ]


class _CallFrame(Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("extension", POINTER(_Extension)),
        ("api", POINTER(_Api)),
        ("context", pointer),
        ("stage", c_int),
        ("args", _Buffers),
        ("rets", _Buffers),
    ]


_METADATA = 1  # XLA_FFI_Extension_Metadata
_INTERNAL = 13  # XLA_FFI_Error_Code_INTERNAL
_DTYPES = {6: np.uint8, 8: np.uint32, 4: np.int32, 11: np.float32, 12: np.float64}

_Handler = ctypes.CFUNCTYPE(pointer, POINTER(_CallFrame))
_registered: dict[str, object] = {}  # name → handler: XLA keeps no reference to it


def register(name: str, function: Function) -> None:
    """Let compiled CPU programs call `function` as `jax.ffi.ffi_call(name, …)`.

    A name stands for one function for good, on disk too: a cached program finds its function
    by it. A name that is taken is left as it is. What the function refers to lives as long as
    the process, so it had better be little.
    """
    if name in _registered:
        return

    def on_call(frame_pointer) -> int | None:
        frame = frame_pointer.contents
        extension = frame.extension
        if extension and extension.contents.type == _METADATA:
            # Asked at registration which version of the interface this was made for. What is
            # used here has kept its layout since 0.1, so the runtime's own.
            wanted = extension.contents.metadata.contents.version
            wanted.major = frame.api.contents.version.major
            wanted.minor = frame.api.contents.version.minor
            return None
        try:
            function(_arrays(frame.args), _arrays(frame.rets))
        except BaseException as error:
            text = f"{name}: {type(error).__name__}: {error}".encode()
            told = _Error(ctypes.sizeof(_Error), None, text, _INTERNAL)
            return frame.api.contents.make_error(ctypes.byref(told))
        return None

    handler = _Handler(on_call)
    jax.ffi.register_ffi_target(name, jax.ffi.pycapsule(handler), platform="cpu")
    _registered[name] = handler


def _arrays(buffers: _Buffers) -> list[np.ndarray]:
    """Views of XLA's own memory, row-major."""
    return [_array(buffers.buffers[i].contents) for i in range(buffers.size)]


def _array(buffer: _Buffer) -> np.ndarray:
    shape = buffer.dims[: buffer.rank]
    dtype = np.dtype(_DTYPES[buffer.dtype])
    count = int(np.prod(shape, dtype=np.int64))
    if not count:
        return np.empty(shape, dtype)
    raw = (ctypes.c_char * (count * dtype.itemsize)).from_address(buffer.data)
    return np.frombuffer(memoryview(raw), dtype).reshape(shape)
