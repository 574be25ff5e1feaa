import json

import pytest

from rmem_cli.json_text import json_text


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_a_number_that_is_not_finite_is_null_wherever_it_stands(number):
    text = json_text({"a": number, "b": [(number, 1.5)], "c": {"d": [{"e": number}]}})
    assert json.loads(text, parse_constant=pytest.fail) == {
        "a": None,
        "b": [[None, 1.5]],
        "c": {"d": [{"e": None}]},
    }
