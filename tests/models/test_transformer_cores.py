"""What Transformer-XL and both Recurrent Memory Transformers promise, over pairs of their options."""

import itertools

import pytest
import torch

from rmem_cli.models.cores.prenorm_rmt import PreNormRMT
from rmem_cli.models.cores.rmt import RMT
from rmem_cli.models.cores.transformer_config import PreNormRMTSettings, RMTSettings, TransformerXLSettings
from rmem_cli.models.cores.transformer_xl import TransformerXL
from rmem_cli.models.state import detach

SIZE, TIME, BATCH = 6, 5, 3
BASE = {
    TransformerXL: {"layers": 2, "heads": 2, "cache_length": 3},
    RMT: {"layers": 2, "heads": 2, "memory_tokens": 2, "published_shift": False},
    PreNormRMT: {"layers": 2, "heads": 2, "head_size": 4, "memory_tokens": 2, "segment_length": TIME},
}
SETTINGS = {TransformerXL: TransformerXLSettings, RMT: RMTSettings, PreNormRMT: PreNormRMTSettings}
CACHED = {"cache_length": 3}
ON = (False, True)
ENCODINGS = [
    {"position_encoding": kind, "segment_length": TIME}
    for kind in ("relative_sinusoid", "relative_learned", "absolute_sinusoid", "absolute_learned")
]
ASSOCIATIVE = {"memory_tokens": 2, "memory_kind": "associative", "associative_size": 3}
# For each core the values of each option; the first entry joins those that only go together.
CHOICES = {
    TransformerXL: [
        [
            {"cache_length": 0},
            {"cache_length": 3},
            {"cache_length": 9},
            {"cache_length": 4, "same_length": True},
        ],
        [{}, {"clamp_length": 2}],
        ENCODINGS,
        [{"pre_norm": on} for on in ON],
        [{}, {"head_size": 4, "inner_size": 5}],
    ],
    RMT: [
        [
            {"cache_length": 0},
            {"cache_length": 3},
            {"cache_length": 9},
            {"cache_length": 4, "same_length": True},
        ],
        [
            {"memory_tokens": 2},
            {"memory_tokens": 2, "memory_at_end": False},
            {"memory_tokens": 1, "memory_initializer": "shared"},
            {"memory_tokens": 0},
            ASSOCIATIVE,
            ASSOCIATIVE | {"associative_correction": False},
        ],
        [{}, {"clamp_length": 2}],
        ENCODINGS,
        *[
            [{name: on} for on in ON]
            for name in (
                "pre_norm",
                "read_memory_from_cache",
                "causal_memory",
                "cache_memory",
                "published_shift",
            )
        ],
    ],
    PreNormRMT: [
        [{"cache_length": 0}, {"cache_length": 3}, {"cache_length": 9}],
        [{}, {"write_to_next_write": True}, {"write_to_next_write": True, "next_write_gradient": True}],
        [{"memory_tokens": 2}, {"memory_tokens": 1}],
        [{"residual_streams": 1}, {"residual_streams": 3}],
        [{"embedding_gradient": 0.1}, {"embedding_gradient": 1.0}],
        *[
            [{name: on} for on in ON]
            for name in (
                "absolute_positions",
                "rotary_positions",
                "token_shift",
                "causal_memory",
                "memory_reads_cache",
                "cache_memory",
                "cache_from_above",
                "read_first_memory",
                "null_key",
                "null_after_cache",
                "value_residual",
                "memory_at_end",
            )
        ],
    ],
}


def pairwise(factors):
    """Few choices of one value for each factor, in which every pair of values of two factors occurs."""
    values = [[(number, place) for place in range(len(factor))] for number, factor in enumerate(factors)]
    missing = {
        pair for one, other in itertools.combinations(values, 2) for pair in itertools.product(one, other)
    }
    while missing:
        chosen = dict(min(missing))
        for number, factor in enumerate(values):
            if number not in chosen:
                gains = [
                    sum(tuple(sorted(((number, place), other))) in missing for other in chosen.items())
                    for _, place in factor
                ]
                chosen[number] = gains.index(max(gains))
        missing -= set(itertools.combinations(sorted(chosen.items()), 2))
        yield {
            name: value for number, place in chosen.items() for name, value in factors[number][place].items()
        }


CASES = [(core, options) for core, factors in CHOICES.items() for options in pairwise(factors)]


def over(cases):
    """A test of each of the cases."""
    names = [f"{core.__name__} {number}" for number, (core, _) in enumerate(cases)]
    return pytest.mark.parametrize(("core", "options"), cases, ids=names)


