"""Command-line arguments of nested dataclasses: names, values, and one line per mistake.

tyro makes `--help` and the objects; arguments are checked here before it sees them, because
its own error messages are boxes of several lines.
"""

import contextlib
import difflib
import io
from collections.abc import Iterable, Sequence
from dataclasses import fields, is_dataclass
from types import NoneType
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import tyro

from mjxhand.config import ConfigError

T = TypeVar("T")
Options = dict[str, tuple[Any, ...]]

MEANT = {
    "lr": "--ppo.learning-rate",
    "steps": "--total-steps",
    "envs": "--ppo.num-envs",
    "epochs": "--ppo.num-epochs",
    "entropy": "--ppo.entropy-weight",
    "backend": "--physics.impl",
    "network": "--network.name",
    "checkpoint": "--step",
}
"""Other people's names of options."""

PLACES = {
    "--resume": "the folder of a run",
    "--network.weights": "the folder of a run, or pretrained:NAME",
    "--out": "a folder",
    "--json": "a file",
    "--lesion": "areas, streams, pathways and memories, separated by commas",
    "--randomize": "none, all, or rows of python -m mjxhand.randomize",
}
"""What is asked for where `a text` would not tell."""

MAY_BE_EMPTY = ("--env.sequence", "--sequence")
"""Options of texts for which nothing is a value: the task's own order."""


def option_types(cls: type, prefix: str = "") -> Options:
    """Types that each option of a dataclass accepts, by name such as `--ppo.num-envs`.

    A `Literal` counts as its choices. Positional fields are left out. Fields that
    are dataclasses prefix the names of their own, unless tyro was told otherwise.
    """
    hints = get_type_hints(cls, include_extras=True)
    options: Options = {}
    for field in fields(cls):
        hint, marks = _unwrap(hints[field.name])
        if tyro.conf.Positional in marks:
            continue
        name = prefix + field.name.replace("_", "-")
        if is_dataclass(hint):
            inner = "" if any(getattr(m, "name", None) == "" for m in marks) else name
            options |= option_types(hint, f"{inner}." if inner else "")  # type: ignore[arg-type]
        else:
            options[f"--{name}"] = _alternatives(hint)
    return options


def split(argv: Sequence[str], options: Options) -> tuple[list[str], list[str]]:
    """Arguments as `(--option=value ..., positional words)`, every one of them checked.

    Raises:
        ConfigError: unknown option, missing or impossible value.
    """
    args: list[str] = []
    words: list[str] = []
    rest = iter(argv)
    for token in rest:
        if token in ("-h", "--help"):
            args.append("--help")
        elif token.lower() in ("true", "false") and args and "=" not in args[-1]:
            raise _takes_no_value(args[-1], options)
        elif not token.strip():  # "$RUN" of a shell that has no such variable
            raise ConfigError("an argument is empty: give a value, or leave it out")
        elif not token.startswith("-") or token == "-":
            words.append(token)
        else:
            args.append(_checked(token, rest, options))
    return args, words


def build(cls: type[T], args: Sequence[str], prog: str, default: T | None = None) -> T:
    """The object that checked arguments describe; `--help` prints and exits."""
    errors = io.StringIO()
    try:
        with contextlib.redirect_stderr(errors):
            if default is None:
                return tyro.cli(cls, prog=prog, args=list(args))
            return tyro.cli(cls, prog=prog, args=list(args), default=default)
    except SystemExit as stop:
        if not stop.code:
            raise
        # Not reached by arguments that `split` accepts; still one line if it ever is.
        text = " ".join(
            "".join(c for c in errors.getvalue() if c not in "╭╮╰╯│─").split()
        )
        raise ConfigError(f"cannot read the arguments: {text}") from None


def value_of(option: str, args: Iterable[str]) -> str | None:
    """Last value given to an option in what `split` returned."""
    values = [a.partition("=")[2] for a in args if a.partition("=")[0] == option]
    return values[-1] if values else None


