"""What modules say of inputs, and of a width of them, that there cannot be."""

import pytest
import torch

from rmem_cli import RUM, URLSTM, RUMCell

MODULES = {"RUM": RUM, "URLSTM": URLSTM, "RUMCell": lambda width, size: RUMCell(size, input_size=width)}


@pytest.mark.parametrize("module", MODULES)
@pytest.mark.parametrize("width", [-1, 2.5, "3", True])
def test_a_width_of_inputs_that_is_no_whole_number_from_0_on_is_refused_by_name(module, width):
    with pytest.raises(ValueError, match=r"^input_size must be a whole number from 0 on, not "):
        MODULES[module](width, 4)


@pytest.mark.parametrize(
    ("lengths", "told"),
    [
        ([8, 1], r"^lengths go from 1 to 8; the inputs have from 0 to 7 steps$"),
        ([7, -1], "^lengths go from -1 to 7; "),
        ([7, 1, 1], r"^lengths are \[3\] of torch.int64; they must be \[2\], whole numbers$"),
        ([2.5, 7.0], "of torch.float32; they must be .* whole numbers"),
        ([True, False], "of torch.bool; they must be .* whole numbers"),
    ],
)
@pytest.mark.parametrize("batch_first", [True, False])
def test_lengths_that_the_rows_cannot_have_are_refused(lengths, told, batch_first):
    x = torch.zeros((2, 7, 3) if batch_first else (7, 2, 3))
    with pytest.raises(ValueError, match=told):
        RUM(3, 5, batch_first=batch_first)(x, lengths=torch.tensor(lengths))


@pytest.mark.parametrize("module", ["RUM", "URLSTM"])
@pytest.mark.parametrize("batch_first", [True, False])
def test_inputs_without_a_step_are_refused(module, batch_first):
    x = torch.zeros((2, 0, 3) if batch_first else (0, 2, 3))
    with pytest.raises(ValueError, match=r"^the inputs are .*; there must be a step at least$"):
        MODULES[module](3, 5, batch_first=batch_first)(x)
    assert URLSTM(3, 5)(torch.zeros(4, 0, 3))[0].shape == (4, 0, 5)


STATES = {
    "RUM": lambda dtype: {"hidden.0": torch.zeros(2, 5, dtype=dtype)},
    "URLSTM": lambda dtype: (torch.zeros(1, 2, 5), torch.zeros(1, 2, 5, dtype=dtype)),
    "RUMCell": lambda dtype: torch.zeros(2, 5, dtype=dtype),
}


def of(name, dtype=torch.float32):
    """A module, and inputs of two rows."""
    shape = {"RUM": (2, 7, 3), "URLSTM": (7, 2, 3), "RUMCell": (2, 3)}[name]
    return MODULES[name](3, 5), torch.zeros(shape, dtype=dtype)


@pytest.mark.parametrize("module", MODULES)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.long], ids=str)
def test_inputs_and_states_of_another_type_than_the_weights_are_refused(module, dtype):
    told = f"of {dtype}, and the weights of torch.float32; convert one of them$"
    read, x = of(module, dtype)
    with pytest.raises(ValueError, match=f"^the inputs are {told}"):
        read(x)
    with pytest.raises(ValueError, match=rf"^(hidden\.0 of )?the state(s are| is) {told}"):
        read(x.float(), STATES[module](dtype))


@pytest.mark.parametrize("module", MODULES)
def test_autocast_takes_what_is_not_of_the_type_of_the_weights(module):
    read, x = of(module, torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        assert read(x, STATES[module](torch.bfloat16))[0].dtype == torch.float32


def test_a_step_of_another_type_is_refused():
    with pytest.raises(ValueError, match=r"^the inputs are of torch.float64, "):
        RUM(3, 5).step(torch.zeros(2, 3).double())


def test_lengths_that_are_no_tensor_are_refused():
    with pytest.raises(TypeError, match=r"^lengths are of type list; they must be a tensor \[2\]$"):
        RUM(3, 5)(torch.zeros(2, 7, 3), lengths=[7, 1])


@pytest.mark.parametrize("shape", [(5,), (1, 2, 5), (2, 4)], ids=str)
def test_a_state_of_a_cell_has_rows_of_its_width(shape):
    with pytest.raises(ValueError, match=r"^the state is \[.*\]; that of this cell is \[batch, 5\]$"):
        RUMCell(5, input_size=3)(torch.zeros(2, 3), torch.zeros(shape))
