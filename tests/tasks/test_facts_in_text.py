"""Memorize, detect and memorize, reasoning: facts in a long text."""

import tracemalloc
from itertools import islice, pairwise

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rmem_cli.data.babi import words
from rmem_cli.errors import UsageError
from rmem_cli.evaluation.evaluate import evaluate
from rmem_cli.models.config import EmbeddingSettings, LinearHeadSettings
from rmem_cli.models.cores.recurrent_config import LSTMSettings
from rmem_cli.models.cores.rmt import RMT
from rmem_cli.models.cores.torch_rnn import LSTM
from rmem_cli.models.cores.transformer_config import RMTSettings
from rmem_cli.models.encoders import Embedding
from rmem_cli.models.heads import LinearHead
from rmem_cli.models.sequence import SequenceModel
from rmem_cli.recipe.registry import TASKS
from rmem_cli.tasks.build import open_task

FORMS = ["memorize", "detect_and_memorize", "reasoning"]
EVERY_FORM = pytest.mark.parametrize("form", FORMS)
LENGTH = 24


@pytest.fixture
def build(write_made_up):
    """Builds a task on a made-up text of letters and a few stories."""

    def build(form, segments, segment_length=LENGTH):
        fields = {"dataset": "ptb", "form": "word", "segments": segments, "segment_length": segment_length}
        task_settings = TASKS.settings(form)(kind=form, **fields)
        for name, its_form in task_settings.data_sets():
            write_made_up(name, its_form)
        return open_task(task_settings)

    return build


def texts_of(task, batch):
    """The words of each row."""
    found = {}
    for sentence, symbols in task.questions.sentences().items():
        found |= dict(zip(symbols.tolist(), words(sentence), strict=True))
    found |= dict(enumerate(task.corpus.vocabulary))
    return [[found[symbol] for symbol in row] for row in batch.inputs.tolist()]


def whole(batches):
    """The segments of one evaluation batch, side by side."""
    return torch.cat([batch.inputs for batch in batches], 1), torch.cat(
        [batch.weight for batch in batches], 1
    )


def places_of(row, sentence):
    wanted = words(sentence)
    return [start for start in range(len(row)) if row[start : start + len(wanted)] == wanted]


@EVERY_FORM
@pytest.mark.parametrize("segments", [1, 4])
def test_facts_and_question_stand_where_the_form_says_and_the_answer_is_theirs(build, form, segments):
    task = build(form, segments)
    batch = task.training_batch(0, 20, seed=1)
    stories = [each for split in task.questions.splits.values() for each in split]
    for row, target in zip(texts_of(task, batch), batch.targets[:, -1], strict=True):
        asked = next(
            each
            for each in stories
            if places_of(row, each.question)
            and all(places_of(row, each.story[place]) for place in each.support)
            and task.questions.answer(each) == target
        )
        facts = asked.story if form == "reasoning" else [asked.story[place] for place in asked.support]
        starts = [places_of(row, fact)[0] for fact in facts]
        assert starts == sorted(starts)
        assert starts[0] % LENGTH == 0
        assert starts[0] == 0 or form != "memorize"
        for (first, start), (_, after) in pairwise(zip(facts, starts, strict=True)):
            assert after % LENGTH == 0 or after == start + len(words(first))
        assert row[-len(words(asked.question)) :] == words(asked.question)


@EVERY_FORM
def test_all_else_is_the_text_from_some_place_on(build, form):
    task = build(form, 3)
    text = task.corpus.tokens("train")
    batch = task.training_batch(0, 10, seed=2)
    for row in batch.inputs.numpy():
        windows = np.lib.stride_tricks.sliding_window_view(np.concatenate([text, text]), len(row))
        assert (windows == row).mean(1).max() > 0.6


@EVERY_FORM
def test_only_the_last_step_counts(build, form):
    batch = build(form, 2).training_batch(0, 3, seed=1)
    assert batch.inputs.shape == (3, 2 * LENGTH)
    assert torch.equal(batch.weight.sum(1), torch.ones(3))
    assert torch.equal(batch.weight[:, -1], torch.ones(3))


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(segments=st.integers(1, 6), seed=st.integers(0, 99))
def test_segment_by_segment_is_the_same_as_all_at_once(build, segments, seed):
    task = build("reasoning", segments)
    batches = list(task.evaluation_batches("test", 5, 5, seed))
    at_once = task.make(5, seed, "test", 0)
    inputs, weight = whole(batches)
    assert torch.equal(inputs, at_once.inputs)
    assert torch.equal(weight, at_once.weight)
    assert [bool(batch.fresh.all()) for batch in batches] == [True] + [False] * (segments - 1)
    assert sum(task.examples_in(batch) for batch in batches) == 5


