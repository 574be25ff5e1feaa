"""Measuring a model on a split."""

import math
from collections.abc import Collection

import torch
from torch import Tensor

from rmem_cli.errors import DivergedError
from rmem_cli.evaluation.free_running import Feed, own_answers
from rmem_cli.evaluation.walk import walk
from rmem_cli.models.batch import Batch
from rmem_cli.models.model import Model
from rmem_cli.models.state import State
from rmem_cli.recipe.schema import Drawn
from rmem_cli.results.metrics import METRICS, Sums, metric
from rmem_cli.tasks.base import Task


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

    Raises:
        DivergedError: The loss is not finite.
    """
    parameter = next(model.parameters())
    was_training = model.training
    model.eval()
    counts_answers = any(metric(name).asks_for_answers for name in metrics)
    totals = Sums()
    exact_positions = task.exact_positions(feed == "published") if counts_answers else 0
    state: State | None = None
    with model.constant_weights():
        for batch in task.evaluation_batches(split, examples, batch_size, seed, drawn):
            totals.examples += task.examples_in(batch)
            if state is not None and bool(batch.fresh.all()):
                state = None
            on_device = batch.to(parameter.device, parameter.dtype)
            right = []
            for segment, result in walk(model, on_device, state, own_answers(model, on_device, feed)):
                state = result.state
                totals.nll += float(result.losses.double().sum())
                totals.weight += float(result.weights.double().sum())
                answers = model.answers(result.outputs) if counts_answers else None
                if answers is not None:
                    right.append(answers == segment.targets)
                    _count_answers(totals, right[-1], segment)
            if right and exact_positions:
                totals.exact += int(torch.cat(right, dim=1)[:, -exact_positions:].all(1).sum())
    model.train(was_training)
    if not math.isfinite(totals.nll):
        raise DivergedError(f"the loss on the {split} split is {totals.nll}; a smaller optimizer.lr may help")
    return totals


def _count_answers(totals: Sums, right: Tensor, segment: Batch) -> None:
    answer = segment.weight > 0 if segment.answer is None else segment.answer
    totals.correct += int((right & answer).sum())
    totals.found += int((right & answer & (segment.targets == 1)).sum())
    totals.answers += int(answer.sum())
