"""The gated cores, and URLSTM in the place of torch.nn.LSTM."""

import re
from typing import get_args

import pytest
import torch
from pydantic import ValidationError
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pack_sequence, pad_packed_sequence

from rmem_cli import URLSTM
from rmem_cli.models.cores.gated_lstm import GatedGRU, GatedLSTM
from rmem_cli.models.cores.recurrent_config import GatedGRUSettings, GatedLSTMSettings, GateName

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
    return GatedLSTM(3, GatedLSTMSettings(hidden_size=6, gate=gate, chrono_length=length, **options)).double()


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


def test_an_lstm_with_a_projection_and_what_is_no_lstm_are_refused():
    with pytest.raises(ValueError, match="proj_size 2"):
        URLSTM.from_torch(nn.LSTM(3, 5, proj_size=2))
    with pytest.raises(TypeError, match=r"^only a torch.nn.LSTM can be converted, not a GRU$"):
        URLSTM.from_torch(nn.GRU(3, 5))


def test_what_is_frozen_of_an_lstm_is_frozen_where_it_is_converted():
    theirs = nn.LSTM(3, 5, num_layers=2)
    for name in ("weight_ih_l0", "bias_ih_l0", "bias_hh_l0", "weight_hh_l1", "bias_ih_l1"):
        getattr(theirs, name).requires_grad_(False)
    trained = {name for name, weight in URLSTM.from_torch(theirs).named_parameters() if weight.requires_grad}
    assert trained == {"layers.0.recurrent_weight", "layers.1.input_weight", "layers.1.bias"}


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
    layer = GatedLSTM(3, GatedLSTMSettings(hidden_size=size, gate=gate, **options)).double()
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
    ours = GatedGRU(3, GatedGRUSettings(hidden_size=5, gate="-", forget_bias=0.0)).double()
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
    ours = GatedGRU(3, GatedGRUSettings(hidden_size=6, gate=gate, chrono_length=20))
    y, _ = ours(torch.randn(2, 4, 3))
    y.sum().backward()
    assert y.isfinite().all()


ZONED = pytest.mark.parametrize(
    ("kind", "zoneout"),
    [
        (GatedLSTM, {"hidden_zoneout": 0.3}),
        (GatedLSTM, {"cell_zoneout": 0.3}),
        (GatedLSTM, {"hidden_zoneout": 0.1, "cell_zoneout": 0.5}),
        (GatedGRU, {"zoneout": 0.3}),
    ],
    ids=["hidden", "cell", "both", "GRU"],
)


def zoned_and_plain(kind, size, zoneout):
    """A core with zoneout, the same without it, and the probability by the name of the state."""
    torch.manual_seed(0)
    settings = GatedGRUSettings if kind is GatedGRU else GatedLSTMSettings
    zoned, plain = (kind(3, settings(hidden_size=size, **each)).double() for each in (zoneout, {}))
    plain.load_state_dict(zoned.state_dict())
    by_state = {name.removesuffix("zoneout").rstrip("_") or "hidden": z for name, z in zoneout.items()}
    return zoned, plain, {f"{name}.0": z for name, z in by_state.items()}


@ZONED
def test_zoneout_mixes_old_and_new_states_in_evaluation(kind, zoneout):
    zoned, plain, probability = zoned_and_plain(kind, 6, zoneout)
    x = normal(1, 4, 5, 3)
    y, end = zoned.eval()(x)
    state = plain.initial_state(4)
    for step in range(5):
        _, new = plain(x[:, step : step + 1], state)
        mixed = {key: torch.lerp(new[key], state[key], probability.get(key, 0.0)) for key in state}
        state = mixed
        torch.testing.assert_close(y[:, step], state["hidden.0"])
    torch.testing.assert_close(end, state)


@ZONED
def test_zoneout_keeps_units_as_they_are_in_training(kind, zoneout):
    zoned, plain, probability = zoned_and_plain(kind, 2000, zoneout)
    x = normal(1, 2, 1, 3)
    before = {key: normal(2 + i, 2, 2000) for i, key in enumerate(plain.initial_state(2))}
    y, after = zoned.train()(x, before)
    _, new = plain(x, before)
    for key in before:
        kept = after[key] == before[key]
        torch.testing.assert_close(after[key][~kept], new[key][~kept])
        assert kept.double().mean().item() == pytest.approx(probability.get(key, 0.0), abs=0.04)
        assert not probability.get(key) or not torch.equal(kept[0], kept[1])
    assert torch.equal(y[:, 0], after["hidden.0"])


