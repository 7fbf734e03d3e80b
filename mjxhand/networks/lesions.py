"""Lesions at run time: gains of areas, streams, pathways and memories beside the parameters.

    lesioned = lesions.apply(params, wiring, areas=["PMC"], pathways=["SPL -> M1"])
    carry, out = module.apply(lesioned, carry, obs, reset)

`lesioned` is `params` with one more collection, so it goes wherever parameters go:
`Agent.act`, the evaluation, a film. All lesions have the same structure: one compiled
program serves them all, and `jax.vmap` over `stack`'s gains runs many at once.
A gain multiplies what an area (or stream) gives to everyone, what one pathway carries, or what
a recurrent area remembers of its own last step: 1 intact, 0 cut. It may be any array that
broadcasts to [B, units]: a number; [B, 1] for another lesion in each environment; [units] for
part of an area. A silent area keeps its own memory; one without memory still sends what it
does to others, late where a pathway is delayed.

Silence is far from what readers of an area are used to. `levels` are added after the gain:
with a gain of 0 and its mean activity as level, an area sends that mean at every step. A delayed
pathway carries zero in an episode's first step all the same.

    held = lesions.apply(params, wiring, areas=["PMC"], levels={"PMC": mean})

Any network that has a `wiring` and reads `Gains` can be lesioned: the FPN and the baselines.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import chex
import jax
import jax.numpy as jnp
from flax import linen as nn

from mjxhand.arguments import suggest
from mjxhand.config import ConfigError
from mjxhand.wiring import Pathway, Wiring

COLLECTION = "lesion"
KINDS = ("areas", "pathways", "memories", "levels")


@chex.dataclass(frozen=True)
class Gains:
    """Gains by name; what is not named is intact."""

    areas: dict[str, jax.Array]  # areas and streams
    pathways: dict[str, jax.Array]  # "SPL -> M1", "M1 ~> PMC" (delayed), "M1 -> policy"
    memories: dict[str, jax.Array]  # recurrent areas
    levels: dict[str, jax.Array]  # areas: what is added to what they give

    @classmethod
    def of(cls, module: nn.Module) -> "Gains":
        """Those that `module` is applied with. No gradient reaches them."""
        found = module.variables.get(COLLECTION, {})
        found = jax.tree.map(jax.lax.stop_gradient, dict(found))
        return cls(**{kind: found.get(kind, {}) for kind in KINDS})

    @classmethod
    def none(cls) -> "Gains":
        """Everything intact."""
        return cls(**{kind: {} for kind in KINDS})

    def area(self, name: str, activity: jax.Array) -> jax.Array:
        """What the area or stream `name` gives: f32[..., B, U]."""
        if name in self.areas:
            activity = activity * self.areas[name]
        return activity + self.levels[name] if name in self.levels else activity

    def pathway(self, pathway: Pathway, activity: jax.Array) -> jax.Array:
        """What `pathway` carries of its source's activity."""
        name = str(pathway)
        return activity * self.pathways[name] if name in self.pathways else activity

    def memory(self, name: str) -> jax.Array | None:
        """What the recurrent area `name` keeps of its own state; None: all of it."""
        return self.memories.get(name)


def names(wiring: Wiring) -> dict[str, tuple[str, ...]]:
    """What can be lesioned, by kind: areas and streams; pathways, those into the heads too;
    memories, by the recurrent area's name.
    """
    areas = [area.name for area in wiring.areas]
    streams = dict.fromkeys(
        p.source for p in wiring.all_pathways if p.source not in areas
    )
    return {
        "areas": (*areas, *streams),
        "pathways": tuple(dict.fromkeys(map(str, wiring.all_pathways))),
        "memories": tuple(area.name for area in wiring.areas if area.recurrent),
    }


def intact(wiring: Wiring) -> dict[str, dict[str, jax.Array]]:
    """A gain of 1 for everything, and a level of 0 for each unit of an area."""
    one = jnp.ones(())
    gains = {kind: dict.fromkeys(each, one) for kind, each in names(wiring).items()}
    # Of the shape that a mean activity has, so that one program serves both.
    levels = {area.name: jnp.zeros(area.units) for area in wiring.areas}
    return gains | {"levels": levels}


def apply(
    params: Mapping[str, Any],
    wiring: Wiring,
    areas: Iterable[str] | Mapping[str, Any] = (),
    pathways: Iterable[str] | Mapping[str, Any] = (),
    memories: Iterable[str] | Mapping[str, Any] = (),
    levels: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """`params` of a network with this lesion, in place of any earlier one.

    Args:
      params: {"params": ...}, as `init` gives them.
      areas: areas or streams to silence, or {name: gain}.
      pathways: pathways to cut, written "SPL -> M1", or {name: gain}.
      memories: recurrent areas whose memory to cut, or {name: gain}.
      levels: {area: what is added to its activity after the gain}, [units].

    Raises:
      ConfigError: the network has no such area, pathway or memory.
    """
    gains = intact(wiring)
    for kind, chosen in zip(
        KINDS, (areas, pathways, memories, levels or {}), strict=True
    ):
        if not isinstance(chosen, Mapping):
            chosen = dict.fromkeys(chosen, 0.0)
        for name, gain in chosen.items():
            if name not in gains[kind]:
                known = ", ".join(gains[kind]) or "none"
                raise ConfigError(
                    f"there is no {name!r} among the {kind} of this network"
                    f"{suggest(name, gains[kind])}; available: {known}"
                )
            gains[kind][name] = jnp.asarray(gain, jnp.float32)
    return {**params, COLLECTION: gains}


def side_by_side(
    lesioned: Sequence[Mapping[str, Any]], episodes: int
) -> dict[str, Any]:
    """One set of parameters that has several lesions of the same weights in one batch.

    Args:
      lesioned: what `apply` gave, L of them; gains are numbers or `[units]`.
      episodes: rows of the batch for each lesion.

    Returns:
      The first's parameters with gains `[L · episodes, units]` (`[L · episodes, 1]` of all but
      areas): the first lesion's rows, then the second's, and so on.
    """
    gains = [params[COLLECTION] for params in lesioned]
    shapes = {name: x.shape for name, x in gains[0]["levels"].items()}

    def rows(kind: str, name: str) -> jax.Array:
        # Alike for areas that are cut whole or in part, so that one program serves both.
        shape = shapes.get(name, (1,)) if kind in ("areas", "levels") else (1,)
        each = [jnp.broadcast_to(one[kind][name], shape) for one in gains]
        return jnp.repeat(jnp.stack(each), episodes, axis=0)

    both = {kind: {name: rows(kind, name) for name in gains[0][kind]} for kind in KINDS}
    return {**lesioned[0], COLLECTION: both}


def single(wiring: Wiring) -> dict[str, dict[str, list[str]]]:
    """Every lesion of one area, stream, pathway or memory: {name: arguments of `apply`}."""
    return {
        f"{name} memory" if kind == "memories" else name: {kind: [name]}
        for kind, each in names(wiring).items()
        for name in each
    }


def stack(wiring: Wiring, lesions: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Gains of many lesions, [len(lesions), ...], for `jax.vmap`.

        params = {"params": trained["params"], "lesion": stack(wiring, lesions)}
        jax.vmap(run, in_axes=({"params": None, "lesion": 0},))(params)

    Args:
      lesions: arguments of `apply`, such as the values of `single`.
    """
    gains = [apply({}, wiring, **lesion)[COLLECTION] for lesion in lesions]
    return jax.tree.map(lambda *x: jnp.stack(x), *gains)
