"""Evaluation without the true answers: a model goes on from what it has answered itself."""

from dataclasses import replace

import torch
from torch import Tensor

from rmem_cli.evaluation.next_symbol import next_logits
from rmem_cli.models.batch import Batch
from rmem_cli.models.model import Model
from rmem_cli.models.state import State
from rmem_cli.recipe.schema import Feed


class OwnAnswers:
    """Puts the model's own answers in the place of the true ones, segment by segment.

    An input that follows a position with a weight becomes the most likely symbol at that position. The state
    before the segment is the model's own already; within the segment every answer is found by reading it anew
    (see `next_logits`), so that any causal core will do.

    Args:
        model: In evaluation mode.
        true_first: Whether the first input of every segment stays the true one, as in the published code of
            the RMT paper, which so tells the model one symbol of the answer in each segment.
    """

    def __init__(self, model: Model, *, true_first: bool = False) -> None:
        self.model = model
        self.true_first = true_first
        self._pending: tuple[Tensor, Tensor] | None = None

    @torch.no_grad()
    def __call__(self, segment: Batch, state: State | None) -> Batch:
        """The segment as the model reads it.

        Args:
            segment: The next one, on the model's device.
            state: State before it.
        """
        inputs, due = segment.inputs.clone(), segment.weight > 0
        if self._pending is not None and not self.true_first:
            self._put(inputs, 0, *self._pending)
        self._pending = None
        last = inputs.shape[1] - 1
        for position in range(last + 1):
            if not bool(due[:, position].any()):
                continue
            logits, _ = next_logits(self.model, replace(segment, inputs=inputs), position + 1, state)
            answers = logits.argmax(-1)
            if position == last:
                self._pending = answers, due[:, position]
            else:
                self._put(inputs, position + 1, answers, due[:, position])
        return replace(segment, inputs=inputs)

    def _put(self, inputs: Tensor, position: int, answers: Tensor, due: Tensor) -> None:
        inputs[:, position] = torch.where(due, answers, inputs[:, position])


def own_answers(model: Model, batch: Batch, feed: Feed) -> OwnAnswers | None:
    """What replaces the true answers of a batch; None where the model reads them.

    As published, it reads them all where the answer is shorter than a segment, and the first of each segment
    where it is not.

    Args:
        model: In evaluation mode.
        batch: Whole rows, not segments; of those of a process that has a share, all.
        feed: What the model reads after an answer.
    """
    if feed == "truth":
        return None
    if feed == "published":
        length = model.segment_length or batch.inputs.shape[1]
        longest = int((batch.weight > 0).sum(1).max())
        return None if longest < length else OwnAnswers(model, true_first=True)
    return OwnAnswers(model)
