"""Every mistake in a recipe is told with its place and its cure."""

import contextlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from marked import without_mark

from rmem_cli.recipe import Recipe
from rmem_cli.recipe.problems import RecipeError

Read = Callable[[str], Recipe]

# (what is replaced, by what, with ‸ where the message must point, and the message)
UNKNOWN_KEYS = [
    ("title: A made", "‸titel: A made", "titel: unknown key; did you mean 'title'?"),
    ("length: 50}", "length: 50, ‸lenght: 3}", "task.lenght: unknown key; did you mean 'length'?"),
    ("lambda: 1", "‸lambda_: 1", "model.core.lambda_: unknown key; did you mean 'lambda'? (row rum)"),
    ("batch_size: 128", "batch_size: 128, ‸clip: 1", "train.clip: unknown key; did you mean 'clip_norm'?"),
    ("split: test,", "split: test, ‸metric: 1,", "eval.test.metric: unknown key; did you mean 'metrics'?"),
    ("RUM}", "RUM, ‸publish: x}", "publish: unknown key 'publish'; did you mean 'published'?"),
    ("RUM}", "RUM, ‸modl.core.kind: gru}", "modl.core.kind: unknown key 'modl'; did you mean 'model'?"),
    ("  cpu: {", "  cpu: {‸train.stps: 5, ", "train.stps: unknown key; did you mean 'steps'? (scale cpu)"),
]
KINDS = [
    ("kind: rum,", "kind: ‸rmu,", "model.core.kind: unknown core 'rmu'; did you mean 'rum'? (row rum)"),
    (
        "associative_recall, length: 50}\nmodel: {",
        "associative_recall, length: 50}\nmodel: {encoder: {kind: ‸features}, ",
        "model.encoder.kind: reads features, and the task needs one that reads symbols: "
        "one_hot, embedding, adaptive",
    ),
    (
        "associative_recall, length: 50}\nmodel: {",
        "associative_recall, length: 50}\nmodel: {head: {kind: ‸regression}, ",
        "model.head.kind: predicts numbers, and the task needs one that predicts classes: linear, adaptive",
    ),
    ("kind: adam", "kind: ‸adm", "optimizer.kind: unknown optimizer 'adm'; did you mean 'adam'?"),
    ("task: {kind: associative_recall", "task: {kind: ‸5", "task.kind: must be text, not 5"),
    ("task: {kind: associative_recall, ", "task: ‸{", "task: its kind is missing; there are: copying_memory"),
    (
        "optimizer: {kind: adam, lr: 1e-3, beta1: 0.8}",
        "optimizer: ‸adam",
        "optimizer: must be a mapping with a kind, not the text 'adam'",
    ),
]
VALUES = [
    ("size: 50", "size: ‸-5", "model.core.hidden_size: must be greater than 0, not -5"),
    ("size: 50", "size: ‸'50'", "model.core.hidden_size: must be a whole number, not the text '50'"),
    (
        "steps: 1000",
        "steps: ‸1e3",
        "train.steps: must be a whole number, not 1000.0; write 1000 (scale paper)",
    ),
    ("lr: 1e-3", "lr: ‸fast", "optimizer.lr: must be a number, not the text 'fast'"),
    ("kind: adam, lr: 1e-3", "kind: ‸adam", "optimizer.lr: is missing"),
    ("batch_size: 128", "batch_size: ‸true", "train.batch_size: must be a whole number, not true"),
    (
        "batch_size: 128",
        "batch_size: 128, loss: ‸meen",
        "train.loss: must be 'mean' or 'sum_over_time', not the text 'meen'; did you mean 'mean'?",
    ),
    ("zoneout: 0.1", "zoneout: ‸1.0", "model.core.zoneout: must be less than 1, not 1"),
    (
        "zoneout: 0.1",
        "update_gate: ‸yes",
        "model.core.update_gate: must be true or false, not the text 'yes' (row rum)",
    ),
    ("length: 50", "length: ‸51", "task.length: must be a multiple of 2, not 51"),
    ("title: RUM", "title: ‸5", "rows.rum.title: must be text, not 5; put it in quotes"),
    ("seeds: [1, 2, 3]", "seeds: [1, ‸-2, 3]", "seeds[1]: must be at least 0, not -2"),
    ("seeds: [1, 2, 3]", "seeds: ‸1", "seeds: must be a list, like [a, b], not 1"),
    ("seeds: [1, 2, 3]", "seeds: ‸[1, 1]", "seeds: lists a seed twice"),
    ("metrics: [accuracy]", "metrics: ‸[]", "eval.test.metrics: must not be empty"),
    ("metrics: [accuracy]", "metrics: ‸[loss, loss]", "eval.test.metrics: lists a metric twice"),
]
NAMES = [
    (
        "seeds: [1, 2, 3]",
        "seeds: [1]\n‸seeds: [2]",
        "seeds: the key stands twice, first at made_up.yaml:11:1; keep one of them",
    ),
    ("{id: lstm,", "{id: ‸rum,", "rows.rum.id: a second row 'rum'; ids must differ"),
    ("{id: lstm,", "{id: ‸L-1,", "rows.L-1.id: must consist of a-z, 0-9 and _, not 'L-1'"),
    ("name: long", "name: ‸test", "eval.test.name: a second protocol called 'test'; names must differ"),
    ("name: long", "name: ‸a.b", "eval.a.b.name: must consist of letters"),
    ("name: made_up", "name: ‸made_down", "name: must be 'made_up' like the file, not 'made_down'"),
]
REFERENCES = [
    (
        "[accuracy]",
        "[‸acuracy]",
        "eval.test.metrics[0]: the task has no metric 'acuracy'; did you mean 'accuracy'?",
    ),
    (
        "title: RUM",
        "title: RUM, published: ‸rum2019.ptb_char.fs_rum2",
        "rows.rum.published: unknown published row 'rum2019.ptb_char.fs_rum2'; "
        "did you mean 'rum2019.ptb_char.fs_rum_2'?",
    ),
    (
        "title: RUM",
        "title: RUM, published: [rum2019.recall.lstm, ‸rum2019.recall.lstn]",
        "rows.rum.published: unknown published row 'rum2019.recall.lstn'; did you mean",
    ),
    (
        "title: RUM",
        "title: RUM, published: ‸7",
        "rows.rum.published: must be an id like rum2017.recall.lstm, a list of ids, or a mapping from matrix "
        "cells to ids, not 7",
    ),
    (
        "title: RUM",
        "title: RUM, published: {length=5: ‸rum2019.recall.lstm}",
        "rows.rum.published: no scale has a cell 'length=5'; the row has no matrix",
    ),
    (
        "paper: rum2019",
        "paper: ‸rum2018",
        "paper: unknown published paper 'rum2018'; did you mean 'rum2019'?",
    ),
    (
        "seeds: [1, 2, 3]",
        "seeds: [1]\npublished: ‸rum2019.ptb_chr",
        "published: unknown published table 'rum2019.ptb_chr'; did you mean",
    ),
    ("rows: [rum]", "rows: [‸rmu]", "scales.smoke.rows: unknown row 'rmu'; did you mean 'rum'?"),
    ("scales: {cpu:", "scales: {‸cpi:", "rows.lstm.scales.cpi: unknown scale 'cpi'; did you mean 'cpu'?"),
    (
        "eval.test.examples: 200}",
        "‸eval.tst.examples: 200}",
        "eval.tst.examples: no evaluation protocol is called 'tst'; did you mean 'test'? (scale cpu)",
    ),
    (
        "  optimizer: a",
        "  ‸optimiser: a",
        "origin.optimiser: no row has such a field; did you mean 'optimizer'?",
    ),
]
SCALES = [
    ("  cpu: {train.steps: 50", "  ‸paper: {train.steps: 50", "scales.paper: 'paper' cannot be the name"),
    (
        "{train.steps: 3, train.batch_size: 4, rows: [rum], seeds: [1]}",
        "‸fast",
        "scales.smoke: must be a mapping",
    ),
]
BETWEEN_FIELDS = [
    ("train: {steps: 1000, ", "train: ‸{", "train: needs either steps or epochs (scale paper)"),
    (
        "steps: 1000, ",
        "epochs: ‸2, ",
        "train.epochs: a task that generates its examples has no epochs; give steps",
    ),
    ("steps: 1000,", "steps: 1000, epochs: ‸2,", "train.epochs: steps and epochs exclude each other"),
    (
        "- {name: test, split: test, examples: 2000,",
        "- ‸{name: test, split: test,",
        "eval.test.examples: is missing; the task can generate any number",
    ),
    (
        "batch_size: 128",
        "batch_size: 128, backprop: {kind: sliding, depth: 1, published_restart: ‸true}",
        "train.backprop.published_restart: needs a core with memory_tokens",
    ),
    (
        "batch_size: 128",
        "batch_size: 128, backprop: {kind: replay, published_caches: ‸true}",
        "train.backprop.published_caches: needs a core with memory_tokens",
    ),
    (
        "split: test, examples: 2000,",
        "split: test, examples: 2000, examples_drawn: ‸each,",
        "eval.test.examples_drawn: must be",
    ),
    (
        "batch_size: 128",
        "batch_size: 128, validation: {metric: ‸bpc, examples: 5}",
        "train.validation.metric: the task has no metric 'bpc'",
    ),
    (
        "batch_size: 128",
        "batch_size: 128, validation: ‸{split: test}",
        "train.validation.examples: is missing",
    ),
    (
        "metrics: [accuracy]",
        "metrics: [accuracy], checkpoint: ‸best",
        "eval.test.checkpoint: there is a best checkpoint only with train.validation",
    ),
    (
        "batch_size: 128",
        "batch_size: 128, early_stopping: ‸{patience: 3}",
        "train.early_stopping: early stopping needs train.validation",
    ),
    (
        "batch_size: 128",
        "batch_size: 128, stop_when_solved: ‸{metric: accuracy, at: 1.0}",
        "train.stop_when_solved: a stop when the task is solved needs train.validation",
    ),
    (
        "batch_size: 128",
        "batch_size: 128, stop_when_solved: {metric: ‸bpc, at: 1.0}",
        "train.stop_when_solved.metric: the task has no metric 'bpc'",
    ),
    (
        "batch_size: 128",
        "batch_size: 128, stop_when_solved: {metric: accuracy, at: ‸.nan}",
        "train.stop_when_solved.at: ",
    ),
    (
        "batch_size: 128",
        "batch_size: 128, stop_when_solved: ‸{metric: accuracy, at: 99}",
        "train.stop_when_solved: accuracy is a fraction, and at is 99.0; give one from 0 to 1",
    ),
    (
        "seeds: [1, 2, 3]",
        "seeds: [1]\nsolved: ‸{metric: accuracy, at: 99}",
        "solved: accuracy is a fraction, and at is 99.0; give one from 0 to 1",
    ),
    (
        "seeds: [1, 2, 3]",
        "seeds: [1]\nsolved: ‸{metric: f1, at: 99}",
        "solved: f1 is a fraction, and at is 99.0; give one from 0 to 1",
    ),
    (
        "seeds: [1, 2, 3]",
        "seeds: [1]\nschedule: {kind: ‸plateau}",
        "schedule.kind: the plateau schedule needs train.eval_every",
    ),
    (
        "task: {length: 100}",
        "task: {length: ‸101}",
        "eval.long.task.length: must be a multiple of 2, not 101",
    ),
    ("task: {length: 100}", "task: {‸lenth: 9}", "eval.long.task.lenth: unknown key; did you mean 'length'?"),
    (
        "task: {length: 100}",
        "task: {kind: ‸copying_memory}",
        "eval.long.task.kind: the kind of the task cannot differ",
    ),
    (
        "task: {length: 100}",
        "core: {‸zoneot: 0.2}",
        "eval.long.core.zoneot: unknown key; did you mean 'zoneout'? (row rum)",
    ),
    (
        "task: {length: 100}",
        "core: {kind: ‸gru}",
        "eval.long.core.kind: the kind of the core cannot differ",
    ),
    (
        "seeds: [1, 2, 3]",
        "seeds: [1]\nmatrix: {task.length: ‸3}",
        "matrix.task.length: must be a list of single values",
    ),
    (
        "seeds: [1, 2, 3]",
        "seeds: [1]\nmatrix: {‸tsk.length: [4]}",
        "tsk.length: unknown key 'tsk'; did you mean 'task'?",
    ),
]


