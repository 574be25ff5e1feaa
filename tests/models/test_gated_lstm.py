"""The gated cores, and URLSTM in the place of torch.nn.LSTM."""

from typing import get_args

import pytest
import torch
from pydantic import ValidationError
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from rmem_cli import URLSTM
from rmem_cli.models.cores.config import GatedGRUSettings, GatedLSTMSettings, GateName
from rmem_cli.models.cores.gated_lstm import GatedGRU, GatedLSTM

NAMES = get_args(GateName)
EVERY_GATE = pytest.mark.parametrize("gate", NAMES)
# Layers, directions, batch first, bias.
SHAPES = pytest.mark.parametrize(
    ("layers", "bidirectional", "batch_first", "bias"),
    [(1, False, False, True), (3, False, True, True), (1, True, True, False), (2, True, False, True)],
)


def core(gate, **options):
    torch.manual_seed(0)
    length = 50 if gate.startswith("C") else None
    return GatedLSTM(3, 6, gate=gate, chrono_length=length, **options).double()


def normal(seed, *shape):
    source = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=source, dtype=torch.float64)


def pair(layers=1, bidirectional=False, batch_first=False, bias=True):
    torch.manual_seed(0)
    theirs = nn.LSTM(3, 5, layers, bias, batch_first, bidirectional=bidirectional, dtype=torch.float64)
    return theirs, URLSTM.from_torch(theirs)


def assert_same_function(theirs, ours, x, states, flatten=lambda y: y):
    """Outputs, states and the gradients of inputs, states and all weights."""
    results = []
    for module in (theirs, ours):
        leaves = [each.clone().requires_grad_() for each in (x.data, *states)]
        inputs = leaves[0] if isinstance(x, torch.Tensor) else x._replace(data=leaves[0])
        y, (hidden, cell) = module(inputs, (leaves[1], leaves[2]))
        values = [flatten(y), hidden, cell]
        loss = sum((each * normal(30 + i, *each.shape)).sum() for i, each in enumerate(values))
        results.append([*values, *torch.autograd.grad(loss, leaves, retain_graph=True)])
        loss.backward()
    torch.testing.assert_close(results[1], results[0], rtol=1e-9, atol=1e-9)
    for layer, (weights, ours_layer) in enumerate(zip(theirs.all_weights, ours.layers, strict=True)):
        names = ["input_weight", "recurrent_weight", "bias", "bias"]
        for name, weight in zip(names, weights, strict=False):
            let_in, forget, candidate, output = weight.grad.chunk(4)
            expected = torch.cat([forget, let_in, candidate, output])
            actual = ours_layer.get_parameter(name).grad
            torch.testing.assert_close(actual, expected, rtol=1e-9, atol=1e-9, msg=f"{name} of {layer}")


@SHAPES
def test_the_standard_gate_equals_torch(layers, bidirectional, batch_first, bias):
    theirs, ours = pair(layers, bidirectional, batch_first, bias)
    x = normal(1, 4, 21, 3) if batch_first else normal(1, 21, 4, 3)
    places = layers * (2 if bidirectional else 1)
    assert_same_function(theirs, ours, x, (normal(2, places, 4, 5), normal(3, places, 4, 5)))


@SHAPES
@pytest.mark.parametrize("lengths", [[7, 7, 4, 1], [1, 7, 3, 5]], ids=["sorted", "unsorted"])
def test_the_standard_gate_equals_torch_on_packed_rows(layers, bidirectional, batch_first, bias, lengths):
    theirs, ours = pair(layers, bidirectional, batch_first, bias)
    in_order = lengths == sorted(lengths, reverse=True)
    x = pack_padded_sequence(normal(1, 7, 4, 3), torch.tensor(lengths), enforce_sorted=in_order)
    places = layers * (2 if bidirectional else 1)
    states = (normal(2, places, 4, 5), normal(3, places, 4, 5))
    assert_same_function(theirs, ours, x, states, flatten=lambda y: y.data)
    theirs_y, ours_y = (pad_packed_sequence(module(x)[0])[0] for module in (theirs, ours))
    torch.testing.assert_close(ours_y, theirs_y)


@pytest.mark.parametrize("batch_first", [False, True])
def test_one_sequence_without_a_batch_has_torchs_shapes(batch_first):
    theirs, ours = pair(2, True, batch_first)
    assert_same_function(theirs, ours, normal(1, 7, 3), (normal(2, 4, 5), normal(3, 4, 5)))


def test_a_call_without_states_starts_from_zero():
    theirs, ours = pair(2)
    torch.testing.assert_close(ours(normal(1, 7, 4, 3)), theirs(normal(1, 7, 4, 3)))


