"""Things of a user's own, by import path."""

import importlib
import os
import sys
from typing import Any

from mjxhand.config import ConfigError


def load(path: str, setting: str) -> Any:
    """What `module:name` names; modules are also looked for in the working folder.

    Args:
        setting: the setting that names it, for the message.

    Raises:
        ConfigError: no such module or name, or the module fails when imported.
    """
    module, _, name = path.partition(":")
    if not module or not name:
        raise ConfigError(f"{setting} is {path!r}: give an import path as module:name")
    # `python -m` looks there by itself; a console script or notebook does not.
    if os.getcwd() not in sys.path and "" not in sys.path:
        sys.path.append(os.getcwd())
    try:
        found: Any = importlib.import_module(module)
    # A user's module may fail in any way; which one is told in the line.
    except Exception as error:
        problem = " ".join(f"{type(error).__name__}: {error}".split())
        away = isinstance(error, ModuleNotFoundError) and error.name == module
        where = f": call this in the folder of {module}.py, or put that into PYTHONPATH"
        raise ConfigError(
            f"{setting} is {path!r}: cannot import {module!r} ({problem})"
            f"{where if away else ''}"
        ) from error
    for part in name.split("."):
        if not hasattr(found, part):
            raise ConfigError(f"{setting} is {path!r}: {module!r} has no {name!r}")
        found = getattr(found, part)
    return found
