"""Draws docs/hand.png: a held cube and its goal. Run it from the repository's root."""

import jax

import mjxhand
from mjxhand import render

env = mjxhand.make("reorient", impl="native", start_pose="cupped", pool_size=8)
state = env.reset(jax.random.PRNGKey(3))
camera = render.Camera(width=800, height=600)
render.still(env.scene, state.physics.qpos, state.goal, "docs/hand.png", camera)