def test_dropout_acts_between_layers_in_training_only():
    torch.manual_seed(0)
    module = URLSTM(3, 400, num_layers=2, dropout=0.5)
    x = torch.randn(1, 2, 3)
    assert not torch.equal(module(x)[0], module(x)[0])
    torch.testing.assert_close(module(x)[1][0][0], module(x)[1][0][0])  # nothing is dropped below
    module.eval()
    assert torch.equal(module(x)[0], module(x)[0])


def test_an_lstm_with_a_projection_is_refused():
    with pytest.raises(ValueError, match="proj_size 2"):
        URLSTM.from_torch(nn.LSTM(3, 5, proj_size=2))


@pytest.mark.parametrize("layers", [1, 2])
def test_the_drop_in_and_the_core_are_the_same_function(layers):
    ours = core("UR", layers=layers)
    module = URLSTM(3, 6, layers, batch_first=True, dtype=torch.float64)
    module.load_state_dict(ours.state_dict())
    y, (hidden, cell) = module(normal(1, 4, 9, 3))
    expected, state = ours(normal(1, 4, 9, 3))
    assert torch.equal(y, expected)
    for layer in range(layers):
        assert torch.equal(hidden[layer], state[f"hidden.{layer}"])
        assert torch.equal(cell[layer], state[f"cell.{layer}"])


def test_the_backward_direction_reads_the_row_backwards():
    module = URLSTM(3, 6, bidirectional=True, batch_first=True, dtype=torch.float64)
    module.layers[1].load_state_dict(module.layers[0].state_dict())
    x = normal(1, 2, 9, 3)
    y, (hidden, _) = module(x)
    backwards, _ = module(x.flip(1))
    torch.testing.assert_close(y[..., 6:], backwards.flip(1)[..., :6])
    torch.testing.assert_close(hidden[1], y[:, 0, 6:])


@EVERY_GATE
@pytest.mark.parametrize("coupled", [True, False], ids=["coupled", "uncoupled"])
def test_every_named_gate_is_its_own_function(gate, coupled):
    x = normal(1, 2, 9, 3)
    y = core(gate, coupled_input_gate=coupled)(x)[0]
    others = [core(other, coupled_input_gate=coupled)(x)[0] for other in NAMES if other != gate]
    assert not any(torch.allclose(y, other) for other in others)


def first_gates(gate, size, **options):
    """How much of a cell of ones stays in a step from zero input and hidden state: the gates themselves."""
    torch.manual_seed(0)
    layer = GatedLSTM(3, size, gate=gate, **options).double()
    zero = torch.zeros(1, size, dtype=torch.float64)
    _, state = layer(torch.zeros(1, 1, 3).double(), {"hidden.0": zero, "cell.0": zero + 1})
    return state["cell.0"][0].detach()


def test_the_gates_of_a_new_core_start_as_their_name_says():
    standard = first_gates("-", 200, forget_bias=1.5)
    torch.testing.assert_close(standard, torch.full_like(standard, 1.5).sigmoid())
    chrono = first_gates("C", 200, chrono_length=100)
    assert (chrono >= 0.5).all()
    assert (chrono <= 99 / 100).all()
    assert chrono.unique().numel() == 200
    ordered = first_gates("O", 200)
    torch.testing.assert_close(ordered, torch.arange(1, 201).double() / 200)
    uniform = first_gates("U", 200).sort().values
    torch.testing.assert_close(uniform, torch.linspace(0, 1, 200).double(), rtol=0, atol=0.12)


def test_a_tied_refine_gate_starts_as_one_minus_the_forget_gate():
    tied = first_gates("UR", 200)
    forget = first_gates(
        "UR", 200, refine_bias="none"
    )  # of the same seed; a refine gate of 1/2 moves nothing
    torch.testing.assert_close(tied, 2 * (1 - forget) * forget + (2 * forget - 1) * forget**2)


@pytest.mark.parametrize("gate", ["C", "U"])
def test_an_input_gate_of_its_own_starts_as_one_minus_the_forget_gate(gate):
    layer = core(gate, coupled_input_gate=False).layers[0]
    _, input_bias, _, _ = layer.bias.chunk(4)
    torch.testing.assert_close(torch.sigmoid(input_bias), 1 - torch.sigmoid(layer.forget_bias))


@pytest.mark.parametrize("trained", [True, False])
def test_the_forget_bias_is_trained_or_frozen(trained):
    ours = core("UR", train_forget_bias=trained)
    ours(normal(1, 2, 4, 3))[0].sum().backward()
    assert (ours.layers[0].forget_bias.grad is not None) == trained


