"""`python -m mjxhand.view [DIR]`: MuJoCo's interactive viewer, with the policy running.

Without a run folder the hand holds still. Double-click the cube and drag it with Ctrl and
the right mouse button: the policy has to cope.
"""

import copy
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
import tyro

from mjxhand import arguments, cli, evaluate, presets, randomize, render, scene, touch
from mjxhand.body import read
from mjxhand.config import ConfigError
from mjxhand.env import Env, EnvParams, State
from mjxhand.evaluate import Policy
from mjxhand.physics import PhysicsState
from mjxhand.tasks import Sign


@dataclass(frozen=True)
class ViewOptions:
    """Watch a policy in MuJoCo's viewer."""

    dir: Annotated[str | None, tyro.conf.Positional] = None
    """Folder of the run; none: the hand holds still."""
    seed: int = 0
    """Seed of the start states and the goals."""
    deterministic: bool = False
    """Take the most likely action instead of sampling."""
    step: int | None = None
    """Update whose checkpoint to load; by default the newest whole one."""
    meshes: bool = False
    """Draw the published meshes of the hand (pip install 'mjxhand[meshes]')."""
    touch: bool = False
    """Light up the touch regions that feel a force."""


class Player:
    """Runs one hand in an `MjData` that somebody else may push around."""

    def __init__(
        self,
        env: Env,
        policy: Policy | None,
        seed: int = 0,
        deterministic: bool = False,
        with_meshes: bool = False,
    ):
        """`policy` None: servos hold the start pose."""
        self.env = env
        self.policy = policy
        self.deterministic = deterministic
        self.scene = scene.build(env.config.scene, with_meshes=with_meshes)
        self.model = copy.copy(self.scene.mj_model)
        self.data = mujoco.MjData(self.model)
        self.sign = Sign("")
        """How the goal is shown: in words, and by marks."""
        self._params = _unpushed(env.make_params(seed))
        self._key = jax.random.PRNGKey(seed)
        self._reset = jax.jit(jax.vmap(env.reset, in_axes=(0, None)))
        self._step = jax.jit(self._control_step)

    def play(self) -> Iterator[int]:
        """Goals reached so far in the episode, after every physics step; never ends."""
        self._key, key = jax.random.split(self._key)
        state = self._reset(key[None], self._params)
        memory = self.policy.agent.initial_carry(1) if self.policy else ()
        began = jnp.ones(1, bool)
        self._show(state)
        while True:
            # Where the hand is by now, pushed or not, is where the policy goes on from.
            state = state.replace(physics=self._seen())
            self._key, key = jax.random.split(self._key)
            weights = (self.policy.params, self.policy.stats) if self.policy else ()
            after, memory = self._step(weights, memory, state, began, key, self._params)
            self.data.ctrl[:] = after.target[0]
            task = self.env.task
            goal = jax.tree.map(lambda x: x[0], jax.device_get(state.goal))
            distance = float(state.metrics[task.measure][0])
            self.sign = task.show(goal, self.data.qpos, distance)
            if self.sign.quat is not None:
                self.data.mocap_quat[0] = self.sign.quat
            for _ in range(self.env.config.physics.substeps):
                mujoco.mj_step(self.model, self.data)
                yield int(state.goals[0])
            began = after.terminated | after.truncated
            if bool(began[0]):
                self._key, key = jax.random.split(self._key)
                after = self._reset(key[None], self._params)
                self._show(after)
            state = after

    def _control_step(self, weights, memory, state, began, key, params: EnvParams):
        env = self.env
        # As the hand is by now: `step` foretold the state without the pushes.
        look = jax.vmap(self._look, in_axes=(0, None))
        state = state.replace(obs=look(state, params))
        if self.policy is None:
            # The middle bin, or 0, moves no servo.
            discrete = env.config.env.actions == "discrete"
            middle = (env.config.env.bins - 1) // 2 if discrete else 0.0
            action = jnp.full((1, env.num_actuators), middle)
        else:
            agent = self.policy.agent
            memory, out = agent.act(*weights, memory, state.obs, began)
            if self.deterministic:
                action = agent.distribution.mode(out.logits)
            else:
                action = agent.distribution.sample(out.logits, key)
        step = jax.vmap(env.step, in_axes=(0, 0, None))
        after = step(state, action, params)
        return after, memory

    def _look(self, state: State, params: EnvParams) -> dict[str, jax.Array]:
        env = self.env
        look = env.look(state.physics, params)
        body = read(self.scene, state.physics)
        return env.observe(body, state.goal, state.key, state.world, look)

    def _seen(self) -> PhysicsState:
        data = self.data
        arrays = (data.qpos, data.qvel, data.qacc_warmstart, data.sensordata)
        qpos, qvel, warmstart, sensors = (
            np.asarray(x, np.float32)[None].copy() for x in arrays
        )
        return PhysicsState(
            qpos=qpos, qvel=qvel, qacc_warmstart=warmstart, sensordata=sensors
        )

    def _show(self, state: State) -> None:
        """Begin an episode, in the world that was drawn for it."""
        if state.world is not None:
            drawn = {name: np.asarray(x[0]) for name, x in state.world.drawn.items()}
            randomize.write(self.model, self.scene, drawn)
            mujoco.mj_setConst(self.model, self.data)
        data, physics = self.data, state.physics
        data.qpos[:], data.qvel[:] = physics.qpos[0], physics.qvel[0]
        data.qacc_warmstart[:] = physics.qacc_warmstart[0]
        mujoco.mj_forward(self.model, data)


