"""Baselines without anatomy: dense layers, a recurrent one, or both, with a separate critic.

`baseline` has the form of OpenAI's dexterity network (Andrychowicz et al. 2018,
arXiv:1808.00177): the concatenated senses, Dense 1024 with ReLU, 512 recurrent units, logits;
`lstm` leaves out the dense layer, `mlp` is Dense 1024, Dense 512. The critic has the same
form, shares nothing, and also sees the privileged stream. Where vision is frames, both read one
visual stream (`networks.vision`).

Each layer of the policy is an area of `Baseline.wiring`, so that what reads areas and
pathways (lesions, analyses) reads these networks as it reads the FPN.
"""

import jax
from flax import linen as nn

from mjxhand.networks import dropout, layers, lesions, recurrent, vision
from mjxhand.networks.types import Carry, Output
from mjxhand.wiring import PRIVILEGED, STREAMS, Area, Pathway, Wiring

# Units of the dense layers, and of the recurrent layer that follows (0: none).
FORMS: dict[str, tuple[tuple[int, ...], int]] = {
    "baseline": ((1024,), 512),
    "mlp": ((1024, 512), 0),
    "lstm": ((), 512),
}


def areas_of(dense_units: tuple[int, ...], recurrent_units: int) -> tuple[Area, ...]:
    """The layers of a tower, the recurrent one last if it has units."""
    several = len(dense_units) > 1
    dense = [
        Area(f"dense{index + 1}" if several else "dense", units)
        for index, units in enumerate(dense_units)
    ]
    if not recurrent_units:
        return tuple(dense)
    return (*dense, Area("recurrent", recurrent_units, recurrent=True))


class Tower(nn.Module):
    """Dense, then recurrent, then a linear head (`value` if `num_outputs` is None)."""

    dense_units: tuple[int, ...]
    recurrent_units: int
    cell: str
    num_outputs: int | None

    @nn.compact
    def __call__(self, carry, sources: dict[str, jax.Array], reset, gains):
        """Sources f32[T, B, I_s] by name -> carry, head's output, activities by layer."""
        activity = {}

        def received(target: str) -> tuple[jax.Array, ...]:
            return tuple(
                gains.pathway(Pathway(name, target), x) for name, x in sources.items()
            )

        for area in areas_of(self.dense_units, self.recurrent_units):
            given = received(area.name)
            if area.recurrent:
                layer = recurrent.Recurrent(area.units, self.cell, name=area.name)
                carry, out = layer(carry, given, reset, gains.memory(area.name))
            else:
                out = nn.relu(layers.Dense(area.units, name=area.name)(*given))
            activity[area.name] = gains.area(area.name, out)
            sources = {area.name: activity[area.name]}
        given = received("policy")
        if self.num_outputs is None:
            out = layers.Dense(1, name="value")(*given)[..., 0]
        else:
            out = layers.policy_head(self.num_outputs, "logits")(*given)
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

    @property
    def wiring(self) -> Wiring:
        """The policy's layers as areas. The critic, apart, is the value head."""
        senses = _senses(STREAMS)
        areas = areas_of(self.dense_units, self.recurrent_units)
        sources, pathways = senses, []
        for area in areas:
            pathways += [Pathway(source, area.name) for source in sources]
            sources = (area.name,)
        critic = (*senses, PRIVILEGED)
        wiring = Wiring(areas, tuple(pathways), policy=sources, value=critic)
        return vision.attach(wiring, self.visual)

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
        gains = lesions.Gains.of(self)
        obs = vision.retina(obs)
        carry, obs = dropout.apply(carry, self.stream_dropout, obs, reset)
        obs = {name: gains.area(name, x) for name, x in obs.items()}
        seen, pose = {}, None
        if self.visual:
            seen = vision.sweep(self.visual, obs[vision.STREAM], gains)
            if self.freeze_vision:
                seen = jax.lax.stop_gradient(seen)
            pose = vision.pose_head()(seen[vision.TOP])
        # In the order of the senses, by which kernels are laid out, but by their sources' names.
        told = {name: obs[name] for name in _senses(obs)}
        if self.visual:
            told = {
                vision.TOP if name == vision.STREAM else name: x
                for name, x in (told | {vision.STREAM: seen[vision.TOP]}).items()
            }
        sizes = (self.dense_units, self.recurrent_units, self.cell)
        policy_carry, logits, areas = Tower(*sizes, self.num_outputs, name="policy")(
            carry["policy"], told, reset, gains
        )
        told = {
            name: gains.pathway(Pathway(name, "value"), x)
            for name, x in (told | {PRIVILEGED: obs[PRIVILEGED]}).items()
        }
        critic_carry, value, _ = Tower(*sizes, None, name="critic")(
            carry["critic"], told, reset, lesions.Gains.none()
        )
        new_carry = {"policy": policy_carry, "critic": critic_carry}
        new_carry |= dropout.state_of(carry)
        return new_carry, Output(
            logits=logits, value=value, areas=seen | areas, pose=pose
        )


def _senses(streams) -> tuple[str, ...]:
    """What both towers read, sorted: a parameter's meaning cannot hang on a dict's order."""
    return tuple(name for name in sorted(streams) if name != PRIVILEGED)
