"""The first weights of a seed are the same whatever number of threads draws them."""

import pytest
import torch
from torch import nn

from rmem_cli.models.config import EmbeddingSettings, LinearHeadSettings
from rmem_cli.models.cores.gated_lstm import GatedLSTM
from rmem_cli.models.cores.layer_norm_lstm import LayerNormLSTM
from rmem_cli.models.cores.prenorm_rmt import PreNormRMT
from rmem_cli.models.cores.recurrent_config import (
    EUNNSettings,
    GatedLSTMSettings,
    GORUSettings,
    LayerNormLSTMSettings,
)
from rmem_cli.models.cores.rmt import RMT
from rmem_cli.models.cores.transformer_config import PreNormRMTSettings, RMTSettings
from rmem_cli.models.cores.unitary import EUNN, GORU
from rmem_cli.models.encoders import Embedding
from rmem_cli.models.heads import LinearHead
from rmem_cli.models.initializers import KERNEL_INITIALIZERS
from rmem_cli.modules.rum import RUM


@pytest.fixture(autouse=True)
def threads():
    """The number of threads is put back."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def drawn(make, threads):
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    weights = make()
    assert torch.get_num_threads() == threads
    return weights


@pytest.mark.parametrize("size", [64, 256, 301, 512, 1000])
@pytest.mark.parametrize("name", KERNEL_INITIALIZERS)
def test_a_kernel_is_the_same_on_one_thread_and_on_two(name, size):
    def make():
        return KERNEL_INITIALIZERS[name](torch.empty(size + 3, size))

    assert torch.equal(drawn(make, 1), drawn(make, 2))


def test_an_orthogonal_kernel_is_what_torch_draws_on_one_thread():
    theirs = drawn(lambda: nn.init.orthogonal_(torch.empty(300, 256)), 1)
    ours = drawn(lambda: KERNEL_INITIALIZERS["orthogonal"](torch.empty(300, 256)), 2)
    assert torch.equal(ours, theirs)


@pytest.mark.parametrize(
    "make",
    [
        lambda: RUM(64, 256),
        lambda: RUM(64, 256, kernel_initializer="two_half_orthogonal", input_initializer="orthogonal"),
        lambda: GatedLSTM(64, GatedLSTMSettings(hidden_size=256)),
        lambda: EUNN(64, EUNNSettings(hidden_size=256, capacity=8, complex=True)),
        lambda: GORU(64, GORUSettings(hidden_size=256)),
        lambda: LayerNormLSTM(64, LayerNormLSTMSettings(hidden_size=256)),
        lambda: RMT(64, RMTSettings(hidden_size=256, memory_tokens=4, heads=4)),
        lambda: PreNormRMT(
            64, PreNormRMTSettings(hidden_size=256, memory_tokens=4, heads=4, segment_length=8)
        ),
        lambda: Embedding(300, EmbeddingSettings(size=256, initializer="orthogonal")),
        lambda: LinearHead(256, 300, LinearHeadSettings(initializer="orthogonal")),
    ],
    ids=[
        "rum",
        "published rum",
        "gated lstm",
        "eunn",
        "goru",
        "layer-norm lstm",
        "rmt",
        "pre-norm rmt",
        "embedding",
        "head",
    ],
)
def test_a_module_is_the_same_on_one_thread_and_on_two(make):
    one, two = (drawn(make, threads).state_dict() for threads in (1, 2))
    assert one.keys() == two.keys()
    assert all(torch.equal(one[name], two[name]) for name in one)
