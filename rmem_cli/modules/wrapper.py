"""Long sequences through a model of segments, for use outside of recipes."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from rmem_cli.evaluation.reader import Reader
from rmem_cli.evaluation.sampling import draw, generate
from rmem_cli.models.batch import Batch
from rmem_cli.models.model import Model
from rmem_cli.models.state import State
from rmem_cli.training.backprop import BackPropagation, Gradient, Replay, TrainingStep
from rmem_cli.training.config import ReplaySettings


class RecurrentMemoryTransformerWrapper(nn.Module):
    """Walks sequences of any length segment by segment.

    Args:
        model: A `RecurrentMemoryTransformer`, or any other model of classes.
        backprop: How gradients go back through the segments; by default through all of them, with the
            activations of one at a time.

    Example:
        >>> model = RecurrentMemoryTransformer(256, 64, memory_tokens=8, segment_length=128, layers=2)
        >>> wrapper = RecurrentMemoryTransformerWrapper(model)
        >>> loss = wrapper.backward(torch.randint(256, (1, 1025))).loss  # then: optimizer.step()
        >>> logits, state = wrapper(torch.randint(256, (1, 1024)))
        >>> wrapper.generate(torch.randint(256, (1, 200)), length=50).shape
        torch.Size([1, 50])
    """

    def __init__(self, model: Model, backprop: BackPropagation | None = None) -> None:
        super().__init__()
        self.model = model
        self.backprop = Replay(ReplaySettings()) if backprop is None else backprop

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

    def forward(self, tokens: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Read tokens, segment by segment; gradients, if they are recorded, go back through all of them.

        Args:
            tokens: `[batch, time]`.
            state: State before the first of them; None starts afresh.

        Returns:
            Logits `[batch, time, tokens]` of what follows each token, and the state after the last.

        Raises:
            ValueError: The state is that of another model, or of other rows.
        """
        batch = self._batch(tokens, tokens, 1.0, fresh=state is None)
        parts = []
        for segment in batch.split(self.model.segment_length):
            outputs, state = self.model.outputs(segment, state)
            parts.append(self.model.logits(outputs))
        return torch.cat(parts, dim=1), state or {}

    @torch.no_grad()
    def logits(self, tokens: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """`forward` without gradients, in the memory of one segment."""
        return self.forward(tokens, state)

    def generate(
        self,
        tokens: Tensor,
        length: int,
        temperature: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Tokens that go on from others, without dropout; row by row, each with a state of its own.

        Args:
            tokens: `[batch, time]`, at least one in each row.
            length: How many tokens are added.
            temperature: What logits are divided by; 0 always takes the most likely token.
            generator: Of the draws, on the CPU; None: torch's own.

        Returns:
            The new tokens, `[batch, length]`, on the device of those before.

        Raises:
            ValueError: A row is empty, `length` or `temperature` is below 0, or the model reads what comes
                later.
        """
        if tokens.dim() != 2 or tokens.shape[1] == 0:
            shape = list(tokens.shape)
            raise ValueError(f"tokens have the shape {shape}; they must be [batch, time], time above 0")
        if length < 0 or temperature < 0:
            raise ValueError(f"length is {length} and temperature {temperature}; neither can be below 0")
        if not self.model.causal:
            raise ValueError("the model reads what comes later; it cannot say what comes next")
        choose = draw(temperature, None, torch.default_generator if generator is None else generator)
        window = self.model.segment_length or tokens.shape[1] + length
        with _evaluating(self.model):
            rows = [
                list(generate(Reader(self.model, window), row, length, choose)) for row in tokens.tolist()
            ]
        # [rows, length]
        return torch.tensor(rows, dtype=tokens.dtype, device=tokens.device).view(len(rows), length)

    def _batch(self, inputs: Tensor, targets: Tensor, loss_weight: float, fresh: bool) -> Batch:
        parameter = next(self.model.parameters())
        rows, time = inputs.shape
        weight = torch.full((rows, time), loss_weight / time, dtype=parameter.dtype, device=inputs.device)
        return Batch(inputs, targets, weight, torch.full((rows,), fresh, device=inputs.device))


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Meanwhile, every part of a model is in evaluation mode."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
