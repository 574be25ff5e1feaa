"""Measuring a model on a split."""

import math
from collections.abc import Collection
from dataclasses import dataclass

import torch
from torch import Tensor

from rmem_cli.errors import DivergedError
from rmem_cli.evaluation.free_running import Feed, own_answers
from rmem_cli.evaluation.walk import walk
from rmem_cli.models.batch import Batch
from rmem_cli.models.model import Model
from rmem_cli.models.state import State
from rmem_cli.recipe.schema import Drawn
from rmem_cli.tasks.base import Task

ANSWER_METRICS = frozenset({"accuracy", "exact_match", "f1"})
_LARGEST_EXPONENT = 700.0  # a perplexity beyond says nothing more, and would overflow


@dataclass
class Totals:
    """Sums over all positions of an evaluation; every metric is a function of them.

    Attributes:
        nll: Weighted negative log-likelihood in nats, or squared error.
        weight: Sum of the weights.
        correct: Answers that were right.
        answers: Answers that were due; 0 if numbers are predicted, or no metric of answers was asked for.
        exact: Examples all of whose answers were right, of tasks that ask for it.
        found: Right answers that are class 1; F1 is that of this class, where there are two.
        examples: Examples seen.
    """

    nll: float = 0.0
    weight: float = 0.0
    correct: int = 0
    answers: int = 0
    exact: int = 0
    found: int = 0
    examples: int = 0

    def metric(self, name: str) -> float:
        """The value of a metric.

        Raises:
            KeyError: It is not one that these sums give.
        """
        if name == "accuracy":
            return self.correct / self.answers
        if name == "exact_match":
            return self.exact / self.examples
        if name == "f1":
            wrong = self.answers - self.correct
            return 2 * self.found / max(1, 2 * self.found + wrong)
        loss = self.nll / self.weight
        if name == "perplexity":
            return math.exp(min(loss, _LARGEST_EXPONENT))
        return {"loss": loss, "mse": loss, "bpc": loss / math.log(2)}[name]


@torch.no_grad()
def evaluate(
    model: Model,
    task: Task,
    split: str,
    examples: int | None,
    batch_size: int,
    seed: int,
    feed: Feed = "truth",
    metrics: Collection[str] = ANSWER_METRICS,
    drawn: Drawn = "by_batch",
) -> Totals:
    """Run a model over a split, the state going on from batch to batch.

    Args:
        model: It is put into evaluation mode, and back afterwards.
        task: What is asked.
        split: `train`, `valid` or `test`.
        examples: How many; None takes all of a data set's split.
        batch_size: Examples (or text columns) at a time.
        seed: Of the run.
        feed: What the model reads after an answer; see `EvalProtocol`.
        metrics: What will be asked of the sums. The most probable answers, which cost a language model as
            much as its loss, are looked for only if one of `ANSWER_METRICS` is there.
        drawn: How examples are made; see `EvalProtocol.examples_drawn`.

    Raises:
        DivergedError: The loss is not finite.
    """
    parameter = next(model.parameters())
    was_training = model.training
    model.eval()
    counts_answers = not ANSWER_METRICS.isdisjoint(metrics)
    totals = Totals()
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


def _count_answers(totals: Totals, right: Tensor, segment: Batch) -> None:
    answer = segment.weight > 0 if segment.answer is None else segment.answer
    totals.correct += int((right & answer).sum())
    totals.found += int((right & answer & (segment.targets == 1)).sum())
    totals.answers += int(answer.sum())
