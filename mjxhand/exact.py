"""Products in full single precision, where rounding would show.

On NVIDIA GPUs JAX by default rounds the factors of float32 products to ten bits of fraction
(TF32). That suits a network, whose products are left as JAX or the user's
`JAX_DEFAULT_MATMUL_PRECISION` has them; it would move a hand's joints by millimetres, and
many of those products are MJX's own.
"""

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import jax

_Args = ParamSpec("_Args")
_Result = TypeVar("_Result")


def exact(function: Callable[_Args, _Result]) -> Callable[_Args, _Result]:
    """`function`, whatever it traces multiplying at `highest` precision."""

    @functools.wraps(function)
    def wrapped(*args: _Args.args, **kwargs: _Args.kwargs) -> _Result:
        with jax.default_matmul_precision("highest"):
            return function(*args, **kwargs)

    return wrapped
