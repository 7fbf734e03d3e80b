"""Which episodes began in the same state.

Episodes start from a pool of settled states, drawn with replacement (`env.pool_size`). A cube
that hardly moves keeps the mark of its start for a whole episode, so an area that
remembers starts would seem to know whatever differs between them, were two episodes of one
start on both sides of a split. The start state is therefore the unit of every split here.
"""

import numpy as np

from mjxhand.analyse.recording import Recording
from mjxhand.config import ConfigError

POSTURE = ("joint_angle", "cube_pos")
"""Recorded arrays that tell one start state from another."""


def of(posture: np.ndarray, episode: np.ndarray, began: np.ndarray) -> np.ndarray:
    """Start state of each sample: the same number wherever an episode began alike.

    Where all episodes begin in one state, as with an empty hand, a start tells nothing, and
    every episode counts as a start of its own.

    Args:
        posture: of hand and object, `[..., k]`; only that of an episode's first step is used.
        episode: id of each sample's episode, int `[...]`.
        began: whether the sample is the first of its episode, bool `[...]`.

    Returns:
        int `[...]`, from 0 on.

    Raises:
        ConfigError: the first step of an episode is not among the samples.
    """
    ids, index = np.unique(episode, return_inverse=True)
    first, at = np.unique(episode[began], return_index=True)
    if len(first) < len(ids):
        raise ConfigError(
            f"{len(ids) - len(first)} of {len(ids)} episodes lack their first step, which "
            "tells their start state"
        )
    _, start = np.unique(posture[began][at], axis=0, return_inverse=True)
    start = start.reshape(-1)
    if start.max() == 0:
        start = np.arange(len(ids))
    return start[index].reshape(episode.shape).astype(np.int32)


def of_recording(recording: Recording) -> np.ndarray:
    """`of` every step of a recording, int `[shards, N, T]`."""
    parts = list(recording.shards(["episode", "began", *POSTURE]))
    whole = {name: np.stack([p[name] for p in parts]) for name in parts[0]}
    posture = np.concatenate([whole[name] for name in POSTURE], axis=-1)
    return of(posture, whole["episode"], whole["began"])
