"""Result rows from the checkpoints of a trained run."""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from rmem_cli.errors import InterruptedRunError, UsageError
from rmem_cli.evaluation.evaluate import evaluate
from rmem_cli.models.model import Model
from rmem_cli.records.checkpoint import fitting, load_checkpoint
from rmem_cli.records.environment import Environment
from rmem_cli.records.folder import RunFolder
from rmem_cli.records.restoring import load_weights
from rmem_cli.results.metrics import Sums, metric
from rmem_cli.results.outcomes import Outcome
from rmem_cli.results.row import ResultRow, timestamp
from rmem_cli.runs.opened import Measurement, Run
from rmem_cli.runs.peak_memory import peak_memory_mb
from rmem_cli.training.loop import saved_counters
from rmem_cli.world import ALONE, World


@dataclass(frozen=True)
class Trained:
    """A run whose training has ended.

    Attributes:
        run: The run.
        folder: Its folder, locked.
        model: A model of its form; evaluation overwrites the weights.
        outcome: How the training ended.
        step: Where it ended.
        wall_seconds: How long it took.
        environment: What evaluates it, and the commits of the code that trained it too.
        world: The processes that evaluate it together.
    """

    run: Run
    folder: RunFolder
    model: Model
    outcome: Outcome
    step: int
    wall_seconds: float
    environment: Environment
    world: World = ALONE


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
    for measurement in trained.run.measurements:
        if stop():
            raise InterruptedRunError("stopped before the evaluation; the same command goes on from there")
        totals, step = None, trained.step
        if trained.outcome == "ok":
            totals, step = _evaluate(trained, measurement)
        rows += [
            _row(trained, measurement, part, name, sums, step)
            for part, sums in _by_part(measurement, totals)
            for name in measurement.protocol.metrics
        ]
    return rows


def _by_part(measurement: Measurement, totals: Sums | None) -> list[tuple[str, Sums | None]]:
    """The whole, and each part of the task that was seen; every part of a run that failed."""
    if totals is None:
        return [(part, None) for part in ("", *measurement.parts)]
    parts = [(measurement.parts[number], sums) for number, sums in sorted(totals.parts.items())]
    return [("", totals), *parts]


def _evaluate(trained: Trained, measurement: Measurement) -> tuple[Sums, int]:
    """The sums of one measurement, and the step of the checkpoint they are from."""
    run, protocol = trained.run, measurement.protocol
    checkpoint = load_checkpoint(trained.folder.path, protocol.checkpoint)
    if checkpoint is None:
        raise UsageError(
            f"{trained.folder.path} has no checkpoint {protocol.checkpoint!r}; evaluate the last one "
            f"with `--checkpoint last`, or set train.validation and train again"
        )
    weights, saved = checkpoint
    model = trained.model
    if protocol.core:
        model = run.seeded_model(next(model.parameters()).device, measurement.model)
    with fitting(trained.folder.path, protocol.checkpoint):
        load_weights(model, weights)
        step = saved_counters(saved, run.steps).step
    batch_size = protocol.batch_size or run.settings.train.batch_size
    totals = evaluate(
        model,
        measurement.task,
        protocol.split,
        protocol.examples,
        batch_size,
        run.spec.seed,
        protocol.feed,
        protocol.metrics,
        protocol.examples_drawn,
        trained.world,
    )
    return totals, step


def _row(
    trained: Trained, measurement: Measurement, part: str, name: str, sums: Sums | None, step: int
) -> ResultRow:
    run, protocol, environment = trained.run, measurement.protocol, trained.environment
    spec, identity = run.spec, run.identity
    return ResultRow(
        experiment=spec.experiment,
        row=spec.row,
        cell=spec.cell,
        scale=spec.scale,
        seed=spec.seed,
        protocol=protocol.name,
        split=protocol.split,
        part=part,
        metric=name,
        value=None if sums is None else sums.metric(name),
        unit=metric(name).unit,
        examples=None if sums is None else sums.examples,
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
        train_hash=identity.train_hash,
        eval_hash=measurement.eval_hash,
        data_hash=identity.data_hash,
        status=trained.outcome,
        time=timestamp(),
    )
