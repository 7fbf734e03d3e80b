"""What is measured, as data. A case names a program; `run.py` compiles and times it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial

import programs
from programs import Program


@dataclass(frozen=True)
class Case:
    """`make` runs in a process of its own, so that its peak memory is the case's."""

    name: str
    make: Callable[[], Program]
    settings: dict = field(default_factory=dict)
    on: str = "cpu"
    """`cpu` or `accelerator`: where its size makes sense."""


STEPS = {"native": 16, "jax": 4, "warp": 4}
"""Control steps per call and environment on a CPU, where they are slow."""
UNROLL = 16
"""The same on an accelerator."""

# Environments on a CPU by back end, and on an accelerator.
SIZES = {"native": (64, 512), "jax": (64, 512)}
POLICY_SIZES = {"native": (64, 256, 512), "jax": (64,)}
UPDATE_SIZES = {
    ("laptop", "native"): (64, 256, 1024),
    ("laptop", "jax"): (64,),
    ("turning", "native"): (1024,),
    ("fpn", "native"): (64, 256),
}
LARGE = (1024, 4096, 8192, 16384)
SEEING = (1024, 4096, 8192)
"""The same where every environment has frames: each takes 12 KiB per step of an update."""
IMPLS = ("jax", "warp")


def _case(kind: str, parts: tuple, make, on: str, **settings) -> Case:
    name = "/".join(map(str, (kind, *parts)))
    return Case(name, make, settings, on)


def _cpu() -> Iterator[Case]:
    for impl, sizes in SIZES.items():
        for n in sizes:
            make = partial(programs.physics_program, impl, n, STEPS[impl])
            yield _case("physics", (impl, n), make, "cpu", impl=impl, num_envs=n)
    for impl, sizes in SIZES.items():
        for n in sizes:
            make = partial(programs.env_program, impl, n, STEPS[impl])
            yield _case("env", (impl, n), make, "cpu", impl=impl, num_envs=n)
    for impl, sizes in POLICY_SIZES.items():
        for n in sizes:
            make = partial(programs.policy_program, "fpn", impl, n, STEPS[impl])
            yield _case("policy/fpn", (impl, n), make, "cpu", impl=impl, num_envs=n)
    for (preset, impl), sizes in UPDATE_SIZES.items():
        for n in sizes:
            make = partial(programs.update_program, preset, impl, n)
            kind = f"update/{preset}"
            yield _case(kind, (impl, n), make, "cpu", impl=impl, num_envs=n)
    for n in (16, 64):
        yield _pixels("laptop", "native", n, "cpu")


def _pixels(preset: str, impl: str, n: int, on: str) -> Case:
    make = partial(programs.update_program, preset, impl, n, pixels=True)
    return _case(f"pixels/{preset}", (impl, n), make, on, impl=impl, num_envs=n)


def _accelerator() -> Iterator[Case]:
    for impl in IMPLS:
        for n in LARGE:
            makers = {
                "physics": partial(programs.physics_program, impl, n, UNROLL),
                "env": partial(programs.env_program, impl, n, UNROLL),
                "policy/fpn": partial(programs.policy_program, "fpn", impl, n, UNROLL),
                "update/fpn": partial(programs.update_program, "fpn", impl, n),
                "update/baseline": partial(
                    programs.update_program, "baseline", impl, n
                ),
            }
            for kind, make in makers.items():
                yield _case(kind, (impl, n), make, "accelerator", impl=impl, num_envs=n)
        for n in SEEING:
            yield _pixels("fpn", impl, n, "accelerator")


CASES: tuple[Case, ...] = (*_cpu(), *_accelerator())
