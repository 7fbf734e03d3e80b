"""`python -m mjxhand.train [PRESET] --out DIR`: train, save, evaluate, film.

The host loop does nothing but call one compiled update, write metrics and save.
"""

import contextlib
import functools
import math
import sys
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np

from mjxhand import agent as agent_module
from mjxhand import (
    cli,
    distributed,
    evaluate,
    lines,
    lock,
    policy,
    ppo,
    presets,
    runs,
    trial,
    watch,
)
from mjxhand.checkpoint import CheckpointError, Checkpoints
from mjxhand.config import Config
from mjxhand.env import Env, EnvParams
from mjxhand.finish import finish
from mjxhand.metrics import Metrics
from mjxhand.numbers import NotANumber, SkippedSteps
from mjxhand.progress import Display
from mjxhand.sharding import Program, make_mesh
from mjxhand.stop import Stop
from mjxhand.types import Actors, Learner
from mjxhand.wiring import Wiring, unheard


class Run:
    """A training run: its folder, its compiled program, its learner and actors."""

    def __init__(
        self,
        config: Config,
        out: str | Path,
        debug_nans: bool = False,
        env: Env | None = None,
    ):
        """`env`: that of `config`, if it is made already."""
        self.config = config
        self.out = Path(out)
        self.env = env or Env(config)
        self.agent = _agent(config, self.env)
        self.program = Program(
            config, self.env, self.agent, make_mesh(), debug_nans=debug_nans
        )
        self.checkpoints = Checkpoints(self.out)
        self.learner: Learner = self.program.init_learner(config.seed)
        self.untrained = evaluate.policy_of(config, self.agent, self.learner)
        self.update = 0
        self._generation: int | None = None
        self._take_pool()
        self.actors: Actors = self.program.init_actors(config.seed, self.params)

    def begin(self) -> None:
        """Begin with the weights that `network.weights` names, if it does.

        Raises:
            ConfigError, CheckpointError: nothing whole to load, or another network's.
        """
        if self.config.network.weights:
            given = policy.given_weights(self.config)
            params, stats = jax.device_put(given, self.program.replicated)
            self.learner = self.learner.replace(params=params, obs_stats=stats)

    def restore(self) -> None:
        """Continue from the newest whole checkpoint; from the beginning if there is none yet.

        Environments that the checkpoint lacks start anew.

        Raises:
            CheckpointError: none is whole, or it is another network's.
        """
        if not self.checkpoints.updates():
            print("note: no checkpoint yet: from the beginning", file=sys.stderr)
            self.begin()
            return
        self.update, self.learner, actors = self.checkpoints.restore(
            self.learner, self.actors
        )
        self._take_pool()
        self.actors = actors or self.program.init_actors(
            self.config.seed,
            self.params,
            self.update,
            self.learner.progress.goal_angle_max,
        )

    def step(self) -> dict[str, Any]:
        """One update; returns its line of metrics."""
        start = time.perf_counter()
        self._take_pool()
        self.learner, self.actors, metrics = self.program.update(
            self.learner, self.actors, self.params
        )
        metrics = jax.device_get(metrics)
        self.update += 1
        seconds = time.perf_counter() - start
        return lines.line(self.config, self.update, metrics, seconds)

    @property
    def complete(self) -> bool:
        """Whether every update is done."""
        return self.update >= self.config.num_updates

    def save(self) -> None:
        """Checkpoint of everything that the next update depends on.

        If the one before could not be written, stderr says so, and training goes on.
        """
        self.wait("; training goes on")
        actors = distributed.to_host(self.actors)
        if distributed.is_main():
            self.checkpoints.save(self.update, self.learner, actors)

    def wait(self, more: str = "") -> None:
        """Until the running save is on disk; if it failed, stderr says so, and `more`."""
        try:
            self.checkpoints.wait()
        except CheckpointError as error:
            print(f"warning: {error}{more}", file=sys.stderr)

    def say_late(self) -> None:
        """What is left when an update does not end in the time that a scheduler gives."""
        with contextlib.suppress(CheckpointError):
            self.checkpoints.wait()
        saved = max(self.checkpoints.updates(), default=0)
        print(
            f"stopped in update {self.update + 1}; update {saved} is saved; continue with: "
            f"--resume {self.out}"
        )

    def _take_pool(self) -> None:
        """Let resets draw from this update's pool; one takes seconds to make."""
        generation = self.update // self.config.pool_updates
        if generation != self._generation:
            self.params = self._pool(generation)
            self._generation = generation

    def _pool(self, generation: int) -> EnvParams:
        # A generation's pool depends on nothing but the seed, so that a resumed run draws
        # from the same one.
        seed = int(
            np.random.SeedSequence([self.config.seed, generation]).generate_state(1)[0]
        )
        params = distributed.from_main(self.env.make_params(seed))
        return self.program.place_params(params)


