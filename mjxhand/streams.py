"""Shapes of observation streams, vectors of numbers or frames, and of maps made of frames.

A size is a vector's length, or (height, width, channels) of frames, which are uint8 wherever
they are kept: 64 x 64 x 3 bytes instead of four times as many.
"""

import math
from dataclasses import dataclass
from typing import Any, TypeGuard

import jax
import jax.numpy as jnp

Size = int | tuple[int, int, int]
Sizes = dict[str, Any]
"""Name: Size. Most environments have vectors only, and most readers count on numbers."""


def is_frames(size: Size) -> TypeGuard[tuple[int, int, int]]:
    """Whether a stream of this size is frames."""
    return not isinstance(size, int)


def shape(size: Size) -> tuple[int, ...]:
    """Shape of one observation of a stream."""
    return (size,) if isinstance(size, int) else tuple(size)


def width(size: Size) -> int:
    """How many numbers a stream has."""
    return math.prod(shape(size))


def blank(sizes: Sizes, *batch: int) -> dict[str, jax.Array]:
    """Observations that are all zero: f32[*batch, size] each; frames uint8."""
    return {
        name: jnp.zeros(
            (*batch, *shape(size)), jnp.uint8 if is_frames(size) else jnp.float32
        )
        for name, size in sizes.items()
    }


@dataclass(frozen=True)
class Conv:
    """Filters of a convolutional area, then ReLU and the largest of 3 x 3, every second one."""

    input: tuple[int, int, int]
    """Height, width and channels of what it receives."""
    channels: int
    kernel: int = 3
    """Edge of a filter."""
    stride: int = 1

    @property
    def output(self) -> tuple[int, int, int]:
        """Height, width and channels of its activity."""
        height, width = (-(-n // (2 * self.stride)) for n in self.input[:2])
        return height, width, self.channels

    @property
    def weights(self) -> int:
        """Weights of all filters, without biases."""
        return self.kernel**2 * self.input[2] * self.channels
