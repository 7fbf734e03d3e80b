"""`python -m mjxhand.pretrain --out FILE`: teach V1 to IT where an object is, before any reward.

Random actions, or a trained policy (`--moved-by RUN`), move the hand and its cube through
settled, held and falling states; the stream sees their frames and learns the pose that belongs
to each. `--network.vision-stream FILE` then starts a policy's stream from the file, reads for it
what frames show (`--env.vision perceived`), or goes on with it here.
"""

import dataclasses
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import tyro

from mjxhand import cli, presets, vision_file
from mjxhand.arguments import build, option_types, split, value_of
from mjxhand.babble import Hands
from mjxhand.command_options import Preset
from mjxhand.config import (
    Config,
    ConfigError,
    CurriculumConfig,
    EnvConfig,
    NetworkConfig,
    PhysicsConfig,
    SceneConfig,
)
from mjxhand.networks import pose, vision
from mjxhand.policy import SENSES, Policy, load_policy, settings
from mjxhand.stop import Stop

PROG = "python -m mjxhand.pretrain"
ROUND = 8192
"""Most frames that are drawn, then learned from, at a time."""
TEST = 2_000_003
"""In place of a round's number: start states to test on, never trained on."""


@dataclass(frozen=True)
class PretrainOptions:
    """Supervised learning of the object's pose from frames."""

    preset: Preset = ""
    """Preset whose scene and network size are used; by default laptop on a CPU, else fpn."""
    out: str = "vision.npz"
    """File to write; it is kept up to date while the stream learns."""
    frames: int = 200_000
    """Frames to draw, each of another state; above 8,192 rounded up to rounds of 8,192."""
    passes: int = 4
    """Times that each is learned from."""
    batch: int = 32
    """Frames per step; small, since what is learned is bounded by the number of steps."""
    learning_rate: float = 2e-3
    """Adam's step size at the start; it falls to 0 along a cosine."""
    test_frames: int = 2048
    """Frames the stream is tested on, of other episodes."""
    moved_by: str = ""
    """Run, or pretrained:NAME, whose policy moves the hands; empty: random actions do."""


@dataclass(frozen=True)
class _Command:
    """Teach V1 to IT where an object is, from camera frames."""

    # What of a whole configuration matters to a stream.

    options: Annotated[PretrainOptions, tyro.conf.arg(name="")]
    scene: SceneConfig
    physics: PhysicsConfig
    env: EnvConfig
    network: NetworkConfig
    seed: int = 0
    """Seed of everything random."""


def parse(argv: Sequence[str]) -> tuple[Config, PretrainOptions]:
    """Configuration and options, checked.

    Raises:
        ConfigError: one line: what was wrong, what to do.
    """
    names = option_types(_Command)
    args, words = split(argv, names)
    if len(words) > 1:
        raise ConfigError(f"one preset at a time, not {' and '.join(words)}")
    base = _base(words[0] if words else "", value_of("--moved-by", args))
    parts = ("scene", "physics", "env", "network", "seed")
    start = _Command(PretrainOptions(), *(getattr(base, part) for part in parts))
    parsed = build(_Command, args, PROG, start)
    if parsed.options.moved_by:
        _refuse_meanings(args, parsed.options.moved_by)
    for option in ("frames", "passes", "batch", "learning_rate", "test_frames"):
        if not getattr(parsed.options, option) > 0:
            raise ConfigError(
                f"--{option.replace('_', '-')} is {getattr(parsed.options, option)}: it "
                "must be above 0"
            )
    for setting in ("freeze_vision", "weights"):
        if getattr(parsed.network, setting):
            raise ConfigError(
                f"network.{setting} does nothing in {PROG}, which teaches V1 to IT alone: leave "
                "it out (--network.vision-stream begins with another stream's weights)"
            )
    chosen = {part: getattr(parsed, part) for part in parts}
    # Goals do not matter here, nor how they are told.
    chosen["env"] = dataclasses.replace(
        parsed.env,
        vision="pixels",
        goal_encoding="absolute",
        pose_encoding="absolute",
        pose_noise_angle=0.0,
        pose_noise_position=0.0,
    )
    config = dataclasses.replace(base, **chosen, curriculum=CurriculumConfig())
    presets.check(config, num_devices=1)
    return config, parsed.options