def test_facts_are_drawn_from_every_segment(build):
    task = build("detect_and_memorize", 5)
    starts = {
        position // LENGTH
        for example in task.draw(200, 1, "train", 0)
        for position, _ in example.written[:-1]
    }
    assert starts == {0, 1, 2, 3, 4}


@pytest.mark.parametrize("core", ["lstm", "rmt"])
def test_evaluation_carries_the_state_from_segment_to_segment(build, core):
    torch.manual_seed(0)
    task = build("memorize", 4)
    built = {
        "lstm": lambda: LSTM(8, LSTMSettings(hidden_size=8)),
        "rmt": lambda: RMT(
            8,
            RMTSettings(
                hidden_size=8,
                memory_tokens=2,
                heads=2,
                segment_length=LENGTH,
                memory_at_end=False,
                causal=False,
            ),
        ),
    }[core]()
    model = SequenceModel(
        Embedding(task.symbols, EmbeddingSettings(size=8)),
        built,
        LinearHead(8, task.classes, LinearHeadSettings()),
    ).eval()
    totals = evaluate(model, task, "test", 7, 3, seed=1)
    assert (totals.examples, totals.answers, totals.weight) == (7, 7, 7)
    state, nll = None, 0.0
    with torch.no_grad():
        for step, count in enumerate((3, 3, 1)):
            batch = task.make(count, 1, "test", step)
            state = None
            for segment in batch.split(LENGTH):
                result = model.step(segment, state)
                state, nll = result.state, nll + float(result.nll_sum)
    assert totals.nll == pytest.approx(nll, rel=1e-5)


def test_an_example_of_a_million_segments_takes_the_memory_of_one(build):
    task = build("detect_and_memorize", 1_000_000, segment_length=12)
    next(task.evaluation_batches("test", 2, 2, seed=1))  # what is made once
    tracemalloc.start()
    for batch in islice(task.evaluation_batches("test", 2, 2, seed=1), 20):
        assert batch.inputs.shape == (2, 12)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100_000


def test_the_last_of_many_segments_has_the_question(build):
    task = build("memorize", 1000, segment_length=12)
    batches = list(task.evaluation_batches("test", 2, 2, seed=1))
    assert len(batches) == 1000
    assert [float(batch.weight.sum()) for batch in batches] == [0.0] * 999 + [2.0]


def test_no_question_is_both_for_training_and_for_validation(build):
    task = build("memorize", 1)
    trained, held_out = task.questions.splits["train"], task.questions.splits["valid"]
    assert len(held_out) == 1
    assert len(trained) + len(held_out) == 4


def test_a_segment_without_room_for_facts_and_question_is_refused(build):
    build("memorize", 2, segment_length=9)
    with pytest.raises(UsageError, match="up to 9 symbols, and a segment has 8"):
        build("memorize", 2, segment_length=8)


def test_text_of_characters_takes_facts_of_characters(write_made_up):
    task_settings = TASKS.settings("memorize")(
        kind="memorize", dataset="ptb", form="char", segments=1, segment_length=60
    )
    for name, form in task_settings.data_sets():
        write_made_up(name, form)
    task = open_task(task_settings)
    new = sorted(set("".join(task.questions.sentences())) - set("_abcdefg"))
    assert task.symbols == 8 + len(new)
    spelled = {
        symbol: character
        for text, line in task.questions.sentences().items()
        for symbol, character in zip(line.tolist(), text, strict=True)
    }
    row = task.training_batch(0, 1, seed=1).inputs[0].tolist()
    assert "".join(spelled.get(symbol, "?") for symbol in row).rstrip().endswith("?")


@pytest.mark.parametrize("kind", ["memorize", "detect_and_memorize", "reasoning"])
def test_beside_chance_is_the_most_frequent_answer_of_the_test_questions(kind):
    settings = TASKS.settings(kind)(kind=kind, dataset="ptb", form="char", segments=2, segment_length=99)
    task = settings.babi_task
    # Of the 1,000 test questions of bAbI's tasks 1, 2 and 4, one answer is right for so many.
    right = {1: 0.187, 2: 0.187, 4: 0.177}[task]
    assert settings.baselines("test")["the most frequent answer"] == {"accuracy": right}
    assert list(settings.baselines("valid")) == ["chance"]