def _unpushed(params: EnvParams) -> EnvParams:
    """Without the pushes of the world, which `step` would foretell and nobody would see."""
    worlds = params.worlds
    if worlds is None or "push" not in worlds.drawn:
        return params
    drawn = worlds.drawn | {"push": np.zeros_like(worlds.drawn["push"])}
    return params.replace(worlds=worlds.replace(drawn=drawn))


def require_screen() -> None:
    """Raises: ConfigError: this process has no screen to open a window on."""
    if sys.platform == "darwin":
        from mujoco import viewer

        # A window there belongs to the main thread, which only this interpreter leaves to it.
        if getattr(viewer, "_MJPYTHON", None) is None:
            raise ConfigError(
                "on macOS a window needs MuJoCo's interpreter: mjpython -m mjxhand.view"
            )
    if sys.platform != "linux":
        return
    if not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        raise ConfigError(
            "no screen here (neither DISPLAY nor WAYLAND_DISPLAY is set): make a film "
            "with python -m mjxhand.render DIR"
        )


def watch(player: Player, sync: Callable[[], None], running: Callable[[], bool]):
    """Play at the speed of life, drawing about 60 times a second, until `running` ends."""
    dt = player.model.opt.timestep
    begin, steps, drawn = time.monotonic(), 0, 0.0
    for _ in player.play():
        if not running():
            return
        steps += 1
        now = time.monotonic()
        ahead = steps * dt - (now - begin)
        if ahead > 0:
            time.sleep(ahead)
        elif ahead < -0.5:  # it compiled, or the machine is slow: do not race after it
            begin, steps = now, 0
        if now - drawn > 1 / 60:
            sync()
            drawn = now


@cli.main_guard
def main(argv: Sequence[str] | None = None) -> int:
    """Command line of `python -m mjxhand.view`."""
    argv = sys.argv[1:] if argv is None else argv
    args, words = arguments.split(argv, arguments.option_types(ViewOptions))
    options = arguments.build(ViewOptions, [*args, *words], "python -m mjxhand.view")
    cli.refuse_seed(options.seed)
    require_screen()
    from mujoco import viewer

    if options.dir is None:
        env, policy = Env(presets.PRESETS["laptop"]), None
    else:
        policy = evaluate.load_policy(options.dir, options.step)
        env = evaluate.make_env(policy.config)
    player = Player(env, policy, options.seed, options.deterministic, options.meshes)
    print("drag the cube with Ctrl and the right mouse button; Esc closes the window")
    with viewer.launch_passive(player.model, player.data) as window:
        window.opt.sitegroup[touch.GROUP] = options.touch

        def sync() -> None:
            with window.lock():
                if options.touch:
                    touch.light(player.model, player.data)
                shown = window.user_scn
                if shown is not None:  # the window is still open
                    shown.ngeom = 0
                    for mark in player.sign.marks:
                        render.add_mark(shown, mark, player.data)
            window.set_texts((None, None, player.sign.text, None))
            window.sync()

        watch(player, sync, window.is_running)
    return 0


if __name__ == "__main__":
    sys.exit(main())
