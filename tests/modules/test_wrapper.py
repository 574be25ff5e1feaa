"""The Recurrent Memory Transformer as a library user has it: segments in, logits and memory out."""

import pytest
import torch

from rmem_cli import RecurrentMemoryTransformer, RecurrentMemoryTransformerWrapper
from rmem_cli.models.config import EmbeddingSettings, LinearHeadSettings
from rmem_cli.models.cores.rmt import RMT
from rmem_cli.models.cores.transformer_config import RMTSettings
from rmem_cli.models.encoders import Embedding
from rmem_cli.models.heads import LinearHead
from rmem_cli.models.sequence import SequenceModel
from rmem_cli.modules.rum import RUM
from rmem_cli.modules.wrapper import LucidrainsWrapper
from rmem_cli.training.backprop import Full
from rmem_cli.training.config import FullSettings


def make(**options):
    torch.manual_seed(0)
    return RecurrentMemoryTransformer(
        11, 12, memory_tokens=3, segment_length=5, layers=2, heads=2, head_size=4, **options
    ).double()


def tokens(time=17, rows=2):
    return torch.randint(11, (rows, time), generator=torch.Generator().manual_seed(1))


def test_a_segment_gives_logits_and_memory_and_the_memory_matters_to_the_next():
    model = make()
    logits, state = model(tokens(5))
    assert logits.shape == (2, 5, 11)
    assert state["memory"].shape == (2, 3, 12)
    assert not torch.allclose(model(tokens(5), state)[0], logits)


def test_the_wrapper_takes_any_length_segment_by_segment():
    model = make(cache_length=5)
    logits, state = RecurrentMemoryTransformerWrapper(model).logits(tokens())
    expected_state = None
    for start in range(0, 17, 5):
        expected, expected_state = model(tokens()[:, start : start + 5], expected_state)
        torch.testing.assert_close(logits[:, start : start + 5], expected)
    torch.testing.assert_close(state["memory"], expected_state["memory"])
    again, _ = RecurrentMemoryTransformerWrapper(model).logits(tokens(5), state)
    torch.testing.assert_close(again, model(tokens(5), expected_state)[0])


@pytest.mark.parametrize("weight", [1.0, 0.25])
def test_replay_and_full_back_propagation_of_the_wrapper_are_that_of_the_mean_loss(weight):
    model = make()
    logits, _ = RecurrentMemoryTransformerWrapper(model).logits(tokens()[:, :-1])
    loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), tokens()[:, 1:].flatten())
    found = []
    for backprop in (None, Full(FullSettings())):
        model.zero_grad()
        gradient = RecurrentMemoryTransformerWrapper(model, backprop).backward(tokens(), loss_weight=weight)
        assert gradient.loss == pytest.approx(weight * float(loss))
        found.append([parameter.grad.clone() for parameter in model.parameters()])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-9)
        assert one.abs().sum() > 0


def test_dropout_follows_the_seed_and_differs_from_call_to_call():
    model = make(dropout=0.5)
    wrapper = RecurrentMemoryTransformerWrapper(model)

    def losses():
        torch.manual_seed(7)
        return [wrapper.backward(tokens()).loss for _ in range(2)]

    first = losses()
    assert first[0] != first[1]
    assert losses() == first


def test_calling_the_wrapper_gives_logits_whose_gradient_is_that_of_its_backward_pass():
    model = make()
    wrapper = RecurrentMemoryTransformerWrapper(model)
    logits, state = wrapper(tokens()[:, :-1])
    assert state["memory"].shape == (2, 3, 12)
    torch.nn.functional.cross_entropy(logits.flatten(0, 1), tokens()[:, 1:].flatten()).backward()
    called = [parameter.grad.clone() for parameter in wrapper.parameters()]
    wrapper.zero_grad()
    wrapper.backward(tokens())
    for one, other in zip(called, wrapper.parameters(), strict=True):
        torch.testing.assert_close(one, other.grad, rtol=0, atol=1e-9)


def test_the_wrapper_is_a_module_with_the_weights_of_its_model():
    model = make()
    wrapper = RecurrentMemoryTransformerWrapper(model)
    assert list(wrapper.state_dict()) == [f"model.{name}" for name in model.state_dict()]
    wrapper.eval()
    assert not model.training


def models():
    torch.manual_seed(0)
    yield make(cache_length=5, dropout=0.5)
    yield SequenceModel(
        Embedding(11, EmbeddingSettings(size=6)),
        RUM(6, 12, lambda_=1),
        LinearHead(12, 11, LinearHeadSettings()),
    ).double()
    yield SequenceModel(
        Embedding(11, EmbeddingSettings(size=12)),
        RMT(12, RMTSettings(hidden_size=12, memory_tokens=2)),
        LinearHead(12, 11, LinearHeadSettings()),
    ).double()


@pytest.mark.parametrize("model", list(models()), ids=["segments", "steps", "any length"])
def test_generated_tokens_are_the_most_likely_ones_of_the_logits_at_temperature_zero(model):
    wrapper = RecurrentMemoryTransformerWrapper(model.train())
    new = wrapper.generate(tokens(7), length=6, temperature=0)
    assert new.shape == (2, 6)
    assert model.training
    model.eval()
    whole = torch.cat([tokens(7), new], dim=1)
    for place in range(6):
        logits, _ = wrapper.logits(whole[:, : 7 + place])
        assert torch.equal(logits[:, -1].argmax(-1), new[:, place])


