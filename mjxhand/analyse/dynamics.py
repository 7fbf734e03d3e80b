"""Dynamics of a recurrent area: fixed points under a constant input, and the modes around them.

A fixed point is a state that the area's step leaves where it is. It is looked for from many
visited states at once, by damped Newton steps (Levenberg and Marquardt) on the speed
q = ½ |F(s, u) - s|², all in one compiled program.

References: Sussillo & Barak 2013, Neural Comput. 25 (fixed points, linearised modes);
Levenberg 1944, Q. Appl. Math. 2; Marquardt 1963, J. SIAM 11.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from mjxhand.analyse import anatomy
from mjxhand.config import ConfigError
from mjxhand.evaluate import Policy
from mjxhand.exact import exact
from mjxhand.networks import layers
from mjxhand.networks.baseline import Baseline
from mjxhand.networks.recurrent import find_cell
from mjxhand.wiring import Pathway

Step = Callable[[jax.Array, jax.Array], jax.Array]
"""(state [S], input [I]) → next state [S]."""

ITERATIONS = 100
AT_ONCE = 8
"""Starts that are searched from side by side."""
TOLERANCE = 1e-4
"""Largest |F(s, u) - s| of what counts as a fixed point."""
APART = 1e-2
"""Distance below which two are the same, in deviations of the visited states."""


@dataclass(frozen=True)
class FixedPoints:
    """What a search found for one input."""

    points: np.ndarray  # [P, S] distinct fixed points
    share: np.ndarray  # [P] share of the starts that led to each
    jacobians: np.ndarray  # [P, S, S] ∂F/∂s
    speed: np.ndarray  # [M] final |F(s, u) - s| of every start
    found: float  # share of the starts that ended in a fixed point

    @property
    def eigenvalues(self) -> np.ndarray:
        """Of the Jacobians, complex `[P, S]`, largest modulus first."""
        values = np.linalg.eigvals(self.jacobians)
        order = np.argsort(-np.abs(values), axis=1)
        return np.take_along_axis(values, order, axis=1)


@dataclass(frozen=True)
class Core:
    """A recurrent area as a map of its state vector, apart from its network."""

    area: str
    inputs: tuple[Pathway, ...]  # what its input is read from, in order; some come late
    states: tuple[str, ...]
    units: int
    params: Any  # kernel, recurrent_kernel, bias and, of some cells, recurrent_bias
    cell: str

    def step(self, state: jax.Array, drive: jax.Array) -> jax.Array:
        """Next state vector `[S]` from the projected input `[gates · units]`."""
        cell = find_cell(self.cell)
        parts = jnp.split(state, len(self.states))
        carry = {n: p[None] for n, p in zip(self.states, parts, strict=True)}
        recurrent = carry["hidden"] @ self.params["recurrent_kernel"]
        recurrent = recurrent + self.params.get("recurrent_bias", 0.0)
        after = cell.step(carry, drive[None], recurrent)
        return jnp.concatenate([after[n][0] for n in self.states])

    def drive(self, sources: list[np.ndarray]) -> np.ndarray:
        """Projected input `[n, gates · units]` from each input's activity, `[n, U_s]`."""
        given = [jnp.asarray(s, jnp.float32) for s in sources]
        projected = layers.project(given, self.params["kernel"])
        return np.asarray(projected + self.params["bias"])


def core(policy: Policy, area: str | None = None) -> Core:
    """The recurrent area of a policy's network (the first there is, or the one named).

    Activity that comes back to the area late, over others or from itself, is part of its
    input, not of its state.

    Raises:
        ConfigError: no such area, or it is not recurrent.
    """
    network, wiring = policy.agent.network, anatomy.wiring_of(policy.agent)
    names = anatomy.recurrent(policy.agent)
    name = area or next(iter(names), None)
    if wiring is None or name not in names:
        known = ", ".join(names) or "none"
        raise ConfigError(f"area {name!r} is not recurrent; recurrent: {known}")
    one = wiring.area(name)
    inputs = wiring.inputs(name)
    if one.layers > 1:
        inputs = (Pathway(f"{name}{one.layers - 1}", name),)
    tower = "policy" if isinstance(network, Baseline) else name
    params = policy.params["params"][tower]["recurrent"]
    cell = one.cell or policy.config.network.cell
    return Core(name, inputs, find_cell(cell).states, one.units, params, cell)


def visited(
    core: Core, drives: np.ndarray, began: np.ndarray | None = None
) -> np.ndarray:
    """States after running from zero over inputs `[W, M, I]`: `[M, S]`.

    Args:
        began: bool `[W, M]`, where an episode begins and the state is zero before the step.
    """
    step = jax.vmap(core.step)
    zero = jnp.zeros((drives.shape[1], core.units * len(core.states)))
    fresh = np.zeros(drives.shape[:2], bool) if began is None else began

    def one(state, given):
        drive, reset = given
        return step(state * ~reset[:, None], drive), None

    @jax.jit
    def run(state, drives, fresh):
        return jax.lax.scan(one, state, (drives, fresh))[0]

    return np.asarray(run(zero, jnp.asarray(drives), jnp.asarray(fresh)))


