"""Every hyper-parameter, once: nested frozen dataclasses (`presets` has values, `checks` refuses some).

The docstring under a field is its `--help` text; a run saves its Config as `config.json`.
"""

import math
from dataclasses import dataclass, field
from typing import Literal

Impl = Literal["auto", "jax", "warp", "native"]
Control = Literal["absolute", "relative_to_target", "relative_to_measured"]


class ConfigError(ValueError):
    """A setting that cannot work. The message is one line: what is wrong, what to do."""


@dataclass(frozen=True)
class SceneConfig:
    """The MuJoCo model: hand, object, solver."""

    object: Literal["auto", "cube", "sphere", "capsule", "egg", "none"] = "auto"
    """What lies in the hand; `auto`: what the task is about (a cube, or nothing); egg: not on MJX (`jax`)."""
    cube_edge: float = 0.05
    """Edge of the cube, metres; other objects are about as large."""
    cube_density: float = 567.0
    """Density of the object, kg/m³ (567 at 50 mm gives a cube of 70.9 g)."""
    object_damping: float = 0.01
    """Damping of the object's free joint, N·s/m along and N·m·s/rad about each axis (0.01 as published: a spin of the
    50 mm cube decays within about 3 ms)."""
    start_pose: Literal["published", "cupped"] = "published"
    """Posture of the hand when an episode starts: the published one, or a more cupped one."""
    timestep: float = 0.008
    """Physics step, seconds."""
    iterations: int = 5
    """Most Newton iterations of the constraint solver per physics step."""
    ls_iterations: int = 6
    """Most line-search iterations per Newton iteration; `jax` needs, and takes, three at most."""
    integrator: Literal["euler", "implicitfast"] = "implicitfast"
    """Integrator of the physics step."""
    max_contact_points: int = 12
    """Contact slots that MJX (`jax`) keeps per physics step, deepest first."""


@dataclass(frozen=True)
class PhysicsConfig:
    """Which simulator steps the model."""

    impl: Impl = "auto"
    """`jax` (MJX), `warp` (MJX on NVIDIA), `native` (C MuJoCo threads); `auto`: native on a CPU, jax on an accelerator."""
    substeps: int = 10
    """Physics steps per control step (10 of 8 ms: 12.5 Hz)."""
    threads: int = 0
    """Threads of the native back end; 0: one per core."""


@dataclass(frozen=True)
class RewardConfig:
    """Weights of the reward terms; reward = progress + success - drop - time - force.

    Not every task has every term.
    """

    time: float = 0.01
    """Cost of every control step."""
    progress: float = 1.0
    """Per radian (reach, opposition: per metre) by which the hand came nearer to the goal."""
    drop: float = 20.0
    """Cost of dropping the object."""
    success: float = 5.0
    """Bonus for reaching a goal."""
    force: float = 0.001
    """Cost per (N·m)² of actuator force, summed over the 18 finger and thumb actuators."""


