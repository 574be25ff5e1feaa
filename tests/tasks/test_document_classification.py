"""Documents read segment by segment, their class at the end."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rmem_cli.data.hyperpartisan import FOLDS, open_hyperpartisan
from rmem_cli.errors import DataError, UsageError
from rmem_cli.evaluation.evaluate import evaluate
from rmem_cli.models.config import EmbeddingSettings, LinearHeadSettings
from rmem_cli.models.cores.recurrent_config import GRUSettings
from rmem_cli.models.cores.rmt import RMT
from rmem_cli.models.cores.torch_rnn import GRU
from rmem_cli.models.cores.transformer_config import RMTSettings
from rmem_cli.models.encoders import Embedding
from rmem_cli.models.heads import LinearHead
from rmem_cli.models.sequence import SequenceModel
from rmem_cli.recipe.hashing import digest
from rmem_cli.tasks.document_classification import DocumentClassification, in_segments
from rmem_cli.tasks.text_config import DocumentClassificationSettings

END = 99


def make_task(fold=0, *, segments=3, **fields):
    settings = DocumentClassificationSettings(fold=fold, segment_length=16, segments=segments, **fields)
    return DocumentClassification(settings)


class Certain(LinearHead):
    """Says one class, whatever it is given."""

    def __init__(self, answer):
        super().__init__(4, 2, LinearHeadSettings())
        torch.nn.init.zeros_(self.linear.weight)
        self.linear.bias.data = torch.nn.functional.one_hot(torch.tensor(answer), 2).float()


@given(length=st.integers(1, 90), segment=st.integers(1, 20), segments=st.integers(1, 5))
def test_a_document_is_read_in_full_segments_to_its_end(length, segment, segments):
    document = np.arange(length)
    document[-1] = END
    read = np.concatenate(in_segments(document, segment, segments)).tolist()
    assert read[-1] == END
    assert len(read) == length or len(read) % segment == 0
    assert len(read) <= max(segment * segments, segment)
    parts = [read[start : start + segment] for start in range(0, len(read), segment)]
    assert all(part == sorted(part) for part in (*parts[:-1], parts[-1][:-1]))
    if length <= segment * segments:
        assert set(read) == set(document.tolist())
    if length > segment:
        assert len(parts) == min(segments, -(-length // segment))


@pytest.mark.parametrize(
    ("alignment", "expected"),
    [
        ("overlapping", [[5, 2, 8, 1], [1, 3, 6, END]]),
        ("left", [[5, 2, 8, 1], [3, 6, END]]),
        ("right", [[5, 2, 8], [1, 3, 6, END]]),
        ("center", [[5, 2, 8, 1], [3, 6, END]]),
    ],
)
def test_the_example_of_the_docstring(alignment, expected):
    def read(document, segments=9):
        return [part.tolist() for part in in_segments(np.array(document), 4, segments, alignment)]

    assert read([5, 2, 8, 1, 3, 6, END]) == expected
    assert read([7, 9, END]) == [[7, 9, END]]
    assert read([5, 2, 8, 1, 3, 6, END], segments=1) == [[5, 2, 8, END]]


@given(
    length=st.integers(1, 90),
    segment=st.integers(1, 20),
    segments=st.integers(1, 5),
    alignment=st.sampled_from(["left", "right", "center"]),
)
def test_without_overlap_each_symbol_is_read_once(length, segment, segments, alignment):
    document = np.arange(length)
    document[-1] = END
    parts = in_segments(document, segment, segments, alignment)
    read = min(length, segment * segments)
    assert np.concatenate(parts).tolist() == [*range(read - 1), END]
    lengths = list(map(len, parts))
    assert len(parts) == -(-read // segment)
    if alignment == "center":
        assert max(lengths) - min(lengths) <= 1
    else:
        full = lengths[:-1] if alignment == "left" else lengths[1:]
        assert full == [segment] * (len(parts) - 1)
    assert max(lengths) <= segment


@pytest.mark.parametrize("alignment", ["left", "right", "center"])
@pytest.mark.parametrize("kind", ["rmt", "gru"])
def test_a_document_gives_the_same_alone_and_beside_longer_ones(write_articles, alignment, kind):
    """Segments that are empty, and places that are, change nothing."""
    write_articles()
    task = make_task(alignment=alignment)
    torch.manual_seed(0)
    core = {
        "rmt": lambda: RMT(
            8, RMTSettings(hidden_size=8, memory_tokens=2, heads=2, segment_length=16, causal=False)
        ),
        "gru": lambda: GRU(8, GRUSettings(hidden_size=8)),
    }[kind]()
    model = SequenceModel(
        Embedding(task.symbols, EmbeddingSettings(size=8)), core, LinearHead(8, 2, LinearHeadSettings())
    )
    model = model.double().eval()
    rows = task.rows["train"][:8]

    def losses(batch):
        total, state = torch.zeros(len(batch.inputs), dtype=torch.float64), None
        for segment in batch.to(torch.device("cpu"), torch.float64).split(16):
            result = model.step(segment, state)
            total, state = total + result.losses.sum(1), result.state
        return total

    together = losses(task._batch(rows, 3))
    alone = torch.cat([losses(task._batch(rows[[row]], 3)) for row in range(8)])
    torch.testing.assert_close(together, alone)
    assert len({len(in_segments(task.documents[row], 16, 3, alignment)) for row in rows}) > 1


def test_a_core_of_other_segments_than_those_that_are_aligned_is_refused(write_articles):
    write_articles()
    batch = make_task(alignment="right").training_batch(0, 8, seed=1)
    assert batch.present is not None
    for length in (None, 7):
        with pytest.raises(UsageError, match=r"set model.core.segment_length to task.segment_length"):
            batch.split(length)


def test_training_batches_may_read_fewer_segments_and_evaluations_read_all(write_articles):
    write_articles()
    task, fixed = make_task(vary_segments=True), make_task()
    most = {-(-task.training_batch(step, 12, seed=1).inputs.shape[1] // 16) for step in range(20)}
    assert most == {1, 2, 3}
    for one, other in zip(
        task.evaluation_batches("test", 9, 3, 1), fixed.evaluation_batches("test", 9, 3, 1), strict=True
    ):
        assert torch.equal(one.inputs, other.inputs)


def test_the_answer_is_due_at_the_last_step_that_counts(write_articles):
    write_articles()
    task = make_task()
    batch = task.training_batch(0, 8, seed=1)
    assert batch.fresh.all()
    steps = torch.arange(batch.inputs.shape[1])
    assert torch.equal(batch.weight > 0, steps == batch.lengths[:, None] - 1)
    end = open_hyperpartisan("pieces").tokenizer(0).vocabulary.index("</s>")
    assert (batch.inputs[batch.weight > 0] == end).all()
    assert (batch.targets[batch.weight == 0] == 0).all()
    assert len(set(batch.lengths.tolist())) > 1
    assert batch.inputs.shape[1] == batch.lengths.max() <= 3 * 16


def test_a_pass_reads_each_training_article_once_in_an_order_of_its_own(write_articles):
    write_articles()
    task = make_task()
    documents = len(task.rows["train"])
    first, second = (
        [tuple(row.tolist()) for row in task.training_batch(epoch, documents, seed=1).inputs]
        for epoch in (0, 1)
    )
    assert sorted(first) == sorted(second)
    assert first != second
    assert first != [tuple(row.tolist()) for row in task.training_batch(0, documents, seed=2).inputs]
    assert task.steps_per_epoch(5) == documents // 5
    with pytest.raises(UsageError, match=r"lower train\.batch_size"):
        task.steps_per_epoch(documents + 1)


def test_whole_folds_test_every_article_once_and_train_on_none_of_them(write_articles):
    write_articles()
    tested = []
    for fold in range(FOLDS):
        task, halves = make_task(fold, whole_fold=True), make_task(fold)
        assert not set(task.rows["train"]) & set(task.rows["test"])
        assert set(task.rows["test"]) == {*halves.rows["test"], *halves.rows["valid"]}
        tested += task.rows["test"].tolist()
    assert sorted(tested) == list(range(40))


@pytest.mark.parametrize("backbone", [None, "some"])
def test_twins_together_is_another_form_of_the_data_and_no_other_task_moves(backbone):
    form = "pieces" if backbone is None else "articles"
    settings = {"segment_length": 16, "segments": 2, "backbone": backbone}
    apart = DocumentClassificationSettings(**settings)
    together = DocumentClassificationSettings(**settings, twins_together=True)
    assert apart.data_sets() == [("hyperpartisan", form)]
    assert together.data_sets() == [("hyperpartisan", f"{form}-twins")]
    assert digest(apart) == digest(DocumentClassificationSettings(**settings, twins_together=False))
    assert digest(apart) != digest(together)


def test_twins_together_reads_the_articles_of_its_form(write_articles):
    write_articles(form="pieces-twins")
    settings = DocumentClassificationSettings(twins_together=True, segment_length=16, segments=2)
    rows = DocumentClassification(settings).rows
    expected = open_hyperpartisan("pieces-twins").split(0)
    assert {split: of.tolist() for split, of in rows.items()} == {
        split: of.tolist() for split, of in expected.items()
    }


def test_a_whole_fold_leaves_nothing_to_validate_on(write_articles):
    write_articles()
    with pytest.raises(UsageError, match=r"'valid'; task\.whole_fold"):
        list(make_task(whole_fold=True).evaluation_batches("valid", None, 4, seed=1))


def test_pieces_decode_to_title_and_text(write_articles):
    write_articles()
    articles = open_hyperpartisan("pieces")
    decoded = articles.tokenizer(3).decode(articles.pieces(3)[8].tolist())
    assert decoded.split() == ["Title", "8", *(["calm", "report", "said", "word8"] * 2)]


@pytest.mark.parametrize("answer", [0, 1])
def test_a_constant_answer_gets_the_share_of_its_class(write_articles, answer):
    write_articles()
    task = make_task(whole_fold=True)
    model = SequenceModel(
        Embedding(task.symbols, EmbeddingSettings(size=4)),
        GRU(4, GRUSettings(hidden_size=4)),
        Certain(answer),
    )
    totals = evaluate(model, task, "test", None, 3, seed=1)
    positive = task.labels[torch.from_numpy(task.rows["test"])].float().mean().item()
    assert totals.examples == totals.answers == len(task.rows["test"])
    assert totals.metric("accuracy") == pytest.approx(positive if answer else 1 - positive)
    assert totals.metric("f1") == pytest.approx(2 * positive / (1 + positive) if answer else 0)


def test_missing_articles_name_the_command_that_gets_them():
    with pytest.raises(DataError, match="rmem fetch hyperpartisan"):
        make_task()
