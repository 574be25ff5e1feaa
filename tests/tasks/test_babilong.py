"""BABILong: facts of bAbI among the sentences of a long text, and a question at its end."""

import tracemalloc
from collections import Counter
from itertools import islice

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from rmem_cli.data.babi import words
from rmem_cli.data.sentences import Sentences
from rmem_cli.data.writer import Content, write_prepared
from rmem_cli.errors import UsageError
from rmem_cli.tasks.babilong import Babilong
from rmem_cli.tasks.facts_config import ANSWERS, BabilongSettings

# Sentences of a background, one of which says a fact, and one of which is short.
LINES = [
    "the old mill stood by the water .",
    "it rained .",
    "nobody knew who had built it , or when !",
    "they say mary moved to the bathroom at night .",
    "a road went up the hill and down again .",
    "what did they want there ?",
]
NO_FACT = [line for line in LINES if "mary" not in line and line != "it rained ."]
ANY = settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def corpus():
    """A prepared text of words, each split with the same sentences in another order."""
    texts = {"train": LINES, "valid": LINES[::-1], "test": [*LINES[3:], *LINES[:3]]}
    vocabulary = ["<eos>", *sorted({word for line in LINES for word in line.split()})]
    symbols = {word: symbol for symbol, word in enumerate(vocabulary)}

    def read(lines):
        return np.array([symbols[word] for line in lines for word in [*line.split(), "<eos>"]], np.uint8)

    content = Content({split: [read(lines)] for split, lines in texts.items()}, vocabulary, end_of_line=0)
    return write_prepared("ptb", "word", content, sources=[], licence="none", citation="none")


@pytest.fixture
def build(corpus, write_babi):
    def build(babi_task=1, tokens=70, **fields):
        write_babi(f"en-10k-qa{babi_task}")
        fields = {"segment_length": 16, "shortest_sentence": 5, **fields}
        return Babilong(
            BabilongSettings(babi_task=babi_task, dataset="ptb", form="word", tokens=tokens, **fields)
        )

    return build


def text_of(task, symbols):
    """The words of some symbols."""
    known = dict(enumerate(task.corpus.vocabulary))
    for sentence, its_symbols in task.questions.sentences().items():
        known |= dict(zip(its_symbols.tolist(), words(sentence), strict=True))
    return [known[symbol] for symbol in symbols]


def taken_apart(task, example):
    """Background, positions of facts in it, facts and question of an example, from its symbols alone."""
    row = task.read([example], 0, task.length)[0]
    assert len(row) == task.length
    *facts, (end, question) = example.inserted
    assert end + len(question) == task.length
    assert row[end:].tolist() == question.tolist()
    inside = np.ones(task.length, bool)
    inside[end:] = False
    gaps = []
    for position, fact in facts:
        assert row[position : position + len(fact)].tolist() == fact.tolist()
        gaps.append(int(inside[:position].sum()))
        inside[position : position + len(fact)] = False
    return row[inside], gaps, [fact for _, fact in facts], question


def asked_in(task, example, split):
    """The question of bAbI that an example asks: with its story, in its order."""
    *facts, (_, question) = example.inserted
    told = [fact.tolist() for _, fact in facts]
    return next(
        each
        for each in task.questions.splits[split]
        if [task.questions[fact].tolist() for fact in each.story] == told
        and task.questions[each.question].tolist() == question.tolist()
        and task.questions.answer(each) == example.answer
    )


def test_examples_are_these(build):
    task = build(tokens=44)
    texts = [" ".join(text_of(task, row.tolist())) for row in task.read(task.draw(2, 1, "test", 0), 0, 44)]
    assert texts == [
        "john travelled to the kitchen the old mill stood by the water . nobody knew who had built it , or "
        "when ! mary went to the bedroom a road went up the hill and down again . what did they "
        "where is mary",
        "nobody knew who had built it , or when ! john travelled to the kitchen a road went up the hill "
        "and down again . what did they want there ? mary went to the bedroom the old mill stood by "
        "where is john",
    ]


