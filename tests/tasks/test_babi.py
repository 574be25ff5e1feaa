"""Stories and questions of bAbI: how they are read, in which order, and what their answers are."""

import os
from collections import Counter
from itertools import chain
from pathlib import Path

import pytest
import torch
from rmem_cli.data_scripts.babi import prepare_task
from torch import nn
from torch.nn import functional

from rmem_cli.data.identity import data_hash
from rmem_cli.data.writer import write_prepared
from rmem_cli.errors import DataError, UsageError
from rmem_cli.evaluation.evaluate import evaluate
from rmem_cli.models.model import Model, StepResult
from rmem_cli.recipe.hashing import digest
from rmem_cli.tasks.babi import StoryQuestions
from rmem_cli.tasks.babi_config import MOST_FREQUENT_ANSWERS, BabiSettings

STORY = """\
1 Mary went home.
2 Where is Mary? \thome\t1
3 Mary got milk and an apple.
4 What has Mary? \tmilk,apple\t3
"""
TEST = """\
1 John ran.
2 Mary went home.
3 John sat.
4 Where is Mary then? \thome\t2
"""
WORDS = "Mary went home . Where is ? got milk and an apple What has John ran sat then milk,apple"


@pytest.fixture
def write(tmp_path):
    """Writes texts as the prepared files of a task."""

    def write(train=STORY, test=TEST, *, number=1, size="en-10k"):
        texts = {"train": train, "test": test}
        files = {}
        for split, text in texts.items():
            if text is not None:
                path = tmp_path / f"{size}_qa{number}_{split}.txt"
                path.write_text(text)
                files[path.name] = path
        missing = [f"{size}/qa{number}_{split}.txt" for split, text in texts.items() if text is None]
        return write_prepared(
            "babi",
            f"{size}-qa{number}",
            prepare_task(files),
            sources=[],
            licence="none",
            citation="none",
            missing=missing,
        )

    return write


def many(questions):
    """Stories of one question each, of one to five statements, whose answers count them."""
    lines = []
    for number in range(questions):
        told = number % 5 + 1
        lines += [f"{step + 1} Somebody came." for step in range(told)]
        lines.append(f"{told + 1} How many came? \tno{number}\t{told}")
    return "\n".join(lines) + "\n"


def task(number=1, **options):
    return StoryQuestions(BabiSettings(number=number, **options))


def words(task, symbols):
    """What steps say: words joined, a step of several in braces, `_` a blank."""
    spelled = ["_", *task.vocabulary[1:]]
    if symbols.dim() == 1:
        return " ".join(spelled[symbol] for symbol in symbols)
    steps = [" ".join(spelled[symbol] for symbol in step if symbol >= 0) for step in symbols.tolist()]
    return " ".join(f"{{{step}}}" for step in steps)


def only(task, split="test"):
    [batch] = task.evaluation_batches(split, None, 8, seed=1)
    return batch


@pytest.mark.parametrize(
    ("options", "expected", "question"),
    [
        ({"level": "word"}, "John ran . Mary went home . John sat . Where is Mary then ?", 10),
        ({}, "{John ran .} {Mary went home .} {John sat .} {Where is Mary then ?}", 3),
        ({"text": "plain"}, "{john ran} {mary went home} {john sat} {where is mary then}", 3),
    ],
)
def test_a_story_is_read_as_words_or_as_sentences(write, options, expected, question):
    write()
    found = task(**options)
    batch = only(found)
    assert words(found, batch.inputs[0]) == expected
    assert batch.question.tolist() == [question]
    assert batch.weight.nonzero().tolist() == [[0, batch.inputs.shape[1] - 1]]
    assert found.answers[batch.targets[0, -1]] == "home"


def test_questions_of_several_lengths_are_padded_behind_and_no_blank_counts(write):
    write(test=STORY)
    found = task(level="word")
    batch = only(found)
    assert words(found, batch.inputs[0]) == "Mary went home . Where is Mary ? _ _ _ _ _ _ _"
    assert words(found, batch.inputs[1]) == "Mary went home . Mary got milk and an apple . What has Mary ?"
    assert batch.lengths.tolist() == [8, 15]
    assert batch.question.tolist() == [4, 11]
    assert batch.weight.argmax(1).tolist() == [7, 14]
    assert batch.weight.sum() == 2


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        ("word", "_ _ _ _ _ _ _ Mary went home . Where is Mary ? _"),
        ("sentence", "{_} {_} {Mary went home .} {Where is Mary ?}"),
    ],
)
def test_published_padding_puts_blanks_before_the_story_and_behind_the_question(write, level, expected):
    write(train=STORY, test=STORY + TEST)
    found = task(level=level, padding="published")
    batch = only(found)
    assert words(found, batch.inputs[0]) == expected
    assert batch.lengths is None
    assert batch.question.tolist() == [found.longest_story] * 3
    assert (batch.weight[:, -1] == 1).all()
    assert batch.weight.sum() == 3


