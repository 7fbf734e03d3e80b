"""Frames per second of the eye alone, by batch: `python benchmarks/frames.py`.

Start states of the task are drawn over and over by a compiled scan; what it takes to compile is
not counted. The best of five repeats, where the other benchmarks take medians.
"""

import argparse
import time

import jax
import jax.numpy as jnp
import numpy as np

import mjxhand

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--batch", type=int, nargs="+", default=[1, 64, 256])
parser.add_argument("--size", type=int, default=64, help="edge of a frame, pixels")
parser.add_argument("--cameras", default="palm", help="separated by commas")
parser.add_argument("--repeats", type=int, default=5)
options = parser.parse_args()

env = mjxhand.make(
    "reorient",
    impl="native",
    vision="pixels",
    frame_size=options.size,
    cameras=options.cameras,
    pool_size=max(options.batch),
)
eye = env.eye
assert eye is not None
pool = np.asarray(env.params.pool.qpos)
print(f"{options.size} x {options.size}, {options.cameras}, {jax.devices()[0]}")
for batch in options.batch:
    length = max(1, 256 // batch)

    @jax.jit
    def draw(qpos, length=length, eye=eye):
        def step(total, turn):
            # Summed, so that no frame may be left out, and of other states each time, or
            # they would be drawn once for all.
            frames = jax.vmap(eye)(jnp.roll(qpos, turn, axis=0) + 1e-6 * turn)
            return total + jnp.sum(frames, dtype=jnp.uint32), None

        return jax.lax.scan(step, jnp.uint32(0), jnp.arange(length))[0]

    draw(pool[:batch]).block_until_ready()
    seconds = []
    for _ in range(options.repeats):
        start = time.perf_counter()
        draw(pool[:batch]).block_until_ready()
        seconds.append(time.perf_counter() - start)
    rate = batch * length / min(seconds)
    print(f"batch {batch:>5}: {rate:>9,.0f} frames/s")
