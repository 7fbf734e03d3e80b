"""The viewer's player, without a window."""

import dataclasses
import itertools
import sys
import time
import types

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
import pytest

import mjxhand
from mjxhand import agent, evaluate, render, view
from mjxhand.config import ConfigError
from mjxhand.env import Env
from mjxhand.presets import PRESETS

SMOKE = PRESETS["smoke"]


@pytest.fixture(scope="module")
def env():
    return Env(SMOKE)


@pytest.fixture(scope="module")
def policy(env):
    made = agent.build(SMOKE, env.observation_sizes, env.num_actuators)
    params = made.init(jax.random.PRNGKey(0))
    return evaluate.Policy(SMOKE, made, params, made.init_stats(), update=0)


def test_a_still_hand_keeps_its_cube_and_new_episodes_begin(env):
    player = view.Player(env, None)
    height = env.scene.cube_qpos.start + 2
    seconds = 2.5 * SMOKE.env.goal_seconds
    for _ in itertools.islice(player.play(), round(seconds / 0.008)):
        assert player.data.qpos[height] > 0
        np.testing.assert_allclose(player.data.ctrl, env.scene.start_ctrl, atol=1e-6)


def test_a_policy_moves_the_hand(env, policy):
    player = view.Player(env, policy)
    list(itertools.islice(player.play(), 30))
    assert np.abs(player.data.ctrl - env.scene.start_ctrl).max() > 0.05
    assert np.linalg.norm(player.data.mocap_quat[0]) == pytest.approx(1)


def test_the_policy_goes_on_from_where_it_was_pushed(env):
    player = view.Player(env, None)
    play = player.play()
    next(play)
    lift = player.data.qpos[env.scene.cube_qpos.start + 2] + 0.2
    player.data.qpos[env.scene.cube_qpos.start + 2] = lift
    # The rest of this control step and one physics step of the next, in free fall.
    list(itertools.islice(play, env.config.physics.substeps))
    assert player.data.qpos[env.scene.cube_qpos.start + 2] > lift - 0.1


def test_pushes_are_left_to_who_watches():
    """`step` would push the cube that it foretells, and end the episode of one in the hand."""
    config = dataclasses.replace(
        SMOKE,
        env=dataclasses.replace(SMOKE.env, push_speed=5.0, push_seconds=0.001),
    )
    env = Env(config)
    player = view.Player(env, None)
    for _ in itertools.islice(player.play(), 8 * config.physics.substeps):
        assert np.abs(player.data.qvel[env.scene.cube_qvel][:3]).max() < 1.0
    state = player._reset(jax.random.PRNGKey(0)[None], player._params)
    step = jax.vmap(env.step, in_axes=(0, 0, None))
    hold = jnp.full((1, 20), (SMOKE.env.bins - 1) // 2)
    after = jax.jit(step)(state, hold, player._params)
    assert np.abs(after.physics.qvel[0, env.scene.cube_qvel][:3]).max() < 1.0
    pushed = jax.jit(step)(
        player._reset(jax.random.PRNGKey(0)[None], env.params), hold, env.params
    )
    assert np.abs(pushed.physics.qvel[0, env.scene.cube_qvel][:3]).max() > 1.0


def test_what_is_to_do_is_shown_by_words_and_marks():
    """Which finger to touch; MuJoCo's window draws the marks of its `user_scn`."""
    env = mjxhand.make("opposition", sequence="rf_ff", impl="native", pool_size=1)
    player = view.Player(env, None)
    next(player.play())
    assert "ring" in player.sign.text
    scene = mujoco.MjvScene(player.model, maxgeom=len(player.sign.marks))
    scene.ngeom = 0
    for mark in player.sign.marks:
        render.add_mark(scene, mark, player.data)
    assert scene.ngeom == len(player.sign.marks) > 0
    tip = player.data.site(player.sign.marks[0].site).xpos
    np.testing.assert_allclose(scene.geoms[0].pos, tip, atol=1e-6)
    with pytest.raises(ConfigError, match="more than"):
        render.add_mark(scene, player.sign.marks[0], player.data)


class Watcher:
    """In place of an agent: keeps what it is shown."""

    def act(self, weights, stats, memory, obs, began):
        self.seen = obs
        return memory, types.SimpleNamespace(logits=None)

    @property
    def distribution(self):
        hold = jnp.full((1, 20), (SMOKE.env.bins - 1) // 2)
        return types.SimpleNamespace(sample=lambda logits, key: hold)


def test_the_policy_sees_a_push_in_the_step_that_follows_it(env, policy):
    watcher = Watcher()
    player = view.Player(env, dataclasses.replace(policy, agent=watcher))
    state = jax.vmap(env.reset)(jax.random.split(jax.random.PRNGKey(0), 1))
    cube = env.scene.cube_qpos.start
    pushed = state.physics.qpos.at[0, cube].add(0.01)
    pushed = state.replace(physics=state.physics.replace(qpos=pushed))
    key = jax.random.PRNGKey(1)
    player._control_step(
        (policy.params, policy.stats), (), pushed, jnp.ones(1, bool), key, env.params
    )
    moved = watcher.seen["vision"] - state.obs["vision"]
    np.testing.assert_allclose(moved[0], [0.01, 0, 0, 0, 0, 0, 0], atol=1e-6)


def test_it_runs_at_the_speed_of_life(env):
    player = view.Player(env, None)
    next(player.play())  # compiled
    frames = []
    end = time.monotonic() + 1.0
    start = player.data.time
    view.watch(player, lambda: frames.append(0), lambda: time.monotonic() < end)
    assert player.data.time - start < 1.1
    assert len(frames) <= 62


def test_without_a_screen_one_line_says_so(monkeypatch, capsys):
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setattr(view.sys, "platform", "linux")
    assert view.main([]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "no screen" in error
    assert "mjxhand.render" in error


def test_on_macos_it_asks_for_mujocos_interpreter(monkeypatch, capsys):
    monkeypatch.setattr(view.sys, "platform", "darwin")
    viewer = types.SimpleNamespace(_MJPYTHON=None)
    monkeypatch.setitem(sys.modules, "mujoco.viewer", viewer)
    assert view.main([]) == 2
    assert "mjpython -m mjxhand.view" in capsys.readouterr().err
    viewer._MJPYTHON = object()
    view.require_screen()


def test_options(monkeypatch, capsys):
    monkeypatch.setattr(view, "require_screen", lambda: None)
    assert view.main(["nowhere"]) == 2
    assert "nowhere" in capsys.readouterr().err
    assert view.main(["--sed", "3"]) == 2
    assert "--seed" in capsys.readouterr().err
    assert view.main(["--seed", "-5"]) == 2
    assert "--seed is -5: it must be at least 0" in capsys.readouterr().err
    assert dataclasses.fields(view.ViewOptions)[0].name == "dir"
