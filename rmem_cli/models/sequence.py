"""Encoder, core and head as one model."""

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional

from rmem_cli.models.adaptive import AdaptiveEmbedding, AdaptiveSoftmax
from rmem_cli.models.batch import Batch
from rmem_cli.models.cores.base import Core
from rmem_cli.models.encoders import Embedding, Features, LinearEncoder, OneHot
from rmem_cli.models.heads import LinearHead, Regression
from rmem_cli.models.state import State, reset
from rmem_cli.recipe.registry import ENCODERS, HEADS, import_object
from rmem_cli.recipe.schema import ModelSettings

Encoder = OneHot | Embedding | AdaptiveEmbedding | Features | LinearEncoder
Head = LinearHead | AdaptiveSoftmax | Regression


@dataclass(frozen=True)
class StepResult:
    """What one segment gives.

    Attributes:
        nll_sum: Weighted negative log-likelihood in nats (or squared error), summed over the segment.
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
        encoder: Symbols `[batch, time]` or features `[batch, time, features]` to vectors.
        core: The memory model.
        head: Outputs to losses and predictions.
        input_dropout: Probability of dropping an input of the core, in training.
        output_dropout: Probability of dropping an output of the core, in training.
    """

    def __init__(
        self,
        encoder: Encoder,
        core: Core,
        head: Head,
        *,
        input_dropout: float = 0.0,
        output_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.core = core
        self.head = head
        self.input_dropout = input_dropout
        self.output_dropout = output_dropout

    def outputs(self, batch: Batch, state: State | None) -> tuple[Tensor, State]:
        """The core's outputs `[batch, time, output_size]`, and the state after the batch."""
        x = functional.dropout(self.encoder(batch.inputs), self.input_dropout, self.training)
        if state is not None:
            initial = self.core.initial_state(x.shape[0], device=x.device, dtype=x.dtype)
            state = reset(state, initial, batch.fresh)
        y, state = self.core(x, state, batch.lengths)
        return functional.dropout(y, self.output_dropout, self.training), state

    def step(self, batch: Batch, state: State | None) -> StepResult:
        """Loss of one segment."""
        y, state = self.outputs(batch, state)
        nll = self.head.nll(y, batch.targets) * batch.weight
        return StepResult(nll.sum(), batch.weight.sum(), state, {})

    def parameter_count(self) -> int:
        """Number of weights, frozen ones included."""
        return sum(parameter.numel() for parameter in self.parameters())


def build_model(
    settings: ModelSettings,
    symbols: int,
    classes: int,
    default_encoder: str = "one_hot",
    default_head: str = "linear",
) -> SequenceModel:
    """The model that a recipe describes.

    Args:
        settings: Encoder, core and head.
        symbols: How many input symbols the task has, or features if its inputs are numbers.
        classes: How many classes its targets have; 1 if they are numbers.
        default_encoder: Kind of encoder where the settings name none.
        default_head: Kind of head where the settings name none.
    """
    encoder_settings = settings.encoder or ENCODERS.settings(default_encoder)(kind=default_encoder)
    head_settings = settings.head or HEADS.settings(default_head)(kind=default_head)
    encoder = import_object(encoder_settings.implementation).from_settings(encoder_settings, symbols)
    core = import_object(settings.core.implementation).from_settings(settings.core, encoder.output_size)
    head = import_object(head_settings.implementation).from_settings(
        head_settings, core.output_size, classes, encoder
    )
    return SequenceModel(
        encoder, core, head, input_dropout=settings.input_dropout, output_dropout=settings.output_dropout
    )