def test_the_vocabulary_is_that_of_both_splits_with_whole_answers_and_a_blank(write):
    write()
    found = task()
    assert found.vocabulary == ["", *sorted(WORDS.split())]
    assert found.symbols == found.classes == len(found.vocabulary)
    answers = task(classes="answers")
    assert answers.answers == ["home", "milk,apple"]
    assert (answers.symbols, answers.classes) == (found.symbols, 2)


def test_plain_answers_are_words_in_lower_case(write):
    write(test="1 Fred ran.\n2 Who ran? \tFred\t1\n")
    found = task(text="plain")
    assert found.answers[only(found).targets[0, -1]] == "fred"
    assert not {".", "?", "Fred"} & set(found.vocabulary)


def test_the_last_tenth_of_the_training_questions_is_for_validation(write):
    write(train=many(30))
    found = task(classes="answers")
    answered = [
        found.answers[answer]
        for batch in found.evaluation_batches("valid", None, 8, seed=1)
        for answer in batch.targets[batch.weight > 0]
    ]
    assert sorted(answered) == ["no27", "no28", "no29"]
    assert found.steps_per_epoch(9) == 3


def read_answers(found, steps, batch_size, seed=1):
    batches = [found.training_batch(step, batch_size, seed) for step in steps]
    return [[found.answers[answer] for answer in batch.targets[batch.weight > 0]] for batch in batches]


def test_a_pass_reads_each_question_once_in_batches_of_like_length(write):
    write(train=many(60))
    found = task(classes="answers")
    first, second = read_answers(found, range(6), 9), read_answers(found, range(6, 12), 9)
    expected = sorted(f"no{number}" for number in range(54))
    assert sorted(chain(*first)) == sorted(chain(*second)) == expected
    assert first != second
    for batch in first:
        assert len({int(answer[2:]) % 5 for answer in batch}) <= 2
    assert read_answers(task(classes="answers"), range(6), 9) == first
    assert read_answers(task(classes="answers"), range(6), 9, seed=2) != first
    assert read_answers(task(classes="answers"), [8], 9) == [second[2]]


def test_the_order_of_the_files_is_read_as_published(write):
    write(train=many(12))  # 10 to train on: two and a half batches of 4
    found = task(classes="answers", order="file")
    first, second, last = [[f"no{each}" for each in range(a, b)] for a, b in ((0, 4), (4, 8), (8, 10))]
    assert read_answers(found, range(6), 4) == [first, second, last, first, second, first]


def test_several_tasks_are_learned_as_one(write):
    write(number=1)
    write(number=4, train=STORY.replace("Mary", "Daniel"), test=STORY.replace("Mary", "Daniel"))
    found = task([4, 1], classes="answers")
    assert {"Daniel", "Mary", "then"} <= {*found.vocabulary}
    assert found.answers == ["home", "milk,apple"]
    assert [len(only(task([4, 1]), split).inputs) for split in ("test", "valid")] == [3, 2]
    batch = only(found)
    assert found.settings.parts() == ("qa4", "qa1")
    assert batch.part.tolist() == [0, 0, 1]
    assert "Daniel" in words(found, batch.inputs[0])
    assert task(1).settings.parts() == ()
    assert only(task(1)).part is None
    assert [len(batch.inputs) for batch in found.evaluation_batches("test", 2, 8, seed=1)] == [2]


def test_too_few_questions_for_a_batch_are_refused(write):
    write()
    with pytest.raises(UsageError, match=r"1 questions to train on.*lower train\.batch_size"):
        task().training_batch(0, 2, seed=1)


def test_a_missing_file_is_refused_with_what_to_do_and_smaller_ones_take_its_place(write):
    write(train=None, number=3)
    write(train=many(20), number=3, size="en")
    with pytest.raises(DataError) as refusal:
        task(3)
    for part in ("en-10k/qa3_train.txt", "`rmem fetch babi`", "set task.if_missing to smaller"):
        assert part in str(refusal.value)
    found = task(3, if_missing="smaller", classes="answers")
    assert found.steps_per_epoch(1) == 18
    assert only(found).inputs.shape[0] == 1
    write(train=None, number=2)
    write(train=None, number=2, size="en")
    with pytest.raises(DataError) as refusal:
        task(2, if_missing="smaller")
    assert "if_missing" not in str(refusal.value)
    settings = BabiSettings(number=3, if_missing="smaller")
    assert data_hash(settings).endswith("-partial")
    write(number=3)
    assert not data_hash(settings).endswith("-partial")
    assert only(task(3, if_missing="smaller"), "valid").inputs.shape[0] == 1


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_file_without_questions_is_damaged(write, split):
    write(**{split: "1 Mary went home.\n"})
    with pytest.raises(DataError, match=f"there is no question in {split}"):
        task()


