"""Options of the commands that are no settings of a run. A field's docstring is its `--help`."""

from dataclasses import dataclass
from typing import Annotated

import tyro

from mjxhand.config import Impl

Dir = Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="DIR")]
Preset = Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="[PRESET]")]


@dataclass(frozen=True)
class TrainOptions:
    """Where to train and for how long."""

    preset: Preset = ""
    """smoke, laptop, turning, reach, opposition, fpn or baseline; by default laptop on a CPU, fpn on an accelerator."""
    out: str = "runs/<preset>"
    """Folder of the run; must be new or empty."""
    resume: str | None = None
    """Folder of a run to continue from its newest whole checkpoint; its own configuration is used."""
    until_seconds: float | None = None
    """Stop cleanly, with a checkpoint, after this long, compilation included."""
    quiet: bool = False
    """Show no progress."""
    coordinator: str | None = None
    """Train in several processes: HOST:PORT of process 0. Under SLURM's srun this and the next two are known."""
    num_processes: int | None = None
    """How many processes there are."""
    process_id: int | None = None
    """Which of them this is, from 0."""
    stall_minutes: float = 10.0
    """Say so when no update has ended for so many minutes; 0: never."""
    debug_nans: bool = False
    """Stop at the first operation that gives NaN, and name it; slow."""


@dataclass(frozen=True)
class EvaluateOptions:
    """Measure a trained policy on fresh episodes."""

    dir: Dir
    """Folder of the run, or pretrained:NAME."""
    episodes: int = 256
    """Whole episodes to play."""
    seed: int = 0
    """Seed of start states, goals and sampled actions."""
    json: str | None = None
    """File to write the result to."""
    deterministic: bool = False
    """Take the most likely action instead of sampling."""
    impl: Impl | None = None
    """Physics back end, whatever the policy was trained on; by default the run's own."""
    sequence: str | None = None
    """Order of the goals of chain and opposition; by default the run's own."""
    threshold: float | None = None
    """Distance that counts as reached, rad (m for fingertips); by default the run's own."""
    goal_angle_max: float | None = None
    """Farthest goal, rad; 3.1416: any orientation (reorient). By default the run's own."""
    max_goals: int | None = None
    """Goals after which an episode is complete; by default the run's own."""
    hold_wrist: bool = False
    """Leave the wrist where it is, so that fingers and thumb alone turn the object."""
    randomize: str | None = None
    """Domain randomisation: none, all, or rows such as friction,delay; by default the run's own."""
    object_damping: float | None = None
    """Damping of the object's free joint, N·s/m and N·m·s/rad; by default the run's own."""
    vision_stream: str | None = None
    """File of python -m mjxhand.pretrain: the object's pose is read from frames in place of being told."""
    lesion: str | None = None
    """Areas, streams, pathways and memories to silence, separated by commas: 'PMC,touch,SSC -> M1,PMC memory'."""
    step: int | None = None
    """Update whose checkpoint to load; by default the newest whole one."""


@dataclass(frozen=True)
class RenderOptions:
    """Film a trained policy."""

    dir: Dir
    """Folder of the run, or pretrained:NAME."""
    out: str | None = None
    """File to write, .mp4 or .gif; by default DIR/film.mp4."""
    seed: int = 0
    """Seed of the start state and the goals."""
    seconds: float = 20.0
    """Simulated time to film."""
    camera: str | None = None
    """Name of a camera of the scene; by default the first."""
    width: int = 640
    """Width of the picture, pixels; even."""
    height: int = 480
    """Height of the picture, pixels; even."""
    fps: int = 25
    """Frames per second; simulated time runs at its true speed."""
    deterministic: bool = False
    """Take the most likely action instead of sampling."""
    impl: Impl | None = None
    """Physics back end that the policy acts in; by default the run's own."""
    sequence: str | None = None
    """Order of the goals of chain and opposition; by default the run's own."""
    hold_wrist: bool = False
    """Leave the wrist where it is, so that fingers and thumb alone turn the object."""
    randomize: str | None = None
    """Domain randomisation: none, all, or rows such as friction,delay; by default the run's own."""
    vision_stream: str | None = None
    """File of python -m mjxhand.pretrain: the object's pose is read from frames in place of being told."""
    lesion: str | None = None
    """Areas, streams, pathways and memories to silence, separated by commas: 'PMC,touch,SSC -> M1,PMC memory'."""
    step: int | None = None
    """Update whose checkpoint to load; by default the newest whole one."""
    meshes: bool = False
    """Draw the published meshes of the hand (pip install 'mjxhand[meshes]')."""
    touch: bool = False
    """Light up the touch regions that feel a force."""
