"""The Recurrent Memory Transformer as a library user has it: segments in, logits and memory out."""

import pytest
import torch

from rmem_cli import RecurrentMemoryTransformer, RecurrentMemoryTransformerWrapper
from rmem_cli.training.backprop import Full


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
    for backprop in (None, Full()):
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
