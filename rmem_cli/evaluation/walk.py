"""Through a batch of any length, segment by segment, in the memory of one segment."""

from collections.abc import Callable, Iterator

import torch

from rmem_cli.models.batch import Batch
from rmem_cli.models.model import Model, StepResult
from rmem_cli.models.state import State


@torch.no_grad()
def walk(
    model: Model,
    batch: Batch,
    state: State | None,
    rewrite: Callable[[Batch, State | None], Batch] | None = None,
) -> Iterator[tuple[Batch, StepResult]]:
    """Walk a batch segment by segment without gradients.

    Args:
        model: Any.
        batch: On the model's device.
        state: State before it; None starts afresh.
        rewrite: Makes of a segment, and the state before it, the one that the model reads; None: itself.

    Yields:
        Each segment, as the model has read it, and what it gave.
    """
    for segment in batch.split(model.segment_length):
        if rewrite is not None:
            segment = rewrite(segment, state)
        result = model.step(segment, state)
        state = result.state
        yield segment, result
