"""The checks that refuse a configuration which cannot work, before anything is built."""

import math
import numbers
import sys
from dataclasses import fields, is_dataclass
from typing import Any, Literal, get_args, get_origin, get_type_hints

import jax

from mjxhand import eye, randomize, tasks
from mjxhand.config import Config, ConfigError, NetworkConfig, PPOConfig
from mjxhand.networks import options
from mjxhand.networks.baseline import FORMS
from mjxhand.wiring import STREAMS
from mjxhand.wiring import check as check_wiring

NETWORKS = ("fpn", *FORMS)

_ANY = math.inf
_COUNT = 2**31 - 1
"""What 32 bits can count to, in MuJoCo and in compiled programs."""
PI_ROUNDED = 3.1416
"""π as people type it; tasks take it for π."""
RANGES: dict[str, tuple[float, float, bool]] = {
    "scene.cube_edge": (0, 0.2, False),
    "scene.cube_density": (0, _ANY, False),
    "scene.object_damping": (0, _ANY, True),
    "scene.timestep": (0, 0.1, False),
    "scene.iterations": (1, _COUNT, True),
    "scene.ls_iterations": (1, _COUNT, True),
    "scene.max_contact_points": (1, _ANY, True),
    "physics.substeps": (1, _ANY, True),
    "physics.threads": (0, 1024, True),
    "env.bins": (2, _ANY, True),
    "env.relative_step": (0, 2, False),
    "env.target_lead": (0, 2, False),
    "env.goal_seconds": (0, _ANY, False),
    "env.max_goals": (1, _COUNT, True),
    "env.threshold": (0, math.pi, False),
    "env.tip_threshold": (0, 0.2, False),
    "env.position_tolerance": (0, 0.2, False),
    "env.frame_size": (16, 512, True),
    "env.pose_noise_angle": (0, math.pi, True),
    "env.pose_noise_position": (0, 0.2, True),
    "env.push_speed": (0, 10, True),
    "env.push_seconds": (0, _ANY, False),
    "env.goal_angle_max": (0, math.pi, False),
    "env.reward.time": (0, _ANY, True),
    "env.reward.progress": (0, _ANY, True),
    "env.reward.drop": (0, _ANY, True),
    "env.reward.success": (0, _ANY, True),
    "env.reward.force": (0, _ANY, True),
    "env.pool_size": (1, _ANY, True),
    "env.settle_seconds": (0, _ANY, False),
    "network.units_scale": (0, _ANY, False),
    "network.stream_dropout": (0, 1, True),
    "ppo.num_envs": (1, _ANY, True),
    "ppo.unroll_length": (1, _ANY, True),
    "ppo.chunk_length": (1, _ANY, True),
    "ppo.num_epochs": (1, _ANY, True),
    "ppo.num_minibatches": (1, _ANY, True),
    "ppo.learning_rate": (0, _ANY, False),
    "ppo.gamma": (0, 1, True),
    "ppo.lam": (0, 1, True),
    "ppo.clip": (0, 1, False),
    "ppo.value_clip": (0, _ANY, False),
    "ppo.value_weight": (0, _ANY, True),
    "ppo.entropy_weight": (0, _ANY, True),
    "ppo.pose_weight": (0, _ANY, True),
    "ppo.max_grad_norm": (0, _ANY, False),
    "ppo.target_kl": (0, _ANY, False),
    "ppo.max_skipped_updates": (1, _ANY, True),
    "curriculum.start": (0, math.pi, False),
    "curriculum.growth": (1, _ANY, False),
    "curriculum.goals": (0, _ANY, False),
    "curriculum.episodes": (1, _COUNT, True),
    "curriculum.threshold_start": (0, math.pi, False),
    "curriculum.threshold_steps": (1, _ANY, True),
    "curriculum.onward": (0, 1, True),
    "curriculum.keep_state": (0, 1, True),
    "seed": (0, 2**32 - 1, True),
    "total_steps": (1, _ANY, True),
    "checkpoint_updates": (1, _ANY, True),
    "pool_updates": (1, _ANY, True),
    "evaluate_episodes": (0, _ANY, True),
    "film_seconds": (0, _ANY, False),
}
"""Numbers by dotted name: (smallest, largest, whether the smallest itself is allowed)."""


def flatten(config: Any, prefix: str = "") -> dict[str, tuple[Any, Any]]:
    """Fields of nested dataclasses: {dotted name: (annotation, value)}."""
    hints = get_type_hints(type(config))
    flat: dict[str, tuple[Any, Any]] = {}
    for field in fields(config):
        value = getattr(config, field.name)
        if is_dataclass(value):
            flat |= flatten(value, f"{prefix}{field.name}.")
        else:
            flat[prefix + field.name] = (hints[field.name], value)
    return flat


KINDS = {float: numbers.Real, int: numbers.Integral}
"""NumPy's numbers are among them."""
WORDS = {
    float: "a number",
    int: "a whole number",
    str: "text",
    bool: "true or false",
    type(None): "nothing",
}


def fits(value: Any, hint: Any) -> bool:
    """Whether a value is of a field's type."""
    if get_origin(hint) is not None:
        parts = get_args(hint)
        return value in parts or any(
            fits(value, part) for part in parts if isinstance(part, type)
        )
    if isinstance(value, bool) or hint is bool:
        return hint is bool and isinstance(value, bool)
    return isinstance(value, KINDS.get(hint, hint))


def expected(hint: Any) -> str:
    """What a value of a field must be, in words."""
    if get_origin(hint) is Literal:
        return f"one of {', '.join(map(str, get_args(hint)))}"
    parts = get_args(hint) or (hint,)
    return " or ".join(WORDS.get(part, str(part)) for part in parts)


