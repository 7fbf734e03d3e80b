"""Recurrent layers over time-major input, with resets inside the sequence.

The input is projected for all T steps at once; `lax.scan` runs over the recurrent
product only. Gate order, biases and initialisation are those of Keras, so that
parameter counts can be compared: LSTM 4(IH+H²+H), GRU 3(IH+H²+2H), RNN IH+H²+H for I
inputs and H units.

References: Hochreiter & Schmidhuber 1997 (LSTM); Jozefowicz et al. 2015 (forget bias
1); Cho et al. 2014, arXiv:1406.1078v1 (GRU, the form that resets after the product).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from flax import linen as nn

from mjxhand.config import ConfigError
from mjxhand.networks import layers
from mjxhand.networks.types import Carry

# Steps of the scan laid out in one loop body. Forward and backward of the network at
# 1/8 size, T 32, B 512, 2 CPU cores: 1 13.4, 2 11.3, 4 14.4, 8 17.0 ms per 1,000 steps.
_UNROLL = 2


@dataclass(frozen=True)
class Cell:
    """A recurrent cell as data: widths, and the step that follows the projections."""

    gates: int
    states: tuple[str, ...]
    recurrent_bias: bool
    step: Callable[[Carry, jax.Array, jax.Array], Carry]
    """(carry, input projection f32[B, gates·H], recurrent projection) -> carry."""


def _lstm(carry, projected, recurrent):
    """c' = σ(f) c + σ(i) tanh(g);  h' = σ(o) tanh(c');  gates ordered i, f, g, o."""
    i, f, g, o = jnp.split(projected + recurrent, 4, axis=-1)
    cell = nn.sigmoid(f) * carry["cell"] + nn.sigmoid(i) * jnp.tanh(g)
    return {"cell": cell, "hidden": nn.sigmoid(o) * jnp.tanh(cell)}


def _gru(carry, projected, recurrent):
    """h' = z h + (1-z) tanh(x_n + r h_n);  z = σ(x_z + h_z), r = σ(x_r + h_r).

    Gates ordered z, r, n.
    """
    x_z, x_r, x_n = jnp.split(projected, 3, axis=-1)
    h_z, h_r, h_n = jnp.split(recurrent, 3, axis=-1)
    update = nn.sigmoid(x_z + h_z)
    candidate = jnp.tanh(x_n + nn.sigmoid(x_r + h_r) * h_n)
    return {"hidden": update * carry["hidden"] + (1.0 - update) * candidate}


def _rnn(carry, projected, recurrent):
    """h' = tanh(x + U h)."""
    del carry
    return {"hidden": jnp.tanh(projected + recurrent)}


CELLS = {
    "lstm": Cell(4, ("cell", "hidden"), False, _lstm),
    "gru": Cell(3, ("hidden",), True, _gru),
    "rnn": Cell(1, ("hidden",), False, _rnn),
}


def find_cell(name: str) -> Cell:
    """The cell called `name`; ConfigError lists those that exist."""
    if name not in CELLS:
        raise ConfigError(f"cell '{name}' not found; available: {', '.join(CELLS)}")
    return CELLS[name]


def _forget_bias(key, shape, dtype=jnp.float32):
    """Zero, and 1 for the LSTM's forget gate: a new network remembers."""
    del key
    units = shape[0] // 4
    return jnp.zeros(shape, dtype).at[units : 2 * units].set(1.0)


def _restart(carry: dict[str, jax.Array], reset: jax.Array) -> dict[str, jax.Array]:
    """The carry, zero where `reset` bool[B] says so."""
    # A selection, not a product: it also ends a state that is not finite.
    zero = jnp.zeros(())
    return {k: jnp.where(reset[:, None], zero, v) for k, v in carry.items()}


class Recurrent(nn.Module):
    """One recurrent layer of `units` cells of type `cell` (`lstm`, `gru`, `rnn`)."""

    units: int
    cell: str = "lstm"

    def initial_carry(self, batch: int) -> Carry:
        """The carry of an episode's first step: zeros, {state: f32[batch, units]}."""
        states = find_cell(self.cell).states
        return {name: jnp.zeros((batch, self.units)) for name in states}

    @nn.compact
    def __call__(
        self,
        carry: Carry,
        sources: Sequence[jax.Array],
        reset: jax.Array,
        memory: jax.Array | None = None,
    ):
        """Run T steps.

        Args:
          carry: state before the first step, {state: f32[B, units]}.
          sources: inputs, read as if concatenated, f32[T, B, I_s] each.
          reset: bool[T, B]; where True the carry is zeroed before that step.
          memory: multiplies the carry before every step (a lesion); broadcasts to
            [B, units].

        Returns:
          The carry after the last step, and the hidden states f32[T, B, units].
        """
        cell = find_cell(self.cell)
        width = cell.gates * self.units
        zeros = nn.initializers.zeros_init()
        bias_init = _forget_bias if self.cell == "lstm" else zeros
        shape = (layers.width(sources), width)
        kernel = self.param("kernel", nn.initializers.glorot_uniform(), shape)
        recurrent_kernel = self.param(
            "recurrent_kernel", nn.initializers.orthogonal(), (self.units, width)
        )
        bias = self.param("bias", bias_init, (width,))
        projected = layers.project(sources, kernel) + bias
        recurrent_bias = (
            self.param("recurrent_bias", zeros, (width,))
            if cell.recurrent_bias
            else 0.0
        )

        def step(carry, inputs):
            projected_t, reset_t = inputs
            carry = _restart(carry, reset_t)
            if memory is not None:
                carry = {k: v * memory for k, v in carry.items()}
            recurrent = carry["hidden"] @ recurrent_kernel + recurrent_bias
            carry = cell.step(carry, projected_t, recurrent)
            return carry, carry["hidden"]

        return jax.lax.scan(
            step, carry, (projected, reset), unroll=min(_UNROLL, reset.shape[0])
        )
