"""Policies: a network, its weights, and the environment that it was trained in."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mjxhand import agent as agent_module
from mjxhand import (
    idle,
    presets,
    pretrained,
    randomize,
    runs,
    storage,
    tasks,
    vision_file,
    widen,
)
from mjxhand.agent import Agent
from mjxhand.arguments import suggest
from mjxhand.checkpoint import Checkpoints
from mjxhand.checks import flatten
from mjxhand.config import Config, ConfigError, CurriculumConfig
from mjxhand.env import Env
from mjxhand.networks import lesions
from mjxhand.sharding import Program, make_mesh
from mjxhand.types import Learner
from mjxhand.wiring import Wiring

SENSES = (
    "env.actions",
    "env.bins",
    "env.control",
    "env.goal_encoding",
    "env.pose_encoding",
    "env.vision",
    "env.cameras",
    "env.frame_size",
    "network.units_scale",
    "network.distribution",
    "ppo.normalize_obs",
)
"""Settings that say what numbers in a network's senses and actions mean, or how wide it is."""


@dataclass(frozen=True)
class Policy:
    """A network, its weights and the statistics that normalise what it sees."""

    config: Config
    agent: Agent
    params: Any
    stats: Any
    update: int


def settings(run: str | Path) -> Config:
    """What a run was trained with, checked: somebody may have changed the file by hand.

    Raises:
        ConfigError: no run there, or settings that cannot work.
    """
    folder = pretrained.folder(run)
    config = runs.read_config(folder)
    try:
        presets.check(config, num_devices=1)
    except ConfigError as error:
        raise ConfigError(f"{folder / runs.CONFIG}: {error}") from None
    return config


def load_policy(run: str | Path, step: int | None = None) -> Policy:
    """Policy of a run folder's newest whole checkpoint (or of update `step`).

    Args:
        run: a run folder, a folder that `mjxhand.pretrained` wrote, or `pretrained:NAME`.

    Raises:
        ConfigError, CheckpointError: no run there, settings that cannot work, or nothing
            whole to load.
    """
    config = settings(run)
    run = pretrained.folder(run)
    small, checkpoints = (run / pretrained.FILE).exists(), Checkpoints(run)
    if small and step is not None:
        raise ConfigError(f"{run} holds one policy, no checkpoints: leave out --step")
    if not small:  # refused before a program is made for nothing
        step = checkpoints.choose(step)
    program = _program(config)
    target = program.learner_shapes()
    if small:
        params, stats, update = pretrained.read(
            run / pretrained.FILE, target.params, target.obs_stats
        )
        params, stats = jax.tree.map(jnp.asarray, (params, stats))
        return Policy(config, program.agent, params, stats, update)
    target = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=program.replicated),
        target,
    )
    _, learner = checkpoints.restore_learner(target, step=step)
    return policy_of(config, program.agent, learner)


def policy_of(config: Config, agent: Agent, learner: Learner) -> Policy:
    """The policy of a learner, wherever its arrays lie."""
    # Copies: the next update may overwrite the learner's own buffers.
    params, stats, update = jax.tree.map(
        np.array, (learner.params, learner.obs_stats, learner.update)
    )
    # All policies alike in placement and type, or the evaluator compiles for each.
    params, stats = jax.tree.map(jnp.asarray, (params, stats))
    return Policy(config, agent, params, stats, int(update))


def given_weights(config: Config) -> tuple[Any, Any]:
    """Weights, and statistics of what is seen, that `network.weights` names.

    If they learned without errors of the pose and this run has them, the critic gets rows for
    the true pose, of zeros (`widen`).

    Raises:
        ConfigError, CheckpointError: nothing whole to load, or another network's.
    """
    source = config.network.weights
    given = load_policy(source)
    was, now = (_meanings(of) for of in (given.config, config))
    differ = [n for n in SENSES if was[n] != now[n] and was[n] is not None]
    if differ:
        options = " ".join(_option(name, was[name]) for name in differ)
        raise ConfigError(
            f"network.weights: {source} senses or acts in another way: give {options}"
        )
    program = _program(config)
    wanted = program.learner_shapes()
    params, stats = widen.for_told_pose(
        given.params, given.stats, given.agent, program.agent
    )
    for tree, like in ((params, wanted.params), (stats, wanted.obs_stats)):
        held, own = storage.specs(tree), storage.specs(like)
        for name in [*own, *held]:
            if held.get(name) != own.get(name):
                raise ConfigError(
                    f"network.weights: {source} has {name} as {held.get(name, 'nothing')}, "
                    f"this network as {own.get(name, 'nothing')}: give the network and "
                    "senses of that run"
                )
    return params, stats


def remark(config: Config) -> str:
    """What to know of the weights that `network.weights` names; mostly nothing."""
    given = settings(config.network.weights).env
    now, was = config.env.relative_step, given.relative_step
    if config.env.control == "absolute" or now == was:
        return ""
    return (
        f"note: {config.network.weights} was trained with env.relative_step {was:g}, this run "
        f"has {now:g}: every command moves the fingers {now / was:.3g} times as far; "
        f"for the same, add --env.relative-step {was:g}"
    )


