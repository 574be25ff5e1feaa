"""Result rows from the checkpoints of a trained run."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch

from rmem_cli.errors import InterruptedRunError, UsageError
from rmem_cli.evaluation.evaluate import Totals, evaluate
from rmem_cli.models.model import Model
from rmem_cli.recipe.registry import import_object
from rmem_cli.recipe.resolve import RunSpec
from rmem_cli.recipe.schema import EvalProtocol, RunSettings
from rmem_cli.recipe.settings import Component
from rmem_cli.records.checkpoint import fitting, load_checkpoint
from rmem_cli.records.folder import Environment, RunFolder
from rmem_cli.records.restoring import load_weights
from rmem_cli.results.metrics import metric
from rmem_cli.results.row import ResultRow, timestamp
from rmem_cli.runs.memory import peak_memory_mb
from rmem_cli.tasks.base import Task
from rmem_cli.training.loop import build_seeded_model, build_task_model, saved_counters, total_steps

Outcome = Literal["ok", "diverged", "out_of_memory", "failed"]


@dataclass(frozen=True)
class Trained:
    """A run whose training has ended.

    Attributes:
        spec: The run.
        folder: Its folder, locked.
        model: A model of its form; evaluation overwrites the weights.
        outcome: How the training ended.
        step: Where it ended.
        wall_seconds: How long it took.
        environment: What evaluates it, and the commits of the code that trained it too.
    """

    spec: RunSpec
    folder: RunFolder
    model: Model
    outcome: Outcome
    step: int
    wall_seconds: float
    environment: Environment


def check_protocols(spec: RunSpec) -> None:
    """Make sure, before a run is trained, that its weights will do in what its evaluations change.

    Raises:
        UsageError: An evaluation has other symbols or classes than the training, or a core of other weights.
        DataError: Data is missing or damaged.
    """
    learned = _task(spec.settings.task)
    for protocol in spec.settings.eval:
        task = _task(spec.protocol_task(protocol))
        if (task.symbols, task.classes) != (learned.symbols, learned.classes):
            raise UsageError(
                f"evaluation {protocol.name!r} changes the task to one of {task.symbols} symbols and "
                f"{task.classes} classes, but the model learns {learned.symbols} and {learned.classes}; "
                f"change eval.{protocol.name}.task"
            )
        if protocol.core and _shapes(_settings(spec, protocol), learned) != _shapes(spec.settings, learned):
            raise UsageError(
                f"evaluation {protocol.name!r} changes the core to one of other weights than those that are "
                f"learned; change eval.{protocol.name}.core"
            )


def _shapes(settings: RunSettings, task: Task) -> dict[str, torch.Size]:
    """The shape of each weight of the model."""
    with torch.device("meta"):
        model = build_task_model(settings, task)
    return {name: value.shape for name, value in model.state_dict().items()}


def _settings(spec: RunSpec, protocol: EvalProtocol) -> RunSettings:
    """What a run is made of, with the core of an evaluation."""
    model = spec.settings.model.model_copy(update={"core": spec.protocol_core(protocol)})
    return spec.settings.model_copy(update={"model": model})


def make_rows(trained: Trained, stop: Callable[[], bool]) -> list[ResultRow]:
    """Evaluate a run by every protocol of its settings; rows without values if its training failed.

    Args:
        trained: The run.
        stop: Asked before each protocol.

    Raises:
        InterruptedRunError: `stop` was true.
        DivergedError: A loss is not finite.
        UsageError: A protocol wants the best checkpoint of a run that never validated.
    """
    rows = []
    for protocol in trained.spec.settings.eval:
        if stop():
            raise InterruptedRunError("stopped before the evaluation; the same command goes on from there")
        totals, step = None, trained.step
        if trained.outcome == "ok":
            totals, step = _evaluate(trained, protocol)
        rows += [_row(trained, protocol, name, totals, step) for name in protocol.metrics]
    return rows


def _evaluate(trained: Trained, protocol: EvalProtocol) -> tuple[Totals, int]:
    """The sums of one protocol, and the step of the checkpoint they are from."""
    checkpoint = load_checkpoint(trained.folder.path, protocol.checkpoint)
    if checkpoint is None:
        raise UsageError(
            f"{trained.folder.path} has no checkpoint {protocol.checkpoint!r}; evaluate the last one "
            f"with `--checkpoint last`, or set train.validation and train again"
        )
    weights, saved = checkpoint
    task = _task(trained.spec.protocol_task(protocol))
    model = _model(trained, protocol, task)
    with fitting(trained.folder.path, protocol.checkpoint):
        load_weights(model, weights)
        step = saved_counters(saved, total_steps(trained.spec.settings.train, task)).step
    batch_size = protocol.batch_size or trained.spec.settings.train.batch_size
    totals = evaluate(
        model,
        task,
        protocol.split,
        protocol.examples,
        batch_size,
        trained.spec.seed,
        protocol.feed,
        protocol.metrics,
        protocol.examples_drawn,
    )
    return totals, step


def _model(trained: Trained, protocol: EvalProtocol, task: Task) -> Model:
    """The model that a protocol evaluates: the trained one, or one of its form but another core."""
    if not protocol.core:
        return trained.model
    device = next(trained.model.parameters()).device
    return build_seeded_model(_settings(trained.spec, protocol), task, trained.spec.seed, device)


def _task(settings: Component) -> Task:
    task: Task = import_object(settings.implementation).from_settings(settings)
    return task


def _row(trained: Trained, protocol: EvalProtocol, name: str, totals: Totals | None, step: int) -> ResultRow:
    spec, environment = trained.spec, trained.environment
    data_hash: str = spec.settings.task.data_hash()  # type: ignore[attr-defined]
    return ResultRow(
        experiment=spec.experiment,
        row=spec.row,
        cell=spec.cell,
        scale=spec.scale,
        seed=spec.seed,
        protocol=protocol.name,
        split=protocol.split,
        part="",
        metric=name,
        value=None if totals is None else totals.metric(name),
        unit=metric(name).unit,
        examples=None if totals is None else totals.examples,
        step=step,
        checkpoint=protocol.checkpoint,
        parameters=trained.model.parameter_count(),
        wall_seconds=round(trained.wall_seconds, 1),
        peak_memory_mb=round(peak_memory_mb(torch.device(environment.device)), 1),
        device=environment.device,
        threads=environment.threads,
        op_paths=environment.op_paths,
        dtype=environment.dtype,
        torch_version=environment.torch_version,
        rmem_version=environment.rmem_version,
        git_commit=environment.git_commit,
        git_dirty=environment.git_dirty,
        train_hash=spec.train_hash(data_hash),
        eval_hash=spec.eval_hash(protocol),
        data_hash=data_hash,
        status=trained.outcome,
        time=timestamp(),
    )
