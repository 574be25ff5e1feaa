"""The published cell's arguments and states, and its numbers."""

import copy

import pytest
import torch
from tf_vectors import GOLDEN, RUM, read

from rmem_cli import RUMCell

ARGUMENTS = ("lambda_", "eta_", "T_norm", "activation", "use_zoneout", "update_gate", "track_angle")
# Those with layer norm hold for the core, of which the cell is one step (`tests/models/test_tf_golden.py`).
FILES = [
    path for path in sorted(GOLDEN.glob("rum_lam*.npz")) if "ln" not in path.stem and "all" not in path.stem
]


def with_published_weights(meta, golden, **options):
    size = meta["H"]
    cell = (
        RUMCell(size, **{name: meta[name] for name in ARGUMENTS if name in meta}, **options).double().eval()
    )
    cell(golden["x"][:, 0])
    with torch.no_grad():
        for name, parameter in cell.core.layers[0].named_parameters():
            parameter.copy_(golden[f"param.rum_cell/{RUM[name]}"])
    return cell


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_cell_gives_the_published_outputs_and_flat_states(path):
    meta, golden = read(path)
    cell = with_published_weights(meta, golden)
    memory = [golden["R0"].flatten(1)] if "R0" in golden else []
    state = torch.cat([*memory, golden["h0"]], dim=1)
    assert state.shape == cell.zero_state(3).shape == (3, cell.state_size)
    for time, x in enumerate(golden["x"].unbind(1)):
        output, state = cell(x, state)
        torch.testing.assert_close(output, golden["y"][:, time], rtol=0, atol=1e-10)
        torch.testing.assert_close(state[:, -meta["H"] :], golden["h_all"][:, time], rtol=0, atol=1e-10)
        if memory:
            expected = golden["R_all"][:, time].flatten(1)
            torch.testing.assert_close(state[:, : -meta["H"]], expected, rtol=0, atol=1e-10)
    assert output.shape[-1] == cell.output_size


def test_arguments_in_the_published_order_are_those_by_name():
    in_order = RUMCell(
        6, 1, 2.0, torch.tanh, None, "xavier", None, 1e-6, True, 0.8, True, False, False, False, True
    )
    settings = in_order.settings
    assert (settings.lambda_, settings.eta, settings.activation) == (1, 2.0, "tanh")
    assert (settings.input_initializer, settings.kernel_initializer) == ("xavier", "two_half_orthogonal")
    assert (settings.eps, settings.layer_norm) == (1e-3, "after_gate")
    assert settings.zoneout == pytest.approx(0.2)
    assert (settings.update_gate, settings.trainable_rotation, settings.track_angle) == (False, False, True)
    assert not in_order.training
    assert RUMCell(6, is_training=True).training
    assert RUMCell(6, T_norm=2.0).settings.eta == 2.0
    assert RUMCell(6, activation=torch.nn.Softsign()).settings.activation == "softsign"


def test_the_first_inputs_tell_the_width_to_parameters_that_an_optimizer_knows():
    cell = RUMCell(6).double()
    optimizer = torch.optim.SGD(cell.parameters(), lr=0.1)
    x = torch.randn(3, 4, dtype=torch.float64)
    output, _ = cell(x)
    known = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    assert known == {id(parameter) for parameter in cell.parameters()}
    assert {name: list(parameter.shape) for name, parameter in cell.core.layers[0].named_parameters()} == {
        "target_kernel": [10, 6],
        "target_bias": [6],
        "gate_kernel": [10, 6],
        "gate_bias": [6],
        "input_kernel": [4, 6],
    }
    before = [parameter.clone() for parameter in cell.parameters()]
    output.square().sum().backward()
    optimizer.step()
    assert any(not torch.equal(one, other) for one, other in zip(before, cell.parameters(), strict=True))
    again = RUMCell(6, input_size=4).double()
    again.load_state_dict(cell.state_dict())
    assert torch.equal(again(x)[0], cell(x)[0])
    assert torch.equal(copy.deepcopy(cell)(x)[0], cell(x)[0])


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"visualization": True}, "rmem plot landscape"),
        ({"temp_embed": torch.ones(1)}, "rmem plot landscape"),
        ({"reuse": True}, "call the same cell"),
        ({"bias_initializer": torch.nn.init.zeros_}, "bias_initial"),
        ({"kernel_initializer": torch.nn.init.zeros_}, "the name of one"),
        ({"eta_": 1.0, "T_norm": 2.0}, "give one of them"),
        ({"lambda_": 2}, "lambda"),
        ({"activation": torch.exp}, "activation"),
        (
            {"use_zoneout": True, "zoneout_keep_h": 1.5},
            "^zoneout_keep_h is 1.5; it must be a probability above 0",
        ),
        ({"use_zoneout": True, "zoneout_keep_h": 0.0}, "^zoneout_keep_h is 0.0; it must be"),
        ({"kernel_initializer": "foo"}, "^kernel_initializer must be 'orthogonal', .* not the text 'foo'$"),
        ({"eps": -1.0}, "^eps is -1.0; it is the square of a length"),
        ({"eta_": -1.0}, "^eta_ must be greater than 0"),
        ({"T_norm": -1.0}, "^T_norm must be greater than 0"),
    ],
    ids=lambda value: value if isinstance(value, str) else "+".join(value),
)
def test_an_argument_whose_behaviour_is_not_here_is_a_sentence(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        RUMCell(6, **arguments)


def test_inputs_of_another_shape_are_a_sentence():
    for cell, shape, form in [
        (RUMCell(6, input_size=3), (2, 4), "3"),
        (RUMCell(6, input_size=3), (2, 5, 3), "3"),
        (RUMCell(6), (3,), "input_size"),
    ]:
        with pytest.raises(ValueError, match=rf"inputs are \[.*\]; they must be \[batch, {form}\]$"):
            cell(torch.zeros(shape))


def test_the_state_of_another_cell_is_a_sentence():
    cell = RUMCell(6, lambda_=1)
    with pytest.raises(ValueError, match=r"\[batch, 42\]"):
        cell(torch.randn(3, 4), torch.zeros(3, 6))
    with pytest.raises(ValueError, match="3 rows"):
        cell(torch.randn(3, 4), torch.zeros(2, 42))
