"""Result rows from the checkpoints of a trained run."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from rmem_cli.errors import InterruptedRunError, UsageError
from rmem_cli.evaluation.evaluate import evaluate
from rmem_cli.models.model import Model
from rmem_cli.records.checkpoint import fitting, load_checkpoint
from rmem_cli.records.decoding import read_summaries
from rmem_cli.records.environment import Environment
from rmem_cli.records.restoring import load_weights
from rmem_cli.results.metrics import ROUGE, Sums, metric
from rmem_cli.results.outcomes import Outcome
from rmem_cli.results.row import ResultRow, timestamp
from rmem_cli.results.store import ResultStore
from rmem_cli.results.summaries import samples, samples_name
from rmem_cli.runs.decode import decode
from rmem_cli.runs.opened import Measurement, Run
from rmem_cli.runs.peak_memory import peak_memory_mb
from rmem_cli.training.loop import saved_counters
from rmem_cli.training.progress import MakeProgress
from rmem_cli.world import ALONE, Stop, World

LoadCheckpoint = Callable[[Model, str], tuple[Mapping[str, Tensor], int]]
"""Puts the weights of the checkpoint `last` or `best` into a model, and gives them, and their step."""


@dataclass(frozen=True)
class Trained:
    """A run whose training has ended.

    Attributes:
        run: The run.
        folder: Where what is said about articles is kept while it is decoded.
        load: Puts the weights of a checkpoint into a model.
        model: A model of its form; evaluation overwrites the weights.
        outcome: How the training ended.
        step: Where it ended.
        wall_seconds: How long it took.
        environment: What evaluates it, and the commits of the code that trained it too.
        world: The processes that evaluate it together.
    """

    run: Run
    folder: Path
    load: LoadCheckpoint
    model: Model
    outcome: Outcome
    step: int
    wall_seconds: float
    environment: Environment
    world: World = ALONE


@dataclass(frozen=True)
class _Measured:
    """What a protocol gave.

    Attributes:
        sums: What its metrics are functions of; None if there is nothing to evaluate.
        step: Of the checkpoint.
        environment: What evaluated it.
        scorer: What scored summaries, in words.
    """

    sums: Sums | None
    step: int
    environment: Environment
    scorer: str = ""


def checkpoints_of(run: Run, folder: Path) -> LoadCheckpoint:
    """The checkpoints of a run folder.

    Loading one raises:
        UsageError: There is no such checkpoint.
        DataError: It is damaged.
    """

    def load(model: Model, name: str) -> tuple[Mapping[str, Tensor], int]:
        checkpoint = load_checkpoint(folder, name)
        if checkpoint is None:
            raise UsageError(
                f"{folder} has no checkpoint {name!r}; evaluate the last one with `--checkpoint last`, or "
                "set train.validation and train again"
            )
        weights, saved = checkpoint
        with fitting(folder, name):
            load_weights(model, weights)
            return weights, saved_counters(saved, run.steps).step

    return load


def make_rows(trained: Trained, progress: MakeProgress, stop: Stop) -> list[ResultRow]:
    """Evaluate a run by every protocol of its settings; rows without values if its training failed.

    Args:
        trained: The run.
        progress: Makes the display, where summaries are decoded.
        stop: Asked before each protocol, and before each batch that is decoded. Of a run that did not fail,
            it is true as soon as it is in one of the processes.

    Raises:
        InterruptedRunError: `stop` was true.
        DivergedError: A loss is not finite.
        UsageError: A protocol wants the best checkpoint of a run that never validated.
    """
    rows = []
    leave = trained.world.agreed(stop) if trained.outcome == "ok" else stop
    for measurement in trained.run.measurements:
        if leave():
            raise InterruptedRunError("stopped before the evaluation; the same command goes on from there")
        if measurement.protocol.summaries is not None and not trained.world.writes:
            continue  # the first process decodes alone
        measured = _Measured(None, trained.step, trained.environment)
        if trained.outcome == "ok":
            measured = _evaluate(trained, measurement, progress, stop)
        rows += [
            _row(trained, measurement, part, name, replace(measured, sums=sums))
            for part, sums in _by_part(measurement, measured.sums)
            for name in measurement.protocol.metrics
        ]
    return rows


def write_samples(store: ResultStore, folder: Path, rows: Sequence[ResultRow]) -> None:
    """Keep some of what was said about articles beside the results.

    Args:
        store: Of the results.
        folder: Of the run.
        rows: What was measured.

    Raises:
        UsageError: They cannot be written.
    """
    decoded = [row for row in rows if metric(row.metric).asks_for_summaries and row.value is not None]
    for name, protocol in {samples_name(row): row.protocol for row in decoded}.items():
        store.write_samples(name, samples(read_summaries(folder, protocol)))


def _by_part(measurement: Measurement, totals: Sums | None) -> list[tuple[str, Sums | None]]:
    """The whole, and each part of the task that was seen; every part of a run that failed."""
    if totals is None:
        return [(part, None) for part in ("", *measurement.parts)]
    parts = [(measurement.parts[number], sums) for number, sums in sorted(totals.parts.items())]
    return [("", totals), *parts]


def _evaluate(trained: Trained, measurement: Measurement, progress: MakeProgress, stop: Stop) -> _Measured:
    """What one protocol measures."""
    run, protocol = trained.run, measurement.protocol
    model = trained.model
    if protocol.core:
        model = run.seeded_model(next(model.parameters()).device, measurement.model)
    weights, step = trained.load(model, protocol.checkpoint)
    batch_size = protocol.batch_size or run.settings.train.batch_size
    if protocol.summaries is not None:
        sums, origin = decode(
            model,
            weights,
            measurement,
            protocol.summaries,
            trained.folder,
            trained.environment,
            batch_size,
            progress,
            stop,
        )
        return _Measured(sums, step, origin.environment, origin.scorer)
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
    return _Measured(totals, step, trained.environment)


def _row(trained: Trained, measurement: Measurement, part: str, name: str, measured: _Measured) -> ResultRow:
    run, protocol, environment = trained.run, measurement.protocol, measured.environment
    spec, identity, sums = run.spec, run.identity, measured.sums
    low, high = (None, None) if sums is None else metric(name).interval(sums) or (None, None)
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
        step=measured.step,
        checkpoint=protocol.checkpoint,
        parameters=trained.model.parameter_count(),
        wall_seconds=round(trained.wall_seconds, 3),
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
        low=low,
        high=high,
        settings=measured.scorer if name in ROUGE else "",
        processes=trained.world.size,
        compiled=str(trained.model.compiled).lower(),
    )
