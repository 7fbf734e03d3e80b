"""The tasks, by name. A task is one file; a newcomer copies one to make their own."""

from mjxhand.tasks.reorient import Reorient

TASKS = {"reorient": Reorient}
