"""Encoder, core, read-out and head as one model."""

from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from rmem_cli.errors import UsageError
from rmem_cli.models.batch import Batch
from rmem_cli.models.config import EveryStepSettings
from rmem_cli.models.cores.base import Core
from rmem_cli.models.encoders import Encoder, encoded
from rmem_cli.models.heads import Head, Regression
from rmem_cli.models.memory_loss import MemoryLoss
from rmem_cli.models.memory_network import MemoryNetwork
from rmem_cli.models.model import Model, StepResult
from rmem_cli.models.pointer_generator import PointerGenerator
from rmem_cli.models.readouts import EveryStep, Readout
from rmem_cli.models.state import MEMORY, State, put, reset
from rmem_cli.models.story_and_question import StoryAndQuestion
from rmem_cli.recipe.registry import CORES, ENCODERS, HEADS, build
from rmem_cli.recipe.schema import ModelSettings

_ALL = slice(None)


class SequenceModel(Model):
    """An encoder, a core, a read-out and a head.

    Args:
        encoder: Symbols `[batch, time]` or features `[batch, time, features]` to vectors.
        core: The memory model.
        head: What the read-out gives to losses and predictions.
        readout: What the head gets of the core's outputs; None: each as it is.
        input_dropout: Probability of dropping an input of the core, in training.
        output_dropout: Probability of dropping an output of the core, in training.
        memory_loss: What the core's memory tokens are to predict; None: nothing.

    Raises:
        UsageError: There are no memory tokens that could predict this.
    """

    def __init__(
        self,
        encoder: Encoder,
        core: Core,
        head: Head,
        *,
        readout: Readout | None = None,
        input_dropout: float = 0.0,
        output_dropout: float = 0.0,
        memory_loss: MemoryLoss | None = None,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.core = core
        self.readout = EveryStep(core.output_size) if readout is None else readout
        self.head = head
        self.input_dropout = input_dropout
        self.output_dropout = output_dropout
        self.memory_loss = memory_loss
        if memory_loss is not None:
            _check_memory(core, head, self.readout)

    @property
    def segment_length(self) -> int | None:
        """That of the core."""
        return self.core.segment_length

    @property
    def causal(self) -> bool:
        """Whether the core is."""
        return self.core.causal

    @property
    def stepwise(self) -> bool:
        """Whether core and read-out are."""
        return self.core.stepwise and self.readout.stepwise

    def initial_state(
        self, rows: int, *, device: torch.device | None = None, dtype: torch.dtype | None = None
    ) -> State:
        """That of the core."""
        return self.core.initial_state(rows, device=device, dtype=dtype)

    def outputs(self, batch: Batch, state: State | None) -> tuple[Tensor, State]:
        """What the head gets at each step, `[batch, time, size]`; see `Model.outputs`."""
        y, state = self._core_outputs(batch, state)
        return self.readout(y, batch, _ALL), state

    def step(self, batch: Batch, state: State | None) -> StepResult:
        """See `Model.step`."""
        y, state = self._core_outputs(batch, state)
        # Without a weight, steps in front and behind change no gradient; but evaluation wants their answers.
        steps = batch.counted_steps() if self.training else _ALL
        outputs, weights = self.readout(y, batch, steps), batch.weight[:, steps]
        losses = self.head.nll(outputs, batch.targets[:, steps]) * weights
        return StepResult(losses, weights, outputs, state, self._auxiliary(batch, state))

    def logits(self, outputs: Tensor) -> Tensor:
        """See `Model.logits`."""
        return self.head.logits(outputs)

    def predictions(self, outputs: Tensor) -> Tensor:
        """See `Model.predictions`."""
        return self.head.prediction(outputs) if isinstance(self.head, Regression) else self.logits(outputs)

    def answers(self, outputs: Tensor) -> Tensor | None:
        """See `Model.answers`."""
        return None if self.head.predicts == "numbers" else super().answers(outputs)

    def constant_weights(self) -> AbstractContextManager[None]:
        """See `Core.constant_weights`."""
        return self.core.constant_weights()

    def op_paths(self) -> dict[str, str]:
        """Those of the core."""
        return self.core.op_paths()

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Have `torch.compile` translate the core, at its first step."""
        self.compiled = True
        self.core.compile(*args, **kwargs)

    def _core_outputs(self, batch: Batch, state: State | None) -> tuple[Tensor, State]:
        """The core's outputs `[batch, time, output_size]`, and the state after the batch.

        Outputs and state of a row do not depend on where others start afresh (`Batch.reset`).
        """
        if batch.reset is None:
            return self._read(batch, state)
        return self._read_pieces(batch, state) if self.core.stepwise else self._read_rests(batch, state)

    def _read_pieces(self, batch: Batch, state: State | None) -> tuple[Tensor, State]:
        """Cut for all rows where one starts afresh, which changes nothing for the others."""
        outputs = []
        for piece in batch.pieces():
            y, state = self._read(piece, state)
            outputs.append(y)
        return torch.cat(outputs, dim=1), state or {}

    def _read_rests(self, batch: Batch, state: State | None) -> tuple[Tensor, State]:
        """Uncut, as a cut would change the other rows; then the rows that start afresh again from there.

        The core is causal: what a row has read beyond that point changes nothing that is kept of it.
        """
        y, state = self._read(batch.begun(), state)
        for start, rows, rest in batch.rests():
            anew, after = self._read(rest, None)
            y = y.index_copy(0, rows, torch.cat([y[rows, :start], anew], dim=1))
            state = put(state, rows, after)
        return y, state

    def _read(self, batch: Batch, state: State | None) -> tuple[Tensor, State]:
        """`_core_outputs` of a batch in which no row starts afresh behind the first step."""
        x = functional.dropout(encoded(self.encoder, batch.inputs), self.input_dropout, self.training)
        if state is not None:
            self.core.check_state(state, x.shape[0])
            initial = self.core.initial_state(x.shape[0], device=x.device, dtype=x.dtype)
            state = reset(state, initial, batch.fresh)
        y, state = self.core(x, state, batch.lengths)
        return functional.dropout(y, self.output_dropout, self.training), state

    def _auxiliary(self, batch: Batch, state: State) -> dict[str, Tensor]:
        if self.memory_loss is None:
            return {}
        return {"memory": self.memory_loss(self.head.nll, state, batch.weight)}


def _check_memory(core: Core, head: Head, readout: Readout) -> None:
    if readout.output_size != core.output_size:
        raise UsageError(
            "memory_loss needs a read-out that gives the core's outputs as they are; leave one out"
        )
    if head.predicts == "numbers":
        raise UsageError("memory_loss needs a head that predicts classes; leave one of them out")
    memory = core.initial_state(1).get(MEMORY)
    if memory is None or memory.shape[1] == 0:
        raise UsageError(
            f"memory_loss needs a core whose memory tokens go from segment to segment, and "
            f"{type(core).__name__} has none; leave it out, or choose rmt or prenorm_rmt with memory_tokens"
        )


def build_model(
    settings: ModelSettings,
    symbols: int,
    classes: int,
    default_encoder: str = "one_hot",
    default_head: str = "linear",
) -> Model:
    """The model that a recipe describes.

    Args:
        settings: Architecture and parts.
        symbols: How many input symbols the task has, or features if its inputs are numbers.
        classes: How many classes its targets have; 1 if they are numbers.
        default_encoder: Kind of encoder where the settings name none.
        default_head: Kind of head where the settings name none.

    Raises:
        UsageError: There is no core, the memory loss does not fit core, head or classes, or another
            architecture does not fit the task.
    """
    if settings.architecture == "memory_network":
        return MemoryNetwork(symbols, classes, settings)
    if settings.core is None:
        raise UsageError(f"a model needs a core; there are: {', '.join(CORES.kinds())}")
    if settings.architecture == "pointer_generator":
        return PointerGenerator(symbols, classes, settings)
    encoder_settings = settings.encoder or ENCODERS.settings(default_encoder)(kind=default_encoder)
    head_settings = settings.head or HEADS.settings(default_head)(kind=default_head)
    encoder = build(encoder_settings, symbols)
    core = build(settings.core, encoder.output_size)
    if settings.architecture == "story_and_question":
        question = build(settings.core, encoder.output_size)
        answer = build(settings.core, 2 * core.output_size)
        head = build(head_settings, answer.output_size, classes, encoder=encoder)
        dropout = {"input_dropout": settings.input_dropout, "output_dropout": settings.output_dropout}
        return StoryAndQuestion(encoder, core, question, answer, head, **dropout)
    readout = build(settings.readout or EveryStepSettings(), core.output_size, encoder)
    head = build(head_settings, readout.output_size, classes, encoder=encoder)
    return SequenceModel(
        encoder,
        core,
        head,
        readout=readout,
        input_dropout=settings.input_dropout,
        output_dropout=settings.output_dropout,
        memory_loss=_memory_loss(settings, classes),
    )


def _memory_loss(settings: ModelSettings, classes: int) -> MemoryLoss | None:
    if settings.memory_loss is None:
        return None
    weight, symbol = settings.memory_loss.weight, settings.memory_loss.symbol
    if symbol >= classes:
        raise UsageError(f"model.memory_loss.symbol is {symbol}; the task has the symbols 0 to {classes - 1}")
    return MemoryLoss(weight, symbol)
