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