def train(
    config: Config,
    out: str | Path,
    *,
    resume: bool = False,
    until_seconds: float | None = None,
    stall_minutes: float = 0.0,
    debug_nans: bool = False,
    quiet: bool = False,
    env: Env | None = None,
) -> Run:
    """Train in the prepared folder `out`, until the end or a stop; `Run.complete` tells which.

    Args:
        until_seconds: stop, saved, when this long has passed since the call, compilation
            included; an update that would end later is not begun.
        stall_minutes: without an update, after which to say so on stderr; 0: never.
        env: that of `config`, if it is made already.

    Raises:
        ConfigError: another process trains in this folder.
        NotANumber: nothing could be learned for `ppo.max_skipped_updates` updates in a row,
            or, with `debug_nans`, an operation gave NaN.
    """
    deadline = time.monotonic() + (until_seconds or math.inf)
    stall = 60 * stall_minutes if distributed.is_main() else 0.0
    skipped = SkippedSteps(config.ppo.max_skipped_updates)
    run: Run | None = None
    stop = Stop(lambda: run and run.say_late())
    with (
        contextlib.ExitStack() as stack,
        distributed.watch(f"continue with --resume {out}", lambda: stop.asked),
        stop,
        watch.Watchdog(Path(out), stall) as watchdog,
    ):
        distributed.on_main(lambda: stack.enter_context(lock.held(out)))
        run = Run(config, out, debug_nans=debug_nans, env=env)
        if resume:
            run.restore()
            distributed.on_main(functools.partial(_keep_evaluation, run))
        else:
            run.begin()
        try:
            _loop(run, stop, watchdog, skipped, deadline, quiet)
        except BaseException:
            # A save that failed besides must not hide why training ended.
            run.wait()
            raise
        run.checkpoints.wait()
    if skipped.too_many:
        raise NotANumber(skipped.advice(run.update, out))
    return run


def _keep_evaluation(run: Run) -> None:
    """The evaluation of a run that is made longer is that of another policy than its last.

    It stays under another name: `evaluation.json` is the mark of a run that has ended.
    """
    path = run.out / runs.EVALUATION
    if not run.complete and path.exists():
        path.rename(path.with_stem(f"{path.stem}-{run.update}"))


def _agent(config: Config, env: Env) -> agent_module.Agent:
    return agent_module.build(config, env.observation_sizes, env.num_actuators)


def _loop(
    run: Run,
    stop: Stop,
    watchdog: watch.Watchdog,
    skipped: SkippedSteps,
    deadline: float,
    quiet: bool,
) -> None:
    """Update, write, save. All processes stop after the same update."""
    config, main = run.config, distributed.is_main()
    title = f"{config.preset} · {run.env.label} · {run.env.physics.impl}"
    first = saved = run.update
    with contextlib.ExitStack() as stack:
        metrics = Metrics(run.out, resume_at=run.update) if main else None
        if metrics:
            stack.enter_context(metrics)
        gpu_use = stack.enter_context(watch.GpuUse())
        progress = stack.enter_context(Display(config, title, quiet=quiet or not main))
        while not (run.complete or distributed.agree(stop.asked)):
            line = run.step() | gpu_use()
            if metrics:
                metrics.write(line)
            try:
                progress.show(line)
            except BrokenPipeError:
                stop.asked = True  # whoever read the output has left
            watchdog.beat(run.update)
            if run.update % config.checkpoint_updates == 0:
                if metrics:
                    metrics.sync()
                run.save()
                saved = run.update
            if skipped.count(line[ppo.SKIPPED]):
                break
            # The first update compiles, so its time does not foretell the next one's.
            seconds = line["seconds"] if run.update > first + 1 else 0.0
            if distributed.agree(time.monotonic() + seconds > deadline):
                break
        # A slow disk must not make this process leave while others wait for it.
        stop.ends()
        if metrics:
            metrics.sync()
        if saved != run.update or not run.update:
            run.save()


@cli.main_guard
def main(argv: list[str] | None = None) -> int:
    """Command line of `python -m mjxhand.train`."""
    argv = sys.argv[1:] if argv is None else argv
    distributed.start(cli.parse_cluster(argv))
    config, options = cli.parse_config(argv)
    presets.check(config, jax.device_count())
    out = Path(options.out)
    if options.resume is not None:
        done = max(Checkpoints(out).updates(), default=0)
        runs.check_length(config, done)
    remark = presets.remark(config)
    if remark and options.resume is None and distributed.is_main():
        print(remark, file=sys.stderr)
    # What cannot be built is refused before there is a folder.
    env = Env(config)
    trial.trace(config)
    network = _agent(config, env).network
    if isinstance(wiring := getattr(network, "wiring", None), Wiring):
        for note in unheard(wiring, env.observation_sizes):
            if options.resume is None and distributed.is_main():
                print(note, file=sys.stderr)
    if config.network.weights and options.resume is None:
        policy.given_weights(config)
        remark = policy.remark(config)
        if remark and distributed.is_main():
            print(remark, file=sys.stderr)
    distributed.on_main(lambda: cli.prepare_out(options, config))
    run = train(
        config,
        out,
        resume=options.resume is not None,
        until_seconds=options.until_seconds,
        stall_minutes=options.stall_minutes,
        debug_nans=options.debug_nans,
        quiet=options.quiet,
        env=env,
    )
    distributed.stop()
    if not distributed.is_main():
        return 0
    if not run.complete:
        cli.say(f"stopped and saved; continue with: --resume {out}")
        return 0
    # All is saved: a signal need not wait for the evaluation or the film.
    say = functools.partial(print, f"stopped; trained and saved: --resume {out}")
    with Stop(say, grace=0.0, finish=False):
        try:
            code = finish(run)
        except KeyboardInterrupt:
            say()
            return 130
    cli.say(f"run: {out}")
    return code


if __name__ == "__main__":
    sys.exit(main())
