"""Frames of the scene's cameras, drawn for a whole batch inside compiled programs.

The renderer is MuJoCo-Warp's: rays against the scene's shapes, on NVIDIA GPUs by MJX, on CPUs by
`mjxhand.painters`. It reads nothing but qpos, so any physics back end can feed it; the goal
object and the room's shadows are left out.
"""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import mujoco
import numpy as np

from mjxhand import look, skin
from mjxhand.config import Config, ConfigError
from mjxhand.mjx_steps import WARP_GPUS, on_host
from mjxhand.painters import Painters
from mjxhand.scene import Scene

BATCH = 256
"""Most states that MJX draws at once for the host."""
BACKGROUND = (0.87, 0.89, 0.92, 1.0)
"""What is seen beside the floor; about the sky of `look`."""
OPTIONS: dict[str, Any] = {
    "render_rgb": True,
    "render_depth": False,
    "render_seg": False,
    "use_shadows": False,
    "enabled_geom_groups": [0, 1],
    "background_color": BACKGROUND,
}
"""Of the renderer."""


class Eye:
    """Draws what cameras see of a state.

    `eye(qpos)` works under jit, vmap and scan. On a GPU one program may draw several batches one
    after the other, as a scan does, but not two of one size with no order between them: they
    would share one tree of shapes.
    """

    def __init__(self, scene: Scene, cameras: Sequence[str], size: int):
        """
        Args:
          cameras: names of the scene's cameras, which must not move.
          size: edge of the square frames, pixels.

        Raises:
          ConfigError: no such camera, or this machine cannot run the renderer.
        """
        _check_platform()
        self.model = visible(scene)
        _check_cameras(self.model, cameras)
        self.cameras = tuple(cameras)
        self.shape = (size, size, 3 * len(self.cameras))
        draw = Painters if jax.default_backend() == "cpu" else ByMjx
        self._renderer = draw(self.model, self.cameras, size, OPTIONS)

    @classmethod
    def of(cls, config: Config, scene: Scene) -> "Eye":
        """The eye that `config.env` describes."""
        names = [name.strip() for name in config.env.cameras.split(",")]
        return cls(scene, names, config.env.frame_size)

    def __call__(self, qpos: jax.Array) -> jax.Array:
        """uint8[H, W, 3·cameras] of one state `qpos` [nq]; RGB of one camera after another."""
        return self._renderer(qpos)

    def frames(self, qpos: np.ndarray) -> np.ndarray:
        """uint8[P, H, W, 3·cameras] of the states `qpos` [P, nq]."""
        return self._renderer.draw(qpos)


class ByMjx:
    """MJX-Warp's renderer, for GPUs. It also runs on a CPU, on one core."""

    def __init__(
        self,
        model: mujoco.MjModel,
        cameras: Sequence[str],
        size: int,
        options: dict[str, Any],
    ):
        self.model = model
        self.cameras = tuple(cameras)
        self.shape = (size, size, 3 * len(self.cameras))
        self._options = options
        self._contexts: dict[int, Any] = {}
        self._constants = _warp_model(model)

        batch = jax.custom_batching.custom_vmap(self._batch)

        @batch.def_vmap
        def _(num, in_batched, qpos):
            # A batch of batches is a longer batch.
            frames = batch(qpos.reshape(-1, qpos.shape[-1]))
            return frames.reshape(num, -1, *self.shape), True

        self._draw = batch

    def __call__(self, qpos: jax.Array) -> jax.Array:
        """uint8[H, W, 3·cameras] of one state `qpos` [nq]; under vmap all are drawn at once."""
        return self._draw(qpos[None])[0]

    def draw(self, qpos: np.ndarray) -> np.ndarray:
        """uint8[P, H, W, 3·cameras] of the states `qpos` [P, nq], drawn in batches."""
        size = min(BATCH, len(qpos))
        drawn = []
        for start in range(0, len(qpos), size):
            part = qpos[start : start + size]
            full = np.concatenate([part, np.repeat(part[-1:], size - len(part), 0)])
            drawn.append(np.asarray(self._compiled(full))[: len(part)])
        return np.concatenate(drawn)

    @functools.cached_property
    def _compiled(self):
        return jax.jit(self._draw)

    def _batch(self, qpos: jax.Array) -> jax.Array:
        from mujoco import mjx

        num = qpos.shape[0]
        context = self._context(num).pytree()
        model, template = jax.tree.map(jnp.asarray, self._constants)

        def one(qpos):
            data = mjx.kinematics(model, template.replace(qpos=qpos))
            data = mjx.refit_bvh(model, data, context)
            return mjx.render(model, data, context)[0]

        packed = jax.vmap(one)(jnp.asarray(qpos, jnp.float32))
        views = [
            mjx.get_rgb(context, index, packed) for index in range(len(self.cameras))
        ]
        frames = jnp.concatenate(views, axis=-1)
        return jnp.round(255.0 * frames).astype(jnp.uint8)

    def _context(self, num: int) -> Any:
        """The tree of shapes of `num` states; made once, it must outlive its programs."""
        if num not in self._contexts:
            from mujoco import mjx

            gpus = [f"cuda:{d.local_hardware_id}" for d in jax.local_devices()]
            self._contexts[num] = mjx.create_render_context(
                self.model,
                nworld=num,
                devices=None if jax.default_backend() == "cpu" else gpus,
                cam_res=self.shape[:2],
                cam_active=list(self.cameras),
                **self._options,
            )
        return self._contexts[num]