@ANY
@given(
    tokens=st.integers(40, 200),
    seed=st.integers(0, 99),
    babi_task=st.sampled_from([1, 4]),
    split=st.sampled_from(["train", "test"]),
)
def test_lengths_are_exact_and_all_facts_of_a_story_stand_in_their_order(
    build, tokens, seed, babi_task, split
):
    task = build(babi_task, tokens)
    for example in task.draw(5, seed, split, 0):
        assert asked_in(task, example, split)
        _, gaps, _, _ = taken_apart(task, example)
        assert gaps == sorted(gaps)


@ANY
@given(tokens=st.integers(40, 200), seed=st.integers(0, 99))
def test_the_background_is_the_text_on_and_on_without_facts_and_short_sentences(build, tokens, seed):
    task = build(tokens=tokens)
    lines = [f"{line} <eos>".split() for line in [*LINES[3:], *LINES[:3]] if line in NO_FACT]
    # A full stop ends a sentence: the end of the line behind it is a sentence that is too short.
    endless = [word for _ in range(2 + tokens // 20) for line in lines for word in line[:-1]]
    begins = np.cumsum([0, *(len(line) - 1 for line in lines)])
    for example in task.draw(5, seed, "test", 0):
        background, gaps, _, _ = taken_apart(task, example)
        read = text_of(task, background.tolist())
        starts = [start for start in begins[:-1] if endless[start : start + len(read)] == read]
        assert starts
        assert any(
            all(gap == len(read) or (start + gap) % begins[-1] in begins for gap in gaps) for start in starts
        )


@ANY
@given(
    tokens=st.integers(60, 400),
    seed=st.integers(0, 99),
    bounds=st.sampled_from([(0, 0.5), (0.5, 1), (0.25, 0.75), (0, 0), (1, 1)]),
)
def test_facts_stand_within_their_bounds(build, tokens, seed, bounds):
    earliest, latest = bounds
    task = build(tokens=tokens, earliest=earliest, latest=latest)
    longest = max(len(line.split()) for line in NO_FACT)
    for example in task.draw(5, seed, "test", 0):
        background, gaps, _, _ = taken_apart(task, example)
        assert all(gap <= latest * len(background) for gap in gaps)
        if (latest - earliest) * len(background) > longest or latest == 1:
            assert all(gap >= earliest * len(background) for gap in gaps)


def test_each_gap_is_as_likely(build):
    """In the fourth task each story has as many words: the background is as long as all of its sentences."""
    background = sum(len(line.split()) for line in NO_FACT)
    task = build(babi_task=4, tokens=20 + background)
    counts = Counter(
        gap for example in task.draw(3000, 1, "test", 0) for gap in taken_apart(task, example)[1]
    )
    for gap in (0, background):
        assert counts[gap] / 6000 == pytest.approx(1 / (len(NO_FACT) + 1), abs=0.02)


def test_examples_are_a_function_of_seed_split_and_number(build):
    task = build()

    def rows(seed=1, split="test", number=0):
        return task.read(task.draw(4, seed, split, number), 0, task.length).tolist()

    assert rows() == rows()
    others = [rows(seed=2), rows(split="valid"), rows(number=1)]
    assert all(rows() != other for other in others)


@ANY
@given(batch_size=st.integers(1, 9), segment_length=st.integers(1, 80), seed=st.integers(0, 9))
def test_neither_batches_nor_segments_change_an_example(build, batch_size, segment_length, seed):
    task = build(segment_length=segment_length)
    found, state = [], []
    for batch in task.evaluation_batches("test", 9, batch_size, seed, "by_number"):
        if bool(batch.fresh.all()):
            found += state
            state = [[] for _ in batch.inputs]
        for row, inputs in zip(state, batch.inputs.tolist(), strict=True):
            row += inputs
    whole = next(build(segment_length=70).evaluation_batches("test", 9, 9, seed, "by_number"))
    assert [*found, *state] == whole.inputs.tolist()
    assert whole.weight.sum(1).tolist() == [1] * 9
    assert bool((whole.weight[:, -1] == 1).all())


def test_an_example_of_a_million_symbols_takes_the_memory_of_a_segment(build):
    task = build(tokens=1_000_000)
    next(task.evaluation_batches("test", 2, 2, seed=1))  # what is made once
    tracemalloc.start()
    for batch in islice(task.evaluation_batches("test", 2, 2, seed=1), 20):
        assert batch.inputs.shape == (2, 16)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100_000


def test_training_batches_may_have_fewer_segments_which_hold_all_that_is_told(build):
    task = build(tokens=90, vary_segments=True)
    assert task._needed > 16
    lengths = Counter(task.training_batch(step, 2, 1).inputs.shape[1] for step in range(200))
    assert set(lengths) == {32, 48, 64, 80, 90}
    batch = build(tokens=90).training_batch(0, 2, 1)
    assert batch.inputs.shape == (2, 90)


def test_questions_about_more_facts_may_be_left_out(build):
    task = build(most_facts=2)
    for split in ("train", "test"):
        assert {len(example.inserted) for example in task.draw(50, 1, split, 0)} == {3}
    with pytest.raises(UsageError, match=r"no question has 1 facts or fewer; raise task.most_facts to 2"):
        build(most_facts=1)


def test_a_length_without_room_for_facts_and_question_is_refused(build):
    needed = build()._needed
    build(tokens=needed)
    with pytest.raises(
        UsageError, match=f"take up to {needed} symbols, and task.tokens is {needed - 1}; raise"
    ):
        build(tokens=needed - 1)


def test_a_text_without_sentences_of_that_length_is_refused(build):
    task = build(shortest_sentence=50)
    with pytest.raises(
        UsageError, match=r"ptb \(word\) has no sentence of 50 symbols or more in train; lower"
    ):
        task.training_batch(0, 1, 1)


def test_bounds_in_the_wrong_order_are_refused():
    with pytest.raises(ValidationError, match=r"earliest is 0.7, and latest 0.2; make earliest no larger"):
        BabilongSettings(
            babi_task=1, dataset="ptb", form="word", tokens=9, segment_length=9, earliest=0.7, latest=0.2
        )


def test_sentences_go_on_for_ever(corpus):
    sentences = Sentences(corpus, "train", 5)
    assert len(sentences) == 5
    lap = sentences.begin(5)
    assert [sentences.begin(7), sentences.first_from(lap + 1)] == [lap + sentences.begin(2), 6]
    positions = np.arange(lap)
    assert sentences.symbols(positions).tolist() == sentences.symbols(positions + 3 * lap).tolist()


@pytest.mark.data
@pytest.mark.parametrize("size", ["en", "en-10k"])
def test_answers_are_as_many_as_chance_says(size, real_data):
    import re
    import tarfile

    answers = {number: set() for number in range(1, 21)}
    with tarfile.open(real_data / "babi" / "tasks_1-20_v1-2.tar.gz") as archive:
        for member in archive:
            if match := re.search(rf"/{size}/qa(\d+)_\S*_(train|test)\.txt$", member.name):
                lines = archive.extractfile(member).read().decode().splitlines()
                answers[int(match[1])] |= {line.split("\t")[1] for line in lines if "\t" in line}
    assert tuple(map(len, answers.values())) == ANSWERS[size]


def test_the_last_step_alone_counts_and_has_the_answer(build):
    task = build()
    examples = task.draw(6, 3, "train", 0)
    batch = task.batch(examples)
    assert torch.equal(batch.weight.sum(1), torch.ones(6))
    assert batch.targets[:, -1].tolist() == [example.answer for example in examples]
