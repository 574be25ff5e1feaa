"""What settings of the Associative Recurrent Memory Transformer reach its memory."""

import pytest
import torch

from rmem_cli.models.cores.rmt import RMT
from rmem_cli.models.cores.transformer_config import RMTSettings


@pytest.mark.parametrize("normalized", [True, False])
def test_the_size_of_keys_and_queries_matters_unless_their_features_are_normalized(normalized):
    torch.manual_seed(0)
    settings = RMTSettings(
        hidden_size=8, memory_tokens=2, memory_kind="associative", associative_normalized=normalized
    )
    core = RMT(3, settings).double()
    for layer in core.associative.layers:
        torch.nn.init.normal_(layer.values.weight)  # zeros at first, so that nothing would be read
    x = torch.randn(2, 5, 3).double()

    def second_segment():
        return core(x, core(x)[1])[0]

    with torch.no_grad():
        before = second_segment()
        for layer in core.associative.layers:
            layer.keys.weight.mul_(1e-2)
            layer.queries.weight.mul_(1e-2)
        after = second_segment()
    assert torch.allclose(before, after, rtol=1e-3, atol=1e-3) == normalized
