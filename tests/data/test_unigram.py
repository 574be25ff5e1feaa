"""The unigram model of a text is its frequencies in training, and nothing else."""

import io
import math

import pytest
from rich.console import Console
from rmem_cli.data_scripts.fetch import fetch
from rmem_cli.data_scripts.ptb import PTB
from rmem_cli.data_scripts.wikitext import WIKITEXT2

from rmem_cli.data.unigram import unigram
from rmem_cli.tasks.baselines import unigrams
from rmem_cli.tasks.text_config import LanguageModelSettings


def test_its_loss_and_accuracy_are_those_of_the_frequencies_in_training(write_text):
    write_text([1, 1, 1, 2], [1, 2], [2, 2, 1], vocabulary="_ab")
    loss, accuracy = unigram("ptb", "char", "test")
    assert loss == pytest.approx(-(2 * math.log(1 / 4) + math.log(3 / 4)) / 3)
    assert accuracy == pytest.approx(1 / 3)
    assert unigram("ptb", "char", "valid")[1] == pytest.approx(1 / 2)


def test_a_symbol_that_training_never_shows_leaves_it_without_a_loss(write_text):
    write_text([1, 1], [1], [2], vocabulary="_ab")
    assert unigram("ptb", "char", "test") is None


def test_a_language_models_chance_is_that_of_the_table_wherever_it_is_asked_for(write_text):
    settings = LanguageModelSettings(dataset="ptb", form="char", segment_length=5)
    chance = settings.chance("test")
    assert chance["perplexity"] == pytest.approx(math.exp(chance["loss"]))
    assert chance["bpc"] == pytest.approx(chance["loss"] / math.log(2))
    write_text([1, 1, 1, 2], [1, 2], [2, 2, 1], vocabulary="_ab")
    assert settings.chance("test") == chance
    assert settings.model_copy(update={"dataset": "unknown"}).chance("test") == {}


@pytest.mark.data
@pytest.mark.parametrize("folder", ["ptb", "wikitext-2"])
def test_the_table_says_what_the_texts_say(folder, real_data):
    name = folder.replace("-", "")
    fetch({"ptb": PTB, "wikitext2": WIKITEXT2}[name], Console(file=io.StringIO()), path=real_data / folder)
    rows = {key: value for key, value in unigrams().items() if key[0] == name}
    assert rows
    for (data_set, form, split), (loss, accuracy) in rows.items():
        assert unigram(data_set, form, split) == pytest.approx((loss, accuracy), rel=1e-12)