EVERY_PAIR = over(CASES)
# The published shift depends on the longest row of a batch, and on the fullest cache in it.
EVERY_PAIR_BY_ROWS = over([case for case in CASES if not case[1].get("published_shift")])
EVERY_CORE = pytest.mark.parametrize("core", BASE, ids=lambda core: core.__name__)


def make(core, options, seed=0):
    torch.manual_seed(seed)
    settings = SETTINGS[core](hidden_size=SIZE, **{**BASE[core], **options})
    made = core(SIZE, settings).double().eval()
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.6)  # so that everything matters
    return made


def inputs(time=TIME, seed=1):
    source = torch.Generator().manual_seed(seed)
    return torch.randn(BATCH, time, SIZE, dtype=torch.float64, generator=source)


def state_after(core, segments=2):
    state = None
    for segment in range(segments):
        _, state = core(inputs(seed=10 + segment), state)
    return state


@EVERY_PAIR
def test_no_output_depends_on_later_inputs(core, options):
    core = make(core, options)
    assert core.causal
    for state in (None, state_after(core)):
        x = inputs()
        y, _ = core(x, state)
        for changed_step in (2, TIME - 1):
            changed = x.clone()
            changed[:, changed_step] += 1
            other, _ = core(changed, state)
            assert torch.equal(other[:, :changed_step], y[:, :changed_step])
            assert not torch.allclose(other[:, changed_step], y[:, changed_step])


@EVERY_PAIR
def test_the_state_has_the_form_of_the_initial_state(core, options):
    core = make(core, options)
    initial = core.initial_state(BATCH)
    y, state = core(inputs(), initial)
    expected, same = core(inputs())
    torch.testing.assert_close(y, expected)
    assert y.shape == (BATCH, TIME, core.output_size)
    assert {name: (each.shape, each.dtype) for name, each in initial.items()} == {
        name: (each.shape, each.dtype) for name, each in state.items()
    }
    for name in state:
        torch.testing.assert_close(state[name], same[name])


@EVERY_PAIR_BY_ROWS
def test_a_short_row_ends_as_it_would_alone(core, options):
    core = make(core, options)
    lengths = torch.tensor([TIME, 2, 0])
    before = state_after(core)
    y, state = core(inputs(), before, lengths)
    for row, length in enumerate(lengths.tolist()):
        alone_before = {name: value[row : row + 1] for name, value in before.items()}
        if length:
            alone, after = core(inputs()[row : row + 1, :length], alone_before)
            torch.testing.assert_close(y[row : row + 1, :length], alone)
        else:
            after = alone_before
        for name in state:
            torch.testing.assert_close(state[name][row : row + 1], after[name], msg=name)


@EVERY_PAIR_BY_ROWS
def test_rows_of_different_age_are_as_they_would_be_alone(core, options):
    core = make(core, options)
    old, new = state_after(core), core.initial_state(BATCH)
    fresh = torch.tensor([False, True, False])
    mixed = {
        name: torch.where(fresh.view(-1, *[1] * (old[name].dim() - 1)), new[name], old[name]) for name in old
    }
    y, after = core(inputs(), mixed)
    for rows, state in ((fresh, new), (~fresh, old)):
        expected, expected_after = core(inputs(), state)
        torch.testing.assert_close(y[rows], expected[rows])
        for name in after:
            torch.testing.assert_close(after[name][rows], expected_after[name][rows])


@EVERY_PAIR
def test_a_step_on_the_meta_device_needs_no_other(core, options):
    core = make(core, options).to("meta")
    x = torch.empty(BATCH, TIME, SIZE, dtype=torch.float64, device="meta")
    y, state = core(x)
    y, _ = core(x, state)
    y.sum().backward()
    assert y.device.type == "meta"


@pytest.mark.parametrize(
    ("core", "options"),
    [(TransformerXL, {"cache_length": 2 * TIME}), (RMT, {}), (RMT, ASSOCIATIVE), (PreNormRMT, {})],
)
def test_memory_carries_the_first_segment_to_the_third(core, options):
    core = make(core, options)
    changed = inputs(seed=10)
    changed[:, 0] += 1
    _, state = core(inputs(seed=10))
    _, other = core(changed)
    _, state = core(inputs(seed=11), state)
    _, other = core(inputs(seed=11), other)
    assert not torch.allclose(core(inputs(), state)[0], core(inputs(), other)[0])


