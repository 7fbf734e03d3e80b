"""The baseline: a dense layer and a recurrent one, with a separate critic.

The form of OpenAI's dexterity network (Andrychowicz et al. 2018, arXiv:1808.00177):
the concatenated senses, Dense 1024 with ReLU, 512 recurrent units, logits; the critic
has the same form, shares nothing, and also sees the privileged stream.
"""

import jax
from flax import linen as nn

from mjxhand.networks import layers, recurrent
from mjxhand.networks.types import Carry, Output
from mjxhand.networks.wiring import PRIVILEGED

DENSE_UNITS = 1024
RECURRENT_UNITS = 512


class Tower(nn.Module):
    """Dense, then recurrent, then a linear head (`value` if `num_outputs` is None)."""

    dense_units: int
    recurrent_units: int
    cell: str
    num_outputs: int | None

    @nn.compact
    def __call__(self, carry, sources, reset):
        """Sources f32[T, B, I_s] -> carry, head's output, activities by layer."""
        dense = nn.relu(layers.Dense(self.dense_units, name="dense")(*sources))
        layer = recurrent.Recurrent(self.recurrent_units, self.cell, name="recurrent")
        carry, hidden = layer(carry, (dense,), reset)
        if self.num_outputs is None:
            out = layers.Dense(1, name="value")(hidden)[..., 0]
        else:
            out = layers.policy_head(self.num_outputs, "logits")(hidden)
        return carry, out, {"dense": dense, "recurrent": hidden}


class Baseline(nn.Module):
    """Two towers, `policy` and `critic`. The areas returned are the policy's."""

    num_outputs: int
    cell: str = "lstm"
    dense_units: int = DENSE_UNITS
    recurrent_units: int = RECURRENT_UNITS

    def initial_carry(self, batch: int) -> Carry:
        """Zeros, {tower: {state: f32[batch, units]}}."""
        layer = recurrent.Recurrent(self.recurrent_units, self.cell, parent=None)
        return {name: layer.initial_carry(batch) for name in ("policy", "critic")}

    @nn.compact
    def __call__(
        self, carry: Carry, obs: dict[str, jax.Array], reset: jax.Array
    ) -> tuple[Carry, Output]:
        """Run T steps of B environments; arguments and results as `fpn.FPN`."""
        # Sorted, so that a parameter's meaning cannot hang on a dict's order.
        senses = [obs[name] for name in sorted(obs) if name != PRIVILEGED]
        sizes = (self.dense_units, self.recurrent_units, self.cell)
        policy_carry, logits, areas = Tower(*sizes, self.num_outputs, name="policy")(
            carry["policy"], senses, reset
        )
        critic_carry, value, _ = Tower(*sizes, None, name="critic")(
            carry["critic"], [*senses, obs[PRIVILEGED]], reset
        )
        carry = {"policy": policy_carry, "critic": critic_carry}
        return carry, Output(logits=logits, value=value, areas=areas)
