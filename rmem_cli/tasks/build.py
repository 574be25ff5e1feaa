"""From settings to a task."""

from rmem_cli.recipe.registry import import_object
from rmem_cli.recipe.settings import Component
from rmem_cli.tasks.base import Task


def open_task(settings: Component) -> Task:
    """The task that a recipe describes, its data open.

    Raises:
        DataError: Data is missing or damaged.
    """
    task: Task = import_object(settings.implementation).from_settings(settings)
    return task
