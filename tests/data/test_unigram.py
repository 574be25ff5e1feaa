"""The unigram model of a text is its frequencies in training, and nothing else."""

import math

import pytest

from rmem_cli.data.unigram import unigram
from rmem_cli.errors import DataError
from rmem_cli.tasks.config import LanguageModelSettings


def test_its_loss_and_accuracy_are_those_of_the_frequencies_in_training(write_text):
    write_text([1, 1, 1, 2], [1, 2], [2, 2, 1], vocabulary="_ab")
    loss, accuracy = unigram("ptb", "char", "test")
    assert loss == pytest.approx(-(2 * math.log(1 / 4) + math.log(3 / 4)) / 3)
    assert accuracy == pytest.approx(1 / 3)
    assert unigram("ptb", "char", "valid")[1] == pytest.approx(1 / 2)


def test_a_symbol_that_training_never_shows_leaves_it_without_a_loss(write_text):
    write_text([1, 1], [1], [2], vocabulary="_ab")
    assert unigram("ptb", "char", "test") is None


def test_a_language_models_chance_is_the_unigram_model_where_the_text_is_here(write_text):
    settings = LanguageModelSettings(dataset="ptb", form="char", segment_length=5)
    assert settings.chance("test") == {}
    write_text([1, 1, 1, 2], [1, 2], [2, 2, 1], vocabulary="_ab")
    chance = settings.chance("test")
    assert chance["perplexity"] == pytest.approx(math.exp(chance["loss"]))
    assert chance["bpc"] == pytest.approx(chance["loss"] / math.log(2))
    with pytest.raises(DataError):
        unigram("ptb", "word", "test")
