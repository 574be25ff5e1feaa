"""What modules say of a width of inputs that there cannot be."""

import pytest

from rmem_cli import RUM, URLSTM, RUMCell

MODULES = {"RUM": RUM, "URLSTM": URLSTM, "RUMCell": lambda width, size: RUMCell(size, input_size=width)}


@pytest.mark.parametrize("module", MODULES)
@pytest.mark.parametrize("width", [0, -1, 2.5, "3", True])
def test_a_width_of_inputs_that_is_no_whole_number_above_0_is_refused_by_name(module, width):
    with pytest.raises(ValueError, match=r"^input_size must be a whole number above 0, not "):
        MODULES[module](width, 4)
