"""One pass over a recording: the sums that decoding needs, and a sample that fits in memory.

Sums for every window are taken of every area in turn, so that one array of one shard is in
memory at a time. A sample of whole steps, evenly spread, is kept for what sums cannot give:
the nonlinear control, permutations and representational similarity.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from mjxhand.analyse import rivals, starts, targets, threads
from mjxhand.analyse.moments import GROUPS, Gathered, Joint, group_of
from mjxhand.analyse.recording import AREA, SENSE, Recording
from mjxhand.config import Config

MAX_WINDOW = 200_000
"""Samples that a window ahead in time uses at most; neighbours tell nearly the same."""
MAX_JOINT = 200_000
"""Samples of the covariance of all areas and senses."""
MAX_KEPT = 12_000
"""Samples kept in memory."""
AT_ONCE = 4
"""Most arrays of a shard in memory side by side."""
SUCCESS_SECONDS = (0.8, 1.6)
PROFILE_SECONDS = (0.0, 0.08, 0.16, 0.24, 0.4, 0.8, 1.2, 1.6)
"""Leads of the planning profile, all on the same samples; `profile_leads` of other steps."""
PRESENT, PAST, PROFILE = "present", "past", "profile"
ALL_SENSES = SENSE + "all senses"
"""A source: the senses side by side, what any area could be made of at that step."""
_AHEAD = "ahead only"  # the task that adds up all of them
Values = dict[str, np.ndarray]


def profile_leads(step_seconds: float) -> dict[float, int]:
    """`PROFILE_SECONDS` and their control steps; the last of those that round to the same."""
    leads = {0: 0.0}
    for lead in PROFILE_SECONDS[1:]:
        leads[targets.steps_of(lead, step_seconds)] = lead
    return {lead: steps for steps, lead in leads.items()}


@dataclass
class Window:
    """Targets that share their valid samples."""

    name: str
    seconds: float  # how far ahead, in whole control steps, s
    stride: int = 1  # one step in so many is used
    sums: Gathered = field(default_factory=Gathered)
    slices: dict[str, slice] = field(default_factory=dict)  # target → its columns
    leads: dict[float, float] = field(default_factory=dict)  # of the profile: named → s

    def stack(self, values: Values) -> np.ndarray:
        """Targets `[N, T, k]` side by side, and where each is."""
        edges = np.cumsum([0, *(v.shape[-1] for v in values.values())])
        self.slices = {
            name: slice(int(a), int(b))
            for name, a, b in zip(values, edges[:-1], edges[1:], strict=True)
        }
        return np.concatenate(list(values.values()), axis=-1)


@dataclass(frozen=True)
class Kept:
    """Steps kept in memory, ordered by start state, episode and time; n of them."""

    sources: Values  # array name → [n, U]
    y: dict[str, np.ndarray]  # window → [n, K]
    valid: dict[str, np.ndarray]  # window → bool [n]
    start: np.ndarray  # int [n] start state of the sample's episode
    group: np.ndarray  # int [n]
    extra: Values  # other recorded arrays, [n, ...]


@dataclass(frozen=True)
class Gathering:
    """What a pass over a recording leaves."""

    windows: dict[str, Window]
    joint: Joint  # of the areas and senses
    kept: Kept
    areas: tuple[str, ...]  # array names, in the order of the recording
    senses: tuple[str, ...]
    groups: int
    episodes: int

    @property
    def sources(self) -> tuple[str, ...]:
        """What is decoded from: areas, senses, all senses together, the action."""
        return (*self.areas, *self.senses, ALL_SENSES, "action")

    @property
    def sources_ahead(self) -> tuple[str, ...]:
        """What the planning profile is decoded from: the `rivals.AHEAD_ONLY` as well."""
        return (*self.sources, *rivals.AHEAD_ONLY)


def episodes_of(recording: Recording) -> np.ndarray:
    """Episode of every step, int `[shards, N, T]`."""
    return np.stack([s["episode"] for s in recording.shards(["episode"])])


def senses_of(recording: Recording) -> tuple[str, ...]:
    """Names of the streams that a policy may see."""
    return tuple(
        SENSE + name for name in recording.of_kind(SENSE) if name != "privileged"
    )


def gather(
    recording: Recording,
    prefix: str = AREA,
    *,
    received: Sequence[str] | None = None,
    groups: int = GROUPS,
    seconds: tuple[float, ...] = targets.SECONDS,
    max_window: int = MAX_WINDOW,
    max_joint: int = MAX_JOINT,
    max_kept: int = MAX_KEPT,
    show: Callable[[float], None] = lambda done: None,
) -> Gathering:
    """Go through a recording once.

    Args:
        prefix: whose areas, `recording.AREA` or `recording.CONTROL`.
        received: streams that the network receives (`anatomy.senses_of`), where its areas do
            not receive all that were recorded.
        groups: groups of start states, G.
        seconds: lead times of the future's targets, s.
        show: called with the shards done.

    Raises:
        ConfigError: too few episodes, or arrays missing.
    """
    areas = tuple(prefix + name for name in recording.of_kind(prefix))
    senses = senses_of(recording)
    if received is not None:
        senses = tuple(n for n in senses if n.removeprefix(SENSE) in received)
    sources = (*areas, *senses, ALL_SENSES, "action", _AHEAD)
    lift = rivals.Lift(recording, senses)
    episode, start = episodes_of(recording), starts.of_recording(recording)
    group = group_of(start, groups)
    windows = _windows(recording, groups, seconds, max_window)
    ahead = max(targets.steps_of(w.seconds, recording.step_seconds) for w in windows)
    joint = Joint({n: recording.sizes[n] for n in (*areas, *senses)}, groups)
    needed = [n for n in (*targets.NEEDED, "remaining") if n in recording.sizes]
    stride_joint = -(-recording.samples // max_joint)
    stride_kept = -(-recording.samples // max_kept)
    kept, order = [], []
    for shard in range(len(recording)):
        small = recording.read(shard, needed, ahead)
        shape = group[shard].shape
        rows = {}
        for window in reversed(windows):  # inner ones first
            made = _values(window, small, shape[1], recording.config)
            y, valid = window.stack(made.values), made.valid
            used = valid & _every(shape, window.stride)
            window.sums.targets(y[used], group[shard].ravel(), used.ravel())
            rows[window.name] = (used, y, valid)
        keep, both = _every(shape, stride_kept), _every(shape, stride_joint)
        x_kept, x_joint = {}, {}

        def one(name: str, shard=shard, rows=rows, keep=keep, both=both):
            if name == _AHEAD:
                sums = next(w.sums for w in windows if w.name == PROFILE)
                for source, x in lift(shard, rows[PROFILE][0]).items():
                    sums.source(source, x, chosen=True)
                return None, None
            parts = senses if name == ALL_SENSES else (name,)
            x = np.concatenate(list(recording.read(shard, parts).values()), axis=-1)
            for window in windows:
                window.sums.source(name, x.reshape(-1, x.shape[-1]))
            return x[keep], x[both] if name in joint.sizes else None

        for name, (x_few, x_some) in threads.each(one, sources, most=AT_ONCE):
            if x_few is not None:
                x_kept[name] = x_few
            if x_some is not None:
                x_joint[name] = x_some
        joint.add(x_joint, group[shard][both])
        kept.append(_kept(x_kept, rows, small, start[shard], group[shard], keep))
        order.append(episode[shard][keep])
        show(shard + 1)
    return Gathering(
        {w.name: w for w in windows},
        joint,
        _joined(kept, np.concatenate(order)),
        areas,
        senses,
        groups,
        len(np.unique(episode)),
    )


def _windows(recording, groups, seconds, max_window) -> list[Window]:
    # Most samples of a window are valid or most are not: the stride is for all of them.
    stride = max(1, -(-recording.samples // max_window))
    dt = recording.step_seconds

    def later(name: str, lead: float, inner: Gathered | None = None) -> Window:
        # Rounded: steps of 0.08 s are to be told as 0.24 s, not as 0.24000000000000002.
        actual = round(targets.steps_of(lead, dt) * dt, 6)
        return Window(name, actual, stride, Gathered(groups, inner))

    def nested(name: str, leads: tuple[float, ...]) -> list[Window]:
        # A step whose window of some lead is whole has whole ones of all shorter leads.
        made: dict[float, Window] = {}
        inner = None
        for lead in sorted(leads, reverse=True):
            made[lead] = later(name.format(lead), lead, inner)
            inner = made[lead].sums
        return [made[lead] for lead in sorted(leads)]

    past = Window(PAST, 0.0, 1, Gathered(groups))
    present = Window(PRESENT, 0.0, 1, Gathered(groups, past.sums))
    profile = later(PROFILE, PROFILE_SECONDS[-1])
    profile.leads = {lead: round(n * dt, 6) for lead, n in profile_leads(dt).items()}
    ahead = nested("{:g} s", seconds)
    return [present, past, *ahead, *nested("success {:g} s", SUCCESS_SECONDS), profile]


def _values(
    window: Window, small: Values, length: int, config: Config
) -> targets.Windowed:
    """A window's targets for the first `length` steps."""
    dt = config.control_seconds
    if window.name == PRESENT:
        made = targets.present(small, config.env)
        now = {k: v[:, :length] for k, v in made.items()}
        return targets.Windowed(now, np.ones(small["reward"][:, :length].shape, bool))
    if window.name == PAST:
        return targets.past({k: v[:, :length] for k, v in small.items()})
    steps = targets.steps_of(window.seconds, dt)
    if window.name.startswith("success"):
        return targets.success_soon(small, steps, length)
    if window.name == PROFILE:
        values, valid = {}, None
        for lead, steps in profile_leads(dt).items():
            ahead = targets.future(small, steps, length)
            values[f"action {lead:g}"] = ahead.values["future action"]
            values[f"command {lead:g}"] = ahead.values["future command"]
            valid = ahead.valid
        assert valid is not None  # of the last lead, the longest
        return targets.Windowed(values, valid)
    return targets.future(small, steps, length)


