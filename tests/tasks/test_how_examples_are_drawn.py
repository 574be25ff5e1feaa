"""Which examples an evaluation of a generated task asks for."""

import hashlib

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rmem_cli.errors import UsageError
from rmem_cli.recipe import load_recipe
from rmem_cli.recipe.registry import TASKS
from rmem_cli.tasks.build import open_task

GENERATED = {
    "copying_memory": {"length": 3},
    "copy_last_ten": {"length": 3},
    "adding": {"length": 7},
    "associative_recall": {"length": 6},
    "program_execution": {"length": 2, "nesting": 1},
    "copy": {"length": 3},
    "reverse": {"length": 4},
    "associative_retrieval": {},
    "key_value_retrieval": {"pairs": 3, "rewrite": True},
    "quadratic_equations": {},
    "memorize": {"dataset": "ptb", "form": "word", "segments": 2, "segment_length": 12},
    "detect_and_memorize": {"dataset": "ptb", "form": "word", "segments": 2, "segment_length": 12},
    "reasoning": {"dataset": "ptb", "form": "word", "segments": 2, "segment_length": 24},
    "babilong": {
        "babi_task": 1,
        "dataset": "ptb",
        "form": "word",
        "tokens": 40,
        "segment_length": 16,
        "shortest_sentence": 3,
    },
}


# Of a batch, when the digests below were taken.
FIELDS = ("inputs", "targets", "weight", "fresh", "answer", "lengths", "reset")


def digest(batches):
    sums = hashlib.sha256()
    for batch in batches:
        for name in FIELDS:
            value = getattr(batch, name)
            sums.update(b"none" if value is None else value.numpy().tobytes())
    return sums.hexdigest()[:12]


# (A training batch, an evaluation), as they were before examples could be drawn by number.
BY_BATCH = {
    "copying_memory": ("d20768f4f809", "ec7f16c117c3"),
    "copy_last_ten": ("1e78b73d09dc", "a06fc9a85144"),
    "adding": ("f3d527a70bd3", "842bb2f4b20c"),
    "associative_recall": ("e307702321e1", "76b49b2f9744"),
    "program_execution": ("b92533b72614", "74868b65a693"),
    "copy": ("e8ef6baaa57f", "810dede5b8fb"),
    "reverse": ("ae4eafd29621", "2f779c3f4df7"),
    "associative_retrieval": ("2b6fd06b0962", "d66362e479fd"),
    "key_value_retrieval": ("3ecd5dddad0e", "1707c0022ff1"),
    "quadratic_equations": ("dabb5c1a0f77", "c20b1c59bfc0"),
    "memorize": ("7f7c3a33ee7c", "492048e24988"),
    "detect_and_memorize": ("893f886bc4a2", "a6e6462f36d6"),
    "reasoning": ("b3f052ed0273", "8420281d60dd"),
    "babilong": ("0901e944f6aa", "938da4427a8c"),
}


@pytest.fixture(params=GENERATED)
def kind(request):
    return request.param


@pytest.fixture
def task(kind, write_made_up):
    chosen = TASKS.settings(kind)(kind=kind, **GENERATED[kind])
    for name, form in chosen.data_sets():
        write_made_up(name, form)
    return open_task(chosen)


def rows(task, examples, batch_size, *, seed=1, split="test", drawn="by_number"):
    """What is read and asked in each example of an evaluation, its padding left out."""
    read = []
    for batch in task.evaluation_batches(split, examples, batch_size, seed, drawn):
        begins = bool(batch.fresh.all())
        for row, (inputs, targets, weight) in enumerate(
            zip(batch.inputs, batch.targets, batch.weight, strict=True)
        ):
            steps = int(weight.nonzero().max()) + 1 if weight.any() else len(weight)
            part = inputs[:steps].tolist(), targets[:steps].tolist(), weight[:steps].tolist()
            if begins:
                read.append([part])
            else:
                read[row - len(batch.inputs)].append(part)
    return read


def test_every_generated_task_is_tried():
    assert set(GENERATED) == {kind for kind in TASKS.kinds() if TASKS.settings(kind).generated}


def test_examples_drawn_by_batch_stay_what_they_were(task, kind):
    made = digest([task.training_batch(2, 5, 1)]), digest(task.evaluation_batches("test", 12, 5, 1))
    assert made == BY_BATCH[kind]


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batch_size=st.integers(1, 200), examples=st.integers(1, 200), split=st.sampled_from(["valid", "test"]))
def test_drawn_by_number_an_example_depends_on_neither_batch_size_nor_count(
    task, batch_size, examples, split
):
    assert rows(task, examples, batch_size, split=split) == rows(task, 200, 64, split=split)[:examples]


def test_drawn_by_number_examples_depend_on_seed_and_split_and_differ_from_each_other(task):
    first = rows(task, 130, 50)
    assert rows(task, 130, 50, seed=2) != first
    assert rows(task, 130, 50, split="valid") != first
    assert first[:64] != first[64:128]


def test_drawn_by_batch_another_batch_size_makes_other_examples(task):
    assert rows(task, 40, 7, drawn="by_batch") != rows(task, 40, 8, drawn="by_batch")


def test_no_batch_of_training_is_one_of_an_evaluation_by_number(task):
    evaluated = next(task.evaluation_batches("train", 64, 64, 1, "by_number"))
    trained = task.training_batch(0, 64, 1)
    length = min(evaluated.inputs.shape[1], trained.inputs.shape[1])
    assert not torch.equal(evaluated.inputs[:, :length], trained.inputs[:, :length])


def test_a_prepared_set_is_read_in_its_order_either_way():
    from rmem_cli.data_scripts.copy_reverse import prepare_reverse

    from rmem_cli.data.writer import write_prepared

    content = prepare_reverse({}, length=24, sizes={"train": 9, "valid": 7, "test": 100})
    write_prepared("reverse", "24", content, sources=[], licence="none", citation="none")
    chosen = TASKS.settings("reverse")(kind="reverse", length=24, alphabet=10, prepared=True)
    task = open_task(chosen)
    assert rows(task, 90, 7) == rows(task, 90, 7, drawn="by_batch") == rows(task, 200, 64)[:90]
    assert len(rows(task, 200, 64)) == 100


@pytest.mark.parametrize("place", ["eval.test", "train.validation"])
def test_a_task_that_reads_its_examples_refuses_to_draw_them(place):
    with pytest.raises(UsageError, match=f"{place}.examples_drawn=by_number: has no meaning"):
        load_recipe("rum_ptb_char").runs(overrides=[f"{place}.examples_drawn=by_number"])
