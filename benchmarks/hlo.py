"""What a compiled program's text says: where an operation comes from, what it communicates."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

_INSTRUCTION = re.compile(r"^\s+(?:ROOT )?%?([\w.\-]+) = (.*)$")
_COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.\-]+) .*\{$")
_ROW = re.compile(r"^(\d+) (.*)$")
_COLLECTIVE = re.compile(
    r"\b(all-reduce|all-gather|all-to-all|collective-permute|reduce-scatter)(?:-start)?\("
)
_CALLED = re.compile(
    r"(?:body|condition|calls|to_apply|true_computation|false_computation)=%?([\w.\-]+)"
)
_BRANCHES = re.compile(r"branch_computations=\{([^}]*)\}")
_KIND = re.compile(r" ([a-z][\w\-]*)\(")
_CALLING = {"while", "conditional", "call", "async-start"}
_FREE = _CALLING - {"async-start"} | {
    "parameter",
    "constant",
    "tuple",
    "get-tuple-element",
    "bitcast",
    "after-all",
    "partition-id",
    "replica-id",
    "all-reduce-done",
    "all-gather-done",
    "collective-permute-done",
    "async-done",
}
"""Kinds of instructions that run nothing of their own."""
_TRIPS = re.compile(r'known_trip_count[^}]*?"n":"(\d+)"')
_TARGET = re.compile(r'custom_call_target="([^"]*)"')
_SLICES = {"dynamic-slice", "slice", "gather"}
_SHAPE = re.compile(r"\b(pred|[sufb]f?\d+)\[([\d,]*)\]")


@dataclass(frozen=True)
class Origin:
    """Where an instruction was traced."""

    op_name: str  # JAX's path of transformations and scopes
    files: tuple[str, ...]  # of the Python frames, innermost first


def origins(text: str) -> dict[str, Origin]:
    """Origin of every instruction of `compiled.as_text()` that has one, by its name."""
    files = {k: v.strip('"') for k, v in _table(text, "FileNames").items()}
    places = {
        k: files.get(_number(v, "file_name_id"), "")
        for k, v in _table(text, "FileLocations").items()
    }
    frames = _table(text, "StackFrames")

    def chain(frame: str) -> tuple[str, ...]:
        seen = []
        while frame in frames and len(seen) < 50:
            seen.append(places.get(_number(frames[frame], "file_location_id"), ""))
            # Written one too high, so that 1 means none.
            frame = str(int(_number(frames[frame], "parent_frame_id")) - 1)
        return tuple(seen)

    found = {}
    for line in text.splitlines():
        match = _INSTRUCTION.match(line)
        name = re.search(r'op_name="([^"]*)"', line)
        if match and name:
            found[match[1]] = Origin(name[1], chain(_number(line, "stack_frame_id")))
    return found


def _table(text: str, title: str) -> dict[str, str]:
    rows, inside = {}, False
    for line in text.splitlines():
        if line == title:
            inside = True
        elif inside:
            match = _ROW.match(line)
            if not match:
                break
            rows[match[1]] = match[2]
    return rows


def _number(text: str, name: str) -> str:
    match = re.search(rf"{name}=(\d+)", text)
    return match[1] if match else ""


@dataclass(frozen=True)
class Collective:
    """A collective operation, the times it runs per call, and its size."""

    kind: str
    times: int
    bytes: int  # of its result, each time
    op_name: str


def collectives(text: str) -> list[Collective]:
    """All of a program; one in a loop counts as often as the loop runs.

    Raises:
        ValueError: a collective in a loop whose length the compiler did not know.
    """
    found = []
    for line, times in _executed(text):
        kind = _COLLECTIVE.search(line)
        if not kind:
            continue
        if times is None:
            raise ValueError(f"a loop of unknown length holds {line.strip()}")
        op_name = re.search(r'op_name="([^"]*)"', line)
        size = _size(line[line.index("=") : kind.start()])
        name = op_name[1] if op_name else ""
        found.append(Collective(kind[1], times, size, name))
    return found


def operations(text: str) -> int:
    """Operations that a program runs per call: on a GPU about as many kernels are launched.

    One in a loop counts as often as the loop runs, or once where the compiler did not know
    how often; all branches of a conditional count.
    """
    return sum(times for _, times in _running(text))


@dataclass(frozen=True)
class Kernel:
    """An operation that runs by itself, the times it does per call, and what it moves."""

    name: str
    target: str
    """Of a library that is called; else empty."""
    times: int
    bytes: int
    """Read and written each time: arguments and result, or those parts of them that it takes or
    replaces. What a library moves in between is not told."""


def kernels(text: str) -> list[Kernel]:
    """All of a program; in a loop as `operations` counts them."""
    computations, _ = _computations(text)
    sizes = {}
    for lines in computations.values():
        for line in lines:
            if parsed := _parse(line):
                sizes[parsed.name] = parsed.size
    found = []
    for line, times in _running(text):
        parsed = _parse(line)
        if parsed is None:
            raise ValueError(f"no instruction that is known here: {line.strip()}")
        called = _CALLED.search(line) if parsed.kind == "fusion" else None
        inside = computations.get(called[1], []) if called else None
        moved = _moved(parsed, inside, sizes)
        target = _TARGET.search(line)
        name = target[1] if target else ""
        found.append(Kernel(parsed.name, name, times, moved))
    return found


@dataclass(frozen=True)
class _Parsed:
    name: str
    kind: str
    size: int  # bytes of its result
    operands: list[str]
    root: bool


def _parse(line: str) -> _Parsed | None:
    match, kind = _INSTRUCTION.match(line), _KIND.search(line)
    if not match or not kind:
        return None
    shapes = line[line.index(" = ") : kind.start()]
    if kind[1] == "custom-call":
        shapes = re.sub(r"\bs8\[\d+\]", "", shapes)  # a library's scratch memory
    inner = line[kind.end() :].split(")")[0]
    operands = re.findall(r"%([\w.\-]+)", inner)
    root = line.lstrip().startswith("ROOT ")
    return _Parsed(match[1], kind[1], _size(shapes), operands, root)


def _moved(parsed: _Parsed, inside: list[str] | None, sizes: dict[str, int]) -> int:
    """Bytes that an instruction, in a fusion those `inside`, reads and writes."""
    if inside is None:
        if parsed.kind in _SLICES:
            return 2 * parsed.size
        if parsed.kind == "dynamic-update-slice":
            return 2 * sizes[parsed.operands[1]]
        return parsed.size + sum(sizes.get(name, 0) for name in parsed.operands)
    body = {x.name: x for x in map(_parse, inside) if x}
    users: dict[str, list[_Parsed]] = {}
    for x in body.values():
        for name in x.operands:
            users.setdefault(name, []).append(x)

    def read(name: str) -> int:
        total = 0
        for user in users.get(name, ()):
            if user.kind == "bitcast":
                total += read(user.name)
            elif user.kind in _SLICES and user.operands[0] == name:
                total += user.size
            elif user.kind != "dynamic-update-slice" or user.operands[0] != name:
                return sizes[name]
        return min(total, sizes[name])

    def written(x: _Parsed) -> int:
        if x.kind == "tuple":
            return sum(written(body[name]) for name in x.operands)
        if x.kind == "bitcast" and x.operands[0] in body:
            return written(body[x.operands[0]])
        if x.kind == "dynamic-update-slice":
            return sizes[x.operands[1]]
        return x.size

    parameters = [x.name for x in body.values() if x.kind == "parameter"]
    (root,) = (x for x in body.values() if x.root)
    return written(root) + sum(map(read, parameters))


def _running(text: str) -> Iterator[tuple[str, int]]:
    """`_executed` without what takes no time of its own; unknown counts as once."""
    for line, times in _executed(text):
        kind = _KIND.search(line)
        if kind and kind[1] not in _FREE:
            yield line, 1 if times is None else times


def _executed(text: str) -> Iterator[tuple[str, int | None]]:
    """Every instruction that runs by itself, and how often per call; None: unknown.

    Of a conditional all branches are given, each as often as the conditional runs; what a loop
    of unknown length holds is unknown, wherever that loop stands.
    """
    computations, entry = _computations(text)

    def visit(name: str, times: int | None) -> Iterator[tuple[str, int | None]]:
        for line in computations.get(name, ()):
            yield line, times
            kind = _KIND.search(line)
            if not kind or kind[1] not in _CALLING:
                continue
            inner = times
            if kind[1] == "while":
                trips = _TRIPS.search(line)
                inner = times * int(trips[1]) if trips and times is not None else None
            called = _CALLED.findall(line)
            for branches in _BRANCHES.findall(line):
                called += [b.strip().lstrip("%") for b in branches.split(",")]
            for other in called:
                yield from visit(other, inner)

    return visit(entry, 1)


def _computations(text: str) -> tuple[dict[str, list[str]], str]:
    computations: dict[str, list[str]] = {}
    entry = name = ""
    for line in text.splitlines():
        match = _COMPUTATION.match(line)
        if match:
            name = match[2]
            computations[name] = []
            entry = name if match[1] else entry
        elif name and line.startswith(" "):
            computations[name].append(line)
    return computations, entry


def _size(shapes: str) -> int:
    """Bytes of all shapes in a piece of HLO, such as `(f32[2,3], f32[])`."""
    total = 0
    for kind, dims in _SHAPE.findall(shapes):
        count = 1
        for dim in filter(None, dims.split(",")):
            count *= int(dim)
        bits = 8 if kind == "pred" else int(re.sub(r"\D", "", kind))
        total += count * bits // 8
    return total
