"""The frontoparietal network: a flax module built from a table of areas and pathways.

One forward sweep in topological order. Everything that is not recurrent is computed
for all T steps at once. The value head reads the policy's areas, and its gradient flows
into them; the privileged stream reaches nothing but that head.
"""

import jax
from flax import linen as nn

from mjxhand.networks import layers, recurrent
from mjxhand.networks import wiring as wirings
from mjxhand.networks.types import Carry, Output


class AreaModule(nn.Module):
    """The layers of one area."""

    area: wirings.Area
    cell: str

    @nn.compact
    def __call__(self, carry, sources, reset):
        """Sources f32[T, B, I_s] -> carry (None if not recurrent), activity."""
        names = wirings.layer_names(self.area)
        activity = {}
        for index, name in enumerate(names):
            if self.area.recurrent and name == names[-1]:
                layer = recurrent.Recurrent(
                    self.area.units, self.cell, name="recurrent"
                )
                carry, out = layer(carry, sources, reset)
            else:
                layer = layers.Dense(self.area.units, name=f"layer{index + 1}")
                out = nn.relu(layer(*sources))
            activity[name] = out
            sources = (out,)
        return carry, activity


class FPN(nn.Module):
    """Areas, pathways and two heads. Parameters are grouped by area and head."""

    wiring: wirings.Wiring
    num_outputs: int
    cell: str = "lstm"
    value_units: tuple[int, ...] = (512, 512)

    def initial_carry(self, batch: int) -> Carry:
        """Zeros, {recurrent area: {state: f32[batch, units]}}."""
        return {
            area.name: recurrent.Recurrent(
                area.units, self.cell, parent=None
            ).initial_carry(batch)
            for area in self.wiring.areas
            if area.recurrent
        }

    @nn.compact
    def __call__(
        self, carry: Carry, obs: dict[str, jax.Array], reset: jax.Array
    ) -> tuple[Carry, Output]:
        """Run T steps of B environments.

        Args:
          carry: as `initial_carry` gives it, before the first step.
          obs: normalised observations, {stream: f32[T, B, size]}.
          reset: bool[T, B], True where an episode begins at that step.

        Returns:
          The carry after the last step, and `Output`; its areas are the activities of
          all areas, with those of an area's earlier layers numbered (SSC1, then SSC).
        """
        activity = dict(obs)

        def gather(names):
            return tuple(activity[name] for name in names)

        new_carry = {}
        for area in wirings.order(self.wiring):
            module = AreaModule(area, self.cell, name=area.name)
            sources = gather(self.wiring.sources(area.name))
            state, outs = module(carry.get(area.name), sources, reset)
            activity |= outs
            if area.recurrent:
                new_carry[area.name] = state
        policy_head = layers.policy_head(self.num_outputs, "policy_head")
        logits = policy_head(*gather(self.wiring.policy))
        value_head = layers.ValueHead(self.value_units, name="value_head")
        value = value_head(*gather(self.wiring.value))
        areas = {k: v for k, v in activity.items() if k not in obs}
        return new_carry, Output(logits=logits, value=value, areas=areas)