@pytest.mark.parametrize(
    ("core", "options"),
    [(RMT, {}), (RMT, ASSOCIATIVE), (PreNormRMT, {"embedding_gradient": 1.0})],
)
@pytest.mark.parametrize("cut", [None, 1, 2])
def test_gradients_reach_exactly_as_many_segments_back_as_asked(core, options, cut):
    core = make(core, CACHED | options)
    segments = [inputs(seed=seed).requires_grad_() for seed in range(4)]
    state = None
    for number, segment in enumerate(segments):
        y, state = core(segment, detach(state) if number == cut else state)
    gradients = torch.autograd.grad(y.sum(), segments, allow_unused=True)
    reached = [each is not None and bool(each.abs().sum() > 0) for each in gradients]
    assert reached == [number >= (cut or 0) for number in range(4)]


def test_a_cache_has_no_gradient():
    core = make(TransformerXL, {"cache_length": 4})
    first = inputs(seed=3).requires_grad_()
    y, _ = core(inputs(), core(first)[1])
    assert torch.autograd.grad(y.sum(), [first], allow_unused=True) == (None,)


@pytest.mark.parametrize("options", [{}, {"clamp_length": 3}, {"pre_norm": True}], ids=str)
def test_two_segments_with_a_long_cache_equal_one(options):
    core = make(TransformerXL, {"cache_length": 9, **options})
    x = inputs(9)
    whole, end = core(x)
    first, state = core(x[:, :4])
    second, state = core(x[:, 4:], state)
    torch.testing.assert_close(torch.cat([first, second], 1), whole)
    for name in end:
        torch.testing.assert_close(state[name], end[name])


@pytest.mark.parametrize("core", [RMT, PreNormRMT], ids=lambda core: core.__name__)
def test_the_form_for_encoders_reads_both_ways_and_ignores_what_lies_behind_the_end(core):
    core = make(core, {"causal": False, "memory_at_end": False})
    assert not core.causal
    x = inputs()
    changed = x.clone()
    changed[:, -1] += 1
    y, state = core(x)
    other, other_state = core(changed)
    assert not torch.allclose(y[:, 0], other[:, 0])
    assert not torch.allclose(state["memory"], other_state["memory"])
    lengths = torch.full((BATCH,), TIME - 1)
    torch.testing.assert_close(core(x, None, lengths)[0][:, :-1], core(x[:, :-1])[0])
    torch.testing.assert_close(core(x, None, lengths)[1]["memory"], core(x[:, :-1])[1]["memory"])


@EVERY_CORE
def test_dropout_differs_between_draws_and_not_in_evaluation(core):
    core = make(core, {"dropout": 0.3, "attention_dropout": 0.3})
    assert torch.equal(core(inputs())[0], core(inputs())[0])
    core.train()
    assert not torch.equal(core(inputs())[0], core(inputs())[0])


def test_several_residual_streams_start_as_one():
    torch.manual_seed(0)
    several = PreNormRMT(
        SIZE, PreNormRMTSettings(hidden_size=SIZE, **BASE[PreNormRMT], residual_streams=4)
    ).double()
    one = PreNormRMT(SIZE, PreNormRMTSettings(hidden_size=SIZE, **BASE[PreNormRMT])).double()
    one.load_state_dict(
        {name: value for name, value in several.state_dict().items() if "residuals" not in name}
    )
    torch.testing.assert_close(several(inputs())[0], one(inputs())[0])


def test_memory_starts_independent_or_shared():
    assert not torch.equal(*RMT(SIZE, RMTSettings(hidden_size=SIZE, memory_tokens=2)).memory)
    assert torch.equal(
        *RMT(SIZE, RMTSettings(hidden_size=SIZE, memory_tokens=2, memory_initializer="shared")).memory
    )


def test_an_associative_memory_is_without_effect_at_first():
    torch.manual_seed(0)
    core = RMT(SIZE, RMTSettings(hidden_size=SIZE, layers=2, heads=2, **ASSOCIATIVE)).double()
    x = inputs()
    first, state = core(x)
    assert set(state) == {f"{name}.{layer}" for name in ("associative", "normalizer") for layer in range(2)}
    torch.testing.assert_close(core(x, state)[0], first)
    torch.nn.init.normal_(core.associative.layers[0].values.weight)
    assert not torch.allclose(core(x, core(x)[1])[0], first)


def test_weights_start_as_published():
    torch.manual_seed(0)
    core = RMT(4, RMTSettings(hidden_size=40, memory_tokens=2, layers=1, heads=4))
    layer = core.stack.layers[0]
    for parameter in (layer.inner.weight, core.stack.positions.maps[0].weight, core.inputs.projection.weight):
        assert 0.015 < parameter.std() < 0.025
    assert 0.005 < core.stack.positions.content_bias.std() < 0.04
    assert torch.equal(layer.inner.bias, torch.zeros(160))
    assert (layer.attention_norm.weight - 1).abs().max() < 0.1
    assert not torch.equal(layer.attention_norm.weight, torch.ones(40))


