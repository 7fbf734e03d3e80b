"""`python -m mjxhand.evaluate DIR`: how many goals a trained policy chains, on any back end.

Every environment plays one whole episode and every episode counts: none is cut by a horizon, none
is left out for being long.
"""

import functools
import json
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mjxhand import batch, cli
from mjxhand import tally as tallies
from mjxhand.agent import Agent
from mjxhand.env import Env, EnvParams, State
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
        # Start states are settled on the host, which takes seconds: lesions share theirs.
        self._params = functools.lru_cache(maxsize=1)(env.make_params)
        self._start = jax.jit(self._begin)
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
    ) -> tuple[Any, dict[str, Any]]:
        """The tally, and the first environment's first `steps` frames; on the host."""
        params = self._params(POOL_SEED + seed)
        params = params.replace(goal_angle_max=np.float32(goal_angle_max))
        carry = self._start(jax.random.PRNGKey(seed), params)
        kept, length = [], self.env.goal_steps
        # The longest episode spends the whole time of a goal on each; a film may go on.
        for block in range(max(self.env.task.num_goals, -(-steps // length))):
            carry, frames = self._block(policy.params, policy.stats, params, carry)
            if block * length < steps:
                kept.append(jax.device_get(frames))
            over = not every_episode or bool(jnp.all(carry[-1].over))
            if over and (block + 1) * length >= steps:
                break
        film = {}
        if kept:
            film = jax.tree.map(lambda *blocks: np.concatenate(blocks)[:steps], *kept)
        return jax.device_get(carry[-1]), film

    def _begin(self, key: jax.Array, params: EnvParams):
        keys = jax.random.split(key, self.episodes + 1)
        state = jax.vmap(self.env.reset, in_axes=(0, None))(keys[1:], params)
        memory = self.agent.initial_carry(self.episodes)
        began = jnp.ones(self.episodes, bool)
        return state, memory, began, keys[0], tallies.begin(self.episodes)

    def _play(self, weights, stats, params: EnvParams, carry):
        """As many control steps of every environment as a goal may take."""

        def step(carry, _):
            state, memory, began, key, tally = carry
            key, key_action, key_reset = jax.random.split(key, 3)
            memory, out = self.agent.act(weights, stats, memory, state.obs, began)
            if self.deterministic:
                action = self.agent.distribution.mode(out.logits)
            else:
                action = self.agent.distribution.sample(out.logits, key_action)
            # Episodes after the first keep the batch and the film going; they do not count.
            after, ended, following = batch.step(
                self.env, state, action, key_reset, params
            )
            tally = tallies.count(tally, state, after, ended)
            frame = jax.tree.map(lambda x: x[0], _frame(state, began, after, ended))
            return (following, memory, ended, key, tally), frame

        return jax.lax.scan(step, carry, None, length=self.env.goal_steps)


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
        object_damping=options.object_damping,
    )
    play = Evaluator(env, policy.agent, options.episodes, options.deterministic)
    result = play(policy, seed=options.seed)
    lesion = ""
    if options.lesion is not None:
        result["lesion"] = options.lesion
        lesion = f", without {options.lesion}"
    if options.json is not None:  # before anything is said, which may fail
        write_text_atomically(Path(options.json), json.dumps(result, indent=1) + "\n")
    print(f"{result['task']}, {result['impl']} physics{lesion}\n{sentence(result)}")
    if "by_distance" in result:
        print(tallies.by_distance(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
