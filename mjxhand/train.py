"""`python -m mjxhand.train [PRESET] --out DIR`: train, save, evaluate, film.

The host loop does nothing but call one compiled update, write metrics and save.
"""

import json
import math
import signal
import sys
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np

from mjxhand import agent as agent_module
from mjxhand import cli, evaluate, presets, render
from mjxhand.checkpoint import Checkpoints
from mjxhand.config import Config, ConfigError
from mjxhand.env import Env, EnvParams
from mjxhand.metrics import Metrics, Progress
from mjxhand.sharding import Program, make_mesh
from mjxhand.storage import write_text_atomically
from mjxhand.types import Actors, Learner

SECONDS_PER_YEAR = 365.25 * 86_400


class Stop:
    """Asked for by Ctrl-C or SIGTERM: finish the update, save, leave. Twice: leave at once."""

    def __init__(self):
        self.asked = False
        self._previous = {}

    def __enter__(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            self._previous[number] = signal.signal(number, self._ask)
        return self

    def __exit__(self, *_):
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _ask(self, number, frame):
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True


class Run:
    """A training run: its folder, its compiled program, its learner and actors."""

    def __init__(self, config: Config, out: str | Path):
        self.config = config
        self.out = Path(out)
        self.env = Env(config)
        self.agent = agent_module.build(
            config, self.env.observation_sizes, self.env.num_actuators
        )
        self.program = Program(config, self.env, self.agent, make_mesh())
        self.checkpoints = Checkpoints(self.out)
        self.learner: Learner = self.program.init_learner(config.seed)
        self.update = 0
        self.params = self._pool(0)
        self.actors: Actors = self.program.init_actors(config.seed, self.params)

    def restore(self) -> None:
        """Continue from the newest whole checkpoint.

        Raises:
            CheckpointError: none is whole, or it is another network's.
        """
        self.update, self.learner, self.actors = self.checkpoints.restore(
            self.learner, self.actors
        )
        self.params = self._pool(self.update // self.config.pool_updates)

    def step(self) -> dict[str, Any]:
        """One update; returns its line of metrics."""
        start = time.perf_counter()
        if self.update and self.update % self.config.pool_updates == 0:
            self.params = self._pool(self.update // self.config.pool_updates)
        self.learner, self.actors, metrics = self.program.update(
            self.learner, self.actors, self.params
        )
        metrics = jax.device_get(metrics)
        self.update += 1
        return self._line(metrics, time.perf_counter() - start)

    @property
    def complete(self) -> bool:
        """Whether every update is done."""
        return self.update >= self.config.num_updates

    def save(self) -> None:
        """Checkpoint of everything that the next update depends on."""
        self.checkpoints.save(self.update, self.learner, self.actors)

    def _pool(self, generation: int) -> EnvParams:
        # A generation's pool depends on nothing but the seed, so that a resumed run draws
        # from the same one.
        seed = int(
            np.random.SeedSequence([self.config.seed, generation]).generate_state(1)[0]
        )
        return self.program.place_params(self.env.make_params(seed))

    def _line(self, m: dict[str, Any], seconds: float) -> dict[str, Any]:
        steps = self.update * self.config.steps_per_update
        line = {
            "update": self.update,
            "env_steps": steps,
            "simulated_years": steps * self.config.control_seconds / SECONDS_PER_YEAR,
            "sps": self.config.steps_per_update / seconds,
            "seconds": seconds,
            "episodes": m["episodes"],
            "goals_per_episode": m["episode/goals"],
            "drop_rate": m["episode/dropped"],
            "time_out_rate": m["episode/timed_out"],
            "episode_return": m["episode/return"],
            "episode_length": m["episode/length"],
            "invalid_states": m["step/invalid"] * self.config.steps_per_update,
            "goal_angle_max": m["goal_angle_max"],
        }
        if "threshold" in m:
            line["threshold"] = m["threshold"]
        for name, value in m.items():
            if name.startswith("step/reward/"):
                line[name.removeprefix("step/")] = value
            elif name.startswith(("loss/", "policy/", "value/")):
                line[name] = value
        return {k: v if isinstance(v, int) else float(v) for k, v in line.items()}


def train(
    config: Config,
    out: str | Path,
    *,
    resume: bool = False,
    until_seconds: float | None = None,
    quiet: bool = False,
) -> Run:
    """Train in the prepared folder `out`, until the end or a stop; `Run.complete` tells which."""
    began = time.monotonic()
    run = Run(config, out)
    if resume:
        run.restore()
    saved = run.update if resume else -1
    metrics = Metrics(run.out, resume_at=run.update)
    title = f"{config.preset} · {run.env.label} · {run.env.physics.impl}"
    with Stop() as stop, metrics, Progress(config, title, quiet=quiet) as progress:
        while not run.complete and not stop.asked:
            line = run.step()
            metrics.write(line)
            progress.show(line)
            if run.update % config.checkpoint_updates == 0:
                run.save()
                saved = run.update
            if until_seconds and time.monotonic() - began > until_seconds:
                break
        if saved != run.update:
            run.save()
        run.checkpoints.wait()
    return run


def report(run: Run) -> render.Trajectory:
    """Play the trained and the untrained policy on the same fresh episodes; save and print.

    A task with near goals is followed by the full one.

    Returns:
        What the trained policy did in the first of its episodes, for `film`.
    """
    config = run.config
    brains = {
        name: evaluate.policy_of(config, run.agent, learner)
        for name, learner in (
            ("untrained", run.program.init_learner(config.seed)),
            ("trained", run.learner),
        )
    }
    evaluator = evaluate.Evaluator(run.env, run.agent, config.evaluate_episodes)
    distances = {"task": config.env.goal_angle_max}
    if run.env.task.is_near:
        distances["full_task"] = math.pi
    steps = _film_steps(config) if config.film else 0
    results: dict[str, Any] = {}
    trajectory: render.Trajectory = {}
    for name, distance in distances.items():
        results[name] = {}
        for which, brain in brains.items():
            filmed = name == "task" and which == "trained"
            results[name][which], seen = evaluator.play(
                brain, goal_angle_max=distance, steps=steps if filmed else 0
            )
            trajectory = seen or trajectory
        task = results[name]["trained"]["task"]
        print(f"{task}; {config.evaluate_episodes} fresh episodes")
        for which, result in results[name].items():
            print(f"  {which:<10}{evaluate.sentence(result)}", flush=True)
    text = json.dumps(results, indent=1) + "\n"
    write_text_atomically(run.out / "evaluation.json", text)
    return trajectory


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


@cli.main_guard
def main(argv: list[str] | None = None) -> int:
    """Command line of `python -m mjxhand.train`."""
    config, options = cli.parse_config(sys.argv[1:] if argv is None else argv)
    presets.check(config)
    out = cli.prepare_out(options, config)
    run = train(
        config,
        out,
        resume=options.resume is not None,
        until_seconds=options.until_seconds,
        quiet=options.quiet,
    )
    if not run.complete:
        print(f"stopped and saved; continue with: --resume {out}")
        return 0
    trajectory = report(run) if config.evaluate_episodes else None
    if config.film:
        film(run, trajectory)
    print(f"run: {out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
