"""Gathering as it is done with a process per environment: batch 1, one core each.

Kinder to the rival than a distributed framework is: nothing is sent, and each process runs
the same compiled policy, senses and C physics as ours, on one thread.
"""

import multiprocessing
import os
import time
from collections.abc import Callable
from dataclasses import replace

STEPS, ENVS, UNROLL = 100, 512, 8


def _worker(core: int, start, results) -> None:
    os.sched_setaffinity(0, {core})
    os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false"
    import jax
    import programs

    from mjxhand import agent as agent_module
    from mjxhand import sharding
    from mjxhand.env import Env
    from mjxhand.rollout import init_actors, rollout

    config = programs.config_of("fpn", "native", ENVS)
    config = replace(config, physics=replace(config.physics, threads=1))
    cfg = replace(config.ppo, unroll_length=1, chunk_length=1)
    env = Env(config)
    agent = agent_module.build(config, env.observation_sizes, env.num_actuators)
    mesh = sharding.make_mesh(jax.devices()[:1])
    learner = sharding.Program(config, env, agent, mesh).init_learner(0)
    params = jax.tree.map(jax.numpy.asarray, env.make_params(core))
    begin = jax.jit(lambda key, params: init_actors(env, agent, 1, key, params))
    step = jax.jit(lambda *args: rollout(env, agent, cfg, *args)[0])
    actors = step(learner, begin(jax.random.PRNGKey(core), params), params)
    while _asked(start):
        began = time.perf_counter()
        for _ in range(STEPS):
            actors = step(learner, actors, params)
        jax.block_until_ready(actors)
        results.send(time.perf_counter() - began)


def _asked(start) -> bool:
    """Waits for a turn; False once the other end is gone."""
    try:
        return start.recv()
    except EOFError:
        return False


def make() -> tuple[Callable[[], float], Callable[[], float]]:
    """One program with many environments, and a waiting process per core."""
    import jax
    import programs
    from rival_physics import timed

    mine = programs.policy_program("fpn", "native", ENVS, UNROLL)
    compiled = jax.jit(mine.function).lower(*mine.args).compile()
    context = multiprocessing.get_context("spawn")
    workers = []
    for core in sorted(os.sched_getaffinity(0)):
        ours_start, theirs_start = context.Pipe()
        ours_result, theirs_result = context.Pipe()
        process = context.Process(
            target=_worker, args=(core, theirs_start, theirs_result), daemon=True
        )
        process.start()
        workers.append((ours_start, ours_result))

    def theirs() -> float:
        for start, _ in workers:
            start.send(True)
        return sum(STEPS / result.recv() for _, result in workers)

    theirs()  # until all have compiled
    return timed(compiled, mine.args, mine.control_steps), theirs