@exact
def fixed_points(
    step: Step,
    starts: np.ndarray,
    drive: np.ndarray,
    *,
    iterations: int = ITERATIONS,
    tolerance: float = TOLERANCE,
    apart: float = APART,
) -> FixedPoints:
    """Fixed points of a map under a constant input.

    Args:
        step: the map, for one state.
        starts: states to begin from `[M, S]`.
        drive: the input `[I]`.

    Raises:
        ConfigError: no starts, or they are no numbers.
    """
    if starts.ndim != 2 or not len(starts) or not np.isfinite(starts).all():
        raise ConfigError("the search for fixed points needs finite starts [M, S]")
    size = starts.shape[1]

    def residual(state):
        return step(state, jnp.asarray(drive)) - state

    def improve(state, damping):
        r, jacobian = residual(state), jax.jacfwd(residual)(state)
        normal = jacobian.T @ jacobian + damping * jnp.eye(size)
        trial = state - jnp.linalg.solve(normal, jacobian.T @ r)
        better = jnp.sum(residual(trial) ** 2) < jnp.sum(r**2)
        # At least so much that the system can be solved in single precision.
        damping = jnp.clip(jnp.where(better, damping / 3, damping * 4), 1e-9, 1e6)
        return jnp.where(better, trial, state), damping

    def goes_on(carry):
        count, state, _ = carry
        # Well below the tolerance: points found from two sides must coincide.
        return (count < iterations) & (
            jnp.linalg.norm(residual(state)) > tolerance / 30
        )

    def search(start):
        _, state, _ = jax.lax.while_loop(
            goes_on,
            lambda carry: (carry[0] + 1, *improve(*carry[1:])),
            (0, start, jnp.float32(1e-2)),
        )
        return state, jnp.linalg.norm(residual(state))

    # A few at once: Jacobians of all starts of a large area would fill the memory.
    run = jax.jit(
        lambda all_starts: jax.lax.map(search, all_starts, batch_size=AT_ONCE)
    )
    ends, speed = run(jnp.asarray(starts, jnp.float32))
    ends, speed = np.asarray(ends), np.asarray(speed)
    good = speed < tolerance
    points, share = distinct(ends[good], apart * max(float(starts.std()), 1e-3))
    return FixedPoints(
        points,
        share * good.mean() if len(share) else share,
        _jacobians(step, points, drive),
        speed,
        float(good.mean()),
    )


@exact
def slowest_state(step: Step, states: np.ndarray, drive: np.ndarray) -> FixedPoints:
    """The one of the states `[M, S]` that the map moves least, in place of a fixed point.

    Cells that integrate have fixed points, if any, far outside of the states that they visit;
    what the map does where it is slow is then what can be said (Sussillo & Barak 2013).
    """
    given = jnp.asarray(drive)
    moved = jax.jit(jax.vmap(lambda s: step(s, given) - s))(jnp.asarray(states))
    speed = np.linalg.norm(np.asarray(moved), axis=1)
    point = states[[int(speed.argmin())]]
    jacobians = _jacobians(step, point, drive)
    return FixedPoints(point, np.full(1, np.nan), jacobians, speed, 0.0)


def _jacobians(step: Step, points: np.ndarray, drive: np.ndarray) -> np.ndarray:
    """∂F/∂s at each point, `[P, S, S]`."""
    if not len(points):
        return np.zeros((0, points.shape[1], points.shape[1]))
    jacobian = jax.jacfwd(lambda s: step(s, jnp.asarray(drive)))
    return np.asarray(jax.jit(jax.vmap(jacobian))(jnp.asarray(points)))


def distinct(points: np.ndarray, apart: float) -> tuple[np.ndarray, np.ndarray]:
    """Points of which no two are nearer than `apart` (root mean square), and their shares.

    Args:
        points: `[P, S]`; the first of those that are near one another is kept.

    Returns:
        The K points that are kept `[K, S]`, and the share of all points near each `[K]`.
    """
    kept: list[np.ndarray] = []
    counts: list[int] = []
    for point in points:
        near = [np.sqrt(np.mean((point - k) ** 2)) < apart for k in kept]
        if any(near):
            counts[near.index(True)] += 1
        else:
            kept.append(point)
            counts.append(1)
    share = np.array(counts, float) / max(sum(counts), 1)
    return np.array(kept).reshape(len(kept), points.shape[1]), share


def modes(found: FixedPoints, step_seconds: float, most: int = 10) -> pd.DataFrame:
    """The slowest linearised modes of each fixed point.

    Returns:
        `point, share, mode, modulus, tau` (s; infinite on the unit circle, negative where the
        mode grows), `hertz` (of its rotation), `stable` (of the point: all moduli below 1).
    """
    rows = []
    for index, values in enumerate(found.eigenvalues):
        for mode, value in enumerate(values[:most]):
            modulus = abs(value)
            with np.errstate(divide="ignore"):
                tau = -step_seconds / np.log(modulus) if modulus > 0 else 0.0
            rows.append(
                {
                    "point": index,
                    "share": found.share[index],
                    "mode": mode,
                    "modulus": modulus,
                    "tau": tau,
                    "hertz": abs(np.angle(value)) / (2 * np.pi * step_seconds),
                    "stable": bool(abs(values[0]) < 1),
                }
            )
    columns = ["point", "share", "mode", "modulus", "tau", "hertz", "stable"]
    return pd.DataFrame(rows, columns=columns)