def _warp_model(model: mujoco.MjModel) -> tuple[Any, Any]:
    """MJX's model, and data in which the cameras and lights, which do not move, are in place.

    Arrays stay on the host, so that no program is tied to the device they were made on.
    """
    from mujoco import mjx

    host = mujoco.MjData(model)
    mujoco.mj_forward(model, host)
    data = on_host(mjx.make_data, model, impl="warp", naconmax=1, njmax=1)
    data = data.tree_replace(
        {
            "cam_xpos": np.float32(host.cam_xpos),
            "cam_xmat": np.float32(host.cam_xmat).reshape(-1, 3, 3),
            "_impl.light_xpos": np.float32(host.light_xpos),
            "_impl.light_xdir": np.float32(host.light_xdir),
        }
    )
    return on_host(mjx.put_model, model, impl="warp"), data


def visible(scene: Scene) -> mujoco.MjModel:
    """The scene as the eye sees it: the object with its lettered skin, no goal."""
    spec = scene.spec.copy()
    for geom in spec.geoms:
        if geom.name in (look.CUBE, look.GOAL):
            geom.group = look.HIDDEN_GROUP
    if scene.shape is not None:
        skin.add(spec, "cube", scene.shape)
    return spec.compile()


def _check_platform() -> None:
    try:
        import warp  # pyright: ignore[reportMissingImports]

        # Not a line for every kernel that is loaded.
        warp.config.log_level = warp.LOG_WARNING
    except ImportError as error:
        raise ConfigError(
            "frames are drawn by Warp, which is not there: pip install "
            "'mjxhand[warp]', or use --env.vision pose"
        ) from error
    if jax.default_backend() != "cpu" and not warp.is_cuda_available():
        raise ConfigError(
            f"frames are drawn by Warp, on CPUs and {WARP_GPUS}, and it finds none here: use "
            "--env.vision pose"
        )


def _check_cameras(model: mujoco.MjModel, cameras: Sequence[str]) -> None:
    there = [model.camera(i).name for i in range(model.ncam)]
    for name in cameras:
        if name not in there:
            raise ConfigError(
                f"env.cameras names {name!r}: choose from {', '.join(there)}"
            )
    if not cameras or len(set(cameras)) < len(cameras):
        raise ConfigError("env.cameras must name at least one camera, each only once")


def check(config: Config, thing: str) -> None:
    """Frames: nothing else may tell the pose. No frames: nothing may be said about them.

    Args:
      thing: what lies in the hand.

    Raises:
      ConfigError: one line that names the setting and the fix.
    """
    env, network, ppo = config.env, config.network, config.ppo
    of_areas = {
        "network.freeze_vision": network.freeze_vision,
        "ppo.pose_weight": ppo.pose_weight,
    }
    if env.vision == "pose":
        for name, value in of_areas.items():
            if value:
                raise ConfigError(
                    f"{name} is {value!r}, but no frames are seen: add --env.vision pixels"
                )
        if network.vision_stream:
            raise ConfigError(
                f"network.vision_stream is {network.vision_stream!r}, but no frames are "
                "seen: add --env.vision pixels, or perceived for a pose that it reads"
            )
        return
    if env.pose_noise_angle or env.pose_noise_position:
        raise ConfigError(
            "env.pose_noise_angle and env.pose_noise_position are errors of a pose that is "
            f"told; leave them out with --env.vision {env.vision}"
        )
    if env.vision == "perceived":
        _check_perceived(of_areas, network.vision_stream, thing)
        return
    if env.goal_encoding == "relative":
        raise ConfigError(
            "env.goal_encoding relative would tell what the frames are to show: use "
            "--env.goal-encoding absolute with --env.vision pixels"
        )
    if network.freeze_vision and not (network.vision_stream or network.weights):
        raise ConfigError(
            "network.freeze_vision would freeze random filters: give a file with "
            "--network.vision-stream, or a run with --from"
        )
    if ppo.pose_weight and thing == "none":
        raise ConfigError(
            "ppo.pose_weight needs an object; the hand is empty: leave it out"
        )


def _check_perceived(of_areas: dict[str, Any], stream: str, thing: str) -> None:
    for name, value in of_areas.items():
        if value:
            raise ConfigError(
                f"{name} is {value!r}, but with --env.vision perceived no area of the "
                "network sees frames, and what reads them does not learn: leave it out"
            )
    if thing == "none":
        raise ConfigError(
            "env.vision perceived needs an object; the hand is empty: leave it out"
        )
    if not stream:
        raise ConfigError(
            "env.vision perceived needs a stream that reads the pose: teach one by python -m "
            "mjxhand.pretrain --out FILE, and give --network.vision-stream FILE"
        )
