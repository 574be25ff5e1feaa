"""Adaptive input and softmax, and the sizes of the published models."""

import copy

import pytest
import torch
from pydantic import ValidationError

from rmem_cli.errors import UsageError
from rmem_cli.models.adaptive import AdaptiveEmbedding, AdaptiveSoftmax
from rmem_cli.models.config import AdaptiveEmbeddingSettings, AdaptiveSoftmaxSettings, OneHotSettings
from rmem_cli.models.cores.transformer_config import RMTSettings
from rmem_cli.models.sequence import build_model
from rmem_cli.recipe.schema import ModelSettings

SYMBOLS, CUTOFFS = 11, [3, 5]
FORMS = pytest.mark.parametrize(
    "options",
    [
        {},
        {"cutoffs": CUTOFFS},
        {"cutoffs": CUTOFFS, "embedding_size": 4},
        {"cutoffs": CUTOFFS, "divisor": 2},
        {"cutoffs": CUTOFFS, "divisor": 2, "embedding_size": 4},
        {"embedding_size": 4},
    ],
    ids=str,
)
TIES = pytest.mark.parametrize("ties", [None, [], [False, True, True], [True, True, True]], ids=str)


def pair(options, ties):
    """An encoder and a head, tied unless `ties` is None."""
    torch.manual_seed(0)
    encoder = AdaptiveEmbedding(
        SYMBOLS, AdaptiveEmbeddingSettings(size=8, initial_std=0.5, projection_std=0.5, **options)
    ).double()
    if ties is None:
        own = {name: value for name, value in options.items() if name != "embedding_size"}
        head = AdaptiveSoftmax(
            8,
            SYMBOLS,
            AdaptiveSoftmaxSettings(tied=False, size=options.get("embedding_size"), initial_std=0.5, **own),
        )
    else:
        head = AdaptiveSoftmax(
            8, SYMBOLS, AdaptiveSoftmaxSettings(tie_projections=ties, initial_std=0.5), encoder
        )
    head = head.double()
    torch.nn.init.normal_(head.bias)
    torch.nn.init.normal_(head.cluster_bias)
    return encoder, head


def outputs():
    return torch.randn(2, 30, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@FORMS
@TIES
def test_probabilities_sum_to_one_and_losses_are_their_logarithms(options, ties):
    _, head = pair(options, ties)
    logits = head.logits(outputs())
    torch.testing.assert_close(logits.softmax(-1).sum(-1), torch.ones(2, 30).double())
    targets = torch.randint(SYMBOLS, (2, 30), generator=torch.Generator().manual_seed(2))
    expected = -logits.log_softmax(-1).gather(-1, targets[..., None]).squeeze(-1)
    torch.testing.assert_close(head.nll(outputs(), targets), expected)


@FORMS
def test_each_symbol_is_its_row_of_its_table_widened(options):
    encoder, _ = pair(options, None)
    embedded = encoder(torch.arange(SYMBOLS).view(1, -1))[0]
    for cluster, (start, end) in enumerate(encoder.tables.spans()):
        expected = encoder.tables.vectors(cluster)
        if encoder.projections:
            expected = expected @ encoder.projection(cluster).T
        torch.testing.assert_close(embedded[start:end], expected)


@FORMS
def test_tied_tables_are_stored_once_and_get_both_gradients(options):
    encoder, head = pair(options, [])
    assert not any(name.startswith("own") for name, _ in head.named_parameters())
    symbols = torch.arange(SYMBOLS).view(1, -1)
    tables = list(encoder.tables.parameters())
    both = torch.autograd.grad(
        encoder(symbols).sum() + head.nll(outputs()[:1, :SYMBOLS], symbols).sum(), tables
    )
    one = torch.autograd.grad(encoder(symbols).sum(), tables)
    other = torch.autograd.grad(head.nll(outputs()[:1, :SYMBOLS], symbols).sum(), tables)
    for total, first, second in zip(both, one, other, strict=True):
        torch.testing.assert_close(total, first + second)


def test_a_copied_model_is_tied_to_its_own_copy():
    model = torch.nn.ModuleList(pair({}, []))
    copied = copy.deepcopy(model)
    assert copied[1].tables is copied[0].tables
    assert copied[1].tables is not model[0].tables


def test_clusters_without_a_target_cost_nothing():
    _, head = pair({"cutoffs": CUTOFFS}, None)
    head.nll(outputs(), torch.zeros(2, 30, dtype=torch.long)).sum().backward()
    assert (head.own.tables[0].grad[CUTOFFS[0] :] == 0).all()
    assert (head.own.tables[0].grad[: CUTOFFS[0]] != 0).any()


def test_a_tied_head_without_an_adaptive_encoder_is_refused():
    core = RMTSettings(hidden_size=8, memory_tokens=2)
    settings = ModelSettings(encoder=OneHotSettings(), core=core, head=AdaptiveSoftmaxSettings())
    with pytest.raises(UsageError, match=r"model\.encoder\.kind"):
        build_model(settings, 5, 5)


def test_cutoffs_that_leave_nothing_to_a_cluster_are_refused():
    with pytest.raises(ValidationError, match="must rise"):
        AdaptiveEmbeddingSettings(size=8, cutoffs=[3, 3])
    with pytest.raises(ValidationError, match="leaves no width to the last of 3 clusters"):
        AdaptiveEmbeddingSettings(size=8, cutoffs=[3, 5], divisor=3)
    head = AdaptiveSoftmaxSettings(tied=False, cutoffs=[10, 20, 30], divisor=4)
    with pytest.raises(UsageError, match=r"model.head.cutoffs: divisor 4 leaves no width to the last of 4"):
        AdaptiveSoftmax(16, 101, head, None)
    with pytest.raises(UsageError, match=r"model.encoder.cutoffs are \[3, 5\], and there are 5 symbols"):
        AdaptiveEmbedding(5, AdaptiveEmbeddingSettings(size=8, cutoffs=[3, 5]))


# parameters, symbols, hidden size, layers, heads, head size, inner size, cutoffs
PUBLISHED = {
    "copy": (923_148, 12, 128, 4, 4, 64, 256, []),
    "retrieval": (349_413, 37, 64, 6, 4, 32, 128, []),
    "equations": (1_877_016, 24, 128, 6, 6, 64, 256, []),
    "enwik8": (41_055_436, 204, 512, 12, 8, 64, 2048, []),
    "wikitext103": (151_107_538, 267_735, 410, 16, 10, 41, 2100, [20_000, 40_000, 200_000]),
}


@pytest.mark.parametrize("name", PUBLISHED)
@pytest.mark.parametrize("memory", [0, 10])
def test_the_published_models_have_the_published_number_of_parameters(name, memory):
    expected, symbols, size, layers, heads, head_size, inner_size, cutoffs = PUBLISHED[name]
    settings = ModelSettings(
        encoder=AdaptiveEmbeddingSettings(size=size, cutoffs=cutoffs),
        core=RMTSettings(
            hidden_size=size,
            memory_tokens=memory,
            layers=layers,
            heads=heads,
            head_size=head_size,
            inner_size=inner_size,
        ),
        head=AdaptiveSoftmaxSettings(tie_projections=[False, True, True, True]),
    )
    with torch.device("meta"):
        model = build_model(settings, symbols, symbols)
    assert model.parameter_count() == expected + memory * size
