"""The pose that a pretrained visual stream reads from frames, in place of the true one.

What `python -m mjxhand.pretrain` wrote stands between the eye and the network: the streams
`vision` and `goal` tell what was read, with all its errors, and the network need know nothing
of frames. It is how a policy that learned from poses comes to play by sight.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mjxhand import storage, vision_file
from mjxhand.config import Config, ConfigError
from mjxhand.exact import exact
from mjxhand.eye import Eye
from mjxhand.networks import pose, vision
from mjxhand.scene import Scene


class Sight:
    """A stream that reads poses.

    `weights` are a pytree of arrays, given to `read` so that no program holds them.
    """

    def __init__(self, file: str, eye: Eye, thing: str):
        """
        Args:
          file: what `mjxhand.pretrain` wrote.
          thing: what lies in the hand, `Scene.object`.

        Raises:
          ConfigError: the file cannot be read, is not whole, or was trained on other
            frames.
        """
        held, about = vision_file.read(file)
        if about.get("object", "auto") not in ("auto", thing):
            raise ConfigError(
                f"network.vision_stream: {file} was trained on frames of scene.object "
                f"{about['object']}, not {thing}: train a stream for that, "
                f"python -m mjxhand.pretrain --scene.object {thing}"
            )
        self.eye = eye
        visual = vision.areas({vision.STREAM: eye.shape}, about.get("units_scale", 1.0))
        self._stream = vision.VisualStream(visual)
        blank = jnp.zeros((1, *eye.shape), jnp.uint8)
        own = jax.eval_shape(self._stream.init, jax.random.PRNGKey(0), blank)
        own = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), own)
        for name in storage.specs(own["params"]):
            if name not in held:  # it would stay 0
                raise ConfigError(
                    f"network.vision_stream: {file} lacks {name}: teach the stream anew"
                )
        cameras = ",".join(eye.cameras)
        self.weights: Any = vision_file.put(own, file, cameras, eye.shape[0])
        self._all = jax.jit(jax.vmap(self.read, in_axes=(None, 0)))

    @exact  # also where the pool's frames are read, so that a step reads the same
    def read(self, weights: Any, frame: jax.Array) -> jax.Array:
        """The pose f32[7] (`body.POSE`) that the stream reads from a frame u8[H, W, C]."""
        return pose.told(jnp.asarray(self._stream.apply(weights, frame[None]))[0])

    def poses(self, frames: np.ndarray) -> np.ndarray:
        """The same of many, u8[P, H, W, C] -> f32[P, 7]; on the host."""
        size = 256
        parts = [frames[i : i + size] for i in range(0, len(frames), size)]
        return np.concatenate([self._all(self.weights, part) for part in parts])


def seeing(config: Config, scene: Scene) -> tuple[Eye | None, Sight | None]:
    """The eye that `env.vision` needs, and what reads the pose from its frames; None: not needed.

    Raises:
      ConfigError: see `Eye` and `Sight`.
    """
    if config.env.vision == "pose":
        return None, None
    eye = Eye.of(config, scene)
    if config.env.vision == "pixels":
        return eye, None
    return eye, Sight(config.network.vision_stream, eye, scene.object)