@pytest.mark.parametrize(
    ("old", "new", "message"), UNKNOWN_KEYS + KINDS + VALUES + NAMES + REFERENCES + SCALES + BETWEEN_FIELDS
)
def test_a_wrong_recipe_is_refused_with_place_and_cure(
    text: str, read: Read, old: str, new: str, message: str
) -> None:
    assert old in text
    wrong, place = without_mark(text.replace(old, new, 1))
    with pytest.raises(RecipeError) as caught:
        read(wrong)
    lines = str(caught.value).splitlines()
    assert any(line.startswith(f"{place}: {message}") for line in lines), (place, lines)


@pytest.mark.parametrize("name", ["{a: 1}", "[long]", "5", "null"])
def test_beside_an_unknown_protocol_stand_names_alone(text: str, read: Read, name: str) -> None:
    wrong = text.replace("name: long", f"name: {name}").replace("eval.test.examples", "eval.zzzzz.examples")
    with pytest.raises(RecipeError) as caught:
        read(wrong)
    (told,) = (line for line in str(caught.value).splitlines() if "called 'zzzzz'" in line)
    assert told.endswith("no evaluation protocol is called 'zzzzz'; there are: test (scale cpu)")


def test_all_mistakes_are_told_at_once_in_their_order_and_each_once(text: str, read: Read) -> None:
    wrong = (
        text.replace("length: 50", "length: 51")
        .replace("beta1: 0.8", "beta1: 1.8")
        .replace("[accuracy, loss]", "[accuracy, lose]")
        .replace("train.steps: 3", "train.steps: 0")
    )
    with pytest.raises(RecipeError) as caught:
        read(wrong)
    assert [problem.path for problem in caught.value.problems] == [
        "task.length",
        "optimizer.beta1",
        "eval.long.metrics[1]",
        "train.steps",
    ]
    assert caught.value.exit_code == 2


