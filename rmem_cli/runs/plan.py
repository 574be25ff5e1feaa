"""What a run would cost, before it is done: nothing is trained for it."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median

import torch
from torch.fx.experimental import _config as meta_config

from rmem_cli.clock import clock
from rmem_cli.models.batch import Batch
from rmem_cli.models.model import Model
from rmem_cli.recipe.schema import ModelSettings, RunSettings
from rmem_cli.runs.cost import Cost, Walks, carries, cost_of_step, kind, weight_bytes
from rmem_cli.runs.decoding_cost import decoding_seconds
from rmem_cli.runs.meta import KnownShapes
from rmem_cli.runs.opened import Run
from rmem_cli.runs.pace import pace_of
from rmem_cli.runs.peak_memory import one_out_of_memory_error
from rmem_cli.runs.timing_keys import step_key
from rmem_cli.runs.timings import keep, known
from rmem_cli.tasks.base import Task
from rmem_cli.training.optimizers import build_optimizer
from rmem_cli.training.parallel import Share
from rmem_cli.world import ALONE

_MOST_SECONDS = 5.0
_LEAST_STEPS = 3
_MANY_LAYERS = 5
# Of a batch that is larger than any recipe's, so many rows are drawn.
_MOST_ROWS = 1000
_MOST_SYMBOLS = 10**6
_WALKS: dict[object, Walks] = {}


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
        decoding_seconds: What its evaluations take at most, roughly, to decode summaries.
    """

    parameters: int
    steps: int
    batch_size: int
    memory_mb: float
    seconds_per_step: float
    is_measured: bool
    decoding_seconds: float = 0.0

    @property
    def seconds(self) -> float:
        """Time of all steps."""
        return self.steps * self.seconds_per_step


@one_out_of_memory_error()
def plan_of(run: Run, device: torch.device) -> Plan:
    """The size of a run, and how long it takes on a device: as it was timed there, else by the kind of core.

    Raises:
        DataError: Its pretrained model is missing.
        OutOfMemoryError: Not even one batch of it, or no memory at all could hold its model.
    """
    settings = run.settings
    train = settings.train
    stages = [stage for stage in run.stages if stage.steps > 0]
    batches, drawing = zip(*(_drawn(stage.task, settings) for stage in stages), strict=True)
    drawn = list(zip(batches, [stage.task for stage in stages], strict=True))
    model = _walks(run, settings.model, drawn).model
    # Which classes an adaptive softmax gathers depends on the data: counted as if it were all of them.
    with meta_config.patch(  # type: ignore[attr-defined]
        meta_nonzero_assume_all_nonzero=True
    ):
        count = _count_few_layers if _layers(settings.model) > _MANY_LAYERS else _count
        costs = count(run, settings.model, drawn)
    op_paths = model.op_paths()
    key = step_key(settings, run.identity.data_hash, op_paths, device)
    timed = None if train.stages else known(key)
    decodes = any(each.protocol.summaries is not None for each in run.measurements)
    if decodes or not timed:
        pace = pace_of(settings.model.core, op_paths, run.dtype, device)
    if timed:
        per_step = timed[0]
    else:
        seconds = [draw + pace.seconds(cost) for draw, cost in zip(drawing, costs, strict=True)]
        per_step = sum(stage.steps * each for stage, each in zip(stages, seconds, strict=True)) / run.steps
    return Plan(
        parameters=model.parameter_count(),
        steps=run.steps,
        batch_size=train.batch_size,
        memory_mb=(max(cost.bytes for cost in costs) + weight_bytes(model, settings.optimizer)) / 1e6,
        seconds_per_step=per_step,
        is_measured=bool(timed),
        decoding_seconds=decoding_seconds(run, model, pace) if decodes else 0.0,
    )


def measure_steps(run: Run, device: torch.device) -> bool:
    """Time some steps of a run and keep the rate, if they take less than five seconds each.

    Nothing is written but the rate; the weights are thrown away.

    Returns:
        Whether they were timed.
    """
    settings, task, seed = run.settings, run.task, run.spec.seed
    if plan_of(run, device).seconds_per_step > _MOST_SECONDS or settings.train.stages:
        return False
    model = run.seeded_model(device).train()
    optimizer = build_optimizer(
        settings.optimizer, [each for each in model.parameters() if each.requires_grad]
    )
    train = settings.train
    shares = [Share(each, train, task.carries_state) for each in ALONE.as_several(train.accumulate)]
    spent: list[float] = []
    for step in itertools.count():
        started = clock(device)
        batch = task.training_batch(step, train.batch_size, seed).of_type(run.dtype)
        optimizer.zero_grad()
        for share in shares:
            share.gradient(model, batch, seed, step)
        optimizer.step()
        spent.append(clock(device) - started)
        if len(spent) > _LEAST_STEPS and sum(spent) > _MOST_SECONDS:
            break
    keep_rate(run, model, device, spent)
    return True


