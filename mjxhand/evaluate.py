"""`python -m mjxhand.evaluate DIR`: how many goals a trained policy chains, on any back end.

Every environment plays one whole episode and every episode counts: none is cut by a horizon, none
is left out for being long.
"""

import dataclasses
import json
import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np

from mjxhand import agent as agent_module
from mjxhand import cli, pretrained
from mjxhand.agent import Agent
from mjxhand.checkpoint import Checkpoints
from mjxhand.config import Config, ConfigError
from mjxhand.env import Env, EnvParams, State
from mjxhand.rollout import where
from mjxhand.sharding import Program, make_mesh
from mjxhand.types import Learner

# The pool that evaluation resets from is made from its own seed, never a training one.
POOL_SEED = 1_000_003


@dataclass(frozen=True)
class Policy:
    """A network, its weights and the statistics that normalise what it sees."""

    config: Config
    agent: Agent
    params: Any
    stats: Any
    update: int


@chex.dataclass(frozen=True)
class Tally:
    """What is counted of each environment's one episode; all `[N]`."""

    over: jax.Array  # bool
    goals: jax.Array
    goal_time: jax.Array  # control steps spent on goals that were reached
    length: jax.Array  # control steps
    reward: jax.Array  # sum of rewards
    dropped: jax.Array
    timed_out: jax.Array
    complete: jax.Array
    invalid: jax.Array


def load_policy(run: str | Path, step: int | None = None) -> Policy:
    """Policy of a run folder's newest whole checkpoint (or of update `step`).

    Args:
        run: a run folder, a folder that `mjxhand.pretrained` wrote, or `pretrained:NAME`.

    Raises:
        ConfigError, CheckpointError: no run there, or nothing whole to load.
    """
    run = pretrained.folder(run)
    config = cli.read_config(run)
    program = _program(config)
    target = program.learner_shapes()
    if (run / pretrained.FILE).exists():
        if step is not None:
            raise ConfigError(
                f"{run} holds one policy, no checkpoints: leave out --step"
            )
        params, stats, update = pretrained.read(
            run / pretrained.FILE, target.params, target.obs_stats
        )
        params, stats = jax.tree.map(jnp.asarray, (params, stats))
        return Policy(config, program.agent, params, stats, update)
    target = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=program.replicated),
        target,
    )
    _, learner = Checkpoints(run).restore_learner(target, step=step)
    return policy_of(config, program.agent, learner)


def policy_of(config: Config, agent: Agent, learner: Learner) -> Policy:
    """The policy of a learner, wherever its arrays lie."""
    params, stats, update = jax.device_get(
        (learner.params, learner.obs_stats, learner.update)
    )
    # All policies alike in placement and type, or the evaluator compiles for each.
    params, stats = jax.tree.map(jnp.asarray, (params, stats))
    return Policy(config, agent, params, stats, int(update))


def untrained(policy: Policy) -> Policy:
    """The network with the weights that its training began with."""
    program = _program(policy.config)
    learner = program.init_learner(policy.config.seed)
    return policy_of(policy.config, policy.agent, learner)


def _program(config: Config) -> Program:
    # Sizes come from the scene alone: the back end is not needed to load a network.
    native = dataclasses.replace(config.physics, impl="native")
    env = Env(dataclasses.replace(config, physics=native))
    agent = agent_module.build(config, env.observation_sizes, env.num_actuators)
    return Program(config, env, agent, make_mesh(jax.devices()[:1]))


def make_env(config: Config, **env_changes: Any) -> Env:
    """The environment a run was trained on; `impl=` or any field of EnvConfig changes it.

    None changes nothing.
    """
    env_changes = {k: v for k, v in env_changes.items() if v is not None}
    impl = env_changes.pop("impl", None)
    if impl is not None:
        physics = dataclasses.replace(config.physics, impl=impl)
        config = dataclasses.replace(config, physics=physics)
    env = dataclasses.replace(config.env, **env_changes)
    return Env(dataclasses.replace(config, env=env))


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
            `drop_rate`, `time_out_rate`, `complete_rate`, `invalid_rate`, and how it was made.
        """
        return self.play(policy, seed=seed, goal_angle_max=goal_angle_max)[0]

    def record(self, policy: Policy, *, seed: int = 0, steps: int) -> dict[str, Any]:
        """What a film of the first environment needs, for `steps` control steps.

        Returns:
            Arrays `[T, ...]` (of `goal`, the task's pytree): of each control step the state
            it starts from (`qpos`, `qvel`, `goal`, `goals`, `goal_step`, `episode_step`,
            `distance`, `began`), the servo targets it holds (`target`) and what came of it
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
        tally, kept, count = None, [], 0
        for tally, frames in self._blocks(policy, seed, goal_angle_max):
            if count < steps:
                kept.append(jax.device_get(frames))
            count += self.env.goal_steps
            over = not every_episode or bool(jnp.all(tally.over))
            if over and count >= steps:
                break
        return (
            _summary(self, policy, jax.device_get(tally), seed, goal_angle_max),
            jax.tree.map(lambda *blocks: np.concatenate(blocks)[:steps], *kept)
            if kept
            else {},
        )

    def _blocks(self, policy: Policy, seed: int, goal_angle_max: float):
        """Yields the tally and the first environment's frames after each block."""
        params = self.env.make_params(POOL_SEED + seed)
        params = params.replace(goal_angle_max=np.float32(goal_angle_max))
        carry = self._start(jax.random.PRNGKey(seed), params)
        # The longest episode spends the whole time of a goal on each.
        for _ in range(self.env.task.num_goals):
            carry, frames = self._block(policy.params, policy.stats, params, carry)
            yield carry[-1], frames

    def _begin(self, key: jax.Array, params: EnvParams):
        keys = jax.random.split(key, self.episodes + 1)
        state = jax.vmap(self.env.reset, in_axes=(0, None))(keys[1:], params)
        zeros = jnp.zeros(self.episodes)
        names = [name for name in Tally.__annotations__ if name != "over"]
        tally = Tally(over=zeros > 0, **dict.fromkeys(names, zeros))
        memory = self.agent.initial_carry(self.episodes)
        return state, memory, zeros == 0, keys[0], tally

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
            after = jax.vmap(self.env.step, in_axes=(0, 0, None))(state, action, params)
            ended = after.terminated | after.truncated
            tally = _count(tally, state, after, ended)
            frame = jax.tree.map(lambda x: x[0], _frame(state, began, after, ended))
            # Episodes after the first keep the batch and the film going; they do not count.
            keys = jax.random.split(key_reset, self.episodes)
            fresh = jax.vmap(self.env.reset, in_axes=(0, None))(keys, params)
            return (where(ended, fresh, after), memory, ended, key, tally), frame

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
        "success": after.metrics["success"] > 0,
        "dropped": after.metrics["dropped"] > 0,
        "ended": ended,
    }


