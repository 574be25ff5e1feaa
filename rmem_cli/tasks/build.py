"""From settings to a task."""

from rmem_cli.recipe.kinds import TaskSettings
from rmem_cli.recipe.registry import build
from rmem_cli.tasks.base import Task


def open_task(settings: TaskSettings) -> Task:
    """The task that a recipe describes, its data open.

    Raises:
        DataError: Data is missing or damaged.
    """
    task: Task = build(settings)
    return task