def _every(shape: tuple[int, ...], stride: int) -> np.ndarray:
    """One step in `stride`, at another phase in each environment: bool `[N, T]`."""
    env, step = np.indices(shape)
    # 7 is coprime to most strides, so that environments do not march in step.
    return (step + 7 * env) % stride == 0


def _kept(x: Values, rows, small: Values, start, group, keep) -> Kept:
    names = ("segment", "remaining", "goal")
    length = keep.shape[1]
    return Kept(
        sources=x,
        y={name: y[keep].astype(np.float32) for name, (_, y, _) in rows.items()},
        valid={name: valid[keep] for name, (_, _, valid) in rows.items()},
        start=start[keep],
        group=group[keep],
        extra={n: small[n][:, :length][keep] for n in names if n in small},
    )


def _joined(parts: list[Kept], episode: np.ndarray) -> Kept:
    start = np.concatenate([p.start for p in parts])
    # A stable order: shards follow each other in time, and so do an episode's steps in each.
    order = np.lexsort((episode, start))

    def join(pick: Callable[[Kept], Values]) -> Values:
        names = list(pick(parts[0]))
        return {n: np.concatenate([pick(p)[n] for p in parts])[order] for n in names}

    return Kept(
        sources=join(lambda p: p.sources),
        y=join(lambda p: p.y),
        valid=join(lambda p: p.valid),
        start=start[order],
        group=np.concatenate([p.group for p in parts])[order],
        extra=join(lambda p: p.extra),
    )
