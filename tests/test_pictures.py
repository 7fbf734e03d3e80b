"""What the visual areas look for: known filters, known maps, frames drawn again."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from mjxhand import agent as agent_module
from mjxhand import streams
from mjxhand.analyse import (
    anatomy,
    figures_visual,
    pictures,
    record,
    recorder,
    retina,
    saliency,
)
from mjxhand.analyse.recording import SENSE
from mjxhand.config import ConfigError
from mjxhand.policy import Policy, make_env
from mjxhand.presets import PRESETS

EDGE = 32
SIZES = {
    "vision": (EDGE, EDGE, 3),
    "proprioception": 48,
    "touch": 92,
    "goal": 4,
    "privileged": 32,
}
PERIOD = 4
"""Of the planted gratings, pixels."""


def config_of():
    smoke = PRESETS["smoke"]
    env = dataclasses.replace(
        smoke.env,
        vision="pixels",
        frame_size=EDGE,
        goal_encoding="absolute",
        pool_size=8,
    )
    return dataclasses.replace(smoke, env=env)


@pytest.fixture(scope="module")
def seeing():
    """A policy that sees frames. Its V1: channel 0 looks for vertical red bars, channel 1 for
    horizontal blue ones, the others for nothing, and channel 2 is silent whatever it sees."""
    config = config_of()
    agent = agent_module.build(config, SIZES, 20)
    shapes = jax.eval_shape(agent.init, jax.random.PRNGKey(0))
    rng = np.random.default_rng(0)
    params = jax.tree.map(
        lambda x: 0.2 * rng.standard_normal(x.shape).astype(np.float32), shapes
    )
    kernel = np.zeros_like(params["params"]["V1"]["filters"]["kernel"])
    wave = np.cos(2 * np.pi * np.arange(7) / PERIOD)
    wave -= wave.mean()
    kernel[:, :, 0, 0] = wave[None, :]
    kernel[:, :, 2, 1] = wave[:, None]
    bias = np.zeros(kernel.shape[3], np.float32)
    bias[2] = -1.0
    params["params"]["V1"]["filters"] = {"kernel": kernel, "bias": bias}
    return Policy(config, agent, params, agent.init_stats(), 0)


def test_maximising_images_show_planted_filters(seeing):
    images = pictures.maximising_images(seeing, "V1", [0, 1, 2])
    assert images.shape == (3, EDGE, EDGE, 3)
    assert np.isnan(images[2]).all()
    for image, colour, axis in ((images[0], 0, 1), (images[1], 2, 0)):
        assert np.all((image >= 0) & (image <= 1))
        contrast = image - image.mean((0, 1))
        power = (contrast**2).sum((0, 1))
        assert power[colour] > 0.95 * power.sum()
        # The strongest wave runs along the planted axis, with the planted period.
        spectrum = np.abs(np.fft.fft2(contrast[:, :, colour]))[: EDGE // 2, : EDGE // 2]
        peak = np.unravel_index(spectrum.argmax(), spectrum.shape)
        assert peak[1 - axis] == 0
        assert abs(peak[axis] - EDGE / PERIOD) <= 1


def test_no_image_of_that_contrast_excites_more(seeing):
    """Not one of a hundred random ones, and hardly the grating itself."""
    image = pictures.maximising_images(seeing, "V1", [0])[0] - 0.5
    rng = np.random.default_rng(1)
    others = rng.standard_normal((100, EDGE, EDGE, 3))
    x = np.arange(EDGE)
    grating = np.zeros((PERIOD, EDGE, EDGE, 3))
    for phase in range(PERIOD):
        grating[phase, :, :, 0] = np.cos(2 * np.pi * (x - phase) / PERIOD)[None]
    every = np.concatenate([others, grating])
    every *= pictures.CONTRAST / np.sqrt((every**2).mean((1, 2, 3), keepdims=True))
    frames = np.concatenate([image[None], np.clip(every, -0.5, 0.5)]) * 255 + 127.5
    found = pictures.feature_maps(seeing, frames)["V1"][..., 0].mean((1, 2))
    assert found[0] > 3 * found[1:101].max()
    assert found[0] > 0.9 * found[101:].max()


def test_maps_are_what_the_network_does(seeing):
    rng = np.random.default_rng(2)
    frames = rng.integers(0, 256, (3, EDGE, EDGE, 3), np.uint8)
    maps = pictures.feature_maps(seeing, frames)
    obs = {n: np.asarray(x) for n, x in streams.blank(SIZES, 3).items()}
    carry = seeing.agent.initial_carry(3)
    _, out = seeing.agent.act(
        seeing.params, seeing.stats, carry, obs | {"vision": frames}, np.ones(3, bool)
    )
    assert list(maps) == ["V1", "V2", "V4", "IT"]
    assert maps["V1"].shape[:3] == (3, 8, 8)
    for area, values in maps.items():
        flat = values.reshape(3, -1)
        np.testing.assert_allclose(flat, out.areas[area], rtol=1e-4, atol=1e-5)


def test_a_network_without_eyes_is_refused(smoke):
    agent = agent_module.build(smoke, SIZES | {"vision": 7}, 20)
    blind = Policy(smoke, agent, {"params": {}}, None, 0)
    with pytest.raises(ConfigError, match=r"--env\.vision pixels"):
        pictures.feature_maps(blind, np.zeros((1, 8, 8, 3), np.uint8))
    with pytest.raises(ConfigError, match=r"--env\.vision pixels"):
        pictures.maximising_images(blind, "V1", [0])
    assert retina.redraw(blind) is None
    assert anatomy.sampled(agent) == {}


def test_an_area_that_is_not_there(seeing):
    with pytest.raises(ConfigError, match="V1, V2, V4, IT"):
        pictures.maximising_images(seeing, "V5", [0])


def test_units_of_large_areas_are_sampled():
    config = config_of()
    half = dataclasses.replace(config.network, units_scale=0.5)
    config = dataclasses.replace(config, network=half)
    wide = SIZES | {"vision": (64, 64, 3)}
    units = anatomy.sampled(agent_module.build(config, wide, 20))
    assert list(units) == ["V1", "V2", "V4", "IT"]
    sizes = (16 * 16 * 32, 8 * 8 * 64, 4 * 4 * 128, 2 * 2 * 256)
    for chosen, size in zip(units.values(), sizes, strict=True):
        assert len(np.unique(chosen)) == anatomy.MOST_UNITS
        assert chosen.max() < size
    # Of an area whose dynamics are asked for every input is needed.
    direct = dataclasses.replace(config.network, recurrent="all")
    config = dataclasses.replace(config, network=direct)
    kept = anatomy.sampled(agent_module.build(config, wide, 20))
    assert "IT" not in kept


def test_thumbnails():
    """Of a frame in four colours: the same in small, in ± 0.5."""
    frame = np.zeros((1, 64, 64, 3), np.uint8)
    frame[:, :32, 32:] = (255, 0, 0)
    frame[:, 32:, :32] = (0, 255, 255)
    small = np.asarray(recorder.thumbnail(jnp.asarray(frame))).reshape(8, 8, 3)
    np.testing.assert_allclose(small[1, 6], [0.5, -0.5, -0.5], atol=1e-6)
    np.testing.assert_allclose(small[6, 1], [-0.5, 0.5, 0.5], atol=1e-6)
    np.testing.assert_allclose(small[1, 1], -0.5, atol=1e-6)


def test_figure_of_one_and_of_both_networks(seeing, tmp_path):
    frame = np.linspace(0, 1, EDGE * EDGE * 3).reshape(EDGE, EDGE, 3)
    parts = [pictures._coloured("frame", pictures.RETINA, -1, frame)]
    for area in ("V1", "IT"):
        for channel in (3, 1):
            shape = (4, 4) if area == "V1" else (1, 1)
            maps = pictures._pixels("map", area, channel, shape)
            parts.append(maps.assign(activity=np.arange(len(maps)) / 16))
            image = np.full_like(frame, np.nan if channel == 1 else 0.3)
            parts.append(pictures._coloured("image", area, channel, image))
    one = pd.concat(parts, ignore_index=True).assign(policy="trained")
    both = pd.concat([one, one.assign(policy="untrained")], ignore_index=True)
    sizes = []
    for table in (one, both):
        figures_visual.pictures({"pictures": table}, tmp_path)
        sizes.append((tmp_path / "visual_areas.png").stat().st_size)
    assert sizes[1] > sizes[0] > 5000


@pytest.mark.slow
def test_frames_are_drawn_again(seeing, tmp_path):
    """Poses that were recorded give the frames that were seen; and those can be attributed."""
    pytest.importorskip("warp")
    env = make_env(seeing.config)
    settings = record.plan(seeing, env, steps=64, envs=2, control=False)
    recording = record.record(seeing, env, tmp_path, settings)
    table = pictures.table(seeing, recording)
    assert set(table["area"]) == {"retina", "V1", "V2", "V4", "IT"}
    assert len(table[table["kind"] == "frame"]) == EDGE * EDGE
    arrays = recording.read(0, [SENSE + "vision", *retina.POSE])
    seen = arrays.pop(SENSE + "vision")
    redraw = retina.redraw(seeing)
    assert redraw is not None
    frames = redraw(arrays)
    again = recorder.thumbnail(jnp.asarray(frames.reshape(-1, EDGE, EDGE, 3)))
    # The recording has half precision, and poses were rounded on their way.
    np.testing.assert_allclose(
        np.asarray(again), seen.reshape(len(again), -1), atol=0.02
    )
    assert np.ptp(seen, axis=1).max() > 0.2
    assert saliency.windows_for(seeing) < saliency.WINDOWS
    found = saliency.table(seeing, recording, ("V1", "M1"), count=1, window=2)
    share = {(r["source"], r["sense"]): r["share"] for r in found.to_dict("records")}
    assert share["V1", "vision"] == pytest.approx(1.0)
    assert 0 < share["M1", "touch"] < 1
    assert np.asarray(found["error"]).max() < 0.2
