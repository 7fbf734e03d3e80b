"""Recording: the policy acts, and what its areas, senses and body do is streamed to disk.

One compiled function plays a block of control steps in every environment; whole shards are
written as they fill, so that memory is bounded by one shard, and an interrupted recording goes
on after its last whole shard exactly as if it had never stopped.

The control network (the same network before training) is shown the very same senses, with the
same normalisation. It does not act, so that nothing but its weights differs.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mjxhand import rotations, storage
from mjxhand.agent import Agent, strong
from mjxhand.analyse import recording
from mjxhand.analyse.recording import AREA, CONTROL, SENSE, Recording, Settings
from mjxhand.body import read
from mjxhand.config import ConfigError
from mjxhand.env import Env
from mjxhand.evaluate import POOL_SEED, Policy, untrained
from mjxhand.networks import distributions
from mjxhand.rollout import where

BLOCK = 32
"""Control steps of one call of the compiled function."""
SHARD = 256
"""Most control steps of a shard."""
CARRY = "carry.npz"


@dataclass(frozen=True)
class Weights:
    """What the compiled function is given of a policy; a pytree."""

    params: Any
    control: Any  # parameters of the network that only watches, or None
    stats: Any


jax.tree_util.register_dataclass(Weights, ["params", "control", "stats"], [])


def control_of(policy: Policy) -> Policy:
    """The network before training, which sees senses normalised as the trained one does."""
    return replace(untrained(policy), stats=policy.stats)


def expected_action(distribution: Any, logits: jax.Array) -> jax.Array:
    """Mean command per actuator `[..., A]` in [-1, 1], without the noise of sampling.

    Of a tanh-normal it is the median, which has a closed form.
    """
    if isinstance(distribution, distributions.MultiCategorical):
        bins = distribution.bins
        p = logits.reshape(*logits.shape[:-1], distribution.num_actuators, bins)
        return jax.nn.softmax(p) @ jnp.linspace(-1.0, 1.0, bins)
    if isinstance(distribution, distributions.Beta):
        a, b = (x + 1.0 for x in distribution.parameters(logits))
        return (a - b) / (a + b)
    return distribution.mode(logits)


class Recorder:
    """Plays blocks of control steps; compiled once for any weights and seed."""

    def __init__(self, env: Env, agent: Agent, envs: int, dtype: str, control: bool):
        self.env = env
        self.agent = agent
        self.envs = envs
        self.dtype = jnp.dtype(dtype)
        self.control = control
        self._start = jax.jit(self._begin)
        self._play = jax.jit(self._block)

    def params(self, seed: int):
        """Settled start states, never those of a training run."""
        return self.env.make_params(POOL_SEED + seed)

    def start(self, seed: int, params: Any) -> Any:
        """Every environment at the start of an episode."""
        return self._start(jax.random.PRNGKey(seed), params)

    def block(self, weights: Weights, params: Any, carry: Any) -> tuple[Any, Any]:
        """BLOCK control steps: the carry after them and arrays `[T, N, ...]` by name."""
        return self._play(weights, params, carry)

    def _begin(self, key: jax.Array, params: Any) -> Any:
        keys = jax.random.split(key, self.envs + 1)
        memory = self.agent.initial_carry(self.envs)
        number = jnp.arange(self.envs, dtype=jnp.int32)
        return strong(
            {
                "state": jax.vmap(self.env.reset, in_axes=(0, None))(keys[1:], params),
                "memory": memory,
                "control": memory if self.control else None,
                "began": jnp.ones(self.envs, bool),
                # Ids are unique over the whole recording: environment plus N per new one.
                "episode": number,
                "segment": number,
                "key": keys[0],
            }
        )

    def _block(self, weights: Weights, params: Any, carry: Any):
        return jax.lax.scan(
            lambda c, _: self._step(weights, params, c), carry, None, length=BLOCK
        )

    def _step(self, weights: Weights, params: Any, carry: Any):
        state, began, agent = carry["state"], carry["began"], self.agent
        key, key_action, key_reset = jax.random.split(carry["key"], 3)
        memory, out = agent.act(
            weights.params, weights.stats, carry["memory"], state.obs, began
        )
        watching, control_areas = carry["control"], {}
        if self.control:
            watching, watched = agent.act(
                weights.control, weights.stats, watching, state.obs, began
            )
            control_areas = watched.areas
        action = agent.distribution.sample(out.logits, key_action)
        step = jax.vmap(self.env.step, in_axes=(0, 0, None))
        after = step(state, action, params)
        ended = after.terminated | after.truncated
        success = after.metrics["success"] > 0
        frame = self._frame(state, after, action, out, control_areas)
        frame |= {
            "began": began,
            "ended": ended,
            "success": success,
            "episode": carry["episode"],
            "segment": carry["segment"],
        }
        fresh = jax.vmap(self.env.reset, in_axes=(0, None))(
            jax.random.split(key_reset, self.envs), params
        )
        return {
            "state": where(ended, fresh, after),
            "memory": memory,
            "control": watching,
            "began": ended,
            "episode": carry["episode"] + self.envs * ended,
            "segment": carry["segment"] + self.envs * (ended | success),
            "key": key,
        }, frame

    def _frame(self, state, after, action, out, control_areas) -> dict[str, jax.Array]:
        """Everything of one step: what was sensed, what the areas did, what came of it."""
        body = jax.vmap(lambda p: read(self.env.scene, p))(state.physics)
        levels = action.astype(jnp.float32)
        if isinstance(self.agent.distribution, distributions.MultiCategorical):
            levels = 2.0 * levels / (self.agent.distribution.bins - 1) - 1.0
        narrow = {AREA + k: v for k, v in out.areas.items()}
        narrow |= {CONTROL + k: v for k, v in control_areas.items()}
        frame = {k: v.astype(self.dtype) for k, v in narrow.items()}
        for name, value in state.obs.items():
            narrow_touch = self.dtype if name == "touch" else jnp.float32
            frame[SENSE + name] = value.astype(narrow_touch)
        if hasattr(self.env.task, "remaining"):
            turn = jax.vmap(self.env.task.remaining)(state.goal, body)
            frame["remaining"] = rotations.log(turn)
        return frame | {
            "action": levels,
            "command": expected_action(self.agent.distribution, out.logits),
            "servo": after.target,
            "reward": after.reward,
            "value": out.value,
            "goal": _flat(state.goal),
            "distance": state.distance,
            "dropped": after.metrics["dropped"] > 0,
            "cube_pos": body.cube_pos,
            "cube_quat": body.cube_quat,
            "cube_linear_velocity": body.cube_linear_velocity,
            "cube_angular_velocity": body.cube_angular_velocity,
            "fingertips": body.fingertips,
            "joint_angle": body.joint_angle,
        }


def _flat(goal) -> jax.Array:
    """A batch of goals, pytrees of any shape, as [N, numbers]."""
    leaves = [x.reshape(x.shape[0], -1) for x in jax.tree.leaves(goal)]
    return jnp.concatenate([x.astype(jnp.float32) for x in leaves], axis=-1)


def plan(
    policy: Policy,
    env: Env,
    *,
    steps: int,
    envs: int,
    seed: int = 0,
    dtype: str = "float16",
    control: bool = True,
) -> Settings:
    """Settings of a recording; its shards hold whole blocks.

    Raises:
        ConfigError: a number below 1, or another type of number.
    """
    for name, value in (("steps", steps), ("envs", envs)):
        if value < 1:
            raise ConfigError(f"--{name} is {value}: give at least 1")
    if dtype not in ("float16", "float32"):
        raise ConfigError(f"dtype {dtype!r}: choose float16 or float32")
    wanted = -(-steps // envs)
    length = min(SHARD, -(-wanted // BLOCK) * BLOCK)
    return Settings(
        steps=steps,
        envs=envs,
        length=length,
        seed=seed,
        update=policy.update,
        impl=env.physics.impl,
        dtype=dtype,
        control=control,
    )


def record(
    policy: Policy,
    env: Env,
    folder: str | Path,
    settings: Settings,
    show: Callable[[int], None] = lambda samples: None,
) -> Recording:
    """Record `settings.steps` control steps, or go on with a recording begun before.

    Args:
        show: called with the samples there are so far, after every block.

    Raises:
        ConfigError: the folder holds a recording made otherwise, or cannot be written.
    """
    folder = Path(folder)
    done = _begun(folder, settings, env)
    if len(done) >= settings.shards:
        show(settings.shards * settings.envs * settings.length)
        return Recording(folder)
    recorder = Recorder(
        env, policy.agent, settings.envs, settings.dtype, settings.control
    )
    params = recorder.params(settings.seed)
    control = control_of(policy).params if settings.control else None
    weights = Weights(policy.params, control, policy.stats)
    carry = recorder.start(settings.seed, params)
    if done:
        carry = _read_carry(folder, carry, len(done))
    for index in range(len(done), settings.shards):
        blocks = []
        for block in range(settings.length // BLOCK):
            carry, frames = recorder.block(weights, params, carry)
            blocks.append(jax.device_get(frames))
            gathered = index * settings.length + (block + 1) * BLOCK
            show(gathered * settings.envs)
        # Environment-major, so that a window ahead in time is a slice.
        arrays = {
            name: np.concatenate([b[name] for b in blocks]).swapaxes(0, 1)
            for name in blocks[0]
        }
        done.append(f"{index:05d}.npz")
        save(folder / done[-1], arrays)
        # The carry first: it says for how many shards it holds.
        state = storage.to_arrays(carry)
        save(folder / f"{len(done)}-{CARRY}", state)
        sizes = {n: a.shape[2] if a.ndim > 2 else 1 for n, a in arrays.items()}
        recording.write_manifest(folder, settings, env.config, sizes, done)
        (folder / f"{len(done) - 1}-{CARRY}").unlink(missing_ok=True)
    return Recording(folder)


def _begun(folder: Path, settings: Settings, env: Env) -> list[str]:
    """Shards that a recording with these settings already has; makes the folder."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"cannot write to {folder}: {error.strerror}") from None
    manifest = recording.read_manifest(folder)
    if manifest is None:
        return []
    made = Settings(**manifest["settings"])
    # More of the same may be asked for; anything else is another recording.
    if replace(made, steps=settings.steps) != settings:
        changed = [
            f"{name} {value}"
            for name, value in vars(made).items()
            if name != "steps" and value != getattr(settings, name)
        ]
        raise ConfigError(
            f"{folder} holds a recording made with {', '.join(changed)}: choose another "
            "--out, or the same settings to go on"
        )
    if Recording(folder).config != env.config:
        raise ConfigError(
            f"{folder} holds a recording of another run: choose another --out"
        )
    return list(manifest["shards"])


def _read_carry(folder: Path, like: Any, done: int) -> Any:
    path = folder / f"{done}-{CARRY}"
    try:
        with np.load(path, allow_pickle=False) as file:
            return storage.from_arrays({n: file[n] for n in file.files}, like)
    except (OSError, ValueError, KeyError) as error:
        raise ConfigError(
            f"cannot go on with the recording ({path}: {error}): choose another --out"
        ) from None


def save(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write arrays so that the file is there in whole or not at all."""
    hidden = path.with_name(f".{path.name}.tmp")
    with hidden.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]
    storage.sync(hidden)
    os.replace(hidden, path)