def suggest(name: str, known: Iterable[str]) -> str:
    """` (did you mean X?)`, or nothing when nothing is near."""
    known = list(known)
    meant = MEANT.get(name.lstrip("-"))
    if meant in known:
        return f" (did you mean {meant}?)"
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.65)
    if not near:  # the group left out: --gamma for --ppo.gamma
        last = name.lstrip("-").rpartition(".")[2]
        tails = {k.lstrip("-").rpartition(".")[2]: k for k in known}
        near = [
            tails[t] for t in difflib.get_close_matches(last, tails, n=1, cutoff=0.7)
        ]
    return f" (did you mean {near[0]}?)" if near else ""


def _unwrap(hint: Any) -> tuple[Any, tuple[Any, ...]]:
    if hasattr(hint, "__metadata__"):
        return hint.__origin__, hint.__metadata__
    return hint, ()


def _alternatives(hint: Any) -> tuple[Any, ...]:
    """Types and literal values of an annotation: `float | None` is `(float, NoneType)`."""
    if get_origin(hint) is Literal:
        return get_args(hint)
    if get_origin(hint) is not None:
        return tuple(a for part in get_args(hint) for a in _alternatives(part))
    return (hint,)


def _checked(token: str, rest, options: Options) -> str:
    """One option in the form `--name=value`, or `--name` of a switch."""
    given, equals, value = token.partition("=")
    name = given.replace("_", "-")
    if _switch(name, options):
        if equals:
            raise _takes_no_value(given, options)
        return name
    if name not in options:
        known = [*options, *(o for n in options for o in _switch(n, options))]
        raise ConfigError(f"unknown option {given}{suggest(name, known)}")
    kinds = options[name]
    asked = PLACES.get(name) or _expected(kinds)
    if not equals:
        value = next(rest, None)
        if value is None or value.partition("=")[0].replace("_", "-") in options:
            raise ConfigError(f"{given} needs a value: {asked}")
    # As an unset variable of a shell gives it: never taken for the option left out.
    if str in kinds and not value.strip() and name not in MAY_BE_EMPTY:
        raise ConfigError(f"{given} needs a value, not an empty text: {asked}")
    return f"{name}={_value(given, value, kinds)}"


def _takes_no_value(given: str, options: Options) -> ConfigError:
    names = _switch(given.replace("_", "-"), options)
    return ConfigError(f"{given} takes no value: give {' or '.join(names)}")


def _switch(name: str, options: Options) -> tuple[str, ...]:
    """`(--x, --no-x)` if the name is one of them and x is a bool, else nothing."""
    head, dot, tail = name.rpartition(".")
    start = head + dot if dot else "--"
    bare = tail if dot else tail.removeprefix("--")
    positive = start + bare.removeprefix("no-")
    for on in (start + bare, positive):
        if options.get(on) == (bool,):
            head, dot, tail = on.rpartition(".")
            off = f"{head}.no-{tail}" if dot else f"--no-{on.removeprefix('--')}"
            return on, off
    return ()


def _value(given: str, text: str, kinds: tuple[Any, ...]) -> str:
    """The value in the spelling tyro reads."""
    for kind in kinds:
        if kind is NoneType:
            if text.lower() == "none":
                return "None"
        elif kind is str or text == kind:
            return text
        elif kind in (int, float):
            try:
                number = float(text)
            except ValueError:
                continue
            if kind is float:
                return text
            if number == number // 1 and abs(number) < 2**53:  # 2e6 is a whole number
                return str(int(number))
    raise ConfigError(f"{given} is {text!r}: give {_expected(kinds)}")


def _expected(kinds: tuple[Any, ...]) -> str:
    words = {int: "a whole number", float: "a number", str: "a text", NoneType: "None"}
    choices = [str(k) for k in kinds if not isinstance(k, type)]
    names = [words[k] for k in kinds if isinstance(k, type)]
    return " or ".join([f"one of {', '.join(choices)}"] * bool(choices) + names)
