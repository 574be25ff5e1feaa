"""Whatever its settings, a recipe is refused with place and cure, or trains."""

import importlib.util
from collections import Counter
from pathlib import Path

import pytest

SEED, COUNT = 24, 300


def _odd_settings():
    place = Path(__file__).with_name("odd_settings.py")
    spec = importlib.util.spec_from_file_location("odd_settings", place)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_every_recipe_of_odd_settings_is_refused_with_place_and_cure_or_trains():
    odd = _odd_settings()
    odd.write_data()
    outcomes = Counter(odd.trial(SEED, number)[0] for number in range(COUNT))
    assert outcomes[odd.TRAINED] >= COUNT / 4
    assert outcomes[odd.REFUSED] >= COUNT / 4
