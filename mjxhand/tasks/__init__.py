"""The tasks, by name. A task is one file; a newcomer copies one to make their own."""

from mjxhand.config import ConfigError
from mjxhand.imports import load
from mjxhand.tasks.base import Mark, Sign, Task
from mjxhand.tasks.chain import Chain
from mjxhand.tasks.opposition import Opposition
from mjxhand.tasks.reach import Reach
from mjxhand.tasks.reorient import Reorient

__all__ = ["TASKS", "Mark", "Sign", "Task", "find"]

NEEDED = ("first_goal", "distance", "sizes", "observe")
"""What every task must have of its own."""
TASKS: dict[str, type[Task]] = {
    "reorient": Reorient,
    "chain": Chain,
    "reach": Reach,
    "opposition": Opposition,
}


def find(name: str) -> type[Task]:
    """The task called `name`, one of TASKS or an import path `module:Class`.

    Raises:
        ConfigError: there is none, it cannot be imported, or it is no whole task.
    """
    if ":" not in name:
        if name not in TASKS:
            raise ConfigError(
                f"env.task is {name!r}: there is no such task, choose one of "
                f"{', '.join(TASKS)}, or give your own as module:Class"
            )
        return TASKS[name]
    task = load(name, "env.task")
    if not (isinstance(task, type) and issubclass(task, Task)):
        raise ConfigError(
            f"env.task is {name!r}, which is no subclass of mjxhand.tasks.Task"
        )
    missing = [each for each in NEEDED if getattr(task, each) is getattr(Task, each)]
    if missing:
        raise ConfigError(
            f"env.task is {name!r}, which lacks {', '.join(missing)}: see "
            "mjxhand/tasks/reach.py"
        )
    return task