@dataclass(frozen=True)
class EnvConfig:
    """The task, its goals, its control."""

    task: str = "reorient"
    """Name of the task (reorient, chain, reach, opposition), or your own as `module:Class` (short: --task)."""
    actions: Literal["discrete", "continuous"] = "discrete"
    """`discrete`: `bins` levels per actuator; `continuous`: numbers in [-1, 1]."""
    bins: int = 11
    """Levels per actuator, evenly from -1 to 1."""
    control: Control = "relative_to_target"
    """What an action moves: `absolute` sets the servo target in its range; `relative_to_target` moves the last
    target; `relative_to_measured` sets it that far from the joint's measured angle (the true one: errors of `randomize`
    are of the senses alone), so that the middle level lets go (the showcase)."""
    relative_step: float = 0.25
    """Largest move of a relative action, in half control ranges (1.0 in the showcase)."""
    target_lead: float | None = None
    """If set, no servo target lies farther than this from the measured angle, in half control ranges: a finger that is
    blocked lets go as soon as its command turns round, and presses no harder than so."""
    hold_wrist: bool = False
    """Leave the two servos of the wrist at their first targets, so that fingers and thumb alone turn the object."""
    goal_seconds: float = 8.0
    """Time allowed per goal, seconds."""
    max_goals: int = 50
    """Goals after which an episode is complete."""
    threshold: float = 0.4
    """An orientation is reached below this geodesic distance, radians."""
    tip_threshold: float = 0.02
    """Fingertips are where they should be below this distance, metres (reach, opposition)."""
    position_tolerance: float | None = None
    """If set, an orientation counts only while the object lies this near to its resting place, the mean one
    of objects of its shape and size that settle in the hand, metres."""
    sequence: str = ""
    """Goals in order: quarter turns of chain (l_r_u_d_c_a), fingers of opposition (ff_mf_rf_lf);
    empty: the task's own."""
    goal_angle_max: float = math.pi
    """Farthest new goal from the present orientation, radians; π: uniform on SO(3) (the full task)."""
    goal_axis: Literal["any", "z"] = "any"
    """Axis of the rotation that leads to a goal: any, or the vertical one only."""
    goal_encoding: Literal["absolute", "relative"] = "absolute"
    """Goal stream: the target orientation (showcase) or the rotation still to be made."""
    pose_encoding: Literal["absolute", "folded"] = "absolute"
    """Orientation in the vision stream: as it is (showcase), or that of the cube's 24 look-alikes nearest to the
    identity, as if its faces bore no letters."""
    vision: Literal["pose", "pixels", "perceived"] = "pose"
    """What the eyes give: `pose`, position and orientation of the object; `pixels`, frames of the cameras, drawn by
    MJX-Warp; `perceived`, the pose that the stream in `network.vision_stream` reads from such frames."""
    cameras: str = "palm"
    """Cameras that draw frames, separated by commas: palm, top, front."""
    frame_size: int = 64
    """Edge of the frames."""
    pose_noise_angle: float = 0.0
    """Standard deviation of the angle by which the seen orientation is off, radians (showcase: 0.087)."""
    pose_noise_position: float = 0.0
    """Length of the shift by which the seen position is off, metres (showcase: 0.00371)."""
    push_speed: float = 0.0
    """Jump of the object's velocity when it is pushed, m/s; 0: no pushes."""
    push_seconds: float = 2.0
    """Mean time between two pushes, seconds."""
    randomize: str = "none"
    """Domain randomisation, per episode: `none`, `all`, or rows of its table separated by commas
    (`friction,delay`); `python -m mjxhand.randomize` shows rows and ranges."""
    pool_size: int = 1024
    """Settled states that resets draw from."""
    settle_seconds: float = 0.64
    """Time the cube is given to settle in the held hand, seconds."""
    reward: RewardConfig = field(default_factory=RewardConfig)
    """Reward weights."""


@dataclass(frozen=True)
class NetworkConfig:
    """The brain."""

    name: str = "fpn"
    """`fpn`: areas and pathways of `atlas`; without anatomy, each with a separate critic: `baseline` (dense 1024, LSTM
    512), `mlp` (dense 1024, dense 512), `lstm` (LSTM 512); or your own as `module:function`, called as
    `mjxhand.networks.build` is."""
    atlas: str = "angorapy_v2"
    """Areas of the FPN: `angorapy_v2` (published sizes), `derived` (from the bundled atlas), a folder that
    `python -m mjxhand.atlas refresh` wrote, or a file with a table of areas (short: --atlas)."""
    cell: Literal["lstm", "gru", "rnn"] = "lstm"
    """Recurrent cell."""
    recurrent: str = "table"
    """Recurrent areas of the FPN: `table` (as the atlas says), `none`, `all`, or a list, each with its own cell if one
    follows: `PMC,LPFC:gru`. V1 to IT of `env.vision pixels` have none."""
    feedback: str = "table"
    """Pathways of the FPN back to earlier areas, one control step late: `table`, `none`, `all` (back along every
    pathway), or a list SOURCE:TARGET: `M1:PMC,PMC:LPFC`. V1 to IT of `env.vision pixels` have none."""
    stream_dropout: float = 0.0
    """In training, probability that a sense is silent for a whole episode."""
    dropout_streams: str = "vision"
    """Senses that drop out, separated by commas."""
    units_scale: float = 1.0
    """Scale of every area's number of units (1: full size)."""
    vision_stream: str = ""
    """File with V1 to IT that `python -m mjxhand.pretrain` wrote: of `env.vision pixels`, what those areas begin with
    (empty: learned anew); of `perceived`, what reads the pose."""
    freeze_vision: bool = False
    """Leave V1 to IT as that file has them; otherwise they go on learning."""
    weights: str = ""
    """Run folder, or `pretrained:NAME`, whose weights, and statistics of what is seen, training starts with; those of
    returns start afresh. Empty: fresh weights (short: --from)."""
    distribution: Literal["auto", "multi_categorical", "tanh_normal", "beta"] = "auto"
    """Policy distribution; `auto`: multi-categorical for discrete actions, tanh-normal for continuous ones."""