def test_wrong_options_are_refused():
    with pytest.raises(ValueError, match="set head_size"):
        TransformerXL(6, TransformerXLSettings(hidden_size=6, heads=4))
    with pytest.raises(ValueError, match="cache_length above 0"):
        RMT(6, RMTSettings(hidden_size=6, memory_tokens=2, same_length=True))
    with pytest.raises(ValueError, match="needs memory_tokens, which write it"):
        RMT(6, RMTSettings(hidden_size=6, **ASSOCIATIVE, memory_at_end=False))
    with pytest.raises(ValueError, match="segment_length"):
        PreNormRMT(6, PreNormRMTSettings(hidden_size=6, memory_tokens=2))
    for encoding in ENCODINGS[1:]:
        with pytest.raises(ValueError, match="segment_length"):
            RMT(
                6,
                RMTSettings(hidden_size=6, memory_tokens=2, position_encoding=encoding["position_encoding"]),
            )
    absolute = TransformerXL(6, TransformerXLSettings(hidden_size=6, **ENCODINGS[2]))
    with pytest.raises(ValueError, match="2 steps longer"):
        absolute(torch.zeros(1, TIME + 2, 6))


SAME_FORM = pytest.mark.parametrize(
    "options",
    [{}, {"clamp_length": 2}, {"cache_memory": True}, {"published_shift": True}, {"causal": False}],
    ids=str,
)


@SAME_FORM
@pytest.mark.parametrize("learned", ENCODINGS[1::2], ids=["relative", "absolute"])
def test_learned_positions_that_equal_the_sinusoids_give_the_same(options, learned):
    relative = learned["position_encoding"] == "relative_learned"
    sinusoids = learned | {"position_encoding": "relative_sinusoid" if relative else "absolute_sinusoid"}
    one, other = (make(RMT, CACHED | options | each) for each in (learned, sinusoids))
    shared = {name: value for name, value in other.state_dict().items() if "positions" not in name}
    one.load_state_dict(shared, strict=False)
    given = other.stack.positions(one.stack.positions.longest, inputs())
    with torch.no_grad():
        for layer, positions in enumerate(given):
            (fill_distances if relative else fill_places)(one.stack.positions, layer, positions)
    state = other_state = None
    for segment in range(3):
        y, state = one(inputs(seed=segment), state)
        expected, other_state = other(inputs(seed=segment), other_state)
        torch.testing.assert_close(y, expected)


def fill_distances(learned, layer, positions):
    first = learned.longest.keys - 1 - learned.back
    rows = slice(first, first + learned.distances.shape[2])
    table, content_bias, distance_bias = positions.relative
    learned.distances[layer] = table[:, rows]
    learned.distance_bias[layer] = distance_bias[:, rows]
    learned.content_bias[layer] = content_bias


def fill_places(learned, layer, positions):
    learned.places[layer] = 0
    if positions.places is not None:
        learned.places[layer] = positions.places.flip(0)[: learned.places.shape[1]]


@EVERY_CORE
def test_a_state_keeps_no_more_alive_than_itself(core):
    core = make(core, {"cache_length": 3})
    with torch.no_grad():
        _, state = core(inputs(), core(inputs())[1])
    for name, value in state.items():
        assert value.untyped_storage().nbytes() == value.numel() * value.element_size(), name


@pytest.mark.parametrize("cache_length", [0, 3])
def test_prenorm_layers_hold_keys_and_values_for_a_cache_alone(cache_length):
    core = PreNormRMT(
        8,
        PreNormRMTSettings(
            hidden_size=8, memory_tokens=2, layers=2, heads=2, segment_length=4, cache_length=cache_length
        ),
    )
    held = []
    core.stack.register_forward_hook(lambda stack, given, outputs: held.extend(outputs[1]))
    core(torch.randn(1, 4, 8))
    assert len(held) == (2 if cache_length else 0)


@pytest.mark.parametrize("causal", ON)
@pytest.mark.parametrize("core", [RMT, PreNormRMT], ids=lambda core: core.__name__)
def test_settings_know_without_the_core_whether_it_reads_ahead(core, causal):
    settings = SETTINGS[core](hidden_size=SIZE, **BASE[core], causal=causal)
    assert settings.reads_ahead is not causal
    assert core(SIZE, settings).causal is causal
