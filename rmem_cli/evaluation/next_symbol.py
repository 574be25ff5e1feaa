"""What a model expects after the part of a segment that is known."""

from dataclasses import replace

from torch import Tensor

from rmem_cli.models.batch import Batch
from rmem_cli.models.model import Model
from rmem_cli.models.state import State


def next_logits(model: Model, segment: Batch, known: int, state: State | None) -> tuple[Tensor, State]:
    """Logits `[batch, classes]` of what follows the first steps of a segment, and the state after all of it.

    A model whose segments cannot be read in parts reads the whole one, with zeros where nothing is known yet:
    what it makes of the beginning may depend on the length, as with `RMT(published_shift=True)`, though not
    on what stands there. The state then means something only if all is known. Others read the beginning.

    Args:
        model: Causal, in evaluation mode.
        segment: Of the length that training and evaluation read; what is not known may be anything.
        known: How many steps are, at least one.
        state: State before the segment.

    Raises:
        TypeError: The model predicts numbers.
    """
    if model.stepwise:
        segment = segment.split(known)[0]
    else:
        inputs = segment.inputs.clone()
        inputs[:, known:] = 0
        segment = replace(segment, inputs=inputs)
    outputs, state = model.outputs(segment, state)
    return model.logits(outputs[:, known - 1 : known])[:, 0], state