def test_a_recipe_with_nothing_in_it_is_told_all_it_needs(read: Read) -> None:
    with pytest.raises(RecipeError) as caught:
        read("name: made_up\n")
    missing = [problem.path for problem in caught.value.problems]
    assert missing == [
        "title",
        "rows",
        "task",
        "model",
        "optimizer",
        "train",
        "eval",
        "seeds",
    ]


@pytest.mark.parametrize(
    "key", ["task", "model", "optimizer", "train", "eval", "seeds", "rows", "scales", "origin"]
)
@pytest.mark.parametrize("value", ["5", "null", "[]", "[1]", "{}", "{a: 1}", "text", "[{}]", "[[]]"])
def test_any_section_of_the_wrong_shape_is_refused(text: str, read: Read, key: str, value: str) -> None:
    lines = [line for line in text.splitlines() if not line.startswith(key)]
    blocks = (
        "\n".join(lines) if key not in ("eval", "rows", "scales", "origin") else _without_block(text, key)
    )
    changed = f"{blocks}\n{key}: {value}\n"
    if (key, value) in {("seeds", "[1]"), ("origin", "{}")}:
        read(changed)
        return
    with pytest.raises(RecipeError):
        read(changed)


@given(
    start=st.integers(0, 1100),
    length=st.integers(0, 60),
    inserted=st.sampled_from(
        ["", " ", "{", "}", "[]", ": ", ", ", "null", "5", "-", "kind: lstm", "\n", "'", "a.b: {}"]
    ),
)
def test_any_damaged_recipe_is_read_or_refused_but_never_fails_otherwise(
    text: str, read: Read, start: int, length: int, inserted: str
) -> None:
    with contextlib.suppress(RecipeError):
        read(text[:start] + inserted + text[start + length :])


def _without_block(text: str, key: str) -> str:
    kept, inside = [], False
    for line in text.splitlines():
        inside = line.startswith(key) or (inside and line.startswith(" "))
        if not inside:
            kept.append(line)
    return "\n".join(kept)