def _meanings(config: Config) -> dict[str, Any]:
    """Values of SENSES, those that mean nothing in this run as None."""
    flat = flatten(config)
    values = {name: flat[name][1] for name in SENSES}
    values["network.distribution"] = agent_module.distribution_name(config)
    if config.env.vision != "pixels":
        # A pose is a pose, whether told or read from frames.
        values["env.vision"] = "pose"
        values["env.cameras"] = values["env.frame_size"] = None
    return values


def _option(name: str, value: Any) -> str:
    group, _, last = name.replace("_", "-").rpartition(".")
    if isinstance(value, bool):
        return f"--{group}.{'' if value else 'no-'}{last}"
    return f"--{group}.{last} {value}"


def untrained(policy: Policy) -> Policy:
    """The network with the fresh weights of its run's seed."""
    program = _program(policy.config)
    learner = program.init_learner(policy.config.seed)
    return policy_of(policy.config, policy.agent, learner)


def lesioned(policy: Policy, parts: str) -> Policy:
    """The policy without some of its parts.

    Args:
        parts: areas, streams, pathways and memories, separated by commas, as in
            `PMC,touch,SSC -> M1,PMC memory`.

    Raises:
        ConfigError: the network has no such part, or does not tell its parts.
    """
    wiring = getattr(policy.agent.network, "wiring", None)
    if not isinstance(wiring, Wiring):
        raise ConfigError(
            f"--lesion {parts}: this network does not tell its areas (`wiring`)"
        )
    known = lesions.single(wiring)
    chosen: dict[str, Any] = {}
    for part in parts.split(","):
        name = " ".join(part.split())
        if name not in known:
            hint = suggest(name, known) or f"; choose of {', '.join(known)}"
            raise ConfigError(f"--lesion: this network has no {name!r}{hint}")
        for kind, each in known[name].items():
            chosen.setdefault(kind, []).extend(each)
    cut = lesions.apply(policy.params, wiring, **chosen)
    return dataclasses.replace(policy, params=cut)


def _program(config: Config) -> Program:
    # Sizes come from the scene alone: the back end is not needed to load a network.
    native = dataclasses.replace(config.physics, impl="native")
    env = Env(dataclasses.replace(config, physics=native))
    agent = agent_module.build(config, env.observation_sizes, env.num_actuators)
    return Program(config, env, agent, make_mesh(jax.local_devices()[:1]))


def make_env(
    config: Config,
    *,
    object_damping: float | None = None,
    vision_stream: str | None = None,
    **env_changes: Any,
) -> Env:
    """The environment a run was trained on; `impl=` or any field of EnvConfig changes it.

    None changes nothing; `threshold` is the task's own, rad or m.

    Args:
        object_damping: `scene.object_damping`.
        vision_stream: file of `mjxhand.pretrain`: the pose is told no more, but read from the
            frames that its stream was taught with.

    Raises:
        ConfigError: what cannot work; the message names the field.
    """
    env_changes = {k: v for k, v in env_changes.items() if v is not None}
    impl = env_changes.pop("impl", None)
    if impl is not None:
        physics = dataclasses.replace(config.physics, impl=impl)
        config = dataclasses.replace(config, physics=physics)
    if "threshold" in env_changes and tasks.find(config.env.task).unit == "m":
        env_changes["tip_threshold"] = env_changes.pop("threshold")
    # No curriculum: that is how the run was trained, not where its policy plays.
    config = dataclasses.replace(config, curriculum=CurriculumConfig())
    given = [f"env.{name}" for name in env_changes]
    env = dataclasses.replace(config.env, **env_changes)
    config = dataclasses.replace(config, env=env)
    if object_damping is not None:
        scene = dataclasses.replace(config.scene, object_damping=object_damping)
        config = dataclasses.replace(config, scene=scene)
        given.append("scene.object_damping")
    if vision_stream is not None:
        # What is asked for here and does nothing is refused below.
        if "env.randomize" not in given:
            config = _without_told_rows(config)
        config = _by_sight(config, vision_stream)
        given.append("env.vision")
    if given:
        presets.check(config, num_devices=1)
        idle.refuse(given, config)
    return Env(config)


def _without_told_rows(config: Config) -> Config:
    """Without the named rows of `env.randomize` that are errors of a told pose."""
    rows = [name.strip() for name in config.env.randomize.split(",")]
    kept = [r for r in rows if r not in randomize.TABLE or not randomize.TABLE[r].told]
    env = dataclasses.replace(config.env, randomize=",".join(kept) or "none")
    return dataclasses.replace(config, env=env)


def _by_sight(config: Config, stream: str) -> Config:
    """The configuration with a pose that a stream reads, in place of a told one."""
    if config.env.vision == "pixels":
        raise ConfigError(
            f"--vision-stream {stream}: the network of this run sees frames itself "
            "(env.vision pixels): leave it out"
        )
    _, about = vision_file.read(stream)
    env = dataclasses.replace(
        config.env,
        vision="perceived",
        cameras=about["cameras"],
        frame_size=about["frame"][0],
        # The stream errs by itself.
        pose_noise_angle=0.0,
        pose_noise_position=0.0,
    )
    network = dataclasses.replace(config.network, vision_stream=stream)
    return dataclasses.replace(config, env=env, network=network)