def _refuse_meanings(args: Sequence[str], run: str) -> None:
    """Refuse what says how the policy that moves the hands senses and acts: it has learned that."""
    for name in SENSES:
        option = f"--{name.replace('_', '-')}"
        # The eye that is taught may be another than the policy's.
        own = name.startswith("env.") and name not in ("env.cameras", "env.frame_size")
        if own and value_of(option, args) is not None:
            raise ConfigError(
                f"{option}: the policy of {run} senses and acts as it learned to: leave it out"
            )


def _base(preset: str, run: str | None) -> Config:
    """Settings to begin with: of a preset, or of the run whose policy moves the hands."""
    if run:
        if preset:
            raise ConfigError(
                f"--moved-by {run} says scene, physics and task: leave out {preset}"
            )
        config = settings(run)
        own = NetworkConfig(units_scale=config.network.units_scale)
        return dataclasses.replace(config, network=own)
    name = preset or presets.default_preset()
    if name not in presets.PRESETS:
        raise ConfigError(f"unknown preset {name!r}: choose {cli.PRESET_NAMES}")
    return presets.PRESETS[name]


class Learning:
    """A visual stream that learns poses."""

    def __init__(self, config: Config, frame: tuple[int, int, int], cfg, total: int):
        """`total`: steps that will be made."""
        visual = vision.areas({vision.STREAM: frame}, config.network.units_scale)
        self.stream = vision.VisualStream(visual)
        self.batch = cfg.batch
        schedule = optax.cosine_decay_schedule(cfg.learning_rate, max(1, total))
        self.optimizer = optax.adam(schedule)
        self.params = self.stream.init(
            jax.random.PRNGKey(config.seed), jnp.zeros((1, *frame), jnp.uint8)
        )
        if config.network.vision_stream:
            self.params = vision_file.put(
                self.params, config.network.vision_stream, config.env.cameras, frame[0]
            )
        self.opt_state = self.optimizer.init(self.params)
        self._epoch = jax.jit(self._steps, donate_argnums=(0, 1))
        self._read = jax.jit(self._code)

    def learn(self, frames: np.ndarray, poses: np.ndarray, key: jax.Array) -> float:
        """One pass over frames in random order; the mean loss on the way."""
        self.params, self.opt_state, loss = self._epoch(
            self.params, self.opt_state, frames, poses, key
        )
        return float(loss)

    def errors(self, frames: np.ndarray, poses: np.ndarray) -> pose.Errors:
        """How far off the pose is that is read from each frame; numpy, [P]."""
        size = 256
        codes = [
            self._read(self.params, frames[i : i + size])
            for i in range(0, len(frames), size)
        ]
        return jax.device_get(pose.errors(jnp.concatenate(codes), jnp.asarray(poses)))

    def _code(self, params, frames) -> jax.Array:
        return jnp.asarray(self.stream.apply(params, frames))

    def _steps(self, params, opt_state, frames, poses, key):
        size = min(self.batch, len(frames))
        order = jax.random.permutation(key, len(frames))
        order = order[: len(frames) // size * size].reshape(-1, size)

        def loss(params, chosen):
            code = self._code(params, frames[chosen])
            return jnp.mean(pose.loss(code, poses[chosen]))

        def step(carry, chosen):
            params, opt_state = carry
            value, grads = jax.value_and_grad(loss)(params, chosen)
            moves, opt_state = self.optimizer.update(grads, opt_state, params)
            return (optax.apply_updates(params, moves), opt_state), value

        (params, opt_state), values = jax.lax.scan(step, (params, opt_state), order)
        return params, opt_state, jnp.mean(values)


def pretrain(config: Config, options: PretrainOptions) -> dict[str, Any]:
    """Learn, print a line per round, and write the file; returns what it tells about itself."""
    policy: Policy | None = load_policy(options.moved_by) if options.moved_by else None
    hands = Hands(config, _seed(config.seed, TEST), policy)
    scene = dataclasses.replace(config.scene, object=hands.env.scene.object)
    config = dataclasses.replace(config, scene=scene)  # not "auto": the file tells what
    test = hands.draw(options.test_frames)
    share = min(ROUND, options.frames)
    rounds = -(-options.frames // share)
    steps = rounds * options.passes * (share // min(options.batch, share))
    learning = Learning(config, hands.eye.shape, options, steps)
    tell = partial(_about, config, learning, test, moved_by=options.moved_by)
    key = jax.random.PRNGKey(config.seed)
    about, began = {}, time.monotonic()
    with Stop(lambda: print(_late(options, about))) as stop:
        for index in range(rounds):
            # Every round has start states of its own.
            hands.restart(_seed(config.seed, index))
            data, loss = hands.draw(share), float("nan")
            for number in range(options.passes):
                each = jax.random.fold_in(key, index * options.passes + number)
                loss = learning.learn(*data, each)
            found = tell(frames=(index + 1) * share)
            vision_file.write(options.out, jax.device_get(learning.params), found)
            about = found  # what the file tells about itself
            seconds = time.monotonic() - began
            print(f"{sentence(about)}; loss {loss:.3f}, {seconds:.0f} s", flush=True)
            if stop.asked:
                print("stopped; the file holds what was learned so far")
                break
    return about


def _late(options: PretrainOptions, about: dict[str, Any]) -> str:
    """What to say where a round does not end in the time that a scheduler gives."""
    if not about:
        return f"stopped in the first round: nothing is written to {options.out}"
    return f"stopped; {options.out} holds what {about['frames']:,} frames taught"


def _seed(seed: int, index: int) -> int:
    return int(np.random.SeedSequence([seed, index]).generate_state(1)[0])


def _about(
    config: Config, learning: Learning, test, *, frames: int, moved_by: str = ""
) -> dict[str, Any]:
    off = learning.errors(*test)
    truth = test[1]
    centre = np.median(truth[:, :3], axis=0)
    return {
        "frame": list(vision.frame_of(learning.stream.visual)),
        "cameras": config.env.cameras,
        "units_scale": config.network.units_scale,
        "object": config.scene.object,
        "frames": frames,
        "test_frames": len(truth),
        "angle_degrees": _quantiles(np.degrees(np.asarray(off.angle))),
        "position_mm": _quantiles(1000 * np.asarray(off.position)),
        # Of the answer that is always the same: the middle of all places.
        "position_mm_of_the_mean": _quantiles(
            1000 * np.linalg.norm(truth[:, :3] - centre, axis=1)
        ),
        "seed": config.seed,
        "moved_by": moved_by or "random actions",
    }


def _quantiles(x: np.ndarray) -> dict[str, float]:
    median, p90 = np.percentile(x, [50, 90])
    return {"median": round(float(median), 2), "p90": round(float(p90), 2)}


def sentence(about: dict[str, Any]) -> str:
    """One line for a person."""
    angle, place = about["angle_degrees"], about["position_mm"]
    constant = about["position_mm_of_the_mean"]
    return (
        f"{about['frames']:>9,} frames: {angle['median']:.1f}° off (a tenth more than "
        f"{angle['p90']:.0f}°), {place['median']:.1f} mm (always the middle: "
        f"{constant['median']:.1f} mm)"
    )


@cli.main_guard
def main(argv: Sequence[str] | None = None) -> int:
    """Command line of `python -m mjxhand.pretrain`."""
    config, options = parse(sys.argv[1:] if argv is None else argv)
    out = Path(options.out)
    cli.refuse_unwritable("--out", out)
    begins = config.network.vision_stream
    if out.exists() and not (begins and out.samefile(vision_file.locate(begins))):
        raise ConfigError(
            f"{out} is there already, and may hold a stream: choose another --out, or go on "
            f"with it, --network.vision-stream {out}"
        )
    pretrain(config, options)
    print(
        f"stream: {out}; start a policy from it with --network.vision-stream {out}, or play one "
        f"by sight: python -m mjxhand.evaluate RUN --vision-stream {out}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
