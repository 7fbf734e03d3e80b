"""Fixed points and modes of every recurrent area of a recorded network, under typical inputs."""

import numpy as np
import pandas as pd

from mjxhand.analyse import anatomy, dynamics
from mjxhand.analyse.dynamics import Core
from mjxhand.analyse.recording import SENSE, Recording
from mjxhand.evaluate import Policy

STARTS = 32
"""States from which fixed points are looked for, per input."""
INPUTS = 4
"""Typical inputs: the mean one and those of steps drawn at random."""
FIXED, SLOWEST = "fixed point", "slowest state"
WINDOW = 32
"""Control steps over which the starts are reached, from zero."""


def tables(
    recording: Recording, policy: Policy, prefix: str, area: str, seed: int = 0
) -> dict[str, pd.DataFrame]:
    """Fixed points of one recurrent area.

    Args:
        prefix: whose activity was recorded, `recording.AREA` or `recording.CONTROL`.

    Returns:
        `modes` (`dynamics.modes`, `input` and `at`), `fixed_points` (by input: `points`, how
        many are `stable`, share of starts that `found` one, median final `speed`, `slowest` time
        constant, s) and `spectrum` (`input, at, point, real, imaginary` of every eigenvalue).
        `at` is "fixed point" or, for inputs for which none was found, "slowest state" that the
        area visits.
    """
    core = dynamics.core(policy, area)
    starts, typical = _typical(recording, policy, prefix, core, seed)
    rows, spectrum, summary = [], [], []
    columns = ["input", "at", "point", "real", "imaginary"]
    for number, drive in enumerate(typical):
        found = dynamics.fixed_points(core.step, starts, drive)
        name = "mean" if number == 0 else f"step {number}"
        modes = dynamics.modes(found, recording.step_seconds)
        summary.append({"input": name} | _summary(found, modes))
        at = FIXED
        if not len(found.points):
            at, found = SLOWEST, dynamics.slowest_state(core.step, starts, drive)
            modes = dynamics.modes(found, recording.step_seconds)
        rows.append(modes.assign(input=name, at=at))
        spectrum += [
            dict(zip(columns, (name, at, index, v.real, v.imag), strict=True))
            for index, values in enumerate(found.eigenvalues)
            for v in values
        ]
    return {
        "modes": pd.concat(rows, ignore_index=True),
        "fixed_points": pd.DataFrame(summary),
        "spectrum": pd.DataFrame(spectrum, columns=columns),
    }


def _summary(found: dynamics.FixedPoints, modes: pd.DataFrame) -> dict:
    largest = np.abs(found.eigenvalues[:, 0]) if len(found.points) else np.zeros(0)
    tau = modes["tau"].to_numpy()[modes["modulus"].to_numpy() < 1]
    return {
        "points": len(found.points),
        "stable": int((largest < 1).sum()),
        "found": found.found,
        "speed": float(np.median(found.speed)),
        "largest_modulus": float(largest.max(initial=0.0)) if len(largest) else np.nan,
        "slowest": float(tau.max()) if len(tau) else np.nan,
    }


def _typical(
    recording: Recording, policy: Policy, prefix: str, core: Core, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """States that the area visits `[M, S]`, and inputs that it receives `[INPUTS, I]`."""
    arrays, began = _received(recording, policy, prefix, core)
    rng = np.random.default_rng(seed)
    n, t = began.shape
    window = min(WINDOW, t - 1)
    env = rng.integers(n, size=STARTS)
    # Not from a shard's first step, whose late input lies in the one before.
    start = rng.integers(1, t - window + 1, size=STARTS)
    drives = np.stack(
        [core.drive([a[env, start + w] for a in arrays]) for w in range(window)]
    )
    fresh = np.stack([began[env, start + w] for w in range(window)])
    typical = np.stack([drives.mean((0, 1)), *drives[-1, : INPUTS - 1]])
    return dynamics.visited(core, drives, fresh), typical


def _received(
    recording: Recording, policy: Policy, prefix: str, core: Core
) -> tuple[list[np.ndarray], np.ndarray]:
    """What each input of an area carried in the first shard, and where episodes began."""
    senses = policy.agent.observation_sizes
    areas = [prefix + p.source for p in core.inputs if p.source not in senses]
    found = recording.read(0, ["began", *dict.fromkeys(areas)])
    obs = {}
    if any(p.source in senses for p in core.inputs):
        raw = recording.read(0, [SENSE + n for n in senses])
        given = {n: raw[SENSE + n] for n in senses}
        obs = policy.agent.normalize(given, policy.stats)
    began = found["began"]
    arrays = []
    for path in core.inputs:
        x = np.asarray(obs[path.source] if path.source in senses
                       else found[prefix + path.source])  # fmt: skip
        if path.delayed:
            x = np.concatenate([np.zeros_like(x[:, :1]), x[:, :-1]], axis=1)
            x = np.where(began[..., None], 0.0, x)
        arrays.append(x)
    return arrays, began


def recurrent_areas(recording: Recording, policy: Policy, prefix: str) -> list[str]:
    """Recurrent areas of a network that were recorded."""
    there = set(recording.of_kind(prefix))
    return [a for a in anatomy.recurrent(policy.agent) if a in there]
