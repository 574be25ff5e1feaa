"""The models of the recipes have as many parameters as the published ones."""

import pytest
import torch

from rmem_cli.models.sequence import build_model
from rmem_cli.recipe import load_recipe

# Recipe, symbols of its text, parameters of its model without memory tokens, and of each token.
RMT = [("rmt_enwik8", 204, 41_055_436, 512), ("rmt_wt103", 267_735, 151_107_538, 410)]
TXL = [
    ("txl_enwik8", "base", 204, 41_055_436),
    ("txl_enwik8", "large", 204, 277e6),
    ("txl_wt103", "base", 267_735, 151_107_538),
]


def parameters(model_settings, symbols):
    with torch.device("meta"):
        return build_model(model_settings, symbols, symbols).parameter_count()


@pytest.mark.parametrize(("name", "symbols", "expected", "of_a_token"), RMT)
def test_every_row_has_the_published_size(name, symbols, expected, of_a_token):
    models = {spec.row: spec.settings.model for spec in load_recipe(name).runs(seeds=[1])}
    sizes = {}
    for row, model in models.items():
        memory = model.core.memory_tokens
        if memory not in sizes:
            sizes[memory] = parameters(model, symbols)
        assert sizes[memory] == expected + memory * of_a_token, row


@pytest.mark.parametrize(("name", "row", "symbols", "expected"), TXL)
def test_transformer_xl_has_the_published_size(name, row, symbols, expected):
    (spec,) = load_recipe(name).runs(rows=[row], seeds=[1])
    found = parameters(spec.settings.model, symbols)
    assert found == expected if isinstance(expected, int) else found == pytest.approx(expected, abs=0.5e6)
