"""What the visual areas look for: their maps of a frame, and images that excite them most.

A maximising image is found by gradient ascent from faint noise on the mean of a channel's map
(Erhan et al. 2009, "Visualizing higher-layer features of a deep network"). Each step moves the
image along the gradient, blurred a little so that no single pixel matters (Yosinski et al.
2015, arXiv:1506.06579, section 3), and keeps its contrast within `CONTRAST`: without a limit
the image is driven to black and white everywhere.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from flax import linen as nn

from mjxhand.agent import Agent
from mjxhand.analyse import anatomy, retina
from mjxhand.analyse.recording import Recording
from mjxhand.config import ConfigError
from mjxhand.networks import lesions, vision
from mjxhand.policy import Policy
from mjxhand.wiring import Area

RETINA = "retina"
"""Where the frame itself stands in the table."""
CHANNELS = 4
"""Channels of an area that are shown."""
FRAMES = 32
"""Frames that say which channels those are."""
STEPS = 128
"""Steps of gradient ascent."""
RATE = 0.02
"""Length of a step, root mean square over pixels; frames are in ± 0.5."""
CONTRAST = 0.25
"""Greatest root mean square of an image, half of what black and white would have."""
NOISE = 0.02
"""Standard deviation of the noise that ascent starts from."""
BLUR = (0.25, 0.5, 0.25)
"""Filter of a gradient, along rows and along columns."""


def visual_areas(agent: Agent) -> tuple[Area, ...]:
    """The convolutional areas of a network, first to last; none if it sees no frames."""
    wiring = anatomy.wiring_of(agent)
    return tuple(a for a in wiring.areas if a.conv) if wiring else ()


class _Stream(nn.Module):
    visual: tuple[Area, ...]

    @nn.compact
    def __call__(self, frames: jax.Array) -> dict[str, jax.Array]:
        flat = frames.reshape(1, len(frames), -1)
        found = vision.sweep(self.visual, flat, lesions.Gains.none())
        return {
            a.name: found[a.name][0].reshape(-1, *a.conv.output)
            for a in self.visual
            if a.conv
        }


def _maps(policy: Policy) -> Callable[[Any, jax.Array], dict[str, jax.Array]]:
    """weights, images f32[N, H, W, C] in ± 0.5 → maps f32[N, h, w, channels] by area."""
    visual = visual_areas(policy.agent)
    if not visual:
        raise ConfigError(
            "this network has no visual areas: train one with --env.vision pixels"
        )
    return lambda params, images: _Stream(visual).apply({"params": params}, images)  # type: ignore[return-value]


def _weights(policy: Policy) -> dict[str, Any]:
    """Of the visual areas alone."""
    own = policy.params["params"]
    return {area.name: own[area.name] for area in visual_areas(policy.agent)}


def feature_maps(policy: Policy, frames: np.ndarray) -> dict[str, np.ndarray]:
    """Activity of the visual areas, f32[N, h, w, channels] by area.

    Args:
        frames: uint8[N, H, W, C], as the eye draws them.

    Raises:
        ConfigError: the network sees no frames.
    """
    maps = jax.jit(_maps(policy))
    images = jnp.asarray(frames, jnp.float32) / 255.0 - 0.5
    found = jax.device_get(maps(_weights(policy), images))
    return {area.name: found[area.name] for area in visual_areas(policy.agent)}


def maximising_images(
    policy: Policy,
    area: str,
    channels: Sequence[int],
    *,
    steps: int = STEPS,
    seed: int = 0,
) -> np.ndarray:
    """Images f32[channels, H, W, C] in [0, 1], each of which excites one channel of an area.

    A channel that noise does not excite at all has no gradient: its image is NaN.

    Raises:
        ConfigError: the network has no such visual area.
    """
    maps, weights = _maps(policy), _weights(policy)
    if area not in weights:
        raise ConfigError(
            f"no visual area {area!r}: choose from {', '.join(weights) or 'none'}"
        )
    size = vision.frame_of(visual_areas(policy.agent))
    index = jnp.asarray(channels)
    noise = jax.random.normal(jax.random.PRNGKey(seed), (len(channels), *size))

    @jax.jit
    def ascend(weights, image):
        def excitement(image):
            found = maps(weights, image)[area].mean((1, 2))
            return jnp.sum(found[jnp.arange(len(index)), index])

        def step(image, _):
            slope = _blurred(jax.grad(excitement)(image))
            length = _contrast(slope)
            moved = image + RATE * slope / jnp.maximum(length, 1e-30)
            moved *= jnp.minimum(1.0, CONTRAST / _contrast(moved))
            return jnp.clip(moved, -0.5, 0.5), length[:, 0, 0, 0]

        image, lengths = jax.lax.scan(step, image, None, length=steps)
        silent = jnp.all(lengths <= 1e-30, axis=0)
        return jnp.where(silent[:, None, None, None], jnp.nan, image)

    return np.asarray(ascend(weights, NOISE * noise)) + 0.5


def _contrast(image: jax.Array) -> jax.Array:
    """Root mean square of each image."""
    return jnp.sqrt(jnp.mean(image**2, (1, 2, 3), keepdims=True))


def _blurred(image: jax.Array) -> jax.Array:
    for axis in (1, 2):
        around = [(0, 0)] * image.ndim
        around[axis] = (1, 1)
        padded = jnp.pad(image, around, mode="edge")
        parts = (
            jax.lax.slice_in_dim(padded, i, i + image.shape[axis], axis=axis)
            for i in range(3)
        )
        image = sum(w * p for w, p in zip(BLUR, parts, strict=True))  # type: ignore[assignment]
    return image


def table(
    policy: Policy,
    recording: Recording,
    *,
    seed: int = 0,
    show: Callable[[float], None] = lambda done: None,
) -> pd.DataFrame:
    """Pixels of a frame, and for the liveliest channels of each visual area their map of that
    frame and the image that maximises them.

    The liveliest channels are those whose mean over the map differs most between frames.

    Args:
        show: called with the areas done.

    Returns:
        One row per pixel: `kind` (frame, map, image), `area` (of the frame: retina), `channel`,
        `row, column`, `red, green, blue` (frame, image: in [0, 1], of the first camera) or
        `activity` (map).
    """
    redraw = retina.redraw(policy)
    if redraw is None:
        raise ConfigError(
            "this network has no visual areas: train one with --env.vision pixels"
        )
    poses = recording.read(0, list(retina.POSE))
    rng = np.random.default_rng(seed)
    env, step = (rng.integers(n, size=FRAMES) for n in poses[retina.POSE[0]].shape[:2])
    frames = redraw({n: x[env, step] for n, x in poses.items()})
    parts = [_coloured("frame", RETINA, -1, frames[0] / 255.0)]
    for number, (area, maps) in enumerate(feature_maps(policy, frames).items()):
        lively = np.argsort(-maps.mean((1, 2)).std(0), kind="stable")[:CHANNELS]
        images = maximising_images(policy, area, lively.tolist(), seed=seed)
        for channel, image in zip(lively.tolist(), images, strict=True):
            activity = maps[0, :, :, channel]
            parts.append(
                _pixels("map", area, channel, activity.shape).assign(
                    activity=activity.ravel()
                )
            )
            parts.append(_coloured("image", area, channel, image))
        show(number + 1)
    return pd.concat(parts, ignore_index=True)


def _pixels(kind: str, area: str, channel: int, shape: tuple[int, ...]) -> pd.DataFrame:
    row, column = np.indices(shape[:2])
    whole = {"kind": kind, "area": area, "channel": channel}
    return pd.DataFrame({"row": row.ravel(), "column": column.ravel()}).assign(**whole)


def _coloured(kind: str, area: str, channel: int, image: np.ndarray) -> pd.DataFrame:
    colours = {
        name: image[:, :, i].ravel() for i, name in enumerate(("red", "green", "blue"))
    }
    return _pixels(kind, area, channel, image.shape).assign(**colours)
