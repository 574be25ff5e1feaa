"""Encoder, core and head as one model."""

from dataclasses import dataclass

from torch import Tensor, nn

from rmem_cli.models.batch import Batch
from rmem_cli.models.config import LinearHeadSettings, OneHotSettings
from rmem_cli.models.cores.base import Core
from rmem_cli.models.encoders import Embedding, OneHot
from rmem_cli.models.heads import LinearHead
from rmem_cli.models.state import State, reset
from rmem_cli.recipe.registry import import_object
from rmem_cli.recipe.schema import ModelSettings


@dataclass(frozen=True)
class StepResult:
    """What one segment gives.

    Attributes:
        nll_sum: Weighted negative log-likelihood of the segment, in nats, summed over its positions.
        weight_sum: Sum of the weights.
        state: State after the segment.
        auxiliary: Further losses, by name.
    """

    nll_sum: Tensor
    weight_sum: Tensor
    state: State
    auxiliary: dict[str, Tensor]


class SequenceModel(nn.Module):
    """An encoder, a core and a head.

    Args:
        encoder: Symbols `[batch, time]` to vectors.
        core: The memory model.
        head: Outputs to losses and logits.
    """

    def __init__(self, encoder: OneHot | Embedding, core: Core, head: LinearHead) -> None:
        super().__init__()
        self.encoder = encoder
        self.core = core
        self.head = head

    def outputs(self, batch: Batch, state: State | None) -> tuple[Tensor, State]:
        """The core's outputs `[batch, time, output_size]`, and the state after the batch."""
        x = self.encoder(batch.inputs)
        if state is not None:
            initial = self.core.initial_state(x.shape[0], device=x.device, dtype=x.dtype)
            state = reset(state, initial, batch.fresh)
        y, state = self.core(x, state, batch.lengths)
        return y, state

    def step(self, batch: Batch, state: State | None) -> StepResult:
        """Loss of one segment."""
        y, state = self.outputs(batch, state)
        nll = self.head.nll(y, batch.targets) * batch.weight
        return StepResult(nll.sum(), batch.weight.sum(), state, {})

    def parameter_count(self) -> int:
        """Number of weights, frozen ones included."""
        return sum(parameter.numel() for parameter in self.parameters())


def build_model(settings: ModelSettings, symbols: int, classes: int) -> SequenceModel:
    """The model that a recipe describes; one-hot symbols and a linear head where it names no others.

    Args:
        settings: Encoder, core and head.
        symbols: How many input symbols the task has.
        classes: How many classes its targets have.
    """
    encoder_settings = settings.encoder or OneHotSettings()
    head_settings = settings.head or LinearHeadSettings()
    encoder = import_object(encoder_settings.implementation).from_settings(encoder_settings, symbols)
    core = import_object(settings.core.implementation).from_settings(settings.core, encoder.output_size)
    head = import_object(head_settings.implementation).from_settings(head_settings, core.output_size, classes)
    return SequenceModel(encoder, core, head)