@pytest.mark.parametrize("number", [0, 21, [], [1, 1], [0]])
def test_there_are_twenty_tasks(number):
    with pytest.raises(ValueError, match="number"):
        BabiSettings(number=number)


def test_all_of_them_are_those_of_no_number():
    assert BabiSettings(number=None).numbers == list(range(1, 21))
    assert digest(BabiSettings(number=None)) != digest(BabiSettings(number=1))


class Knowing(Model):
    """Says at each step what a function of the batch says."""

    segment_length, causal, stepwise = None, True, True

    def __init__(self, says, classes):
        super().__init__()
        self.says, self.classes = says, classes
        self.weight = nn.Parameter(torch.zeros(()))

    def initial_state(self, rows, *, device=None, dtype=None):
        return {}

    def outputs(self, batch, state):
        return functional.one_hot(self.says(batch), self.classes).to(self.weight), {}

    def step(self, batch, state):
        outputs, state = self.outputs(batch, state)
        return StepResult(torch.zeros_like(batch.weight), batch.weight, outputs, state)

    def logits(self, outputs):
        return outputs


def accuracy(found, says, split="test"):
    sums = evaluate(Knowing(says, found.classes), found, split, None, 32, seed=1)
    return sums.correct / sums.answers


def answers_of(found, split="test"):
    return Counter(
        int(answer)
        for batch in found.evaluation_batches(split, None, 64, seed=1)
        for answer in batch.targets[batch.weight > 0]
    )


def test_an_oracle_is_always_right_and_a_constant_answer_has_its_share(write):
    write(test=STORY + TEST)
    found = task()
    assert accuracy(found, lambda batch: batch.targets) == 1
    home = found.answers.index("home")
    assert accuracy(found, lambda batch: torch.full_like(batch.targets, home)) == pytest.approx(2 / 3)


# Symbols, steps of the longest story and question in words, and the longest story in sentences.
REAL = {
    1: (22, 68, 4, 10),
    2: (36, 552, 5, 88),
    4: (18, 16, 7, 2),
    8: (50, 358, 5, 58),
    19: (35, 40, 11, 5),
    20: (42, 69, 8, 12),
}


@pytest.fixture(scope="module")
def real_folder(tmp_path_factory):
    from rich.console import Console
    from rmem_cli.data_scripts.babi import BABI
    from rmem_cli.data_scripts.fetch import fetch

    folder = tmp_path_factory.mktemp("babi")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RMEM_DATA", str(folder))
        path = Path(os.environ["RMEM_TEST_DATA"]) / "babi"
        fetch(BABI, Console(quiet=True), path=path, allow_missing=True)
    return folder


@pytest.mark.data
@pytest.mark.parametrize("number", REAL)
@pytest.mark.slow
def test_the_real_tasks_have_their_words_lengths_and_answers(number, real_folder, monkeypatch):
    monkeypatch.setenv("RMEM_DATA", str(real_folder))
    found, sentences = task(number, level="word"), task(number)
    assert (found.symbols, found.longest_story, found.longest_question, sentences.longest_story) == REAL[
        number
    ]
    assert found.steps_per_epoch(32) == 281
    answers = answers_of(found)
    assert answers.total() == 1000
    assert answers.most_common(1)[0][1] == MOST_FREQUENT_ANSWERS[number - 1]
    baseline = BabiSettings(number=number).baselines("test")["the most frequent answer"]["accuracy"]
    most = answers.most_common(1)[0][0]
    assert accuracy(found, lambda batch: torch.full_like(batch.targets, most)) == baseline
    assert accuracy(sentences, lambda batch: batch.targets) == 1


@pytest.mark.data
def test_padding_costs_little_in_batches_of_like_length(real_folder, monkeypatch):
    monkeypatch.setenv("RMEM_DATA", str(real_folder))
    found = task(5, level="word")
    batches = [found.training_batch(step, 32, seed=1) for step in range(found.steps_per_epoch(32))]
    steps = sum(batch.inputs.numel() for batch in batches)
    counted = sum(
        batch.inputs.numel() if batch.lengths is None else int(batch.lengths.sum()) for batch in batches
    )
    assert 1 - counted / steps < 0.03


@pytest.mark.data
def test_of_the_missing_task_what_is_there_is_learned_and_said_to_be_partial(real_folder, monkeypatch):
    monkeypatch.setenv("RMEM_DATA", str(real_folder))
    with pytest.raises(DataError, match="en-10k/qa3_three-supporting-facts_train"):
        task(3)
    assert task(3, if_missing="smaller").steps_per_epoch(32) == 28
    assert data_hash(BabiSettings(number=3, if_missing="smaller")).endswith("-partial")