def test_units_kept_by_zoneout_change_from_step_to_step_and_layer_to_layer():
    torch.manual_seed(0)
    shares = []
    ours = GatedLSTM(3, GatedLSTMSettings(hidden_size=400, layers=2, hidden_zoneout=0.5))
    for layer in ours.layers:
        layer.register_forward_pre_hook(
            lambda _, __, kwargs: shares.append(kwargs["hidden_keep"]), with_kwargs=True
        )
    ours(torch.randn(1, 2, 3))
    masks = [*shares[0][0], *shares[1][0]]
    assert all(set(mask.unique().tolist()) == {0.0, 1.0} for mask in masks)
    for index, mask in enumerate(masks):
        assert not any(torch.equal(mask, other) for other in masks[:index])


def test_without_zoneout_nothing_is_drawn():
    for ours in (
        GatedLSTM(3, GatedLSTMSettings(hidden_size=6)),
        GatedGRU(3, GatedGRUSettings(hidden_size=6)),
        GatedLSTM(3, GatedLSTMSettings(hidden_size=6, hidden_zoneout=0.5)).eval(),
    ):
        before = torch.get_rng_state()
        ours(torch.randn(1, 2, 3, generator=torch.Generator()))
        assert torch.equal(torch.get_rng_state(), before)


def test_with_zoneout_the_state_of_a_row_is_that_after_its_end():
    torch.manual_seed(0)
    ours = GatedLSTM(3, GatedLSTMSettings(hidden_size=6, hidden_zoneout=0.3, cell_zoneout=0.5))
    y, state = ours(torch.randn(3, 5, 3), None, torch.tensor([5, 2, 4]))
    for row, length in enumerate((5, 2, 4)):
        assert torch.equal(state["hidden.0"][row], y[row, length - 1])


@pytest.mark.parametrize("gate", ["M", "CM", "OM", "UM"])
@pytest.mark.parametrize("coupled", [True, False], ids=["coupled", "uncoupled"])
def test_a_downsized_master_has_fewer_weights(gate, coupled):
    whole, downsized = (core(gate, coupled_input_gate=coupled, master_downsize=c) for c in (1, 3))
    sizes = [sum(each.numel() for each in made.parameters()) for made in (whole, downsized)]
    masters = 1 if coupled else 2
    of_each_unit = 3 + 6 + 1  # inputs, hidden states, bias
    forget_bias = 0 if gate == "OM" else 1
    assert sizes[0] - sizes[1] == 4 * (masters * of_each_unit + forget_bias)


def test_units_that_share_a_master_have_the_same_gate():
    chunks = first_gates("UM", 60, master_downsize=5).view(12, 5)
    torch.testing.assert_close(chunks, chunks[:, :1].expand(12, 5), rtol=0, atol=0)
    assert chunks[:, 0].unique().numel() == 12
    # The master starts between 1/d and 1 - 1/d, d its own 12 units.
    # An ordinary gate of 1/2 makes f (1 + f)/2 of f.
    assert chunks.min() >= (1 / 12) * (1 + 1 / 12) / 2
    assert chunks.max() <= (11 / 12) * (1 + 11 / 12) / 2
    ordered = first_gates("OM", 6, master_downsize=3)
    torch.testing.assert_close(ordered, torch.tensor([0.5 * 1.5 / 2] * 3 + [1.0] * 3).double())


def test_a_downsized_ordered_master_is_one_for_all_units_that_share_its_last():
    ours = core("OM", master_downsize=3)
    state = {"hidden.0": normal(1, 2, 6), "cell.0": normal(2, 2, 6)}
    _, after = ours(normal(3, 2, 9, 3), state)
    torch.testing.assert_close(after["cell.0"][:, 3:], state["cell.0"][:, 3:])
    assert not (after["cell.0"][:, :3] == state["cell.0"][:, :3]).any()


@pytest.mark.parametrize("gate", ["CM", "UM"])
def test_a_downsized_input_master_of_its_own_starts_as_one_minus_the_forget_gate(gate):
    layer = core(gate, coupled_input_gate=False, master_downsize=3).layers[0]
    _, _, input_bias, *_ = layer.bias.split(layer.sizes)
    torch.testing.assert_close(torch.sigmoid(input_bias), 1 - torch.sigmoid(layer.forget_bias))


