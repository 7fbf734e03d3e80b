"""Baselines without anatomy: dense layers, a recurrent one, or both, with a separate critic.

`baseline` has the form of OpenAI's dexterity network (Andrychowicz et al. 2018,
arXiv:1808.00177): the concatenated senses, Dense 1024 with ReLU, 512 recurrent units, logits;
`lstm` leaves out the dense layer, `mlp` is Dense 1024, Dense 512. The critic has the same
form, shares nothing, and also sees the privileged stream. Where vision is frames, both read one
visual stream (`networks.vision`).
"""

import jax
from flax import linen as nn

from mjxhand.networks import dropout, layers, recurrent, vision
from mjxhand.networks.types import Carry, Output
from mjxhand.wiring import PRIVILEGED, Area

# Units of the dense layers, and of the recurrent layer that follows (0: none).
FORMS: dict[str, tuple[tuple[int, ...], int]] = {
    "baseline": ((1024,), 512),
    "mlp": ((1024, 512), 0),
    "lstm": ((), 512),
}


class Tower(nn.Module):
    """Dense, then recurrent, then a linear head (`value` if `num_outputs` is None)."""

    dense_units: tuple[int, ...]
    recurrent_units: int
    cell: str
    num_outputs: int | None

    @nn.compact
    def __call__(self, carry, sources, reset):
        """Sources f32[T, B, I_s] -> carry, head's output, activities by layer."""
        activity = {}
        for index, units in enumerate(self.dense_units):
            name = f"dense{index + 1}" if len(self.dense_units) > 1 else "dense"
            activity[name] = nn.relu(layers.Dense(units, name=name)(*sources))
            sources = (activity[name],)
        if self.recurrent_units:
            layer = recurrent.Recurrent(
                self.recurrent_units, self.cell, name="recurrent"
            )
            carry, activity["recurrent"] = layer(carry, sources, reset)
            sources = (activity["recurrent"],)
        if self.num_outputs is None:
            out = layers.Dense(1, name="value")(*sources)[..., 0]
        else:
            out = layers.policy_head(self.num_outputs, "logits")(*sources)
        return carry, out, activity


class Baseline(nn.Module):
    """Two towers, `policy` and `critic`. The areas returned are the policy's."""

    num_outputs: int
    cell: str = "lstm"
    dense_units: tuple[int, ...] = FORMS["baseline"][0]
    recurrent_units: int = FORMS["baseline"][1]
    stream_dropout: dropout.Rates = ()
    visual: tuple[Area, ...] = ()
    freeze_vision: bool = False

    def initial_carry(self, batch: int, key: jax.Array | None = None) -> Carry:
        """Zeros, {tower: {state: f32[batch, units]}}; `key` as for `fpn.FPN`."""
        if self.recurrent_units:
            layer = recurrent.Recurrent(self.recurrent_units, self.cell, parent=None)
            carry = {name: layer.initial_carry(batch) for name in ("policy", "critic")}
        else:
            carry = {"policy": {}, "critic": {}}
        return dropout.begin(carry, self.stream_dropout, batch, key)

    @nn.compact
    def __call__(
        self, carry: Carry, obs: dict[str, jax.Array], reset: jax.Array
    ) -> tuple[Carry, Output]:
        """Run T steps of B environments; arguments and results as `fpn.FPN`."""
        obs = vision.retina(obs)
        carry, obs = dropout.apply(carry, self.stream_dropout, obs, reset)
        seen, pose = {}, None
        if self.visual:
            seen = vision.sweep(self.visual, obs[vision.STREAM])
            if self.freeze_vision:
                seen = jax.lax.stop_gradient(seen)
            obs = obs | {vision.STREAM: seen[vision.TOP]}
            pose = vision.pose_head()(seen[vision.TOP])
        # Sorted, so that a parameter's meaning cannot hang on a dict's order.
        senses = [obs[name] for name in sorted(obs) if name != PRIVILEGED]
        sizes = (self.dense_units, self.recurrent_units, self.cell)
        policy_carry, logits, areas = Tower(*sizes, self.num_outputs, name="policy")(
            carry["policy"], senses, reset
        )
        critic_carry, value, _ = Tower(*sizes, None, name="critic")(
            carry["critic"], [*senses, obs[PRIVILEGED]], reset
        )
        new_carry = {"policy": policy_carry, "critic": critic_carry}
        new_carry |= dropout.state_of(carry)
        areas = seen | areas
        return new_carry, Output(logits=logits, value=value, areas=areas, pose=pose)