@dataclass(frozen=True)
class PPOConfig:
    """Proximal policy optimisation (Schulman et al. 2017, arXiv:1707.06347), recurrent."""

    num_envs: int = 8192
    """Environments, over all devices."""
    unroll_length: int = 32
    """Control steps per environment and update, T."""
    chunk_length: int = 16
    """Steps of truncated backpropagation through time, L; divides T."""
    num_epochs: int = 4
    """Passes over the experience of an update."""
    num_minibatches: int = 8
    """Minibatches per epoch; divides the environments of a device."""
    learning_rate: float = 3e-4
    """Adam's step size at the start."""
    gamma: float = 0.998
    """Discount per control step."""
    lam: float = 0.95
    """λ of the generalised advantage estimate."""
    clip: float = 0.2
    """Clip range ε of the probability ratio."""
    value_clip: float | None = None
    """Clip range of the value update; off by default."""
    value_weight: float = 0.5
    """Weight of the squared value error."""
    entropy_weight: float = 0.001
    """Weight of the policy's entropy (mean over actuators)."""
    pose_weight: float = 0.0
    """Weight of the squared error of the pose that is read from IT, an auxiliary loss for `env.vision pixels`."""
    max_grad_norm: float = 0.5
    """Global norm to which gradients are clipped."""
    target_kl: float | None = None
    """If set, the learning rate follows the KL divergence that the last epoch sees before each of its steps: down by
    1.5 above twice it, up by 1.5 below half of it. A single step per update is followed by a look at it."""
    max_skipped_updates: int = 5
    """Updates in a row with a gradient step left out, because loss or gradient was no number, after which training
    stops."""
    normalize_obs: bool = True
    """Normalise observations by their running mean and variance."""
    normalize_reward: bool = True
    """Divide rewards by the running standard deviation of the discounted return, and cut them to ± 10."""


@dataclass(frozen=True)
class CurriculumConfig:
    """Goal distance that grows with success, up to `env.goal_angle_max`; a threshold that falls on schedule."""

    enabled: bool = False
    """Whether goals start near the present orientation."""
    start: float = 0.9
    """Farthest goal at the start, radians."""
    growth: float = 1.1
    """Factor by which the farthest goal grows."""
    goals: float = 1.5
    """Goals per episode, over the last `episodes`, at which it grows."""
    episodes: int = 400
    """Episodes averaged."""
    threshold_start: float | None = None
    """If set, an orientation counts below this distance at the start, radians; from there it falls in a
    straight line to `env.threshold`."""
    threshold_steps: int = 10_000_000
    """Control steps over which it falls."""
    onward: float = 0.0
    """In training, probability that a goal lies further about the axis of the one before it, so that turning back
    and forth within one grasp reaches few (reorient)."""
    keep_state: float = 0.0
    """In training, probability that after a goal that was not reached in time the next episode begins with hand and
    object as they are, not in a start state."""


@dataclass(frozen=True)
class Config:
    """A whole run."""

    preset: str = "fpn"
    """Preset this configuration started from."""
    scene: SceneConfig = field(default_factory=SceneConfig)
    """Hand, cube, solver."""
    physics: PhysicsConfig = field(default_factory=PhysicsConfig)
    """Simulator."""
    env: EnvConfig = field(default_factory=EnvConfig)
    """Task."""
    network: NetworkConfig = field(default_factory=NetworkConfig)
    """Brain."""
    ppo: PPOConfig = field(default_factory=PPOConfig)
    """Learner."""
    curriculum: CurriculumConfig = field(default_factory=CurriculumConfig)
    """Curriculum of goal distances."""
    seed: int = 0
    """Seed of everything random."""
    total_steps: int = 590_000_000
    """Control steps to train for, over all environments (5.9e8: 1.5 simulated years)."""
    checkpoint_updates: int = 50
    """Updates between checkpoints."""
    pool_updates: int = 50
    """Updates between refreshes of the pool of settled states."""
    evaluate_episodes: int = 256
    """Episodes of the evaluation that ends a run, before and after training; 0: none."""
    film: bool = True
    """Whether a run ends with a film of the trained policy."""
    film_seconds: float = 24.0
    """Simulated time that is filmed, seconds."""

    @property
    def steps_per_update(self) -> int:
        """Control steps gathered per update, T · N."""
        return self.ppo.unroll_length * self.ppo.num_envs

    @property
    def num_updates(self) -> int:
        """Updates of the run: the fewest that gather `total_steps`."""
        return -(-self.total_steps // self.steps_per_update)

    @property
    def control_seconds(self) -> float:
        """Duration of a control step, seconds."""
        return self.scene.timestep * self.physics.substeps
