"""Made-up weights of a rotational unit of memory."""

import torch

from rmem_cli.ops.rotation.options import Affine, LayerNormWeights, RUMWeights


def normal(seed, *shape):
    source = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=source, dtype=torch.float64).requires_grad_()


def make_weights(options, inputs, size, bias=True):
    gate = Affine(normal(3, inputs + size, size), normal(4, size)) if options.update_gate else None
    norms = None
    if options.layer_norm != "none":
        names = ["target", "candidate", *(["gate"] if options.update_gate else [])]
        norms = LayerNormWeights(
            **{
                f"{name}_{part}": normal(10 + 2 * i + j, size)
                for i, name in enumerate(names)
                for j, part in enumerate(["gain", "bias"])
            }
        )
    return RUMWeights(
        Affine(normal(1, inputs + size, size), normal(2, size)),
        gate,
        Affine(normal(5, inputs, size), normal(6, size) if bias else None),
        norms,
    )


def leaves_of(weights):
    flat = [*weights.target, *(weights.gate or ()), *weights.embedding, *(weights.layer_norm or ())]
    return [tensor for tensor in flat if tensor is not None]
