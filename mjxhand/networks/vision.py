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

from mjxhand.networks import layers, pose
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


class ConvArea(nn.Module):
    """One convolutional area: f32[T, B, units of its input] -> f32[T, B, units]."""

    conv: Conv

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        steps = x.shape[:-1]
        x = x.reshape(-1, *self.conv.input)
        x = nn.Conv(
            self.conv.channels,
            (self.conv.kernel,) * 2,
            (self.conv.stride,) * 2,
            kernel_init=nn.initializers.he_normal(),
            name="filters",
        )(x)
        x = nn.max_pool(nn.relu(x), (3, 3), (2, 2), "SAME")
        return x.reshape(*steps, -1)


def sweep(visual: Sequence[Area], x: jax.Array) -> dict[str, jax.Array]:
    """Activities of the areas one after another; for use in another module's call.

    Args:
      x: what `retina` made of the frames.
    """
    activity = {}
    for area in visual:
        assert area.conv is not None
        x = activity[area.name] = ConvArea(area.conv, name=area.name)(x)
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
        activity = sweep(self.visual, x)
        return pose_head()(activity[self.visual[-1].name])[0]


def frame_of(visual: Sequence[Area]) -> tuple[int, int, int]:
    """Shape of the frames that the areas see."""
    assert visual[0].conv is not None
    return visual[0].conv.input
