"""What ends a training run: the evaluation and the film."""

from __future__ import annotations

import json
import math
import sys
from typing import TYPE_CHECKING, Any

from mjxhand import cli, evaluate, render
from mjxhand.config import Config, ConfigError
from mjxhand.runs import EVALUATION
from mjxhand.storage import write_text_atomically

if TYPE_CHECKING:
    from mjxhand.train import Run


def finish(run: Run) -> int:
    """Evaluate and film a run whose updates are done.

    Its `evaluation.json` is the mark that it has ended: `{}` where nothing was to be evaluated.

    Returns:
        Exit code: 2 if that file cannot be written; the film is made all the same.
    """
    results, trajectory = play(run) if run.config.evaluate_episodes else ({}, {})
    code = 0
    path = run.out / EVALUATION
    # Nothing was evaluated: what an earlier end of the run found is not touched.
    if results or not path.exists():
        try:
            write_text_atomically(path, json.dumps(results, indent=1) + "\n")
        except OSError as error:
            print(
                f"error: cannot write {path} ({error.strerror}); all else is saved: make "
                f"room, then --resume {run.out} evaluates again",
                file=sys.stderr,
            )
            code = 2
    report(results)  # after it is kept: nobody may be left to read it
    if run.config.film:
        film(run, trajectory)
    return code


def report(results: dict[str, Any]) -> None:
    """Print what `play` found."""
    for policies in results.values():
        trained = policies["trained"]
        cli.say(f"{trained['task']}; {trained['episodes']} fresh episodes")
        for which, result in policies.items():
            cli.say(f"  {which:<10}{evaluate.sentence(result)}")


def play(run: Run) -> tuple[dict[str, Any], render.Trajectory]:
    """Play the trained and the untrained policy on the same fresh episodes.

    A task with near goals is followed by the full one.

    Returns:
        What was found, by task and policy; and what the trained policy did in the first of
        its episodes, for `film`.
    """
    config = run.config
    episodes = config.evaluate_episodes
    brains = {
        "untrained": run.untrained,
        "trained": evaluate.policy_of(config, run.agent, run.learner),
    }
    evaluators = {"task": evaluate.Evaluator(run.env, run.agent, episodes)}
    distances = {"task": config.env.goal_angle_max}
    if run.env.task.is_near:
        distances["full_task"] = math.pi
        evaluators["full_task"] = evaluators["task"]  # compiled for any distance
        if config.env.goal_axis != "any":
            env = evaluate.make_env(config, goal_axis="any")
            evaluators["full_task"] = evaluate.Evaluator(env, run.agent, episodes)
    steps = _film_steps(config) if config.film else 0
    results: dict[str, Any] = {}
    trajectory: render.Trajectory = {}
    for name, distance in distances.items():
        results[name] = {}
        for which, brain in brains.items():
            filmed = name == "task" and which == "trained"
            results[name][which], seen = evaluators[name].play(
                brain, goal_angle_max=distance, steps=steps if filmed else 0
            )
            trajectory = seen or trajectory
    return results, trajectory


def film(run: Run, trajectory: render.Trajectory | None = None) -> None:
    """Film the trained policy; a machine that cannot draw says so and loses nothing else."""
    if not trajectory:
        policy = evaluate.policy_of(run.config, run.agent, run.learner)
        evaluator = evaluate.Evaluator(run.env, run.agent, episodes=1)
        trajectory = evaluator.record(policy, steps=_film_steps(run.config))
    try:
        print(f"film: {render.film(run.env, trajectory, run.out / 'film.mp4')}")
    except ConfigError as error:
        print(f"no film: {error}", file=sys.stderr)


def _film_steps(config: Config) -> int:
    return max(1, round(config.film_seconds / config.control_seconds))
