"""Draws docs/frames.png: what the palm camera's frames show. Run it from the repository's root.

Above, what the batch renderer gives the network, 64 x 64 pixels; below, C MuJoCo's picture of the
same state and size, with its shadows. The states are eight in which a cube has settled.
"""

import mjxhand  # noqa: I001  chooses the off-screen renderer before MuJoCo is imported
import mujoco
import numpy as np
from mjxhand import render
from PIL import Image, ImageDraw, ImageFont

SCALE = 2
MARGIN = 96  # pixels on the left, for what each row is

env = mjxhand.make("reorient", impl="native", vision="pixels", pool_size=8)
assert env.eye is not None
params = env.make_params(seed=3)
height, width, _ = env.eye.shape
reference = []
with render.Renderer(
    env.scene.mj_model, render.Camera("palm", width, height)
) as renderer:
    data = mujoco.MjData(renderer.model)
    for qpos in np.asarray(params.pool.qpos):
        data.qpos[:] = qpos
        data.mocap_pos[:] = (0.0, 0.0, -10.0)  # an eye does not see the goal
        mujoco.mj_forward(renderer.model, data)
        reference.append(renderer.picture(data))
strip = np.concatenate([np.hstack(params.looks), np.hstack(reference)])
size = (SCALE * strip.shape[1], SCALE * strip.shape[0])
picture = Image.new("RGB", (MARGIN + size[0], size[1]), "white")
frames = Image.fromarray(strip).resize(size, Image.Resampling.NEAREST)
picture.paste(frames, (MARGIN, 0))
draw = ImageDraw.Draw(picture)
for row, text in enumerate(("network's\nframes", "MuJoCo's\npictures")):
    middle = (8, int((row + 0.5) * SCALE * height))
    font = ImageFont.load_default(size=17)
    draw.multiline_text(middle, text, fill="#222222", font=font, anchor="lm")
picture.save("docs/frames.png", optimize=True)
