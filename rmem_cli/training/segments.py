"""Long sequences through a model of segments, for use outside of recipes."""

import torch
from torch import Tensor

from rmem_cli.models.batch import Batch
from rmem_cli.models.heads import Regression
from rmem_cli.models.sequence import SequenceModel
from rmem_cli.models.state import State
from rmem_cli.training.backprop import BackPropagation, Gradient, Replay, TrainingStep, stream


class RecurrentMemoryTransformerWrapper:
    """Walks sequences of any length segment by segment.

    Args:
        model: A `RecurrentMemoryTransformer`, or any other model of encoder, core and head.
        backprop: How gradients go back through the segments; by default through all of them, with the
            activations of one at a time.

    Example:
        >>> model = RecurrentMemoryTransformer(256, 64, memory_tokens=8, segment_length=128, layers=2)
        >>> wrapper = RecurrentMemoryTransformerWrapper(model)
        >>> loss = wrapper.backward(torch.randint(256, (1, 1025))).loss  # then: optimizer.step()
        >>> logits, state = wrapper.logits(torch.randint(256, (1, 1024)))
    """

    def __init__(self, model: SequenceModel, backprop: BackPropagation | None = None) -> None:
        self.model = model
        self.backprop = Replay() if backprop is None else backprop

    def backward(self, tokens: Tensor, state: State | None = None, loss_weight: float = 1.0) -> Gradient:
        """Add the gradient of the mean loss of each next token to the parameters.

        Dropout draws from torch's generator, which one draw at the start seeds anew.

        Args:
            tokens: `[batch, time + 1]`.
            state: State before the first of them; None starts afresh.
            loss_weight: What the loss is multiplied by, such as one over the number of batches whose
                gradients are added up.

        Returns:
            The loss, and the state after the last segment.
        """
        batch = self._batch(tokens[:, :-1], tokens[:, 1:], loss_weight, fresh=state is None)
        at = TrainingStep(int(torch.randint(2**62, ())), 0)
        return self.backprop.gradient(self.model, batch, state, "sum_over_time", at)

    @torch.no_grad()
    def logits(self, tokens: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Logits `[batch, time, tokens]` of `tokens [batch, time]`, and the state after them."""
        batch = self._batch(tokens, tokens, 1.0, fresh=state is None)
        head = self.model.head
        if isinstance(head, Regression):
            raise TypeError("a head that predicts numbers has no logits")
        parts = []
        for _, outputs, new_state in stream(self.model, batch, state):
            parts.append(head.logits(outputs))
            state = new_state
        return torch.cat(parts, dim=1), state or {}

    def _batch(self, inputs: Tensor, targets: Tensor, loss_weight: float, fresh: bool) -> Batch:
        parameter = next(self.model.parameters())
        rows, time = inputs.shape
        weight = torch.full((rows, time), loss_weight / time, dtype=parameter.dtype, device=inputs.device)
        return Batch(inputs, targets, weight, torch.full((rows,), fresh, device=inputs.device))
