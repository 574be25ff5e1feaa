"""Curricula: which task a training step is on."""

from dataclasses import dataclass

from rmem_cli.errors import UsageError
from rmem_cli.recipe.registry import build
from rmem_cli.recipe.resolve import changed
from rmem_cli.recipe.schema import RunSettings
from rmem_cli.tasks.base import Task


@dataclass(frozen=True)
class Stage:
    """Training steps that follow one another and are on the same task.

    Attributes:
        task: The task.
        first: The first of them, counted from 0.
        steps: How many there are.
    """

    task: Task
    first: int
    steps: int


def build_stages(settings: RunSettings, task: Task, total_steps: int) -> list[Stage]:
    """The stages of a run in their order; the last of them is on the run's own task.

    Args:
        settings: What the run is made of.
        task: Its task, open.
        total_steps: Steps of all stages.

    Raises:
        UsageError: The task of a stage has other symbols or classes than the run's own.
        DataError: Data is missing or damaged.
    """
    stages: list[Stage] = []
    first = 0
    for number, stage in enumerate(settings.train.stages):
        easier = changed(settings.task, stage.task)
        its_task: Task = build(easier)
        if (its_task.symbols, its_task.classes) != (task.symbols, task.classes):
            raise UsageError(
                f"stage {number} changes the task to one of {its_task.symbols} symbols and "
                f"{its_task.classes} classes, but the model has {task.symbols} and {task.classes}; "
                f"change train.stages[{number}].task"
            )
        stages.append(Stage(its_task, first, stage.steps))
        first += stage.steps
    return [*stages, Stage(task, first, total_steps - first)]


def stage_at(stages: list[Stage], step: int) -> Stage:
    """The stage that a step belongs to; the last one, if all steps are done."""
    return next(stage for stage in reversed(stages) if step >= stage.first)
