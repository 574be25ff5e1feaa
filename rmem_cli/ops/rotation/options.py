"""What distinguishes one rotational unit of memory from another."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

LAYER_NORM_EPS = 1e-3


@dataclass(frozen=True)
class RUMOptions:
    """The form of the recurrence; `rmem_cli.models.cores.recurrent_config.RUMSettings` explains it."""

    lambda_: Literal[0, 1] = 0
    eta: float | None = None
    update_gate: bool = True
    activation: Literal["relu", "tanh", "sigmoid", "softsign"] = "relu"
    layer_norm: Literal["none", "before_gate", "after_gate"] = "none"
    eps: float = 1e-12


class LayerNormWeights(NamedTuple):
    """Gain and bias, `[hidden]` each, of a layer's norms; those of the gate only if there is one."""

    target_gain: Tensor
    target_bias: Tensor
    candidate_gain: Tensor
    candidate_bias: Tensor
    gate_gain: Tensor | None = None
    gate_bias: Tensor | None = None


class Affine(NamedTuple):
    """`x @ kernel + bias`; the bias may be missing."""

    kernel: Tensor
    bias: Tensor | None

    def __call__(self, x: Tensor) -> Tensor:
        """Apply to the last axis of `x`."""
        product = x @ self.kernel
        return product if self.bias is None else product + self.bias


class RUMWeights(NamedTuple):
    """Weights of one layer; kernel rows `0..input-1` multiply the input, the others the hidden state.

    Attributes:
        target: W_r `[input + hidden, hidden]` and b_r.
        gate: W_u `[input + hidden, hidden]` and b_u; None without the update gate.
        embedding: W_e `[input, hidden]` and b_e.
        layer_norm: None without layer norm.
    """

    target: Affine
    gate: Affine | None
    embedding: Affine
    layer_norm: LayerNormWeights | None = None


class RUMResult(NamedTuple):
    """What a sequence leaves behind.

    Attributes:
        outputs: `[batch, time, hidden]`, the hidden state of every step.
        hidden: `[batch, hidden]`, the last one.
        memory: `[batch, hidden, hidden]`, the last associative memory; None for lambda 0.
        cosines: `[batch, time]`, cosine of the angle of each step's rotation; 1 where nothing is turned.
    """

    outputs: Tensor
    hidden: Tensor
    memory: Tensor | None
    cosines: Tensor


ACTIVATIONS = {
    "relu": torch.relu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "softsign": functional.softsign,
}


def layer_norm(x: Tensor, gain: Tensor | None, bias: Tensor | None) -> Tensor:
    """Layer norm over the last axis with the published eps, 1e-3 inside the root."""
    return functional.layer_norm(x, x.shape[-1:], gain, bias, LAYER_NORM_EPS)