def keep_rate(run: Run, model: Model, device: torch.device, seconds: Sequence[float]) -> None:
    """Keep what steps of a run took, for the plans of others like it; of a run in stages, nothing.

    The first step, which warms up, does not count, and of the others the median: what else the machine did
    meanwhile lengthens some of them many times over.

    Args:
        run: The run.
        model: What was trained.
        device: On which.
        seconds: Of each step, by `clock`; of fewer than four, nothing is kept.
    """
    if len(seconds) > _LEAST_STEPS and not run.settings.train.stages:
        key = step_key(run.settings, run.identity.data_hash, model.op_paths(), device)
        keep(key, [median(seconds[1:])])


def _count(run: Run, model: ModelSettings, drawn: Sequence[tuple[Batch, Task]]) -> list[Cost]:
    """What a step on each batch costs."""
    walks = _walks(run, model, drawn)
    return [cost_of_step(walks, batch, its_task, run.settings) for batch, its_task in drawn]


def _count_few_layers(run: Run, model: ModelSettings, drawn: Sequence[tuple[Batch, Task]]) -> list[Cost]:
    """The same from two layers and three: each further one costs what the third does."""
    two, three = (_count(run, _with_layers(model, layers), drawn) for layers in (2, 3))
    return [one.towards(other, _layers(model) - 2) for one, other in zip(two, three, strict=True)]


def _layers(settings: ModelSettings) -> int:
    return getattr(settings.core, "layers", 1)


def _with_layers(settings: ModelSettings, layers: int) -> ModelSettings:
    core = None if settings.core is None else settings.core.model_copy(update={"layers": layers})
    return settings.model_copy(update={"core": core})


def _drawn(task: Task, settings: RunSettings) -> tuple[Batch, float]:
    """A batch, not the first of a text, which starts afresh, and the seconds that it takes to draw one.

    Of a huge batch, some rows are drawn and stand for all.
    """
    wanted = settings.train.batch_size
    per_epoch = task.steps_per_epoch(wanted)
    rows = _drawn_rows(task, wanted)
    # A text of one batch starts afresh in each; with fewer rows it would go on.
    steps = (0,) if per_epoch == 1 and rows < wanted else (1, 2)
    cpu = torch.device("cpu")
    taken = []
    for step in steps:
        started = clock(cpu)
        batch = task.training_batch(step, rows, seed=0)
        taken.append(clock(cpu) - started)
        if taken[0] > 0.1:
            break
    return _with_rows(batch, wanted), min(taken) * wanted / rows


def _drawn_rows(task: Task, wanted: int) -> int:
    """How many rows of a batch of `wanted` are drawn: all, unless they are too many, or too long."""
    row = task.training_batch(1, 1, seed=0).inputs
    return min(wanted, _MOST_ROWS, max(1, _MOST_SYMBOLS // row.numel()))


def _with_rows(batch: Batch, count: int) -> Batch:
    """A batch of so many rows like those of another, their numbers without memory if there are more."""
    if count == len(batch.inputs):
        return batch
    enlarged = batch.map(lambda values: values.new_empty((count, *values.shape[1:]), device="meta"))
    return replace(enlarged, fresh=torch.full((count,), bool(batch.fresh.all())), reset=None)


def _walks(run: Run, settings: ModelSettings, drawn: Sequence[tuple[Batch, Task]]) -> Walks:
    """Where the cost of batches is counted: once for all runs of the same model on batches alike.

    Other batches are counted on another model, as some keep what depends on the first that they read.
    """
    task, train = drawn[-1][1], run.settings.train
    defaults = run.settings.task.encoder, run.settings.task.head
    model = settings.model_dump_json(), task.symbols, task.classes, *defaults, train.dtype
    segment_length = getattr(train.backprop, "segment_length", None)
    about = model, segment_length, tuple((kind(batch), carries(batch, each)) for batch, each in drawn)
    if about not in _WALKS:
        _WALKS[about] = Walks(_without_memory(run, settings))
    return _WALKS[about]


def _without_memory(run: Run, settings: ModelSettings) -> Model:
    """A model, its numbers without memory; a pretrained one is read from its files before."""
    pretrained = getattr(settings.core, "backbone", None) is not None
    with torch.device("cpu" if pretrained else "meta"), KnownShapes():
        model = run.new_model(settings)
    return model.to("meta", run.dtype)
