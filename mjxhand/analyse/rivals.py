"""Rivals of an area that plans: what needed no learning to foretell commands.

Sources for the planning profile alone: the senses with the present command, and random units
that receive the one or both.
"""

import numpy as np

from mjxhand.analyse.recording import SENSE, Arrays, Recording

CURVED_SENSES = SENSE + "all senses (nonlinear)"
"""A source for the planning profile: what fixed random units make of the present senses."""
WITH_COMMAND = SENSE + "all senses and the command"
"""A source for the planning profile: commands resemble the ones that follow them."""
CURVED_BOTH = SENSE + "all senses and the command (nonlinear)"
"""A source for the planning profile: both of these, and what random units make of both."""
AHEAD_ONLY = CURVED_SENSES, WITH_COMMAND, CURVED_BOTH
CURVES = 600
"""Random units, rectified, beside what they receive, in the sources that are nonlinear."""
MOST_DEVIATIONS = 3.0
"""Where senses are cut in the sources of `AHEAD_ONLY`: a blow on a fingertip is many standard
deviations of touch, and would decide a linear fit."""


class Lift:
    """Makes the sources of `AHEAD_ONLY`: senses and command standardised, and random units."""

    def __init__(self, recording: Recording, senses: tuple[str, ...]):
        self._recording, self._names = recording, (*senses, "command")
        total = square = np.zeros(())
        for arrays in recording.shards(self._names):
            x = self._joined(arrays).astype(np.float64)
            total = total + x.mean((0, 1))
            square = square + np.square(x).mean((0, 1))
        self._mean = total / len(recording)
        variance = np.maximum(square / len(recording) - self._mean**2, 0)
        # What a sum of squares in double precision cannot tell from no variance at all.
        alive = variance > 1e-12 * np.maximum(self._mean**2, 1)
        self._scale = np.where(alive, np.sqrt(np.where(alive, variance, 1)), np.inf)
        self._commands = recording.sizes["command"]
        rng = np.random.default_rng(0)
        size = len(self._mean)
        self._units = {
            CURVED_SENSES: _random_units(rng, size - self._commands),
            CURVED_BOTH: _random_units(rng, size),
        }

    def _joined(self, arrays: Arrays) -> np.ndarray:
        return np.concatenate([arrays[name] for name in self._names], axis=-1)

    def __call__(self, shard: int, used: np.ndarray) -> Arrays:
        """The sources of a shard at the steps bool `[N, T]`: `[n, U]` each."""
        x = self._joined(self._recording.read(shard, self._names))[used]
        x = (x - self._mean) / self._scale
        x = np.clip(x, -MOST_DEVIATIONS, MOST_DEVIATIONS).astype(np.float32)
        seen = x[:, : -self._commands]
        return {
            CURVED_SENSES: self._curved(CURVED_SENSES, seen),
            WITH_COMMAND: x,
            CURVED_BOTH: self._curved(CURVED_BOTH, x),
        }

    def _curved(self, name: str, x: np.ndarray) -> np.ndarray:
        weights, bias = self._units[name]
        return np.concatenate([x, np.maximum(x @ weights + bias, 0)], axis=-1)


def _random_units(rng: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Weights `[size, CURVES]` and biases of units that are silent about half of the time.

    So are those of an untrained area.
    """
    weights = rng.normal(size=(size, CURVES)) * 1.5 / np.sqrt(size)
    bias = rng.normal(size=CURVES) * 0.5
    return weights.astype(np.float32), bias.astype(np.float32)