def test_draws_follow_the_generator_and_torch_s_own_without_one():
    wrapper = RecurrentMemoryTransformerWrapper(make())

    def drawn(seed):
        return wrapper.generate(tokens(7), 20, generator=torch.Generator().manual_seed(seed))

    assert torch.equal(drawn(1), drawn(1))
    assert not torch.equal(drawn(1), drawn(2))
    first, second = (torch.manual_seed(5) and wrapper.generate(tokens(7), 20) for _ in range(2))
    assert torch.equal(first, second)
    assert wrapper.generate(tokens(7), 0).shape == (2, 0)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((tokens(0), 3), "time above 0"),
        ((tokens(4)[0], 3), "time above 0"),
        ((tokens(4), -1), "below 0"),
        ((tokens(4), 3, -0.5), "below 0"),
    ],
)
def test_what_cannot_be_generated_from_is_refused(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        RecurrentMemoryTransformerWrapper(make()).generate(*arguments)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda wrapper: wrapper(tokens(0)), r"shape \[2, 0\]; they must be \[batch, time\], time above 0"),
        (lambda wrapper: wrapper(tokens()[0]), r"shape \[17\]; they must be \[batch, time\]"),
        (lambda wrapper: wrapper(tokens() - 1), "^tokens go from -1 to 9; there are those from 0 to 10$"),
        (lambda wrapper: wrapper.backward(tokens() + 1), "^tokens go from 1 to 11; there"),
        (lambda wrapper: wrapper.backward(tokens().double()), "^tokens are of torch.float64; they must be"),
        (lambda wrapper: wrapper.generate(tokens() + 1, 3), "^tokens go from 1 to 11; there"),
        (lambda wrapper: wrapper.backward(tokens(1)), r"shape \[2, 1\]; .* time above 1"),
        (lambda wrapper: wrapper.backward(tokens()[:0]), r"shape \[0, 17\]; without a row there is no loss"),
    ],
)
def test_what_cannot_be_read_or_learned_from_is_refused(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call(RecurrentMemoryTransformerWrapper(make()))


@pytest.mark.parametrize("positions", ["absolute_positions", "rotary_positions"])
@pytest.mark.parametrize(
    ("given", "told"),
    [
        (tokens(6), "^a segment of 6 tokens; segment_length is 5$"),
        (tokens(5)[0], r"^the inputs are \[5\]; they must be \[batch, time\]$"),
        (tokens(5) + 11, r"^tokens go from 1\d to \d\d; there are those from 0 to 10$"),
        (tokens(5).double(), "^tokens are of torch.float64; they must be whole numbers$"),
    ],
)
def test_a_segment_that_the_model_cannot_read_is_refused_whatever_its_positions(positions, given, told):
    model = make(**{"absolute_positions": False, positions: True})
    with pytest.raises(ValueError, match=told):
        model(given)


def test_what_is_no_model_of_tokens_is_not_wrapped():
    with pytest.raises(TypeError, match=r"^what is wrapped is of type LSTM; it must be a .*\.Model$"):
        RecurrentMemoryTransformerWrapper(torch.nn.LSTM(3, 5))
    with pytest.raises(TypeError, match=r"it must be a .*\.LucidrainsTransformer$"):
        LucidrainsWrapper(make())


def test_tokens_of_int32_are_learned_from_as_others_are():
    losses = [RecurrentMemoryTransformerWrapper(make()).backward(x).loss for x in (tokens(), tokens().int())]
    assert losses[0] == losses[1]


def test_a_number_of_tokens_that_is_none_is_refused_by_name():
    with pytest.raises(ValueError, match=r"^tokens must be a whole number from 1 on, not 11\.0$"):
        RecurrentMemoryTransformer(11.0, 12, memory_tokens=3, segment_length=5, layers=2)


def test_a_batch_without_rows_gives_logits_without_rows():
    logits, state = RecurrentMemoryTransformerWrapper(make(cache_length=5))(tokens()[:0])
    assert (logits.shape, state["memory"].shape) == ((0, 17, 11), (0, 3, 12))


def test_a_core_that_reads_what_comes_later_generates_nothing():
    core = RMT(12, RMTSettings(hidden_size=12, memory_tokens=2, causal=False, segment_length=5))
    wrapper = RecurrentMemoryTransformerWrapper(
        SequenceModel(
            Embedding(11, EmbeddingSettings(size=12)), core, LinearHead(12, 11, LinearHeadSettings())
        )
    )
    with pytest.raises(ValueError, match="comes later"):
        wrapper.generate(tokens(4), 2)


def test_the_state_of_another_model_is_a_sentence():
    state = make(cache_length=5)(tokens(5))[1]
    for read in (
        make(),
        RecurrentMemoryTransformerWrapper(make()),
        RecurrentMemoryTransformerWrapper(make()).backward,
    ):
        with pytest.raises(
            ValueError, match=r"not one of this PreNormRMT and 2 rows: it has memory .* must have memory"
        ):
            read(tokens(5), state)
