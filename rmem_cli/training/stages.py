"""Curricula: which task a training step is on, and with how much of the model."""

from collections.abc import Callable
from dataclasses import dataclass

from rmem_cli.errors import UsageError
from rmem_cli.recipe.kinds import TaskSettings
from rmem_cli.recipe.resolve import changed
from rmem_cli.recipe.schema import RunSettings, TrainSettings
from rmem_cli.tasks.base import Task


@dataclass(frozen=True)
class Stage:
    """Training steps that follow one another and are on the same task.

    Attributes:
        task: The task.
        first: The first of them, counted from 0.
        steps: How many there are.
        coverage: Whether a model that has coverage knows it.
    """

    task: Task
    first: int
    steps: int
    coverage: bool = True


def total_steps(train: TrainSettings, task: Task) -> int:
    """Optimizer steps of a whole run."""
    if train.steps is not None:
        return train.steps
    per_epoch = task.steps_per_epoch(train.batch_size)
    if per_epoch is None or train.epochs is None:
        raise UsageError("train.epochs needs a task that reads data; set train.steps")
    return max(1, round(train.epochs * per_epoch))


def build_stages(
    settings: RunSettings, open_task: Callable[[TaskSettings], Task], total_steps: int
) -> list[Stage]:
    """The stages of a run in their order; the last of them is on the run's own task.

    Args:
        settings: What the run is made of.
        open_task: Gives the task of some settings.
        total_steps: Steps of all stages.

    Raises:
        DataError: Data is missing or damaged.
    """
    stages: list[Stage] = []
    first = 0
    for stage in settings.train.stages:
        task = open_task(changed(settings.task, stage.task))
        stages.append(Stage(task, first, stage.steps, stage.coverage))
        first += stage.steps
    return [*stages, Stage(open_task(settings.task), first, total_steps - first)]


def stage_at(stages: list[Stage], step: int) -> Stage:
    """The stage that a step belongs to; the last one, if all steps are done."""
    return next(stage for stage in reversed(stages) if step >= stage.first)
