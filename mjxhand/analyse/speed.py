"""How long the analysis of a long recording takes: `python -m mjxhand.analyse.speed`.

Makes a recording of random numbers as large as a real one (no simulation), analyses it, and
prints seconds and peak memory as JSON. What depends on the network alone and not on the
recording's length (fixed points, saliency, lesions) is left out.
"""

import json
import resource
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

from mjxhand.analyse import extra  # noqa: F401  # isort: skip  # first: what is missing
import numpy as np
import tyro

from mjxhand import agent as agent_module
from mjxhand import cli
from mjxhand.analyse import gather, record, recording, run, tuning
from mjxhand.analyse.display import Display
from mjxhand.analyse.recording import AREA, CONTROL, SENSE, Recording, Settings
from mjxhand.config import ConfigError
from mjxhand.env import Env
from mjxhand.evaluate import Policy
from mjxhand.presets import PRESETS

EPISODE, GOAL = 150, 60
"""Steps of an episode and of a goal in the random recording."""


@dataclass(frozen=True)
class SpeedOptions:
    """Time the analysis of random numbers in the form of a recording."""

    steps: int = 1_000_000
    """Recorded control steps."""
    units_scale: float = 1.0
    """Size of the network: 1 is the full one."""
    control: bool = True
    """Whether an untrained network is analysed as well."""
    permutations: int = 20
    """Permutations of start states."""
    folder: str | None = None
    """Folder for the recording, 13 GB per million steps at full size; default: a temporary one."""


def make(folder: Path, options: SpeedOptions) -> tuple[Recording, Policy]:
    """A recording of random numbers, and the untrained policy of its network.

    Raises:
        ConfigError: the folder holds something.
    """
    if folder.exists() and any(folder.iterdir()):
        raise ConfigError(f"{folder} is not empty: choose another --folder")
    base = PRESETS["fpn"]
    config = replace(
        base,
        physics=replace(base.physics, impl="native"),
        network=replace(base.network, units_scale=options.units_scale),
    )
    env = Env(config)
    agent = agent_module.build(config, env.observation_sizes, env.num_actuators)
    policy = Policy(config, agent, None, None, 0)
    settings = Settings(
        options.steps, 128, record.SHARD, 0, 0, "native", "float16", options.control
    )
    areas = {a.name: a.units for a in agent.network.wiring.areas}
    areas["SSC1"] = areas["SSC"]
    narrow = {AREA + n: u for n, u in areas.items()}
    if options.control:
        narrow |= {CONTROL + n: u for n, u in areas.items()}
    wide = {SENSE + n: u for n, u in env.observation_sizes.items()}
    wide |= {
        "action": 20,
        "command": 20,
        "cube_pos": 3,
        "cube_quat": 4,
        "goal": 4,
    }
    wide |= {"cube_linear_velocity": 3, "cube_angular_velocity": 3, "fingertips": 15}
    wide |= {"remaining": 3, "joint_angle": 24}
    rng = np.random.default_rng(0)
    n, t = settings.envs, settings.length
    shape = (n, t)
    noise = {
        k: rng.normal(size=(*shape, u)).astype(np.float16) for k, u in narrow.items()
    }
    noise |= {
        k: rng.normal(size=(*shape, u)).astype(np.float32) for k, u in wide.items()
    }
    folder.mkdir(parents=True, exist_ok=True)
    names = []
    for index in range(settings.shards):
        time = np.arange(index * t, (index + 1) * t)
        offset = 7 * np.arange(n)[:, None]
        episode, goal = (time + offset) // EPISODE, (time + offset) // GOAL
        segment = (episode + goal) * n + np.arange(n)[:, None]
        arrays = {k: np.roll(v, index, axis=1) for k, v in noise.items()}
        arrays |= {
            "reward": rng.normal(size=shape).astype(np.float32),
            "value": rng.normal(size=shape).astype(np.float32),
            "distance": rng.uniform(size=shape).astype(np.float32),
            "episode": (episode * n + np.arange(n)[:, None]).astype(np.int32),
            "segment": segment.astype(np.int32),
            "ended": (time + offset + 1) % EPISODE == 0,
            "began": ((time + offset) % EPISODE == 0) | (time == 0),
            "success": (time + offset + 1) % GOAL == 0,
        }
        names.append(f"{index:05d}.npz")
        record.save(folder / names[-1], arrays)
        sizes = {k: a.shape[2] if a.ndim > 2 else 1 for k, a in arrays.items()}
        recording.write_manifest(folder, settings, config, sizes, names)
    return Recording(folder), policy


def measure(options: SpeedOptions) -> dict:
    """Seconds by stage, their sum, of all cores, peak memory (GiB), what was analysed."""
    display = Display()
    with tempfile.TemporaryDirectory() as temporary:
        made, policy = make(Path(options.folder or temporary), options)
        depth = run.depths(made, policy)
        began = time.process_time()
        for prefix in (AREA, CONTROL) if options.control else (AREA,):
            who = run.POLICY[prefix]
            with display.stage(f"sums, {who}", len(made)) as show:
                gathered = gather.gather(made, prefix, show=show)
            with display.stage(f"decoding, {who}", 1.0) as show:
                run.of_sums(
                    gathered,
                    prefix,
                    depth,
                    options.permutations,
                    show,
                    tuning.goals_of(made),
                )
            del gathered
            with display.stage(f"time scales, {who}", len(made)) as show:
                run.of_sequences(made, prefix, depth, show)
        spent = time.process_time() - began
    return {
        "samples": made.samples,
        "units": sum(u for n, u in made.sizes.items() if n.startswith(AREA)),
        "control": options.control,
        "seconds": {k: round(v, 1) for k, v in display.seconds.items()},
        "total_seconds": round(sum(display.seconds.values()), 1),
        # Of all threads: what other programs on the machine do not change much.
        "cpu_seconds": round(spent, 1),
        "peak_gib": round(
            resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2
        ),
    }


@cli.main_guard
def main(argv: list[str] | None = None) -> int:
    """Command line of `python -m mjxhand.analyse.speed`."""
    options = tyro.cli(SpeedOptions, args=argv, prog="python -m mjxhand.analyse.speed")
    print(json.dumps(measure(options), indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
