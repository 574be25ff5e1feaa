"""What a run would cost, before it is done: nothing is trained for it."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import cast

import torch
from torch.fx.experimental import _config as meta_config

from rmem_cli.models.batch import Batch
from rmem_cli.models.model import Model
from rmem_cli.recipe.resolve import RunSpec
from rmem_cli.recipe.schema import RunSettings
from rmem_cli.runs.cost import Cost, Walks, cost_of_step, weight_bytes
from rmem_cli.runs.memory import one_out_of_memory_error
from rmem_cli.runs.pace import pace_of
from rmem_cli.runs.rates import clock, keep, known, step_key
from rmem_cli.tasks.base import Task
from rmem_cli.tasks.config import TaskSettings
from rmem_cli.training.backprop import TrainingStep, build_backprop
from rmem_cli.training.loop import DTYPES, build_seeded_model, build_task, build_task_model, total_steps
from rmem_cli.training.optimizers import build_optimizer
from rmem_cli.training.stages import build_stages

_MOST_SECONDS = 5.0
_LEAST_STEPS = 3
_MANY_LAYERS = 5


@dataclass(frozen=True)
class Plan:
    """The size of a run.

    Attributes:
        parameters: Weights of the model.
        steps: Optimizer steps.
        batch_size: Examples (or text columns) of each.
        memory_mb: Weights, gradients, the optimizer's numbers and what back-propagation keeps, in megabytes.
        seconds_per_step: Of training, on average, without validations.
        is_measured: Whether steps of this run were timed on this machine; else it is an estimate.
    """

    parameters: int
    steps: int
    batch_size: int
    memory_mb: float
    seconds_per_step: float
    is_measured: bool

    @property
    def seconds(self) -> float:
        """Time of all steps."""
        return self.steps * self.seconds_per_step


@one_out_of_memory_error()
def plan_of(spec: RunSpec, device: torch.device) -> Plan:
    """The size of a run, and how long it takes on a device: as it was timed there, else by the kind of core.

    Raises:
        DataError: Its data, which the vocabulary comes from, or its pretrained model is missing.
        OutOfMemoryError: Not even one batch of it, or no memory at all could hold its model.
    """
    settings = spec.settings
    task = build_task(settings)
    train = settings.train
    model = _without_memory(settings, task)
    steps = total_steps(train, task)
    stages = [stage for stage in build_stages(settings, task, steps) if stage.steps > 0]
    batches, drawing = zip(*(_drawn(stage.task, settings) for stage in stages), strict=True)
    # Which classes an adaptive softmax gathers depends on the data: counted as if it were all of them.
    with meta_config.patch(  # type: ignore[attr-defined]
        meta_nonzero_assume_all_nonzero=True
    ):
        count = _count_few_layers if _layers(settings) > _MANY_LAYERS else _count
        costs = count(settings, task, list(zip(batches, [stage.task for stage in stages], strict=True)))
    op_paths = model.op_paths()
    key = step_key(settings, _data_hash(settings), op_paths, device)
    timed = None if train.stages else known(key)
    if timed:
        per_step = timed[0]
    else:
        pace = pace_of(settings.model.core, op_paths, DTYPES[train.dtype], device)
        seconds = [draw + pace.seconds(cost) for draw, cost in zip(drawing, costs, strict=True)]
        per_step = sum(stage.steps * each for stage, each in zip(stages, seconds, strict=True)) / steps
    return Plan(
        parameters=model.parameter_count(),
        steps=steps,
        batch_size=train.batch_size,
        memory_mb=(max(cost.bytes for cost in costs) + weight_bytes(model, settings.optimizer)) / 1e6,
        seconds_per_step=per_step,
        is_measured=bool(timed),
    )


def measure_steps(spec: RunSpec, device: torch.device) -> bool:
    """Time some steps of a run and keep the rate, if they take less than five seconds each.

    Nothing is written but the rate; the weights are thrown away.

    Returns:
        Whether they were timed.

    Raises:
        DataError: Its data is missing.
    """
    if plan_of(spec, device).seconds_per_step > _MOST_SECONDS or spec.settings.train.stages:
        return False
    settings, task = spec.settings, build_task(spec.settings)
    model = build_seeded_model(settings, task, spec.seed, device).train()
    optimizer = build_optimizer(
        settings.optimizer, [each for each in model.parameters() if each.requires_grad]
    )
    backprop, state = build_backprop(settings.train.backprop), None
    spent: list[float] = []
    for step in itertools.count():
        started = clock(device)
        batch = task.training_batch(step, settings.train.batch_size, spec.seed)
        if not task.carries_state or bool(batch.fresh.all()):
            state = None
        optimizer.zero_grad()
        gradient = backprop.gradient(
            model,
            batch.to(device, DTYPES[settings.train.dtype]),
            state,
            settings.train.loss,
            TrainingStep(spec.seed, step),
        )
        optimizer.step()
        state = gradient.state if task.carries_state else None
        spent.append(clock(device) - started)
        if len(spent) > _LEAST_STEPS and sum(spent) > _MOST_SECONDS:
            break
    keep_rate(settings, model, device, spent)
    return True


def keep_rate(settings: RunSettings, model: Model, device: torch.device, seconds: Sequence[float]) -> None:
    """Keep what steps of a run took, for the plans of others like it; of a run in stages, nothing.

    The first step, which warms up, does not count, and of the others the median: what else the machine did
    meanwhile lengthens some of them many times over.

    Args:
        settings: Of the run.
        model: What was trained.
        device: On which.
        seconds: Of each step, by `rates.clock`; of fewer than four, nothing is kept.
    """
    if len(seconds) > _LEAST_STEPS and not settings.train.stages:
        key = step_key(settings, _data_hash(settings), model.op_paths(), device)
        keep(key, [median(seconds[1:])])


def _count(settings: RunSettings, task: Task, drawn: Sequence[tuple[Batch, Task]]) -> list[Cost]:
    """What a step on each batch costs."""
    walks = Walks(_without_memory(settings, task))
    return [cost_of_step(walks, batch, its_task, settings) for batch, its_task in drawn]


def _count_few_layers(settings: RunSettings, task: Task, drawn: Sequence[tuple[Batch, Task]]) -> list[Cost]:
    """The same from two layers and three: each further one costs what the third does."""
    two, three = (_count(_with_layers(settings, layers), task, drawn) for layers in (2, 3))
    return [one.towards(other, _layers(settings) - 2) for one, other in zip(two, three, strict=True)]


def _layers(settings: RunSettings) -> int:
    return getattr(settings.model.core, "layers", 1)


def _with_layers(settings: RunSettings, layers: int) -> RunSettings:
    core = settings.model.core.model_copy(update={"layers": layers})
    return settings.model_copy(update={"model": settings.model.model_copy(update={"core": core})})


def _drawn(task: Task, settings: RunSettings) -> tuple[Batch, float]:
    """A batch, not the first of a text, which starts afresh, and the seconds that it takes to draw one."""
    cpu = torch.device("cpu")
    taken = []
    for step in (1, 2):
        started = clock(cpu)
        batch = task.training_batch(step, settings.train.batch_size, seed=0)
        taken.append(clock(cpu) - started)
        if taken[0] > 0.1:
            break
    return batch, min(taken)


def _data_hash(settings: RunSettings) -> str:
    return cast(TaskSettings, settings.task).data_hash()


def _without_memory(settings: RunSettings, task: Task) -> Model:
    """The model, its numbers without memory; a pretrained one is read from its files before."""
    pretrained = getattr(settings.model.core, "backbone", None) is not None
    with torch.device("cpu" if pretrained else "meta"):
        model = build_task_model(settings, task)
    return model.to("meta", DTYPES[settings.train.dtype])
