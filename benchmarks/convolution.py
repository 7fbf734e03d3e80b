"""Gradients of a convolution inside a loop, as training is one, and of the same as a product.

    python benchmarks/convolution.py

Processor time of a step, for V1 and V2 at a quarter of their size and a batch of 128; the
reason for `mjxhand.networks.vision.filter_by_products`.
"""

import time

import jax
import jax.numpy as jnp
import numpy as np

from mjxhand.networks.vision import filter_by_products

STEPS = 4
# Edge and channels of what is seen; width, stride and number of the filters.
AREAS = {"V1": (64, 3, 7, 2, 16), "V2": (16, 16, 3, 1, 32)}


def convolution(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    """XLA's own."""
    return jax.lax.conv_general_dilated(
        x, kernel, (stride, stride), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def seconds(filtered, x, kernel, stride: int, *, loop: bool) -> float:
    """Processor time of one gradient by the filters, s."""
    slope = jax.grad(lambda k: jnp.sum(filtered(x, k, stride) ** 2))

    def steps(kernel):
        def step(kernel, _):
            return kernel - 1e-9 * slope(kernel), None

        return jax.lax.scan(step, kernel, None, length=STEPS, unroll=not loop)[0]

    run = jax.jit(steps)
    jax.block_until_ready(run(kernel))
    begin = time.process_time()
    jax.block_until_ready(run(kernel))
    return (time.process_time() - begin) / STEPS


def main() -> None:
    """Print a table."""
    rng = np.random.default_rng(0)
    print(
        "| area | convolution | in a loop | product | in a loop |\n|---|---|---|---|---|"
    )
    for name, (edge, channels, width, stride, number) in AREAS.items():
        x = jnp.asarray(rng.normal(size=(128, edge, edge, channels)), jnp.float32)
        shape = (width, width, channels, number)
        kernel = jnp.asarray(rng.normal(size=shape), jnp.float32)
        cells = (
            f"{1000 * seconds(f, x, kernel, stride, loop=loop):,.0f} ms"
            for f in (convolution, filter_by_products)
            for loop in (False, True)
        )
        print(f"| {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
