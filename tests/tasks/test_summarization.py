"""Articles and their summaries become what a pointer-generator reads and says."""

from collections import Counter

import numpy as np
import pytest
import torch

from rmem_cli.data.articles import PAD, SPECIAL, START, STOP, UNKNOWN, Article, open_words
from rmem_cli.data.pair_records import Pair
from rmem_cli.errors import DataError, UsageError
from rmem_cli.tasks.build import open_task
from rmem_cli.tasks.summary_config import SummarizationSettings

# In training "the" and "sat" occur most often.
TRAIN = [
    Pair("1", "the cat sat the mat", "the cat sat"),
    Pair("2", "the dog sat", "sat the sat the fox\nthe end"),
]
OTHERS = [Pair("3", "the the", "sat")]
SPLITS = {"train": TRAIN, "valid": OTHERS, "test": OTHERS}


def summarization(**options):
    return open_task(SummarizationSettings(dataset="cnn_dailymail", **options))


def test_words_without_a_symbol_are_counted_by_each_row_behind_all_symbols(write_summaries):
    write_summaries(splits=SPLITS)
    task = summarization(vocabulary=len(SPECIAL) + 2)
    assert task.vocabulary.symbols == [*SPECIAL, "the", "sat"]
    assert (task.symbols, task.classes) == (6, 6)
    batch = task.batch(list(task.articles("train")))
    assert batch.source.tolist() == [[4, UNKNOWN, 5, 4, UNKNOWN], [4, UNKNOWN, 5, PAD, PAD]]
    assert batch.source_words.tolist() == [[4, 6, 5, 4, 7], [4, 6, 5, PAD, PAD]]
    assert batch.source_lengths.tolist() == [5, 3]
    assert batch.inputs.tolist() == [
        [START, 4, UNKNOWN, 5, *[PAD] * 4],
        [START, 5, 4, 5, 4, UNKNOWN, 4, UNKNOWN],
    ]
    # Neither the fox nor the end is in the article.
    assert batch.targets.tolist() == [
        [4, 6, 5, STOP, *[PAD] * 4],
        [5, 4, 5, 4, UNKNOWN, 4, UNKNOWN, STOP],
    ]
    assert batch.weight.tolist() == [[1] * 4 + [0] * 4, [1] * 8]


def test_what_was_said_comes_back_in_words(write_summaries):
    write_summaries(splits=SPLITS)
    task = summarization(vocabulary=len(SPECIAL) + 2)
    first, second = task.articles("train")
    assert task.sources.words(first, [4, 6, 5, 7, STOP, 4]) == ["the", "cat", "sat", "mat"]
    assert task.sources.words(second, [6, UNKNOWN]) == ["dog", "<unk>"]
    for article in (first, second):
        row = task.batch([article]).targets[0].tolist()
        flat = [word for sentence in article.reference for word in sentence]
        known = {*task.vocabulary.symbols, *article.source}
        assert task.sources.words(article, row) == [word if word in known else "<unk>" for word in flat]


def test_each_summary_may_count_equally_whatever_its_length(write_summaries):
    write_summaries(splits=SPLITS)
    weight = summarization(weight="summary").batch(list(summarization().articles("train"))).weight
    torch.testing.assert_close(weight.sum(1), torch.ones(2))
    assert {tuple(set(row[row > 0].tolist())) for row in weight} == {(0.25,), (0.125,)}


@pytest.mark.parametrize(
    ("most", "said"), [(2, [4, 6]), (3, [4, 6, 5]), (4, [4, 6, 5, STOP]), (9, [4, 6, 5, STOP])]
)
def test_a_summary_is_cut_off_at_its_length_and_then_has_no_end(write_summaries, most, said):
    write_summaries(splits=SPLITS)
    task = summarization(vocabulary=len(SPECIAL) + 2, target_length=most)
    batch = task.batch(task.articles("train")[:1])
    assert batch.targets[0].tolist() == said
    assert batch.inputs[0].tolist() == [START, 4, UNKNOWN, 5][: len(said)]


def test_of_an_article_no_more_is_read_than_its_length_and_copied_from_that_alone(write_summaries):
    write_summaries(splits=SPLITS)
    task = summarization(vocabulary=len(SPECIAL) + 1, source_length=1)
    batch = task.batch(task.articles("train")[:1])
    assert batch.source.tolist() == [[4]]
    assert batch.targets.tolist() == [[4, UNKNOWN, UNKNOWN, STOP]]
    assert len(task.articles("train")[0].source) == 5