def test_masters_that_cannot_be_downsized_are_refused():
    for kind in (GatedLSTMSettings, GatedGRUSettings):
        with pytest.raises(ValidationError, match=r"gate UR has no master gate .* M, CM, OM and UM have one"):
            kind(hidden_size=6, gate="UR", master_downsize=2)
        with pytest.raises(ValidationError, match=r"hidden_size 100 is no multiple .* 16, as 112 is"):
            kind(hidden_size=100, gate="UM", master_downsize=16)
        with pytest.raises(ValidationError, match="master_downsize"):
            kind(hidden_size=6, gate="UM", master_downsize=0)
    with pytest.raises(ValueError, match=r"^hidden_size 6 is no multiple of master_downsize 4, as 8 is$"):
        URLSTM(3, 6, gate="OM", master_downsize=4)


@pytest.mark.parametrize("zoneout", [-0.1, 1.0])
def test_a_zoneout_that_is_no_probability_below_one_is_refused(zoneout):
    for kind, name in (
        (GatedLSTMSettings, "hidden_zoneout"),
        (GatedLSTMSettings, "cell_zoneout"),
        (GatedGRUSettings, "zoneout"),
    ):
        with pytest.raises(ValidationError, match=name):
            kind(hidden_size=6, **{name: zoneout})


def test_a_recipe_builds_what_it_describes():
    settings = GatedLSTMSettings(hidden_size=6, layers=2, gate="C", chrono_length=30, refine_bias="none")
    assert GatedLSTM(3, settings).layers[1].forget_bias.shape == (6,)
    assert GatedGRU(3, GatedGRUSettings(hidden_size=6)).output_size == 6
    options = {"hidden_size": 6, "gate": "UM", "master_downsize": 3}
    lstm = GatedLSTM(3, GatedLSTMSettings(**options, hidden_zoneout=0.05, cell_zoneout=0.5))
    gru = GatedGRU(3, GatedGRUSettings(**options, zoneout=0.1))
    assert (lstm.zoneout, gru.zoneout) == ({"hidden": 0.05, "cell": 0.5}, {"hidden": 0.1})
    assert lstm.layers[0].forget_bias.shape == gru.layers[0].forget_bias.shape == (2,)


def test_a_chrono_gate_without_a_length_is_refused():
    with pytest.raises(ValidationError, match="gate CR needs chrono_length"):
        GatedLSTMSettings(hidden_size=6, gate="CR")
    with pytest.raises(ValueError, match="gate CR needs chrono_length"):
        URLSTM(3, 6, gate="CR")


def test_a_gate_that_is_not_there_is_refused_by_name():
    with pytest.raises(ValueError, match=r"^gate must be '-', .* or 'UR', not the text 'UX'"):
        URLSTM(3, 6, gate="UX")
    with pytest.raises(TypeError, match=r"^gaet unknown key; did you mean 'gate'\?$"):
        URLSTM(3, 6, gaet="UR")
    with pytest.raises(ValueError, match=r"^num_layers must be greater than 0, not 0$"):
        URLSTM(3, 6, num_layers=0)
    with pytest.raises(TypeError, match=r"^layers is what num_layers says here; leave it out$"):
        URLSTM(3, 6, layers=2)
    with pytest.raises(TypeError, match="no option of URLSTM"):
        URLSTM(3, 6, cell_zoneout=0.1)


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


@pytest.mark.parametrize("shape", [(4, 7, 2), (7, 2), (3,), (1, 4, 7, 3)], ids=str)
def test_inputs_of_another_shape_are_told_of_an_urlstm(shape):
    said = rf"^the inputs are {re.escape(str(list(shape)))}; they must be \[time, batch, 3\] or \[time, 3\]$"
    with pytest.raises(ValueError, match=said):
        URLSTM(3, 5)(torch.zeros(shape))


def test_packed_inputs_of_another_width_are_told():
    with pytest.raises(ValueError, match=r"^the inputs are \[4, 2\]; they must be packed sequences of"):
        URLSTM(3, 5)(pack_sequence([torch.zeros(4, 2)]))
