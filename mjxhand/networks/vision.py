"""The ventral visual stream: V1, V2, V4 and IT between frames and the rest of a network.

Every area is a convolution, ReLU and max-pooling, in the manner of CORnet-Z (Kubilius et al.
2018, "CORnet: Modeling the neural mechanisms of core object recognition", bioRxiv 408385):
filters of 7 x 7 and stride 2 in V1, of 3 x 3 behind it, 64, 128, 256 and 512 of them at full
size. Other than there IT is not averaged over its map, since where an object is matters to a
hand.

The areas are entries of the wiring as all others are. Activities are vectors, a map's rows one
after another, so that lesions, recordings and dense areas need not know of maps.
"""

import dataclasses
import itertools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import linen as nn

from mjxhand.networks import layers, lesions, pose
from mjxhand.streams import Conv, Sizes, is_frames
from mjxhand.wiring import Area, Pathway, Wiring, scale_units

STREAM = "vision"
TOP = "IT"
"""The area that stands for the frames in the rest of the network."""
POSE_HEAD = "pose_head"

# Area: channels at full size, kernel, stride, anatomical name.
_AREAS = {
    "V1": (64, 7, 2, "primary visual cortex"),
    "V2": (128, 3, 1, "secondary visual cortex"),
    "V4": (256, 3, 1, "visual area V4"),
    TOP: (512, 3, 1, "inferior temporal cortex"),
}
NAMES = tuple(_AREAS)


def areas(sizes: Sizes, scale: float) -> tuple[Area, ...]:
    """V1 to IT for the frames of a stream called `vision`; none if that has no frames.

    Args:
      scale: of the number of channels, as of every other area's units.
    """
    size = sizes.get(STREAM, 0)
    if not is_frames(size):
        return ()
    made, shape = [], size
    for name, (channels, kernel, stride, label) in _AREAS.items():
        conv = Conv(shape, scale_units(channels, scale), kernel, stride)
        shape = conv.output
        units = shape[0] * shape[1] * shape[2]
        made.append(Area(name, units, label=label, conv=conv))
    return tuple(made)


def attach(wiring: Wiring, visual: Sequence[Area]) -> Wiring:
    """The wiring with these areas, the last one in place of the stream `vision`."""
    if not visual:
        return wiring
    names = [STREAM, *(area.name for area in visual)]
    chain = [Pathway(a, b) for a, b in itertools.pairwise(names)]

    def reads(sources):
        return tuple(visual[-1].name if s == STREAM else s for s in sources)

    pathways = [
        dataclasses.replace(p, source=reads([p.source])[0]) for p in wiring.pathways
    ]
    return dataclasses.replace(
        wiring,
        areas=(*visual, *wiring.areas),
        pathways=(*chain, *pathways),
        policy=reads(wiring.policy),
        value=reads(wiring.value),
    )


def retina(obs: dict[str, jax.Array]) -> dict[str, jax.Array]:
    """Streams as vectors: frames u8[T, B, H, W, C] become f32[T, B, H·W·C] in ± 0.5."""
    flat = {}
    for name, x in obs.items():
        if x.ndim > 3:
            x = x.reshape(*x.shape[:2], -1).astype(jnp.float32) / 255.0 - 0.5
        flat[name] = x
    return flat


def windows(x: jax.Array, width: int, stride: int, axis: int, fill: float) -> list:
    """What stands at each place of a window that slides along an axis, padded as "SAME".

    Element w of the list has, for every position of the window, the input at its place w.
    """
    length = x.shape[axis]
    positions = -(-length // stride)
    missing = max((positions - 1) * stride + width - length, 0)
    pad = [(0, 0)] * x.ndim
    pad[axis] = (missing // 2, missing - missing // 2)
    padded = jnp.pad(x, pad, constant_values=fill)
    last = (positions - 1) * stride + 1
    return [
        jax.lax.slice_in_dim(padded, w, w + last, stride, axis) for w in range(width)
    ]


def max_pool(x: jax.Array) -> jax.Array:
    """Largest of 3 x 3, every second one: f32[N, H, W, C], rows first, then columns.

    Its gradient is sums of slices, which is faster on a CPU than that of XLA's own pooling.
    Where two are largest each gets half; behind a ReLU those are zeros, which pass nothing on.
    """
    for axis in (1, 2):
        first, second, third = windows(x, 3, 2, axis, -jnp.inf)
        x = jnp.maximum(jnp.maximum(first, second), third)
    return x


def filter_by_products(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    """The convolution f32[N, H, W, C] with f32[k, k, C, D] as one product of matrices.

    On a CPU, XLA computes gradients of convolutions inside a loop, and training is one, tens of
    times slower than outside (`benchmarks/convolution.py`); products it does not mind. It
    holds k² copies of x.
    """
    width = kernel.shape[0]
    around = [
        part
        for row in windows(x, width, stride, 1, 0.0)
        for part in windows(row, width, stride, 2, 0.0)
    ]
    seen = jnp.concatenate(around, axis=-1)
    return seen @ kernel.reshape(-1, kernel.shape[-1])


class Filters(nn.Module):
    """Filters of an area: f32[N, H, W, C] -> f32[N, H / stride, W / stride, channels]."""

    conv: Conv

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        conv = self.conv
        shape = (conv.kernel, conv.kernel, conv.input[2], conv.channels)
        kernel = self.param("kernel", nn.initializers.he_normal(), shape)
        bias = self.param("bias", nn.initializers.zeros, (conv.channels,))
        if jax.default_backend() == "cpu":
            return filter_by_products(x, kernel, conv.stride) + bias
        kinds = ("NHWC", "HWIO", "NHWC")
        strides = (conv.stride, conv.stride)
        return (
            jax.lax.conv_general_dilated(
                x, kernel, strides, "SAME", dimension_numbers=kinds
            )
            + bias
        )


class ConvArea(nn.Module):
    """One convolutional area: f32[T, B, units of its input] -> f32[T, B, units]."""

    conv: Conv

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        steps = x.shape[:-1]
        x = x.reshape(-1, *self.conv.input)
        x = max_pool(nn.relu(Filters(self.conv, name="filters")(x)))
        return x.reshape(*steps, -1)


def sweep(
    visual: Sequence[Area], x: jax.Array, gains: lesions.Gains
) -> dict[str, jax.Array]:
    """Activities of the areas one after another; for use in another module's call.

    Args:
      x: what `retina` made of the frames.
    """
    activity, source = {}, STREAM
    for area in visual:
        assert area.conv is not None
        x = gains.pathway(Pathway(source, area.name), x)
        x = gains.area(area.name, ConvArea(area.conv, name=area.name)(x))
        activity[area.name], source = x, area.name
    return activity


def pose_head() -> layers.Dense:
    """The layer that reads the object's pose from IT: `pose.SIZE` numbers."""
    return layers.Dense(pose.SIZE, name=POSE_HEAD)


class VisualStream(nn.Module):
    """The areas and the pose head alone: what `mjxhand.pretrain` trains."""

    visual: tuple[Area, ...]

    @nn.compact
    def __call__(self, frames: jax.Array) -> jax.Array:
        """Frames u8[B, H, W, C] -> the pose as `networks.pose` codes it, f32[B, 9]."""
        x = retina({STREAM: frames[None]})[STREAM]
        activity = sweep(self.visual, x, lesions.Gains.none())
        return pose_head()(activity[self.visual[-1].name])[0]


def frame_of(visual: Sequence[Area]) -> tuple[int, int, int]:
    """Shape of the frames that the areas see."""
    assert visual[0].conv is not None
    return visual[0].conv.input
