"""What a trained model says of inputs and symbols that there cannot be."""

import pytest
import torch

from rmem_cli.data.task_tokenizers import TextTokenizer
from rmem_cli.evaluation.loaded import LoadedModel
from rmem_cli.models.sequence import build_model
from rmem_cli.recipe import load_recipe

RECIPES = {"symbols": ("quickstart", 16), "features": ("ur_adding", 2), "sentences": ("memn2n_babi", 16)}
TOKENIZER = TextTokenizer("letters", "char", ["a", "b", "c"], None)


def loaded(reads="symbols"):
    recipe, symbols = RECIPES[reads]
    settings = load_recipe(recipe).runs("smoke")[0].settings
    model = build_model(settings.model, symbols, symbols, settings.task.encoder, settings.task.head)
    return LoadedModel("my_model", model, settings, symbols, TOKENIZER, None).eval()


@pytest.mark.parametrize(
    ("reads", "inputs", "told"),
    [
        ("symbols", torch.zeros(4).long(), r"^the inputs are \[4\]; they must be \[batch, time\]$"),
        ("symbols", torch.zeros(2, 0).long(), r"^the inputs are \[2, 0\]; there must be a step at least$"),
        ("symbols", torch.tensor([[3, 16]]), r"^symbols go from 3 to 16; there are those from 0 to 15$"),
        ("symbols", torch.tensor([[-1, 3]]), r"^symbols go from -1 to 3; there are those from 0 to 15$"),
        ("symbols", torch.zeros(2, 4), r"^symbols are of torch.float32; they must be whole numbers$"),
        ("features", torch.zeros(2, 4), r"^the inputs are \[2, 4\]; they must be \[batch, time, 2\]$"),
        ("features", torch.zeros(2, 4, 3), r"they must be \[batch, time, 2\]$"),
        ("sentences", torch.zeros(2, 4).long(), r"they must be \[batch, time, symbols\]$"),
        ("sentences", torch.tensor([[[3, -2]]]), r"^symbols go from -2 to 3; there are those from -1 to 15$"),
    ],
)
def test_inputs_that_the_model_cannot_read_are_refused(reads, inputs, told):
    with pytest.raises(ValueError, match=told):
        loaded(reads)(inputs)


@pytest.mark.parametrize(
    ("lengths", "told"),
    [
        ([5, 99, -1], r"^lengths go from -1 to 99; the inputs have from 0 to 7 steps$"),
        ([5, 7], r"^lengths are \[2\] of torch.int64; they must be \[3\], whole numbers$"),
        ([0.5, 1.0, 2.0], "whole numbers"),
    ],
)
def test_lengths_that_rows_of_a_trained_model_cannot_have_are_refused(lengths, told):
    with pytest.raises(ValueError, match=told):
        loaded()(torch.zeros(3, 7).long(), lengths=torch.tensor(lengths))


def test_one_length_is_that_of_all_rows():
    model, x = loaded(), torch.randint(16, (3, 7))
    _, state = model(x, lengths=torch.tensor([4]))
    torch.testing.assert_close(state, model(x, lengths=torch.tensor([4, 4, 4]))[1])


@pytest.mark.parametrize(
    "symbols", [[2, -1], torch.tensor([3]), iter([9999])], ids=["list", "tensor", "iterator"]
)
def test_what_is_no_symbol_has_no_text(symbols):
    with pytest.raises(ValueError, match=r"^symbols go from .* to .*; there are those from 0 to 2$"):
        loaded().decode(symbols)


def test_symbols_in_any_form_have_their_text():
    model = loaded()
    assert [model.decode(each) for each in ([2, 0], torch.tensor([2, 0]), iter([2, 0]), [])] == [
        *["ca"] * 3,
        "",
    ]
    with pytest.raises(ValueError, match=r"^the symbols are \[1, 2\]; they must be \[symbols\]$"):
        model.decode(torch.tensor([[2, 0]]))
