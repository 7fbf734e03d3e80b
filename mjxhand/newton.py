"""The constraint solver of the `jax` back end: MuJoCo's Newton method, for batches.

It minimises over qacc MuJoCo's convex cost (documentation, chapter Computation, "Constraint
solver"),

    1/2 (qacc - qacc_smooth)' M (qacc - qacc_smooth) + sum_i s_i(J_i qacc - aref_i),

as `mjx.solve` does, with less work: rows by kind (`constraints`), one factorisation per
iteration, and a line search that evaluates one point per step. All copies of a batch take all
the iterations, so that none branches. All start from `qacc_warmstart`: `mjx.solve` starts from
qacc_smooth where that costs less, which takes a factorisation of M to find, and here led no
closer to the minimum (docs/speed.md, "What was changed").
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from mjxhand.constraints import Layout, Rows

Array = jax.Array

LINE_SEARCH_STEPS = 3
"""More lead no closer to the minimum: each search begins at Newton's own step, and the next
iteration begins where it ends (docs/speed.md, "What was changed")."""


class Solution(NamedTuple):
    """What the constraints do."""

    qacc: Array  # f32[nv]
    qfrc_constraint: Array  # f32[nv]
    efc_force: Array  # f32[nefc] in MJX's order of rows


class _Residual(NamedTuple):
    """J qacc - aref of every row, or J x for a direction x."""

    friction: Array  # f32[F] rows that resist both ways, up to their friction loss
    push: Array  # f32[N] rows that only push: limits, frictionless contacts, pyramid edges


def solve(
    lay: Layout,
    rows: Rows,
    mass: Array,
    qfrc_smooth: Array,
    qacc_warmstart: Array,
    iterations: int,
    ls_iterations: int,
) -> Solution:
    """The constrained acceleration from a first guess; mass f32[nv, nv], the vectors f32[nv]."""
    problem = _Problem(lay, rows, mass)
    steps = min(ls_iterations, LINE_SEARCH_STEPS)
    state = (
        qacc_warmstart,
        mass @ qacc_warmstart,
        problem.residual(qacc_warmstart),
    )

    def iterate(_, state):
        _, mass_qacc, at = state
        gradient = mass_qacc - qfrc_smooth - problem.joint_forces(problem.forces(at))
        factor = jax.scipy.linalg.cho_factor(problem.hessian(at).T, lower=True)
        search = -jax.scipy.linalg.cho_solve(factor, gradient)
        mass_search, along = search @ mass, problem.apply(search)
        gauss = (search @ (mass_qacc - qfrc_smooth), search @ mass_search)
        alpha = problem.line_search(at, along, gauss, steps)
        return jax.tree.map(
            lambda x, dx: x + alpha * dx, state, (search, mass_search, along)
        )

    qacc, _, at = jax.lax.fori_loop(0, iterations, iterate, state)
    forces = problem.forces(at)
    return Solution(qacc, problem.joint_forces(forces), jnp.concatenate(forces))


class _Problem:
    """The cost's derivatives and what they are made of, at one state."""

    def __init__(self, lay: Layout, rows: Rows, mass: Array):
        self.lay, self.rows, self.mass = lay, rows, mass
        edges = [
            jnp.repeat(weight, 2 * (condim - 1))
            for weight, (_, condim) in zip(
                rows.pyramid_weight, lay.pyramids, strict=True
            )
        ]
        self.weight = jnp.concatenate([rows.limit_weight, rows.plain_weight, *edges])

    def apply(self, x: Array) -> _Residual:
        """J x."""
        rows = self.rows
        limits = rows.limit_sign * x[self.lay.limit_dof]
        # Else a GPU would read all directions again for every slice of the product.
        edges = self._edges(jax.lax.optimization_barrier(rows.directions @ x))
        return _Residual(x[self.lay.friction_dof], jnp.concatenate([limits, *edges]))

    def residual(self, qacc: Array) -> _Residual:
        """J qacc - aref."""
        rows, at = self.rows, self.apply(qacc)
        aref = jnp.concatenate([rows.limit_aref, *self._edges(rows.aref)])
        return _Residual(at.friction - rows.friction_aref, at.push - aref)

    def forces(self, at: _Residual) -> _Residual:
        """Minus the cost's derivative with respect to each row's residual."""
        loss = self.rows.friction_loss
        friction = jnp.clip(-self.rows.friction_weight * at.friction, -loss, loss)
        return _Residual(friction, self.weight * jnp.maximum(-at.push, 0))

    def joint_forces(self, forces: _Residual) -> Array:
        """J' f: f32[nv]."""
        num_limits = self.rows.limit_sign.size
        directions = [*self._split(forces.push)]
        for i, (num, condim) in enumerate(self.lay.pyramids, start=1):
            edges = directions[i].reshape(num, condim - 1, 2)
            normal = edges.sum((1, 2))[:, None]
            tangents = edges[..., 0] - edges[..., 1]
            directions[i] = jnp.concatenate([normal, tangents], 1).reshape(-1)
        whole = self.rows.directions.T @ jnp.concatenate(directions)
        limits = self.rows.limit_sign * forces.push[:num_limits]
        return (
            whole
            + self._pad(self.lay.friction_dof, forces.friction)
            + self._pad(self.lay.limit_dof, limits)
        )

    def hessian(self, at: _Residual) -> Array:
        """M + J' D J over the rows in their quadratic zone: f32[nv, nv]."""
        rows = self.rows
        stuck = rows.friction_weight * jnp.abs(at.friction) < rows.friction_loss
        active = jnp.where(at.push < 0, self.weight, 0.0)
        resisting = jnp.where(stuck, rows.friction_weight, 0.0)
        limits = active[: rows.limit_sign.size]
        diagonal = self._pad(self.lay.friction_dof, resisting)
        diagonal += self._pad(self.lay.limit_dof, limits)
        plain, *pyramids = self._split(active)
        lines, start = rows.directions, plain.size
        weighed = [plain[:, None] * lines[:start]]
        for (num, condim), edges in zip(self.lay.pyramids, pyramids, strict=True):
            block = lines[start : start + num * condim].reshape(num, condim, -1)
            normal, tangents = block[:, :1], block[:, 1:]
            edges = edges.reshape(num, condim - 1, 2)
            both, tilt = edges.sum(-1)[..., None], (edges[..., 0] - edges[..., 1])
            tilt = tilt[..., None]
            weighed += [
                jnp.concatenate(
                    [
                        both.sum(1, keepdims=True) * normal
                        + (tilt * tangents).sum(1, keepdims=True),
                        tilt * normal + both * tangents,
                    ],
                    1,
                ).reshape(num * condim, -1)
            ]
            start += num * condim
        return self.mass + jnp.diag(diagonal) + lines.T @ jnp.concatenate(weighed)

    def line_search(
        self, at: _Residual, along: _Residual, gauss: tuple[Array, Array], steps: int
    ) -> Array:
        """The step along `along` at which the cost's derivative is 0.

        That derivative is continuous, piecewise linear and never falls: Newton's step on
        it, halved into the bracket where it leaves that, ends at the root's own piece.
        """
        slope = self.rows.friction_weight
        loss = self.rows.friction_loss
        push_gain = self.weight * along.push
        friction_gain = slope * along.friction

        def derivatives(alpha: Array) -> tuple[Array, Array]:
            push = at.push + alpha * along.push
            gain = jnp.where(push < 0, push_gain, 0.0)
            friction = slope * (at.friction + alpha * along.friction)
            first = (gain * push).sum()
            first += (along.friction * jnp.clip(friction, -loss, loss)).sum()
            second = (gain * along.push).sum()
            stuck = jnp.abs(friction) < loss
            second += (jnp.where(stuck, friction_gain, 0.0) * along.friction).sum()
            return gauss[0] + alpha * gauss[1] + first, gauss[1] + second

        alpha = jnp.ones(())  # where Newton's step from 0 leads
        low, high = jnp.zeros(()), jnp.full((), jnp.inf)
        for _ in range(steps):
            first, second = derivatives(alpha)
            low = jax.lax.select(first < 0, alpha, low)
            high = jax.lax.select(first < 0, high, alpha)
            following = alpha - first / jnp.maximum(second, 1e-30)
            inside = (following >= low) & (following <= high)
            alpha = jax.lax.select(inside, following, 0.5 * (low + high))
        return alpha

    def _split(self, push: Array) -> list[Array]:
        """Rows that push, less the limits: plain ones, then each pyramid kind's edges."""
        sizes = [self.rows.limit_sign.size, self.rows.plain_weight.size]
        sizes += [2 * (condim - 1) * num for num, condim in self.lay.pyramids]
        ends = [sum(sizes[: i + 1]) for i in range(len(sizes))]
        return jnp.split(push, ends[:-1])[1:]

    def _edges(self, directions: Array) -> list[Array]:
        """From one number per direction to one per row: normal + tangent, normal - tangent."""
        start = self.rows.plain_weight.size
        rows = [directions[:start]]
        for num, condim in self.lay.pyramids:
            block = directions[start : start + num * condim].reshape(num, condim)
            normal, tangents = block[:, :1], block[:, 1:]
            pairs = jnp.stack([normal + tangents, normal - tangents], -1)
            rows.append(pairs.reshape(-1))
            start += num * condim
        return rows

    def _pad(self, dofs: slice, values: Array) -> Array:
        return jnp.pad(values, (dofs.start, self.mass.shape[0] - dofs.stop))
