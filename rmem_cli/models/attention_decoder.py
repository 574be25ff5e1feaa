"""A core that says something about a source: at each step it attends to all of it, and may copy from it."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from rmem_cli.models.cores.base import Core, Stepper
from rmem_cli.models.initializers import xavier_
from rmem_cli.models.state import State
from rmem_cli.ops.autocast import single_precision


class Source(NamedTuple):
    """What is attended to.

    Attributes:
        vectors: Of the source's steps, h_i, `[batch, source, source_size]`.
        keys: W_h h_i, `[batch, source, source_size]`.
        there: Whether a row has such a step, `[batch, source]`.
    """

    vectors: Tensor
    keys: Tensor
    there: Tensor


class Reached(NamedTuple):
    """Where a decoder is.

    Attributes:
        core: State of the core.
        context: What was seen at the step before, `[batch, source_size]`.
        coverage: Sum of all attention so far, `[batch, source]`.
    """

    core: State
    context: Tensor
    coverage: Tensor


class Said(NamedTuple):
    """What a decoder gives at a step, or at all steps, with time behind the batch.

    Attributes:
        outputs: `[batch, output_size]`.
        attention: `[batch, source]`; it sums to one.
        pointing: Logit of p_gen, the probability of a word that is not copied, `[batch]`; None: all are.
    """

    outputs: Tensor
    attention: Tensor
    pointing: Tensor | None


class AttentionDecoder(nn.Module):
    """Goes on step by step, and at each step sees the part of a source that it attends to.

    With `x_t` the input, `q_t` the state of the core after the step (all of its entries side by side, in the
    order of their names), `h_i` the source and `z_t = sum_{t' < t} a_t'` the coverage:

        y_t, q_t = core(W_x [x_t ; c_(t-1)] + b_x, q_(t-1))
        e_ti = v . tanh(W_h h_i + W_s q_t + b_s + w_z z_ti)     a_t = softmax_i(e_ti)
        c_t = sum_i a_ti h_i                                    output: W_o [y_t ; c_t] + b_o
        p_gen = sigmoid(w_p [c_t ; q_t ; x'_t] + b_p)

    where `x'_t` is what the core reads. Steps that a row does not have get no attention.

    Args:
        input_size: Width of the inputs.
        source_size: Width of the source's vectors.
        core: Reads inputs of the width `input_size`, step by step.
        pointer: Whether it gives p_gen.
        coverage: Whether attention knows what has been attended to: `w_z`.

    Attributes:
        covers: Whether it does so now.

    Source: See et al. 2017, sections 2.1 to 2.3, and the published code of Dangovski et al. 2019, whose
    decoder may be a RUM. While training, that starts with an empty context, and so does this one always; its
    search attends once before the first step.
    """

    def __init__(
        self, input_size: int, source_size: int, core: Core, *, pointer: bool, coverage: bool
    ) -> None:
        super().__init__()
        self.core = core
        self.output_size = core.output_size
        query = sum(value[0].numel() for value in core.initial_state(1, device=torch.device("cpu")).values())
        self.input = _linear(input_size + source_size, input_size)
        self.key = _linear(source_size, source_size, bias=False)
        self.query = _linear(query, source_size)
        self.score = _linear(source_size, 1, bias=False)
        self.coverage = _linear(1, source_size, bias=False) if coverage else None
        self.covers = coverage
        self.pointer = _linear(source_size + query + input_size, 1) if pointer else None
        self.output = _linear(core.output_size + source_size, core.output_size)

    def forward(self, inputs: Tensor, source: Source, reached: Reached) -> tuple[Said, Reached]:
        """Read several steps.

        Args:
            inputs: `[batch, time, input_size]`, at least one step.
            source: From `read`.
            reached: Where it is before the first step, as `start` has it.

        Returns:
            What is said at each step, and where that leads to.
        """
        stepper, said = self.core.stepper(), []
        for x in inputs.unbind(1):
            one, reached = self.step(x, source, reached, stepper)
            said.append(one)
        outputs, attention, pointing = zip(*said, strict=True)
        return (
            Said(
                torch.stack(outputs, 1),
                torch.stack(attention, 1),
                None if self.pointer is None else torch.stack(pointing, 1),
            ),
            reached,
        )

    def read(self, vectors: Tensor, there: Tensor) -> Source:
        """A source of vectors `[batch, source, source_size]`, of those that are there `[batch, source]`."""
        return Source(vectors, self.key(vectors), there)

    def start(self, source: Source, state: State) -> Reached:
        """Where it is with a state of the core, before anything is said."""
        return Reached(
            state, torch.zeros_like(source.vectors[:, 0]), torch.zeros_like(source.vectors[:, :, 0])
        )

    def step(
        self, x: Tensor, source: Source, reached: Reached, stepper: Stepper | None = None
    ) -> tuple[Said, Reached]:
        """Read one input, `[batch, input_size]`, from where it is; `stepper` is that of the core."""
        x = self.input(torch.cat([x, reached.context], -1))
        y, state = (stepper or self.core.step)(x, reached.core)
        attention, context = self.attend(state, source, reached.coverage)
        pointing = None
        if self.pointer is not None:
            pointing = self.pointer(torch.cat([context, _query(state), x], -1)).squeeze(-1)
        said = Said(self.output(torch.cat([y, context], -1)), attention, pointing)
        return said, Reached(state, context, reached.coverage + attention)

    def attend(self, state: State, source: Source, coverage: Tensor) -> tuple[Tensor, Tensor]:
        """The attention `[batch, source]` of a state, and the context `[batch, source_size]`."""
        keys = source.keys + self.query(_query(state))[:, None]
        if self.coverage is not None and self.covers:
            keys = keys + self.coverage(coverage[..., None])
        scores = single_precision(self.score(keys.tanh_()).squeeze(-1))  # coverage adds up over the steps
        scores = scores.masked_fill(~source.there, torch.finfo(scores.dtype).min)
        attention = scores.softmax(-1) * source.there
        return attention, (attention[:, None] @ source.vectors).squeeze(1)


def _query(state: State) -> Tensor:
    """All entries of a state side by side, `[batch, query]`."""
    return torch.cat([state[name].flatten(1) for name in sorted(state)], -1)  # each [batch, numbers]


def _linear(inputs: int, outputs: int, *, bias: bool = True) -> nn.Linear:
    layer = nn.Linear(inputs, outputs, bias)
    xavier_(layer.weight)
    if bias:
        nn.init.zeros_(layer.bias)
    return layer
