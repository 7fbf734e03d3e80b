"""The frontoparietal network: a flax module built from a table of areas and pathways.

One sweep in topological order; all that no delayed loop holds is computed for all T steps
at once, the areas of a loop step by step. The value head reads the policy's areas, and its
gradient flows into them; the privileged stream reaches nothing but that head.

Variables beside the parameters: `lesion` (`networks.lesions`), gains of areas, streams,
pathways and memories at run time. Absent, nothing is multiplied.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import linen as nn

from mjxhand import wiring as wirings
from mjxhand.networks import dropout, layers, lesions, recurrent, vision
from mjxhand.networks.types import Carry, Output
from mjxhand.wiring import Area, Pathway, Wiring

# State of an area without memory of its own whose activity somebody receives delayed.
_ACTIVITY = "activity"


class AreaModule(nn.Module):
    """The layers of one area."""

    area: Area
    cell: str

    @nn.compact
    def __call__(self, carry, sources, reset, memory):
        """Sources f32[T, B, I_s] -> carry (None if not recurrent), activity."""
        names = wirings.layer_names(self.area)
        activity = {}
        for index, name in enumerate(names):
            if self.area.recurrent and name == names[-1]:
                layer = recurrent.Recurrent(
                    self.area.units, self.cell, name="recurrent"
                )
                carry, out = layer(carry, sources, reset, memory)
            else:
                layer = layers.Dense(self.area.units, name=f"layer{index + 1}")
                out = nn.relu(layer(*sources))
            activity[name] = out
            sources = (out,)
        return carry, activity


class FPN(nn.Module):
    """Areas, pathways and two heads. Parameters are grouped by area and head."""

    wiring: Wiring
    num_outputs: int
    cell: str = "lstm"
    stream_dropout: dropout.Rates = ()
    freeze_vision: bool = False

    @property
    def value_units(self) -> tuple[int, ...]:
        """Hidden layers of the value head."""
        return self.wiring.value_units

    def initial_carry(self, batch: int, key: jax.Array | None = None) -> Carry:
        """The carry of an episode's first step, {area: {state: f32[batch, units]}}.

        Zeros, of every area that is recurrent or that somebody receives delayed.

        Args:
          key: makes streams drop out (training); consumed. None: none does.
        """
        delayed = {p.source for p in self.wiring.pathways if p.delayed}
        carry = {}
        for area in self.wiring.areas:
            if area.recurrent:
                layer = recurrent.Recurrent(area.units, self._cell(area), parent=None)
                carry[area.name] = layer.initial_carry(batch)
            elif area.name in delayed:
                carry[area.name] = {_ACTIVITY: jnp.zeros((batch, area.units))}
        return dropout.begin(carry, self.stream_dropout, batch, key)

    def _cell(self, area: Area) -> str:
        return area.cell or self.cell

    @nn.compact
    def __call__(
        self, carry: Carry, obs: dict[str, jax.Array], reset: jax.Array
    ) -> tuple[Carry, Output]:
        """Run T steps of B environments.

        Args:
          carry: as `initial_carry` gives it, before the first step.
          obs: normalised observations, {stream: f32[T, B, size]}; frames u8[T, B, H, W, C].
          reset: bool[T, B], True where an episode begins at that step.

        Returns:
          The carry after the last step, and `Output`; its areas are the activities of
          all areas, with those of an area's earlier layers numbered (SSC1, then SSC).
        """
        gains = lesions.Gains.of(self)
        obs = vision.retina(obs)
        carry, obs = dropout.apply(carry, self.stream_dropout, obs, reset)
        activity = {name: gains.area(name, x) for name, x in obs.items()}
        new_carry = dropout.state_of(carry)
        for block in wirings.blocks(self.wiring):
            run = self._loop if _loops(self.wiring, block) else self._sweep
            states, outs = run(block, carry, activity, reset, gains)
            new_carry |= states
            activity |= outs

        def gather(head, names):
            paths = ((Pathway(name, head), activity[name]) for name in names)
            return tuple(gains.pathway(p, x) for p, x in paths)

        policy_head = layers.policy_head(self.num_outputs, "policy_head")
        logits = policy_head(*gather("policy", self.wiring.policy))
        value_head = layers.ValueHead(self.value_units, name="value_head")
        value = value_head(*gather("value", self.wiring.value))
        areas = {k: v for k, v in activity.items() if k not in obs}
        pose = vision.pose_head()(areas[vision.TOP]) if self._sees_frames else None
        return new_carry, Output(logits=logits, value=value, areas=areas, pose=pose)

    @property
    def _sees_frames(self) -> bool:
        return any(area.conv for area in self.wiring.areas)

    def _sweep(self, block: Sequence[Area], carry, activity, reset, gains):
        """The one area of a block without a loop, all steps at once."""
        (area,) = block
        previous = {
            name: _shift(gains.area(name, _last(carry[name])), activity[name], reset)
            for name in _delayed(self.wiring, area)
        }
        return self._area(area, carry, activity, previous, reset, gains)

    def _loop(self, block: Sequence[Area], carry, activity, reset, gains):
        """The areas of a loop of pathways, step by step."""
        inside = {area.name for area in block}
        now = {s for a in block for s in self.wiring.sources(a.name)} - inside
        late = {s for a in block for s in _delayed(self.wiring, a)}
        outside = {
            name: _shift(gains.area(name, _last(carry[name])), activity[name], reset)
            for name in sorted(late - inside)
        }

        def step(self, carry, inputs, gains):
            activity, previous, reset = jax.tree.map(lambda x: x[None], inputs)
            for name in sorted(late & inside):
                last = gains.area(name, _last(carry[name]))
                # After the gain, whose level would not be zero in an episode's first step.
                previous[name] = jnp.where(reset[..., None], 0.0, last)
            states, outs = {}, {}
            for area in block:
                state, out = self._area(
                    area, carry, activity | outs, previous, reset, gains
                )
                states |= state
                outs |= out
            return states, jax.tree.map(lambda x: x[0], outs)

        scan = nn.scan(
            step,
            variable_broadcast="params",
            split_rngs={"params": False},
            in_axes=(0, nn.broadcast),  # pyright: ignore[reportArgumentType]
        )
        start = {name: carry[name] for name in sorted(inside & carry.keys())}
        inputs = ({name: activity[name] for name in sorted(now)}, outside, reset)
        return scan(self, start, inputs, gains)

    def _area(self, area: Area, carry, activity, previous, reset, gains):
        """One area over the steps given -> its new states, its layers' activities."""
        sources = tuple(
            gains.pathway(p, (previous if p.delayed else activity)[p.source])
            for p in self.wiring.inputs(area.name)
        )
        state = None
        if area.conv:
            (source,) = sources
            out = vision.ConvArea(area.conv, name=area.name, parent=self)(source)
            out = jax.lax.stop_gradient(out) if self.freeze_vision else out
            outs = {area.name: out}
        else:
            module = AreaModule(area, self._cell(area), name=area.name, parent=self)
            memory = gains.memory(area.name)
            state, outs = module(carry.get(area.name), sources, reset, memory)
        states = {}
        if area.recurrent:
            states[area.name] = state
        elif area.name in carry:
            states[area.name] = {_ACTIVITY: outs[area.name][-1]}
        return states, {name: gains.area(area.name, x) for name, x in outs.items()}


def _delayed(wiring: Wiring, area: Area) -> list[str]:
    return [p.source for p in wiring.inputs(area.name) if p.delayed]


def _loops(wiring: Wiring, block: Sequence[Area]) -> bool:
    """Whether an area of the block receives one of the block delayed."""
    names = {area.name for area in block}
    return any(names & set(_delayed(wiring, area)) for area in block)


def _last(state: dict[str, jax.Array]) -> jax.Array:
    """An area's activity of the step before, from its carry: f32[B, U]."""
    return state["hidden"] if "hidden" in state else state[_ACTIVITY]


def _shift(last: jax.Array, activity: jax.Array, reset: jax.Array) -> jax.Array:
    """Activity one step late: `last` first, zero where an episode begins; f32[T, B, U]."""
    shifted = jnp.concatenate([last[None], activity[:-1]])
    return jnp.where(reset[..., None], 0.0, shifted)
