"""Measuring a model on a split."""

import math
from collections.abc import Collection

import torch
from torch import Tensor

from rmem_cli.errors import DivergedError
from rmem_cli.evaluation.free_running import own_answers
from rmem_cli.evaluation.walk import walk
from rmem_cli.models.batch import Batch
from rmem_cli.models.model import Model, StepResult
from rmem_cli.models.state import State
from rmem_cli.recipe.schema import Drawn, Feed
from rmem_cli.results.metrics import METRICS, Sums, metric, sum_of
from rmem_cli.tasks.base import Task
from rmem_cli.world import ALONE, World


@torch.no_grad()
def evaluate(
    model: Model,
    task: Task,
    split: str,
    examples: int | None,
    batch_size: int,
    seed: int,
    feed: Feed = "truth",
    metrics: Collection[str] = tuple(METRICS),
    drawn: Drawn = "by_batch",
    world: World = ALONE,
) -> Sums:
    """Run a model over a split, the state going on from batch to batch.

    Args:
        model: It is put into evaluation mode, and back afterwards.
        task: What is asked.
        split: `train`, `valid` or `test`.
        examples: How many; None takes all of a data set's split.
        batch_size: Examples (or text columns) at a time.
        seed: Of the run.
        feed: What the model reads after an answer; see `EvalProtocol`.
        metrics: What will be asked of the sums; see `Metric.asks_for_answers`.
        drawn: How examples are made; see `EvalProtocol.examples_drawn`.
        world: The processes that share the rows of each batch out; all of them get the sums.

    Raises:
        DivergedError: The loss is not finite.
    """
    parameter = next(model.parameters())
    was_training = model.training
    model.eval()
    counts_answers = any(metric(name).asks_for_answers for name in metrics)
    totals = Sums()
    state: State | None = None
    with model.constant_weights():
        for whole in task.evaluation_batches(split, examples, batch_size, seed, drawn):
            batch = whole.rows(world.rows(len(whole.fresh)))
            if not len(batch.fresh):
                continue
            groups = _groups(totals, batch)
            _count_examples(task, batch, groups)
            if state is not None and bool(batch.fresh.all()):
                state = None
            on_device = batch.to(parameter.device, parameter.dtype)
            right: list[Tensor] = []  # of each segment
            for segment, result in walk(model, on_device, state, own_answers(model, whole, feed)):
                state = result.state
                _count_losses(result, groups)
                if counts_answers and (answers := _answers(model, result)) is not None:
                    right.append(answers == segment.targets)
                    _count_answers(right[-1], segment, groups)
            if right:
                _count_exact(task.exact(torch.cat(right, dim=1), on_device, feed == "published"), groups)
    model.train(was_training)
    totals = sum_of(world.all(totals))
    if not math.isfinite(totals.nll):
        raise DivergedError(f"the loss on the {split} split is {totals.nll}; a smaller optimizer.lr may help")
    return totals


_Groups = list[tuple[Sums, Tensor | slice]]
"""Sums, each with the rows of a batch that count in them."""


def _groups(totals: Sums, batch: Batch) -> _Groups:
    """What a batch counts in: the sums of all its rows, and those of each part."""
    groups: _Groups = [(totals, slice(None))]
    if batch.part is not None:
        for part in sorted({*batch.part.tolist()}):
            rows = (batch.part == part).nonzero()[:, 0]  # [n]
            groups.append((totals.parts.setdefault(part, Sums()), rows))
    return groups


def _count_examples(task: Task, batch: Batch, groups: _Groups) -> None:
    for sums, rows in groups:
        sums.examples += task.examples_in(batch.rows(rows))
        sums.told += task.told_in(batch.rows(rows))


def _count_losses(result: StepResult, groups: _Groups) -> None:
    # Summed on the CPU: Apple's GPUs have no double precision.
    for sums, rows in groups:
        sums.nll += float(result.losses[rows].cpu().double().sum())
        sums.weight += float(result.weights[rows].cpu().double().sum())


def _answers(model: Model, result: StepResult) -> Tensor | None:
    return None if result.outputs is None else model.answers(result.outputs)


def _count_answers(right: Tensor, segment: Batch, groups: _Groups) -> None:
    for sums, rows in groups:
        part, found = segment.rows(rows), right[rows]
        answer = part.weight > 0 if part.answer is None else part.answer
        sums.correct += int((found & answer).sum())
        sums.found += int((found & answer & (part.targets == 1)).sum())
        sums.answers += int(answer.sum())


def _count_exact(exact: Tensor | None, groups: _Groups) -> None:
    if exact is not None:
        for sums, rows in groups:
            sums.exact += int(exact[rows].sum())
