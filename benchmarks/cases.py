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
    """`cpu` or `accelerator`: where its size makes sense. `tiny`: to test the others anywhere."""


STEPS = {"native": 16, "jax": 4, "warp": 4}
"""Control steps per call and environment on a CPU, where they are slow."""

# Environments on a CPU, by back end.
SIZES = {"native": (64, 512), "jax": (64, 512)}
POLICY_SIZES = {"native": (64, 256, 512), "jax": (64,)}
UPDATE_SIZES = {
    ("laptop", "native"): (64, 256, 1024),
    ("laptop", "jax"): (64,),
    ("turning", "native"): (1024,),
    ("fpn", "native"): (64, 256),
}


@dataclass(frozen=True)
class Grid:
    """Every program on every back end at every size."""

    impls: tuple[str, ...]
    sizes: tuple[int, ...]
    """Environments."""
    seeing: tuple[int, ...]
    """The same where every environment has frames."""
    steps: int
    """Control steps per call and environment, but for an update, which has its preset's."""
    presets: tuple[str, ...]
    """Whose updates; the first one's network gathers and sees, too."""


LARGE = Grid(
    impls=("jax", "warp"),
    sizes=(1024, 4096, 8192, 16384),
    seeing=(1024, 4096, 8192),  # 12 KiB per environment and step of an update
    steps=16,
    presets=("fpn", "baseline"),
)
TINY = Grid(("native", "jax"), (16, 32), (16,), 2, ("smoke", "baseline"))


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


def _all(grid: Grid, on: str) -> Iterator[Case]:
    for impl in grid.impls:
        for n in grid.sizes:
            policy, steps = grid.presets[0], grid.steps
            makers = {
                "physics": partial(programs.physics_program, impl, n, steps),
                "env": partial(programs.env_program, impl, n, steps),
                f"policy/{policy}": partial(
                    programs.policy_program, policy, impl, n, steps
                ),
            }
            for preset in grid.presets:
                make = partial(programs.update_program, preset, impl, n)
                makers[f"update/{preset}"] = make
            for kind, make in makers.items():
                yield _case(kind, (impl, n), make, on, impl=impl, num_envs=n)
        for n in grid.seeing:
            yield _pixels(grid.presets[0], impl, n, on)


CASES: tuple[Case, ...] = (
    *_cpu(),
    *_all(LARGE, "accelerator"),
    *_all(TINY, "tiny"),
)
