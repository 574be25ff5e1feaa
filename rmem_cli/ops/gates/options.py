"""What distinguishes one gated recurrence from another."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

LAYER_NORM_EPS = 1e-5


@dataclass(frozen=True)
class GateOptions:
    """The form of the gates; how they are initialised is not the recurrence's matter.

    Attributes:
        activation: Of the forget gate: `sigmoid`, or `cumax`, by which it rises from one unit to the next.
        auxiliary: What modifies the forget gate: `none`, a `refine` gate, or the ordinary gate of which the
            forget gate is the `master`.
        coupled: Whether the input gate is one minus the effective forget gate, or a gate of its own.
        refine_bias: Whether the forget bias enters the refine gate with the opposite sign (`tied`) or not at
            all (`none`).
        master_downsize: Units, beside each other, that share one unit of a master gate; `hidden` is a
            multiple of it, and without a master it is 1.
    """

    activation: Literal["sigmoid", "cumax"] = "sigmoid"
    auxiliary: Literal["none", "master", "refine"] = "none"
    coupled: bool = True
    refine_bias: Literal["tied", "none"] = "tied"
    master_downsize: int = 1


class GateWeights(NamedTuple):
    """Weights of one layer; the `k` blocks of `hidden` rows stand in the order of `lstm_blocks`,
    `gru_blocks`.

    The block of a master gate has `hidden / master_downsize` rows, and its forget bias as many units.

    Attributes:
        input: `[k hidden, input]`, multiplies the input.
        recurrent: `[k hidden, hidden]`, multiplies the hidden state.
        bias: `[k hidden]`; None for none.
        forget_bias: `[hidden]`, enters the forget gate, and the refine gate where it is tied; None for none.
        gain: `[k hidden]`, of the layer norm of each block; None without layer norm.
        candidate_bias: `[hidden]`, added to what the hidden state contributes to a GRU's candidate before the
            reset gate multiplies it; None for none.
    """

    input: Tensor
    recurrent: Tensor
    bias: Tensor | None = None
    forget_bias: Tensor | None = None
    gain: Tensor | None = None
    candidate_bias: Tensor | None = None


class LSTMStates(NamedTuple):
    """The states after every step, `[batch, time, hidden]` each; the hidden states are the outputs."""

    hidden: Tensor
    cell: Tensor


Gates = dict[str, Tensor]


def lstm_blocks(options: GateOptions) -> tuple[str, ...]:
    """The gates of an LSTM in the order of their weights; the candidate and the output gate come last."""
    forget = _with_auxiliary("forget", options.auxiliary != "none")
    let_in = () if options.coupled else _with_auxiliary("input", options.auxiliary == "master")
    return (*forget, *let_in, "candidate", "output")


def gru_blocks(options: GateOptions) -> tuple[str, ...]:
    """The gates of a GRU in the order of their weights; its forget gate is the update gate."""
    return (*_with_auxiliary("forget", options.auxiliary != "none"), "reset", "candidate")


def block_sizes(blocks: tuple[str, ...], options: GateOptions, size: int) -> list[int]:
    """Rows of each block: `size`, and a share of it where a gate is a downsized master."""
    masters = ("forget", "input") if options.auxiliary == "master" else ()
    return [size // options.master_downsize if block in masters else size for block in blocks]


def with_whole_masters(weights: GateWeights, options: GateOptions, blocks: tuple[str, ...]) -> GateWeights:
    """Weights of the same gates whose blocks all have `hidden` rows: those of a master are repeated.

    Repeated rows have the same pre-activation, and a layer norm keeps it so, which has the same mean and
    deviation. Cumax does not: it must still sum over one of the rows each.
    """
    if options.master_downsize == 1:
        return weights
    size = weights.recurrent.shape[1]
    sizes = block_sizes(blocks, options, size)

    def whole(joined: Tensor) -> Tensor:
        return torch.cat(
            [block.repeat_interleave(size // len(block), 0) for block in joined.split_with_sizes(sizes)]
        )

    by_block = {name: getattr(weights, name) for name in ("input", "recurrent", "bias", "gain")}
    weights = weights._replace(**{name: whole(each) for name, each in by_block.items() if each is not None})
    if weights.forget_bias is None:
        return weights
    return weights._replace(forget_bias=weights.forget_bias.repeat_interleave(options.master_downsize))


def all_biases(weights: GateWeights, options: GateOptions, blocks: tuple[str, ...]) -> Tensor:
    """The biases of all blocks, the forget bias among them: `[k hidden]`."""
    rows = weights.recurrent.shape[0]
    bias = weights.recurrent.new_zeros(rows) if weights.bias is None else weights.bias
    if weights.forget_bias is None:
        return bias
    apart = dict.fromkeys(blocks, torch.zeros_like(weights.forget_bias)) | {"forget": weights.forget_bias}
    if options.auxiliary == "refine" and options.refine_bias == "tied":
        apart["forget_auxiliary"] = -weights.forget_bias
    return bias + torch.cat(list(apart.values()))


def steps_of(keep: Tensor | None, time: int) -> Sequence[Tensor | None]:
    """What zoneout lets through at each of `time` steps, `[batch, hidden]`; None for everything."""
    return [None] * time if keep is None else keep.unbind(1)


def _with_auxiliary(gate: str, wanted: bool) -> tuple[str, ...]:
    return (gate, f"{gate}_auxiliary") if wanted else (gate,)


def cumax(x: Tensor) -> Tensor:
    """Cumulative softmax over the last axis: rises from above 0 to 1, up to rounding.

    Source: Shen et al. 2019 (ON-LSTM), section 4.
    """
    return torch.softmax(x, dim=-1).cumsum(-1)


def layer_norm(x: Tensor, gain: Tensor) -> Tensor:
    """Layer norm of each block of `x [batch, k hidden]` by itself.

    Args:
        x: Pre-activations.
        gain: `[k, hidden]`.
    """
    blocks = x.view(x.shape[0], *gain.shape)  # [batch, k, hidden]
    # [batch, k hidden]
    return (functional.layer_norm(blocks, gain.shape[-1:], eps=LAYER_NORM_EPS) * gain).flatten(1)