def _check_ranges(flat: dict[str, tuple[Any, Any]]) -> None:
    for name, (annotation, value) in flat.items():
        if get_origin(annotation) is Literal and value not in get_args(annotation):
            choices = ", ".join(get_args(annotation))
            raise ConfigError(f"{name} is {value!r}: choose one of {choices}")
        if not fits(value, annotation):
            raise ConfigError(f"{name} is {value!r}: give {expected(annotation)}")
        if isinstance(value, float) and not math.isfinite(value):
            raise ConfigError(f"{name} is {value}: give a finite number")
        if isinstance(value, int) and abs(value) > sys.float_info.max:
            digits = len(str(abs(value)))
            raise ConfigError(f"{name} has {digits} digits: give a smaller number")
        if name not in RANGES or value is None:
            continue
        low, high, inclusive = RANGES[name]
        most = PI_ROUNDED if high == math.pi else high
        if value < low or value > most or (value == low and not inclusive):
            at_least = f"{'at least' if inclusive else 'more than'} {low:.10g}"
            at_most = "" if high == _ANY else f" and at most {high:.10g}"
            raise ConfigError(f"{name} is {value:.10g}: it must be {at_least}{at_most}")


def _check_divisible(whole: tuple[str, int], part: tuple[str, int], fix: str) -> None:
    if whole[1] % part[1]:
        raise ConfigError(
            f"{whole[0]} ({whole[1]}) is not a multiple of {part[0]} ({part[1]}): {fix}"
        )


def _nearest_multiple(value: int, step: int) -> int:
    return max(step, round(value / step) * step)


def _check_sizes(ppo: PPOConfig, num_devices: int) -> None:
    """N divides over the devices, a device's share over minibatches, T over chunks."""
    step = num_devices * ppo.num_minibatches
    fix = f"try --ppo.num-envs {_nearest_multiple(ppo.num_envs, step)}"
    whole = ("ppo.num_envs", ppo.num_envs)
    _check_divisible(whole, ("the number of devices", num_devices), fix)
    share = ppo.num_envs // num_devices
    whole = ("ppo.num_envs per device" if num_devices > 1 else "ppo.num_envs", share)
    _check_divisible(whole, ("ppo.num_minibatches", ppo.num_minibatches), fix)
    unroll = _nearest_multiple(ppo.unroll_length, ppo.chunk_length)
    _check_divisible(
        ("ppo.unroll_length", ppo.unroll_length),
        ("ppo.chunk_length", ppo.chunk_length),
        f"try --ppo.unroll-length {unroll}",
    )


def _check_task(config: Config) -> None:
    env = config.env
    task = tasks.find(env.task)
    task.check(config)
    thing = config.scene.object
    rows = randomize.rows_of(config, task.object if thing == "auto" else thing)
    drawn = [name for name, row in rows.items() if row.drawn == "episode"]
    if env.randomize != "none" and drawn and env.pool_size < 2:
        raise ConfigError(
            f"env.pool_size is {env.pool_size}: every episode would have the same "
            f"{drawn[0]}; use at least 2, better 1024"
        )
    if env.goal_seconds < config.control_seconds:
        raise ConfigError(
            f"env.goal_seconds ({env.goal_seconds:g} s) is shorter than a control step, "
            f"physics.substeps ({config.physics.substeps}) x scene.timestep "
            f"({config.scene.timestep:g} s) = {config.control_seconds:g} s: allow more time"
        )
    longest = env.max_goals * (env.goal_seconds / config.control_seconds)
    if longest > _COUNT:
        raise ConfigError(
            f"env.max_goals ({env.max_goals}) x env.goal_seconds ({env.goal_seconds:g} s) are "
            f"{longest:.3g} control steps, more than an episode can have (2.1e+09): allow "
            "fewer goals, or less time"
        )


def _check_policy(config: Config) -> None:
    name = config.network.name
    if name not in NETWORKS and ":" not in name:
        raise ConfigError(
            f"network.name is {name!r}: choose one of {', '.join(NETWORKS)}, or give your "
            "own as module:function"
        )
    wanted, actions = config.network.distribution, config.env.actions
    discrete = wanted == "multi_categorical"
    if wanted != "auto" and discrete != (actions == "discrete"):
        raise ConfigError(
            f"network.distribution {wanted} cannot give {actions} actions: use auto, or "
            f"--env.actions {'discrete' if discrete else 'continuous'}"
        )


def _check_network(config: Config) -> None:
    network, default = config.network, NetworkConfig()
    if network.weights and network.vision_stream and config.env.vision == "pixels":
        raise ConfigError(
            f"network.weights ({network.weights}) holds V1 to IT too: leave out "
            "--network.vision-stream"
        )
    options.dropped_streams(network)
    if network.name == "fpn":
        check_wiring(options.wiring_of(network), STREAMS)
        return
    if ":" in network.name:  # what it makes of them is its own matter
        return
    for name in ("atlas", "recurrent", "feedback"):
        if getattr(network, name) != getattr(default, name):
            raise ConfigError(
                f"network.{name} is {getattr(network, name)!r}, but {network.name} has no "
                "areas: leave it out, or use --network.name fpn"
            )


def check(config: Config, num_devices: int | None = None) -> None:
    """Refuses what cannot work, before anything is built.

    Args:
        num_devices: devices that share the environments; None: all local ones.

    Raises:
        ConfigError: one line that names the numbers and the fix.
    """
    _check_ranges(flatten(config))
    num_devices = num_devices or jax.local_device_count()
    _check_sizes(config.ppo, num_devices)
    _check_task(config)
    _check_policy(config)
    _check_network(config)
    thing = config.scene.object
    thing = tasks.find(config.env.task).object if thing == "auto" else thing
    eye.check(config, thing)