def test_a_source_alone_begins_with_nothing_said(write_summaries):
    write_summaries(splits=SPLITS)
    task = summarization(vocabulary=len(SPECIAL) + 2)
    articles = task.articles("train")[:]
    alone, whole = task.sources.source_batch(articles), task.batch(articles)
    assert alone.inputs.tolist() == [[START], [START]]
    for name in ("source", "source_words", "source_lengths"):
        assert torch.equal(getattr(alone, name), getattr(whole, name))
    with pytest.raises(UsageError, match="without a word cannot be summarized"):
        task.sources.source_batch([Article("x", [], [["a"]])])


def test_the_vocabulary_is_torchtexts_of_articles_and_summaries_that_are_trained_on(write_summaries):
    from torchtext.vocab import Vocab

    write_summaries(train=40, valid=5, test=5)
    task = summarization(vocabulary=20)
    counts = Counter(
        word
        for article in task.articles("train")
        for part in (article.source, *article.reference)
        for word in part
    )
    theirs = Vocab(counts, max_size=20 - len(SPECIAL), specials=list(SPECIAL))
    assert task.vocabulary.symbols == theirs.itos
    assert len(summarization().vocabulary) == len(SPECIAL) + len(counts)


def test_every_article_is_trained_on_once_a_pass_in_batches_of_like_length(write_summaries):
    write_summaries(train=300, valid=5, test=5)
    task = summarization()
    steps = task.steps_per_epoch(8)
    lengths = [task.training_batch(step, 8, seed=1).source_lengths for step in range(steps)]
    assert (steps, sum(map(len, lengths))) == (37, 296)
    spread = np.mean([float(each.max() - each.min()) for each in lengths])
    assert spread < 0.2
    first = [task.training_batch(step, 8, seed=1).source.tolist() for step in range(steps)]
    again = [task.training_batch(step + steps, 8, seed=1).source.tolist() for step in range(steps)]
    assert first != again


def test_the_batch_of_a_step_is_a_function_of_step_and_seed(write_summaries):
    write_summaries(train=50, valid=5, test=5)
    one, other = summarization(), summarization()
    one.training_batch(40, 4, seed=1)
    for step in (0, 13, 40):
        assert torch.equal(one.training_batch(step, 4, 1).source, other.training_batch(step, 4, 1).source)
    assert not torch.equal(one.training_batch(3, 4, 1).source, one.training_batch(3, 4, 2).source)


def test_evaluation_sees_each_article_once_whatever_the_batch_size(write_summaries):
    write_summaries(train=20, valid=5, test=17)
    task = summarization()
    for size in (1, 4, 50):
        rows = [
            row[: int(length)].tolist()
            for batch in task.evaluation_batches("test", None, size, seed=1)
            for row, length in zip(batch.source, batch.source_lengths, strict=True)
        ]
        assert sorted(rows) == sorted(task.vocabulary.encode(each.source) for each in task.articles("test"))
    assert sum(len(batch.inputs) for batch in task.evaluation_batches("test", 6, 4, seed=1)) == 6


def test_what_is_here_can_be_divided_anew_and_no_article_is_in_two_parts(write_summaries):
    write_summaries(train=7, valid=33)
    with pytest.raises(DataError, match=r"without its split test.*set task\.split to drawn"):
        summarization()
    task = summarization(split="drawn")
    ids = {split: [article.id for article in task.articles(split)] for split in ("train", "valid", "test")}
    assert {split: len(each) for split, each in ids.items()} == {"train": 32, "valid": 4, "test": 4}
    assert len({each for some in ids.values() for each in some}) == 40
    again = summarization(split="drawn", vocabulary=30)
    assert [article.id for article in again.articles("test")] == ids["test"]


def test_too_few_articles_to_divide_or_to_train_on_are_refused(write_summaries):
    write_summaries(train=9)
    with pytest.raises(DataError, match="9 articles here, too few to be divided"):
        summarization(split="drawn")
    write_summaries(train=9, valid=2, test=2)
    with pytest.raises(UsageError, match=r"there are 9 articles to train on.*lower train\.batch_size"):
        summarization().training_batch(0, 10, seed=1)


def test_articles_come_back_as_they_were(write_summaries):
    write_summaries(splits=SPLITS)
    articles = open_words("cnn_dailymail").published()["train"]
    assert articles[0] == Article("1", ["the", "cat", "sat", "the", "mat"], [["the", "cat", "sat"]])
    assert articles[-1].reference == [["sat", "the", "sat", "the", "fox"], ["the", "end"]]
    assert [article.id for article in articles[::-1]] == ["2", "1"]
    with pytest.raises(IndexError):
        articles[2]