def _count(tally: Tally, before: State, after: State, ended: jax.Array) -> Tally:
    live = ~tally.over
    m = after.metrics
    gained = m["success"] * live

    def at_end(name):
        return getattr(tally, name) + m[name] * (live & ended)

    return Tally(
        over=tally.over | ended,
        goals=tally.goals + gained,
        goal_time=tally.goal_time + gained * (before.goal_step + 1),
        length=tally.length + live,
        reward=tally.reward + after.reward * live,
        dropped=at_end("dropped"),
        timed_out=at_end("timed_out"),
        complete=at_end("complete"),
        invalid=at_end("invalid"),
    )


def _summary(
    played: Evaluator, policy: Policy, tally: Tally, seed: int, goal_angle_max: float
) -> dict[str, Any]:
    env, episodes = played.env, played.episodes
    dt = env.config.control_seconds
    goals = np.asarray(tally.goals)
    total = float(goals.sum())
    sd = float(goals.std(ddof=1)) if episodes > 1 else 0.0
    values, counts = np.unique(goals.astype(int), return_counts=True)
    return {
        "task": env.task.label(goal_angle_max),
        "object": env.scene.object,
        "episodes": episodes,
        "unfinished": int((~np.asarray(tally.over)).sum()),
        "goals": {
            "mean": float(goals.mean()),
            "sd": sd,
            # Normal approximation of the 95 % interval of the mean.
            "ci95": 1.96 * sd / math.sqrt(episodes),
            "median": float(np.median(goals)),
            "max": int(goals.max()),
            "histogram": {int(v): int(c) for v, c in zip(values, counts, strict=True)},
        },
        "seconds_per_goal": dt * float(tally.goal_time.sum()) / total
        if total
        else None,
        "drop_rate": float(tally.dropped.mean()),
        "time_out_rate": float(tally.timed_out.mean()),
        "complete_rate": float(tally.complete.mean()),
        "invalid_rate": float(tally.invalid.mean()),
        "episode_seconds": dt * float(tally.length.mean()),
        "return": float(tally.reward.mean()),
        "update": policy.update,
        "seed": seed,
        "deterministic": played.deterministic,
        "impl": env.physics.impl,
        "threshold": env.task.threshold,
        "unit": env.task.unit,
        "goal_angle_max": float(goal_angle_max),
    }


def sentence(result: dict[str, Any]) -> str:
    """One line for a person."""
    goals = result["goals"]
    per_goal = result["seconds_per_goal"]
    pace = f"{per_goal:.1f} s per goal" if per_goal else "no goal reached"
    if result["object"] == "none":
        end = f"all of them in {100 * result['complete_rate']:.1f} %"
    else:
        end = f"dropped in {100 * result['drop_rate']:.1f} %"
    return (
        f"{goals['mean']:.2f} ± {goals['ci95']:.2f} goals per episode "
        f"(median {goals['median']:g}, most {goals['max']}), {pace}, "
        f"{end} of {result['episodes']} episodes"
    )


@cli.main_guard
def main(argv: list[str] | None = None) -> int:
    """Command line of `python -m mjxhand.evaluate`."""
    options = cli.parse_evaluate(sys.argv[1:] if argv is None else argv)
    policy = load_policy(options.dir, options.step)
    env = make_env(policy.config, impl=options.impl, sequence=options.sequence)
    play = Evaluator(env, policy.agent, options.episodes, options.deterministic)
    result = play(policy, seed=options.seed)
    print(f"{result['task']}, {result['impl']} physics\n{sentence(result)}")
    if options.json:
        Path(options.json).write_text(json.dumps(result, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
