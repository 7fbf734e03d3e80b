"""Dense layers over several sources, the output heads, and their initialisation."""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import linen as nn

# Small first logits: the first policy is close to uniform (or to its widest).
_POLICY_GAIN = 0.01


def project(sources: Sequence[jax.Array], kernel: jax.Array) -> jax.Array:
    """concatenate(sources) @ kernel, f32[..., O], without building the concatenation.

    One product per source: on a CPU the whole network's gradient is a third faster, as
    XLA otherwise recomputes each source inside every concatenation that holds it.

    Args:
      sources: f32[..., I_s] each.
      kernel: f32[ΣI_s, O].
    """
    products, start = [], 0
    for source in sources:
        end = start + source.shape[-1]
        products.append(_product(source, kernel[start:end]))
        start = end
    return functools.reduce(jnp.add, products)


def _product(source: jax.Array, kernel: jax.Array) -> jax.Array:
    """source @ kernel over rows f32[N, I].

    Contracting two leading axes at once, XLA would transpose the output's gradient in memory
    and multiply in the one order that its CPU library is slow at: docs/speed.md.
    """
    rows = source.reshape(-1, source.shape[-1])
    return (rows @ kernel).reshape(*source.shape[:-1], kernel.shape[-1])


def width(sources: Sequence[jax.Array]) -> int:
    """Width of the concatenated sources."""
    return sum(source.shape[-1] for source in sources)


class Dense(nn.Module):
    """Linear layer over several sources: [..., I_s] each -> [..., units].

    Glorot-uniform kernel over all sources together (or `kernel_init`), zero bias.
    """

    units: int
    kernel_init: nn.initializers.Initializer = nn.initializers.glorot_uniform()

    @nn.compact
    def __call__(self, *sources: jax.Array) -> jax.Array:
        shape = (width(sources), self.units)
        kernel = self.param("kernel", self.kernel_init, shape)
        bias = self.param("bias", nn.initializers.zeros_init(), (self.units,))
        return project(sources, kernel) + bias


def policy_head(num_outputs: int, name: str) -> Dense:
    """The layer that gives the logits: orthogonal kernel of gain 0.01, zero bias."""
    init = nn.initializers.orthogonal(_POLICY_GAIN)
    return Dense(num_outputs, kernel_init=init, name=name)


class ValueHead(nn.Module):
    """A critic of ReLU layers over several sources: [..., I_s] each -> [...]."""

    units: tuple[int, ...]

    @nn.compact
    def __call__(self, *sources: jax.Array) -> jax.Array:
        for index, units in enumerate(self.units):
            layer = Dense(units, name=f"layer{index + 1}")
            sources = (nn.relu(layer(*sources)),)
        return Dense(1, name="value")(*sources)[..., 0]
