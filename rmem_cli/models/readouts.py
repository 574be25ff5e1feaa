"""From all outputs of a core to what a head gets at some steps."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional

from rmem_cli.models.batch import Batch
from rmem_cli.models.config import AttentionSettings, EveryStepSettings
from rmem_cli.models.encoders import Encoder, encoded
from rmem_cli.ops.rotation.rotate import rotate


class Readout(nn.Module, ABC):
    """Stands between core and head: what it gives at a step may depend on what the core gave at all others.

    Attributes:
        output_size: Width of what it gives.
        stepwise: Whether it gives at a step what the core gave there and nothing else, so that a segment can
            be read in parts.
    """

    output_size: int
    stepwise: bool = False

    @abstractmethod
    def forward(self, y: Tensor, batch: Batch, steps: slice) -> Tensor:
        """Read the outputs of a core.

        Args:
            y: `[batch, time, size]`, at all steps.
            batch: What the core has read.
            steps: Those that are wanted, `n` of them.

        Returns:
            `[batch, n, output_size]`.
        """


class EveryStep(Readout):
    """The output of the core at each step as it is.

    Args:
        size: Width of the core's outputs.
        encoder: Of the model; it is not needed.
        settings: Nothing but the kind.
    """

    stepwise = True

    def __init__(
        self, size: int, encoder: Encoder | None = None, settings: EveryStepSettings | None = None
    ) -> None:
        super().__init__()
        del encoder, settings
        self.output_size = size

    def forward(self, y: Tensor, batch: Batch, steps: slice) -> Tensor:
        """See `Readout.forward`."""
        del batch  # a step is all that there is to it
        return y[:, steps]


class Attention(Readout):
    """The output at the end of a question, and the mean of those before the question, by how well they fit.

    With `y_t` the output at a step `t` that is asked for, and `s` the steps of what the question is about,

        a = softmax_s(y_t . y_s)    context = sum_s a_s y_s    given: [context ; y_t]

    Padded steps are none of them. Turned by a rotation, with `q` the sum of the question's encoded steps,

        given: [context ; R(q W, context) y_t]

    where `R(x, y)` is that of the rotational unit of memory, which takes the direction of `x` to that of `y`.

    In a batch without questions, each step attends to all steps before it since its text began. Where there
    are none, and at steps of which nothing is asked, the context is zero. Only what is in the segment at hand
    is attended to.

    Args:
        size: Width of the core's outputs.
        encoder: Of the model.
        settings: All options.

    Source: Dangovski et al. 2019, the published code of its question answering task, there for sentences.
    """

    def __init__(self, size: int, encoder: Encoder, settings: AttentionSettings) -> None:
        super().__init__()
        self.output_size = settings.output_size(size)
        self.rotation, self.eps = settings.rotation, settings.eps
        self._encoder = (encoder,)  # the model's own, whose weights are not counted again
        self.question_kernel: nn.Parameter | None = None
        if settings.rotation != "none":
            self.question_kernel = nn.Parameter(torch.empty(encoder.output_size, size))
            nn.init.xavier_uniform_(self.question_kernel)

    def forward(self, y: Tensor, batch: Batch, steps: slice) -> Tensor:
        """See `Readout.forward`."""
        wanted, counted = (range(y.shape[1])[each] for each in (steps, batch.counted_steps()))
        first = max(wanted.start, counted.start)
        stop = max(first, min(wanted.stop, counted.stop))
        asked = self._asked(y, batch, slice(first, stop))
        before, after = (
            functional.pad(y[:, rest], (y.shape[2], 0))
            for rest in (slice(wanted.start, first), slice(stop, wanted.stop))
        )
        return torch.cat([before, asked, after], dim=1)

    def _asked(self, y: Tensor, batch: Batch, steps: slice) -> Tensor:
        """`forward` of steps that are asked for."""
        wanted, about = y[:, steps], _about(batch, steps)
        scores = wanted @ y.mT
        scores = scores.masked_fill(~about, torch.finfo(scores.dtype).min)
        context = (scores.softmax(-1) * about) @ y
        if self.rotation == "question" and self.question_kernel is not None:
            wanted = rotate(self._question(batch, steps) @ self.question_kernel, context, wanted, self.eps)
        return torch.cat([context, wanted], dim=-1)

    def _question(self, batch: Batch, steps: slice) -> Tensor:
        """The sum of the encoded steps of each question, up to the step where it is asked."""
        vectors = encoded(self._encoder[0], batch.inputs)
        return _asking(batch, steps).to(vectors) @ vectors


def _about(batch: Batch, steps: slice) -> Tensor:
    """Whether a step is among what another one asks about: `[1 or batch, n, time]`."""
    times = torch.arange(batch.inputs.shape[1], device=batch.inputs.device)
    about = (times < times[steps, None])[None]
    if batch.question is not None:
        about = about & (times < batch.question[:, None])[:, None]
    return about if batch.reset is None else about & _same_text(batch.reset, steps).to(about.device)


def _asking(batch: Batch, steps: slice) -> Tensor:
    """Whether a step is part of the question that ends with another one: `[1 or batch, n, time]`."""
    times = torch.arange(batch.inputs.shape[1], device=batch.inputs.device)
    own = times[steps, None]
    begin = own[None] if batch.question is None else batch.question[:, None, None].clamp(max=own)
    return (times >= begin) & (times <= own)


def _same_text(reset: Tensor, steps: slice) -> Tensor:
    """Whether two steps are of the same text: `[batch, n, time]`."""
    text = reset.cumsum(1)
    return text[:, steps, None] == text[:, None]