def test_the_gated_gru_with_a_standard_gate_equals_torch():
    torch.manual_seed(0)
    theirs = nn.GRU(3, 5, batch_first=True, dtype=torch.float64)
    ours = GatedGRU(3, 5, gate="-", forget_bias=0.0).double()
    layer = ours.layers[0]
    with torch.no_grad():
        reset, update, candidate = (torch.arange(5) + 5 * block for block in range(3))
        order = torch.cat([update, reset, candidate])
        layer.input_weight.copy_(theirs.weight_ih_l0[order])
        layer.recurrent_weight.copy_(theirs.weight_hh_l0[order])
        recurrent_bias = theirs.bias_hh_l0.clone()
        layer.candidate_bias.copy_(recurrent_bias[candidate])
        recurrent_bias[candidate] = 0
        layer.bias.copy_((theirs.bias_ih_l0 + recurrent_bias)[order])
    expected, hidden = theirs(normal(1, 4, 9, 3), normal(2, 1, 4, 5))
    y, state = ours(normal(1, 4, 9, 3), {"hidden.0": normal(2, 1, 4, 5)[0]})
    torch.testing.assert_close(y, expected)
    torch.testing.assert_close(state["hidden.0"], hidden[0])


def test_rows_without_a_step_keep_their_state():
    ours = core("UR")
    state = {"hidden.0": normal(1, 2, 6), "cell.0": normal(2, 2, 6)}
    _, after = ours(normal(3, 2, 4, 3), state, torch.tensor([0, 4]))
    assert torch.equal(after["hidden.0"][0], state["hidden.0"][0])
    assert torch.equal(after["cell.0"][0], state["cell.0"][0])
    assert not torch.equal(after["cell.0"][1], state["cell.0"][1])


@EVERY_GATE
@pytest.mark.parametrize("coupled", [True, False], ids=["coupled", "uncoupled"])
@pytest.mark.parametrize("layer_norm", [False, True], ids=["plain", "layer norm"])
def test_every_variant_takes_a_step_on_the_meta_device(gate, coupled, layer_norm):
    ours = core(gate, coupled_input_gate=coupled, layer_norm=layer_norm).to("meta")
    y, _ = ours(torch.empty(2, 4, 3, device="meta", dtype=torch.float64), None, torch.tensor([4, 2]))
    y.sum().backward()
    assert y.device.type == "meta"


@EVERY_GATE
def test_every_gated_gru_takes_a_step(gate):
    ours = GatedGRU(3, 6, gate=gate, chrono_length=20)
    y, _ = ours(torch.randn(2, 4, 3))
    y.sum().backward()
    assert y.isfinite().all()


def test_a_recipe_builds_what_it_describes():
    settings = GatedLSTMSettings(hidden_size=6, layers=2, gate="C", chrono_length=30, refine_bias="none")
    assert GatedLSTM.from_settings(settings, 3).layers[1].forget_bias.shape == (6,)
    assert GatedGRU.from_settings(GatedGRUSettings(hidden_size=6), 3).output_size == 6


def test_a_chrono_gate_without_a_length_is_refused():
    with pytest.raises(ValidationError, match="gate CR needs chrono_length"):
        GatedLSTMSettings(hidden_size=6, gate="CR")
    with pytest.raises(ValueError, match="gate CR needs chrono_length"):
        URLSTM(3, 6, gate="CR")


def test_a_gate_that_is_not_there_is_refused_by_name():
    with pytest.raises(ValueError, match="gate is 'UX'"):
        URLSTM(3, 6, gate="UX")


def test_urlstm_has_the_rest_of_torch_s_interface():
    """So that code written for `torch.nn.LSTM` runs unchanged."""
    theirs = nn.LSTM(3, 5, 2, True, True, 0.0, False, 0, "cpu", torch.float64)
    ours = URLSTM(3, 5, 2, True, True, 0.0, False, 0, "cpu", torch.float64)
    x = normal(1, 2, 4, 3)
    assert ours.flatten_parameters() is theirs.flatten_parameters() is None
    assert ours.proj_size == theirs.proj_size == 0
    assert ours(x)[0].shape == theirs(x)[0].shape
    with pytest.raises(ValueError, match="proj_size is 2; it must be 0"):
        URLSTM(3, 5, proj_size=2)


@pytest.mark.parametrize("shape", [(1, 2, 5), (2, 3, 5), (2, 2, 4), (2, 5)])
def test_states_of_another_urlstm_are_refused_in_a_sentence(shape):
    module = URLSTM(3, 5, num_layers=2)
    own, other = torch.zeros(2, 2, 5), torch.zeros(shape)
    for states in ((other, own), (own, other)):
        with pytest.raises(
            ValueError, match=r"must both have \[2, 2, 5\], layers x directions, batch and hidden"
        ):
            module(torch.zeros(4, 2, 3), states)
