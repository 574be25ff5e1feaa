"""Long sequences through a model of segments, for use outside of recipes."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from rmem_cli.evaluation.reader import Reader
from rmem_cli.evaluation.sampling import Choose, draw, generate
from rmem_cli.models.batch import Batch
from rmem_cli.models.model import Model
from rmem_cli.models.state import State, select
from rmem_cli.modules.recurrent_memory_transformer import LucidrainsTransformer, RecurrentMemoryTransformer
from rmem_cli.training.backprop import BackPropagation, Gradient, Replay, TrainingStep
from rmem_cli.training.config import ReplaySettings


class RecurrentMemoryTransformerWrapper(nn.Module):
    """Walks sequences of any length segment by segment.

    Around a `LucidrainsTransformer` it is a `LucidrainsWrapper`, which is called as in that package.

    Args:
        model: A `RecurrentMemoryTransformer`, or any other model of classes.
        backprop: How gradients go back through the segments; by default through all of them, with the
            activations of one at a time.

    Raises:
        TypeError: It is no such model.

    Example:
        >>> model = RecurrentMemoryTransformer(256, 64, memory_tokens=8, segment_length=128, layers=2)
        >>> wrapper = RecurrentMemoryTransformerWrapper(model)
        >>> loss = wrapper.backward(torch.randint(256, (1, 1025))).loss  # then: optimizer.step()
        >>> logits, state = wrapper(torch.randint(256, (1, 1024)))
        >>> wrapper.generate(torch.randint(256, (1, 200)), length=50).shape
        torch.Size([1, 50])
    """

    def __new__(cls, *models: Any, **named: Any) -> "RecurrentMemoryTransformerWrapper":
        """One that is called as its model is."""
        model = models[0] if models else named.get("transformer", named.get("model"))
        called_as_there = cls is RecurrentMemoryTransformerWrapper and isinstance(
            model, LucidrainsTransformer
        )
        return super().__new__(LucidrainsWrapper if called_as_there else cls)

    def __init__(self, model: Model, backprop: BackPropagation | None = None) -> None:
        super().__init__()
        _check_model(model, Model)
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

        Raises:
            ValueError: There is no next token, one is unknown, or the state is that of another model, or of
                other rows.
        """
        _check_next_tokens(tokens)
        return self._gradient(self.backprop, tokens, state, loss_weight)

    def forward(self, tokens: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Read tokens, segment by segment; gradients, if they are recorded, go back through all of them.

        Args:
            tokens: `[batch, time]`.
            state: State before the first of them; None starts afresh.

        Returns:
            Logits `[batch, time, tokens]` of what follows each token, and the state after the last.

        Raises:
            ValueError: There is no token, one is unknown, or the state is that of another model, or of other
                rows.
        """
        _check_tokens(tokens)
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
            ValueError: A row is empty, a token unknown, `length` or `temperature` is below 0, or the model
                reads what comes later.
            DivergedError: The model predicts what is no number.
        """
        self._check_beginning(tokens, length, temperature)
        choose = draw(temperature, None, torch.default_generator if generator is None else generator)
        return self._generated(tokens, length, choose)

    def _check_known(self, tokens: Tensor) -> None:
        if isinstance(self.model, RecurrentMemoryTransformer):
            self.model.check_tokens(tokens)

    def _check_beginning(self, tokens: Tensor, new: int, temperature: float) -> None:
        _check_tokens(tokens)
        self._check_known(tokens)
        if new < 0 or temperature < 0:
            raise ValueError(f"{new} new tokens at temperature {temperature}; neither can be below 0")
        if not self.model.causal:
            raise ValueError("the model reads what comes later; it cannot say what comes next")

    def _generated(self, tokens: Tensor, length: int, choose: Choose, state: State | None = None) -> Tensor:
        window = self.model.segment_length or tokens.shape[1] + length
        new = []
        with _evaluating(self.model):
            for row in range(len(tokens)):
                before = None if state is None else select(state, torch.tensor([row], device=tokens.device))
                reader = Reader(self.model, window, state=before)
                new.append(list(generate(reader, tokens[row].tolist(), length, choose)))
        # [rows, length]
        return torch.tensor(new, dtype=tokens.dtype, device=tokens.device).view(len(new), length)

    def _gradient(
        self, backprop: BackPropagation, tokens: Tensor, state: State | None, loss_weight: float
    ) -> Gradient:
        batch = self._batch(tokens[:, :-1], tokens[:, 1:], loss_weight, fresh=state is None)
        at = TrainingStep(int(torch.randint(2**62, ())), 0)
        return backprop.gradient(self.model, batch, state, "sum_over_time", at)

    def _batch(self, inputs: Tensor, targets: Tensor, loss_weight: float, fresh: bool) -> Batch:
        self._check_known(inputs)
        self._check_known(targets)
        parameter = next(self.model.parameters())
        rows, time = inputs.shape
        weight = torch.full((rows, time), loss_weight / time, dtype=parameter.dtype, device=inputs.device)
        return Batch(inputs, targets.long(), weight, torch.full((rows,), fresh, device=inputs.device))


class LucidrainsWrapper(RecurrentMemoryTransformerWrapper):
    """The same wrapper with the call and the results of recurrent-memory-transformer-pytorch.

    There, keys and values of earlier segments (`xl_memories`) are left out of logits and losses, and taken by
    the second pass of a replay and by `generate` alone; here, all of them are of the same function.

    Args:
        transformer: Made with that package's arguments.
        truncate_at_step: Segments after which no gradient goes back; None: it goes back through all of them.

    Raises:
        TypeError: The model is no `LucidrainsTransformer`.
        ValueError: `truncate_at_step` is no number of segments.

    Source: lucidrains/recurrent-memory-transformer-pytorch 0.7.0.

    Example:
        >>> model = RecurrentMemoryTransformer(
        ...     num_tokens=256, dim=64, depth=2, num_memory_tokens=8, seq_len=128
        ... )
        >>> wrapper = RecurrentMemoryTransformerWrapper(model)
        >>> loss = wrapper(torch.randint(256, (1, 1025)), memory_replay_backprop=True)
        >>> # then: optimizer.step()
        >>> logits, memories = wrapper(torch.randint(256, (1, 1024)))
        >>> wrapper.generate(torch.randint(256, (1, 200)), length=250).shape
        torch.Size([1, 50])
    """

    model: LucidrainsTransformer

    def __init__(self, transformer: LucidrainsTransformer, truncate_at_step: int | None = None) -> None:
        _check_model(transformer, LucidrainsTransformer)
        _check_segments(truncate_at_step)
        super().__init__(transformer)
        self.seq_len = transformer.seq_len
        self.truncate_at_step = truncate_at_step

    def forward(  # type: ignore[override]  # called as the package's, which is what the class is for
        self,
        x: Tensor,
        memories: Tensor | None = None,
        *,
        mask: Tensor | None = None,
        xl_memories: list[Tensor] | None = None,
        return_loss: bool = False,
        labels: Tensor | None = None,
        truncate_at_step: int | None = None,
        memory_replay_backprop: bool = False,
        mrbp_loss_weight: float = 1.0,
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Read tokens, segment by segment.

        Args:
            x: `[batch, time]`.
            memories: Before the first of them; None starts afresh.
            mask: `[batch, time]`, true or false; of each segment, see `LucidrainsTransformer.forward`. A loss
                counts the tokens that it lets through, and no row reads the last of these. (There, it counts
                all.)
            xl_memories: Before the first of them.
            return_loss: Whether the mean loss of each next token is wanted, other than `ignore_index`, or
                logits. (There, the mean of each segment counts by its length.)
            labels: None; they are the next tokens. (There, what is given is overwritten.)
            truncate_at_step: In place of the wrapper's own.
            memory_replay_backprop: Whether the gradient of the loss is added to the parameters, with the
                activations of one segment at a time.
            mrbp_loss_weight: What that loss is multiplied by.

        Returns:
            Logits `[batch, time, num_tokens]`, or the loss, and the memories after the last segment; or, of
            `memory_replay_backprop`, the loss alone.

        Raises:
            ValueError: Labels are given, or a mask to `memory_replay_backprop`, there is no token or, for a
                loss, no next one other than `ignore_index`, `truncate_at_step` is no number of segments, or
                memories or mask are not those of this model and these rows.
        """
        if labels is not None:
            raise ValueError("labels are the next tokens of x; leave them out")
        if mask is not None and mask.shape != x.shape:
            raise ValueError(f"the mask is {list(mask.shape)}; it must be as x is, {list(x.shape)}")
        piece = self.truncate_at_step if truncate_at_step is None else truncate_at_step
        _check_segments(piece)
        (_check_next_tokens if return_loss or memory_replay_backprop else _check_tokens)(x)
        if memory_replay_backprop:
            if mask is not None:
                raise ValueError("memory_replay_backprop takes no mask here; train on rows of equal length")
            state = self.model.state(len(x), memories, xl_memories)
            gradient = self._gradient(Replay(ReplaySettings(segments=piece)), x, state, mrbp_loss_weight)
            return torch.stack(gradient.losses).sum() / gradient.divisor
        if return_loss:
            x, labels, mask = self._predicted(x, mask)
        counts = [] if labels is None else self._counted(labels).sum(0).tolist()  # of each step
        outputs = []
        for number, start in enumerate(range(0, x.shape[1], self.seq_len), start=1):
            here = slice(start, start + self.seq_len)
            output, memories, xl_memories = self.model(
                x[:, here],
                memories,
                mask=None if mask is None else mask[:, here],
                labels=None if labels is None else labels[:, here],
                xl_memories=xl_memories,
            )
            if piece is not None and number % piece == 0:
                memories = memories.detach()
            if not return_loss:
                outputs.append(output)
            elif sum(counts[here]):  # the mean of no label is no number
                outputs.append(output * (sum(counts[here]) / sum(counts)))
        assert memories is not None  # noqa: S101  there was a token
        return torch.stack(outputs).sum() if return_loss else torch.cat(outputs, dim=1), memories

    def _predicted(self, x: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
        """What is read for a loss, what is to be predicted, and the mask of both."""
        inputs, labels = x[:, :-1], x[:, 1:]
        if mask is None:
            return inputs, labels, None
        counted = mask[:, 1:]  # the last token that counts of a row is predicted, not read
        return inputs, labels.masked_fill(counted.logical_not(), self.model.ignore_index), counted

    def _counted(self, labels: Tensor) -> Tensor:
        """Which labels a loss counts, at least one of them."""
        counted = labels != self.model.ignore_index
        if not bool(counted.any()):
            raise ValueError(
                f"every label is ignore_index, {self.model.ignore_index}; without another there is no loss"
            )
        return counted

    def _batch(self, inputs: Tensor, targets: Tensor, loss_weight: float, fresh: bool) -> Batch:
        counted = self._counted(targets)
        # What has no weight is still looked up among the classes.
        batch = super()._batch(inputs, targets.where(counted, 0), loss_weight, fresh)
        weight = loss_weight / (int(counted.sum()) / len(counted)) * counted.to(batch.weight.dtype)
        return replace(batch, weight=weight)

    def generate(  # type: ignore[override]  # likewise
        self,
        prime: Tensor,
        *,
        length: int,
        memories: Tensor | None = None,
        xl_memories: list[Tensor] | None = None,
        temperature: float = 1.0,
        filter_thres: float = 0.9,
    ) -> Tensor:
        """Tokens that go on from others, without dropout.

        Args:
            prime: `[batch, time]`, at least one in each row.
            length: How many tokens there are in the end, those of `prime` included.
            memories: Before the first of them; None starts afresh.
            xl_memories: Likewise.
            temperature: What logits are divided by; 0 always takes the most likely token.
            filter_thres: Share of all tokens, the least likely ones, that are never drawn.

        Returns:
            The new tokens alone, `[batch, length - time]`.

        Raises:
            ValueError: `prime` is longer than `length`, empty or unknown, the temperature is below 0,
                `filter_thres` leaves no token, the model reads what comes later, or memories are not its own.
            DivergedError: The model predicts what is no number.
        """
        self._check_beginning(prime, length - prime.shape[-1], temperature)
        if not 0 <= filter_thres < 1:
            raise ValueError(
                f"filter_thres is {filter_thres}; it must be 0, for none, or a share below 1 of all tokens"
            )
        top_k = math.ceil((1 - filter_thres) * self.model.encoder.table.num_embeddings)
        state = self.model.state(len(prime), memories, xl_memories)
        choose = draw(temperature, top_k, torch.default_generator)
        return self._generated(prime, length - prime.shape[1], choose, state)


def _check_model(model: nn.Module, sort: type[nn.Module]) -> None:
    if not isinstance(model, sort):
        name = f"{sort.__module__}.{sort.__name__}"
        raise TypeError(f"what is wrapped is of type {type(model).__name__}; it must be a {name}")


def _check_tokens(tokens: Tensor, before: int = 0) -> None:
    """`[batch, time]`, with more than so many steps in front of the last."""
    if tokens.dim() != 2 or tokens.shape[1] <= before:
        shape = list(tokens.shape)
        raise ValueError(f"tokens have the shape {shape}; they must be [batch, time], time above {before}")


def _check_next_tokens(tokens: Tensor) -> None:
    _check_tokens(tokens, before=1)
    if len(tokens) == 0:
        raise ValueError(f"tokens have the shape {list(tokens.shape)}; without a row there is no loss")


def _check_segments(truncate_at_step: int | None) -> None:
    if truncate_at_step is None:
        return
    if type(truncate_at_step) is not int or truncate_at_step < 1:
        raise ValueError(
            f"truncate_at_step is {truncate_at_step}; it must be 1 segment or more, or None for all of them"
        )


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
