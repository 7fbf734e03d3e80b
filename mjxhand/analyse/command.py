"""`python -m mjxhand.analyse RUN --out DIR`: record a policy, analyse it, write the report."""

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from mjxhand import cli
from mjxhand.analyse import (
    anatomy,
    claims,
    gather,
    lesion,
    linearise,
    pictures,
    record,
    report,
    run,
    saliency,
    showcase,
    store,
    tuning,
)
from mjxhand.analyse.display import Display
from mjxhand.analyse.evidence import Evidence
from mjxhand.analyse.recording import AREA, CONTROL, Recording
from mjxhand.command_options import Dir
from mjxhand.config import ConfigError, Impl
from mjxhand.evaluate import Policy, load_policy, make_env
from mjxhand.pretrained import output_folder

PROG = "python -m mjxhand.analyse"


@dataclass(frozen=True)
class AnalyseOptions:
    """Record a trained policy and analyse what its areas encode."""

    dir: Dir
    """Folder of the run."""
    out: str = ""
    """Folder for the recording, tables, figures and report; by default DIR/analysis."""
    steps: int = 100_000
    """Control steps to record, over all environments; rounded up to whole shards, of which
    each environment fills at least one."""
    envs: int = 128
    """Environments that are recorded at once."""
    seed: int = 0
    """Seed of start states, goals and sampled actions."""
    impl: Impl | None = None
    """Physics back end; by default the run's own."""
    step: int | None = None
    """Update whose checkpoint to load; by default the newest whole one."""
    groups: int = 10
    """Groups of start states: folds of the cross-validation and blocks of the intervals."""
    permutations: int = 20
    """Permutations of start states that chance is taken from."""
    control: bool = True
    """Whether an untrained network is shown the same senses, for comparison."""
    lesion_episodes: int = 128
    """Episodes per lesion; 0: no lesions."""
    record_only: bool = False
    """Stop after recording."""
    report_only: bool = False
    """Draw the figures and the report again from the tables."""
    quiet: bool = False
    """Show no progress."""


def parse(argv: Sequence[str]) -> AnalyseOptions:
    """Options of the command.

    Raises:
        ConfigError: one line: what was wrong, what to do.
    """
    options = cli.parse_dir(AnalyseOptions, argv, PROG)
    for name, least in (("steps", 1), ("envs", 1), ("groups", 3), ("permutations", 0)):
        value = getattr(options, name)
        if value < least:
            raise ConfigError(f"--{name} is {value}: give at least {least}")
    cli.refuse_seed(options.seed)
    if options.lesion_episodes < 0 or options.lesion_episodes == 1:
        raise ConfigError(
            f"--lesion-episodes is {options.lesion_episodes}: give at least 2, or 0 for none"
        )
    if options.record_only and options.report_only:
        raise ConfigError("--record-only and --report-only exclude each other")
    return options


@cli.main_guard
def main(argv: list[str] | None = None) -> int:
    """Command line of `python -m mjxhand.analyse`."""
    options = parse(sys.argv[1:] if argv is None else argv)
    out = Path(options.out or output_folder(options.dir) / "analysis")
    display = Display(quiet=options.quiet)
    if options.report_only:
        display.say(f"report: {write_report(out)}")
        return 0
    policy = load_policy(options.dir, options.step)
    env = make_env(policy.config, impl=options.impl)
    display.say(f"{env.label}, update {policy.update}, {env.physics.impl} physics")
    settings = record.plan(
        policy,
        env,
        steps=options.steps,
        envs=options.envs,
        seed=options.seed,
        control=options.control,
    )
    total = settings.shards * settings.envs * settings.length
    with display.stage("recording", total) as show:
        recording = record.record(policy, env, out / "recording", settings, show)
    if options.record_only:
        return 0
    tables = analyse(recording, policy, options, display)
    # Saved before the lesions, which play anew: what was computed is not lost with them.
    store.save(out, tables, summary(recording, policy, env.label, options, display))
    if options.lesion_episodes:
        with display.stage("lesions", 1.0) as show:
            tables["lesions"] = lesion.measure(
                policy,
                env,
                lesion.possible(policy.agent),
                episodes=options.lesion_episodes,
                seed=options.seed,
                untrained=record.control_of(policy),
                means={n: recording.mean(AREA + n) for n in recording.of_kind(AREA)},
                show=show,
            )
        store.save(out, tables, summary(recording, policy, env.label, options, display))
    display.say(f"report: {write_report(out)}")
    return 0


def summary(
    recording: Recording,
    policy: Policy,
    label: str,
    options: AnalyseOptions,
    display: Display,
) -> dict:
    """How an analysis was made, JSON-ready."""
    episodes = gather.episodes_of(recording)
    ended = np.concatenate([s["success"] for s in recording.shards(["success"])], 1)
    return {
        "task": label,
        "run": str(options.dir),
        "update": policy.update,
        "seed": policy.config.seed,
        "network": asdict(policy.config.network),
        "areas": anatomy.described(policy.agent),
        "impl": recording.settings.impl,
        "samples": recording.samples,
        "episodes": len(np.unique(episodes)),
        "goals": int(ended.sum()),
        "step_seconds": recording.step_seconds,
        "goal_encoding": recording.config.env.goal_encoding,
        "pose_encoding": recording.config.env.pose_encoding,
        "control": options.control,
        "groups": options.groups,
        "permutations": options.permutations,
        "seconds": {k: round(v, 1) for k, v in display.seconds.items()},
    }


def analyse(
    recording: Recording, policy: Policy, options: AnalyseOptions, display: Display
) -> run.Tables:
    """Every analysis but lesions, of the policy and of its control."""
    depth = run.depths(recording, policy)
    goals = tuning.goals_of(recording)
    networks = [(AREA, policy)]
    if recording.settings.control:
        networks.append((CONTROL, record.control_of(policy)))
    parts = []
    for prefix, network in networks:
        who = run.POLICY[prefix]
        with display.stage(f"sums, {who}", len(recording)) as show:
            gathered = gather.gather(
                recording,
                prefix,
                received=anatomy.senses_of(policy.agent),
                groups=options.groups,
                show=show,
            )
        with display.stage(f"decoding, {who}", 1.0) as show:
            parts.append(
                run.of_sums(gathered, prefix, depth, options.permutations, show, goals)
            )
        del gathered
        with display.stage(f"time scales, {who}", len(recording)) as show:
            parts.append(run.of_sequences(recording, prefix, depth, show))
        areas = linearise.recurrent_areas(recording, network, prefix)
        if areas:
            with display.stage(f"fixed points, {who}", len(areas)) as show:
                parts.append(run.of_dynamics(recording, network, prefix, show))
        with display.stage(f"saliency, {who}", saliency.windows_for(network)) as show:
            parts.append(run.of_saliency(recording, network, prefix, show))
        visual = pictures.visual_areas(network.agent)
        if visual:
            with display.stage(f"visual areas, {who}", len(visual)) as show:
                parts.append(run.of_pictures(recording, network, prefix, show))
    tables = run.joined(parts)
    decoded, evidence = tables["decoding"], Evidence(tables["jackknife"])
    tables["claims"] = claims.table(evidence, decoded, tables["selectivity"])
    tables["planning_test"] = claims.plan_table(evidence)
    if "remaining" in recording.sizes:  # else goals are no orientations, as its were
        tables["showcase"] = showcase.figures(decoded)
    return tables


def write_report(out: Path) -> Path:
    """Figures and report from the tables in `out`; the report's path."""
    return report.write(out, *store.load(out))
