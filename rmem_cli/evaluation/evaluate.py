"""Measuring a model on a split."""

import math
from collections.abc import Collection

import torch
from torch import Tensor

from rmem_cli.errors import DivergedError
from rmem_cli.evaluation.free_running import own_answers
from rmem_cli.evaluation.walk import walk
from rmem_cli.models.batch import Batch
from rmem_cli.models.model import Model
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
            for sums, rows in groups:
                sums.examples += task.examples_in(batch.rows(rows))
                sums.told += task.told_in(batch.rows(rows))
            if state is not None and bool(batch.fresh.all()):
                state = None
            on_device = batch.to(parameter.device, parameter.dtype)
            right: list[Tensor] = []  # of each segment
            for segment, result in walk(model, on_device, state, own_answers(model, whole, feed)):
                state = result.state
                for sums, rows in groups:
                    sums.nll += float(result.losses[rows].double().sum())
                    sums.weight += float(result.weights[rows].double().sum())
                answers = None
                if counts_answers and result.outputs is not None:
                    answers = model.answers(result.outputs)
                if answers is not None:
                    found = answers == segment.targets
                    for sums, rows in groups:
                        _count_answers(sums, found[rows], segment.rows(rows))
                    right.append(found)
            exact = task.exact(torch.cat(right, dim=1), on_device, feed == "published") if right else None
            if exact is not None:
                for sums, rows in groups:
                    sums.exact += int(exact[rows].sum())
    model.train(was_training)
    totals = sum_of(world.all(totals))
    if not math.isfinite(totals.nll):
        raise DivergedError(f"the loss on the {split} split is {totals.nll}; a smaller optimizer.lr may help")
    return totals


def _groups(totals: Sums, batch: Batch) -> list[tuple[Sums, Tensor | slice]]:
    """The sums that a batch counts in, each with the rows that do: all of them, and those of each part."""
    groups: list[tuple[Sums, Tensor | slice]] = [(totals, slice(None))]
    if batch.part is not None:
        for part in sorted({*batch.part.tolist()}):
            rows = (batch.part == part).nonzero()[:, 0]  # [n]
            groups.append((totals.parts.setdefault(part, Sums()), rows))
    return groups


def _count_answers(sums: Sums, right: Tensor, segment: Batch) -> None:
    answer = segment.weight > 0 if segment.answer is None else segment.answer
    sums.correct += int((right & answer).sum())
    sums.found += int((right & answer & (segment.targets == 1)).sum())
    sums.answers += int(answer.sum())
