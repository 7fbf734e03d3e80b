"""Recording: the policy acts, and what its areas, senses and body do is streamed to disk.

One compiled function plays a block of control steps in every environment; whole shards are
written as they fill, so that memory is bounded by one shard, and an interrupted recording goes
on after its last whole shard exactly as if it had never stopped.

The control network (the same network before training) is shown the very same senses, with the
same normalisation. It does not act, so that nothing but its weights differs.
"""

import os
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np

from mjxhand import storage
from mjxhand.analyse import recording
from mjxhand.analyse.recorder import BLOCK, Recorder, Weights
from mjxhand.analyse.recording import Recording, Settings
from mjxhand.config import ConfigError
from mjxhand.env import Env
from mjxhand.evaluate import Policy, untrained

SHARD = 256
"""Most control steps of a shard."""
CARRY = "carry.npz"


def control_of(policy: Policy) -> Policy:
    """The network before training, which sees senses normalised as the trained one does."""
    return replace(untrained(policy), stats=policy.stats)


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
    manifest = recording.read_manifest(folder)
    if manifest is not None:  # its shards may be shorter than those of so many steps
        settings = replace(settings, length=manifest["settings"]["length"])
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
    per_step = settings.envs
    for index in range(len(done), settings.shards):
        blocks = []
        for block in range(settings.length // BLOCK):
            carry, frames = recorder.block(weights, params, carry)
            blocks.append(jax.device_get(frames))
            show((index * settings.length + (block + 1) * BLOCK) * per_step)
        done = _keep(folder, settings, env, done, blocks, carry)
    return Recording(folder)


def _keep(
    folder: Path, settings: Settings, env: Env, done: list[str], blocks: list, carry
) -> list[str]:
    """Write a shard and where the next one goes on; the shards there are now."""
    # Environment-major, so that a window ahead in time is a slice.
    arrays = {
        name: np.concatenate([b[name] for b in blocks]).swapaxes(0, 1)
        for name in blocks[0]
    }
    now = [*done, f"{len(done):05d}.npz"]
    save(folder / now[-1], arrays)
    # The carry first: it says for how many shards it holds.
    save(folder / f"{len(now)}-{CARRY}", storage.to_arrays(carry))
    sizes = {n: a.shape[2] if a.ndim > 2 else 1 for n, a in arrays.items()}
    recording.write_manifest(folder, settings, env.config, sizes, now)
    (folder / f"{len(done)}-{CARRY}").unlink(missing_ok=True)
    return now


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
    if not Recording(folder).is_of(env.config):
        raise ConfigError(
            f"{folder} holds a recording of another run: choose another --out"
        )
    return list(manifest["shards"])


def _read_carry(folder: Path, like: Any, done: int) -> Any:
    path = folder / f"{done}-{CARRY}"
    try:
        with np.load(path, allow_pickle=False) as file:
            return storage.from_arrays({n: file[n] for n in file.files}, like)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
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
