"""`python -m mjxhand.evaluate DIR`: how many goals a trained policy chains, on any back end.

Every environment plays one whole episode and every episode counts: none is cut by a horizon, none
is left out for being long.
"""

import dataclasses
import functools
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np

from mjxhand import batch, cli
from mjxhand import tally as tallies
from mjxhand.agent import Agent
from mjxhand.env import Env, EnvParams, State
from mjxhand.networks import lesions
from mjxhand.policy import (
    Policy,
    lesioned,
    load_policy,
    make_env,
    policy_of,
    untrained,
)
from mjxhand.storage import write_text_atomically
from mjxhand.tally import sentence

__all__ = [
    "Evaluator",
    "Policy",
    "load_policy",
    "make_env",
    "policy_of",
    "sentence",
    "untrained",
]

# The pool that evaluation resets from is made from its own seed, never a training one.
POOL_SEED = 1_000_003
BLOCKS = 4
"""Blocks of control steps in the time that a goal may take."""
FEWEST = 16
"""Environments that a batch keeps, at least."""


class Evaluator:
    """Plays whole episodes of a task; compiled once for any weights, seed and goal distance.

    Every environment plays one episode that counts. The first environment's steps are kept
    for films.
    """

    def __init__(
        self, env: Env, agent: Agent, episodes: int, deterministic: bool = False
    ):
        self.env = env
        self.agent = agent
        self.episodes = episodes
        self.deterministic = deterministic
        # Short, so that those whose episode is over soon leave.
        self._length = -(-env.goal_steps // BLOCKS)
        # Start states are settled on the host, which takes seconds: lesions share theirs.
        self._params = functools.lru_cache(maxsize=1)(env.make_params)
        self._start = jax.jit(self._begin, static_argnames="copies")
        self._block = jax.jit(self._play)

    def __call__(
        self,
        policy: Policy,
        *,
        seed: int = 0,
        goal_angle_max: float | None = None,
    ) -> dict[str, Any]:
        """Play until every episode has ended, and summarise.

        The same seed gives the same start states and first goals whatever the policy or back end.

        Args:
            goal_angle_max: farthest goal, rad; the task's own by default, π for the full task.

        Returns:
            JSON-ready summary: `goals` (mean, sd, ci95, histogram), `seconds_per_goal`,
            `drop_rate`, `time_out_rate`, `complete_rate`, `invalid_rate`, `by_distance` (tasks
            with angles: of the goals given within quarters of π, how many were reached), and
            how it was made.
        """
        return self.play(policy, seed=seed, goal_angle_max=goal_angle_max)[0]

    def each(
        self, policy: Policy, *, seed: int = 0
    ) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """The summary, and what came of each episode (`tally.per_episode`).

        With the same seed, the episodes of two policies pair by their place.
        """
        far = self.env.config.env.goal_angle_max
        tally, _ = self._run(policy, seed, far)
        return self._summary(policy, tally, seed, far), tallies.per_episode(tally)

    def together(
        self, policies: Sequence[Policy], *, seed: int = 0
    ) -> list[tuple[dict[str, Any], dict[str, np.ndarray]]]:
        """What `each` gives of every one of several lesions of a policy, played in one batch.

        An accelerator takes a control step of many environments in little more time than one of
        few. One program serves any as many lesions.
        """
        far = self.env.config.env.goal_angle_max
        params = [policy.params for policy in policies]
        params = lesions.side_by_side(params, self.episodes)
        all_of_them = dataclasses.replace(policies[0], params=params)
        tally, _ = self._run(all_of_them, seed, far, copies=len(policies))
        told = []
        for place, policy in enumerate(policies):
            rows = slice(place * self.episodes, (place + 1) * self.episodes)
            own = jax.tree.map(lambda x, rows=rows: x[rows], tally)
            told.append(
                (self._summary(policy, own, seed, far), tallies.per_episode(own))
            )
        return told

    def record(self, policy: Policy, *, seed: int = 0, steps: int) -> dict[str, Any]:
        """What a film of the first environment needs, for `steps` control steps.

        Returns:
            Arrays `[T, ...]` (of `goal`, the task's pytree): of each control step the state
            it starts from (`qpos`, `qvel`, `goal`, `goals`, `goal_step`, `episode_step`,
            `distance`, `began`), the servo targets it holds (`target`), those before
            (`held`), what was drawn for its episode (`world`, by name) and what came of it
            (`success`, `dropped`, `ended`).
        """
        return self.play(policy, seed=seed, steps=steps, every_episode=False)[1]

    def play(
        self,
        policy: Policy,
        *,
        seed: int = 0,
        goal_angle_max: float | None = None,
        steps: int = 0,
        every_episode: bool = True,
    ) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Both at once: the summary, and at least the first `steps` control steps for a film."""
        if goal_angle_max is None:
            goal_angle_max = self.env.config.env.goal_angle_max
        tally, frames = self._run(policy, seed, goal_angle_max, steps, every_episode)
        return self._summary(policy, tally, seed, goal_angle_max), frames

    def _summary(
        self, policy: Policy, tally: Any, seed: int, goal_angle_max: float
    ) -> dict[str, Any]:
        """What was counted, and how it was made."""
        env = self.env
        counted = tallies.summary(tally, env.config.control_seconds)
        if env.task.unit != "rad":
            del counted["by_distance"]  # its classes are angles
        return {
            "task": env.label_at(goal_angle_max),
            "object": env.scene.object,
            "hold_wrist": env.config.env.hold_wrist,
            **counted,
            "update": policy.update,
            "seed": seed,
            "deterministic": self.deterministic,
            "impl": env.physics.impl,
            "threshold": env.task.threshold,
            "max_goals": env.task.num_goals,
            "unit": env.task.unit,
            "goal_angle_max": float(goal_angle_max),
        }

    def _run(
        self,
        policy: Policy,
        seed: int,
        goal_angle_max: float,
        steps: int = 0,
        every_episode: bool = True,
        copies: int = 1,
    ) -> tuple[Any, dict[str, Any]]:
        """The tally, and the first environment's first `steps` frames; on the host.

        With `copies`, every episode is played so many times: rows of the tally in that order.
        """
        params = self._params(POOL_SEED + seed)
        params = params.replace(goal_angle_max=np.float32(goal_angle_max))
        carry = self._start(jax.random.PRNGKey(seed), params, copies=copies)
        whole = jax.tree.map(np.array, carry.tally)
        # The longest episode spends the whole time of a goal on each; a film may go on.
        most = max(self.env.task.num_goals * self.env.goal_steps, steps)
        kept, done, fewer = [], 0, self._may_leave(policy)
        while done < most:
            carry, frames = self._block(policy.params, policy.stats, params, carry)
            if done < steps:
                kept.append(jax.device_get(frames))
            done += self._length
            tally, place = jax.device_get((carry.tally, carry.place))
            for of_all, part in zip(*map(jax.tree.leaves, (whole, tally)), strict=True):
                of_all[place] = part
            if done >= steps:
                if not every_episode or tally.over.all():
                    break
                if fewer:
                    carry = _without(carry, tally.over)
        film = {}
        if kept:
            film = jax.tree.map(lambda *blocks: np.concatenate(blocks)[:steps], *kept)
        return whole, film

    def _may_leave(self, policy: Policy) -> bool:
        """Whether environments whose episode is over may leave the batch.

        It takes a compilation for each size, which is dear but with native physics. Gains of a
        lesion that differ between environments go with the places in the batch.
        """
        gains = jax.tree.leaves(policy.params.get(lesions.COLLECTION, {}))
        return self.env.physics.impl == "native" and all(x.ndim < 2 for x in gains)

    def _begin(self, key: jax.Array, params: EnvParams, copies: int) -> "_Carry":
        keys = jax.random.split(key, self.episodes + 1)
        state = jax.vmap(self.env.reset, in_axes=(0, None))(keys[1:], params)
        number = copies * self.episodes
        return _Carry(
            state=jax.tree.map(lambda x: jnp.concatenate([x] * copies), state),
            memory=self.agent.initial_carry(number),
            began=jnp.ones(number, bool),
            tally=tallies.begin(number),
            place=jnp.arange(number),
            key=keys[0],
        )

    def _play(self, weights, stats, params: EnvParams, carry: "_Carry"):
        """`_length` control steps of every environment of the batch."""

        def step(carry: _Carry, _):
            key, key_action, key_reset = jax.random.split(carry.key, 3)
            before = carry.state
            memory, out = self.agent.act(
                weights, stats, carry.memory, before.obs, carry.began
            )
            action = self._action(out.logits, carry.place, key_action)
            # Episodes after the first keep the batch and the film going; they do not count.
            after, ended, following = batch.step(
                self.env, before, action, key_reset, params
            )
            frame = _frame(before, carry.began, after, ended)
            carry = _Carry(
                state=following,
                memory=memory,
                began=ended,
                tally=tallies.count(carry.tally, before, after, ended),
                place=carry.place,
                key=key,
            )
            return carry, jax.tree.map(lambda x: x[0], frame)

        return jax.lax.scan(step, carry, None, length=self._length)

    def _action(self, logits, place: jax.Array, key: jax.Array):
        if self.deterministic:
            return self.agent.distribution.mode(logits)
        # Drawn for all episodes, so that an episode's draws do not hang on which are over; and
        # alike for all copies.
        copies, size = max(1, len(place) // self.episodes), logits.shape[1:]
        every = jnp.zeros((copies * self.episodes, *size), logits.dtype)
        every = every.at[place].set(logits).reshape(copies, self.episodes, *size)
        sample = jax.vmap(self.agent.distribution.sample, in_axes=(0, None))
        action = sample(every, key)
        return action.reshape(-1, *action.shape[2:])[place]


@chex.dataclass(frozen=True)
class _Carry:
    """What goes from one control step to the next of n environments; leaves `[n, ...]`."""

    state: State
    memory: Any
    began: jax.Array
    tally: tallies.Tally
    place: jax.Array  # int: which of all episodes, and of their copies
    key: jax.Array  # of all environments


def _without(carry: _Carry, over: np.ndarray) -> _Carry:
    """The carry with a quarter of the environments, or fewer, if those that go on fit.

    Quarters, as each size is another program, and of a few environments none saves time.
    """
    size, going = len(over), int((~over).sum())
    while size % 4 == 0 and size // 4 >= max(going, FEWEST):
        size //= 4
    if size == len(over):
        return carry
    rows = np.sort(np.argsort(over, kind="stable")[:size])
    fewer = jax.tree.map(lambda x: x[rows], carry.replace(key=None))
    return fewer.replace(key=carry.key)


def _frame(before: State, began, after: State, ended) -> dict[str, Any]:
    return {
        "qpos": before.physics.qpos,
        "qvel": before.physics.qvel,
        "goal": before.goal,
        "goals": before.goals,
        "goal_step": before.goal_step,
        "episode_step": before.episode_step,
        "distance": before.distance,
        "began": began,
        "target": after.target,
        "held": before.target,
        "world": {} if before.world is None else before.world.drawn,
        "success": after.metrics["success"] > 0,
        "dropped": after.metrics["dropped"] > 0,
        "ended": ended,
    }


@cli.main_guard
def main(argv: list[str] | None = None) -> int:
    """Command line of `python -m mjxhand.evaluate`."""
    options = cli.parse_evaluate(sys.argv[1:] if argv is None else argv)
    policy = load_policy(options.dir, options.step)
    if options.lesion is not None:
        policy = lesioned(policy, options.lesion)
    env = make_env(
        policy.config,
        impl=options.impl,
        sequence=options.sequence,
        threshold=options.threshold,
        goal_angle_max=options.goal_angle_max,
        max_goals=options.max_goals,
        hold_wrist=options.hold_wrist or None,
        randomize=options.randomize,
        vision_stream=options.vision_stream,
        object_damping=options.object_damping,
    )
    play = Evaluator(env, policy.agent, options.episodes, options.deterministic)
    result = play(policy, seed=options.seed)
    lesion = ""
    if options.lesion is not None:
        result["lesion"] = options.lesion
        lesion = f", without {options.lesion}"
    if options.vision_stream is not None:
        result["vision_stream"] = options.vision_stream
    if options.json is not None:  # before anything is said, which may fail
        write_text_atomically(Path(options.json), json.dumps(result, indent=1) + "\n")
    print(f"{result['task']}, {result['impl']} physics{lesion}\n{sentence(result)}")
    if "by_distance" in result:
        print(tallies.by_distance(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
