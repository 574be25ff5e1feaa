"""Options that do not go together are refused where recipes are read, with what to do."""

import pytest

from rmem_cli.recipe.problems import RecipeError
from rmem_cli.recipe.reader import read_recipe

TEXT = """\
name: made_up
title: A made-up experiment
paper: null
task: {kind: copying_memory, length: 20}
model: {core: {kind: rmt, hidden_size: 8, heads: 2, memory_tokens: 2, segment_length: 5}}
optimizer: {kind: adam, lr: 1e-3}
train: {steps: 10, batch_size: 4, eval_every: 5, validation: {metric: loss, examples: 8}}
eval: [{name: test, split: test, examples: 8, metrics: [loss]}]
seeds: [1]
rows: [{id: one, title: One}]
"""
XL = "model.core={kind: transformer_xl, hidden_size: 8, heads: 2, segment_length: 5%s}"
RMT = "model.core={kind: rmt, hidden_size: 8, heads: 2, segment_length: 5, memory_tokens: 2%s}"
PRENORM = "model.core={kind: prenorm_rmt, memory_tokens: 2%s}"
FIVE = ", hidden_size: 8, segment_length: 5"
GATED = "model.core={kind: gated_lstm, hidden_size: 8%s}"
TEXTS = "task={kind: language_model, dataset: ptb, form: char, segment_length: 5}"
WORDS = "task={kind: language_model, text: {file: t.txt, tokens: %s}, segment_length: 5}"
TIED = "model.head={kind: adaptive%s}"
ENCODER = "model.encoder={kind: adaptive, size: %d%s}"
STORIES = "task={kind: babi, number: 1%s}"
THREE = "model={architecture: story_and_question, core: {kind: gru, hidden_size: 6}%s}"
MEMORY = "model={architecture: memory_network, memory_network: {size: 6}%s}"
IMAGES = "task={kind: image_sequence, dataset: mnist%s}"


@pytest.fixture(scope="module")
def recipe():
    return read_recipe(TEXT.encode(), "made_up.yaml", "made_up")


@pytest.mark.parametrize(
    ("sets", "path", "message"),
    [
        (["model.core.heads=3"], "model.core", "hidden_size 8 cannot be shared among 3 heads; set head_size"),
        (
            [TEXTS.replace("char", "word"), "eval.test.metrics=[loss, bpc]"],
            "eval.test.metrics[1]",
            "is of characters, and the symbols of this text are words; take perplexity or loss",
        ),
        (
            [WORDS % "sentencepiece, size: 99", "train.validation.metric=bpc"],
            "train.validation.metric",
            "the symbols of this text are pieces of words",
        ),
        (
            [TEXTS.replace("char", "sentencepiece-500"), "train.validation.metric=bpc"],
            "train.validation.metric",
            "the symbols of this text are pieces of words",
        ),
        (
            [WORDS % "words", "train.stop_when_solved={metric: bpc, at: 1.0}"],
            "train.stop_when_solved.metric",
            "the symbols of this text are words",
        ),
        (["model.core.same_length=true"], "model.core", "same_length needs a cache_length above 0"),
        (
            [RMT % ", cache_length: 3, same_length: true, causal: false"],
            "model.core",
            "same_length is of keys before a token, and causal is false; leave out one of them",
        ),
        *(
            (
                [f"schedule={{kind: {kind}, min_lr: 0.5}}"],
                "schedule.min_lr",
                "is 0.5, above optimizer.lr, 0.001; lower",
            )
            for kind in ("plateau", "linear", "cosine")
        ),
        (
            ["train.stages=[{steps: 5, task: {length: 1}}]", "train.early_stopping={patience: 2}"],
            "train.early_stopping",
            "may end the run before the stages have; leave it out",
        ),
        ([XL % ", same_length: true"], "model.core", "same_length needs a cache_length above 0"),
        (
            [
                XL % ", position_encoding: absolute_learned",
                "train.backprop={kind: truncated, segment_length: 6}",
            ],
            "train.backprop.segment_length",
            "is 6, and the core's absolute positions reach 5 steps; make it no larger",
        ),
        (
            [PRENORM % FIVE, "train.backprop={kind: replay, segment_length: 6}"],
            "train.backprop.segment_length",
            "reach 5 steps",
        ),
        (
            [PRENORM % f"{FIVE}, rotary_positions: true, head_size: 5"],
            "model.core",
            "head_size 5 is odd; make it even",
        ),
        (
            [PRENORM % ", segment_length: 5, hidden_size: 1, token_shift: true"],
            "model.core",
            "set hidden_size to 2 or more",
        ),
        ([PRENORM % ", hidden_size: 8"], "model.core", "absolute_positions need a segment_length"),
        (
            [GATED % ", gate: OM, master_downsize: 3"],
            "model.core",
            "no multiple of master_downsize 3, as 9 is",
        ),
        ([GATED % ", gate: CR"], "model.core", "gate CR needs chrono_length"),
        ([ENCODER % (8, ", cutoffs: [3, 3]")], "model.encoder", "cutoffs [3, 3] must rise"),
        (
            [ENCODER % (8, ", cutoffs: [2, 4], divisor: 4")],
            "model.encoder",
            "leaves no width to the last of 3",
        ),
        ([ENCODER % (8, ""), TIED % ""], "model.head.tied", "needs classes that are symbols"),
        ([TEXTS, TIED % ""], "model.head.tied", "set model.encoder.kind to adaptive"),
        (
            [TEXTS, ENCODER % (6, ""), TIED % ", tie_projections: [true]"],
            "model.head.tie_projections",
            "which have 8 units, as wide as the encoder's vectors, which have 6",
        ),
        (["task={kind: copy, length: 3, alphabet: 255}"], "task.alphabet", "must be at most 254, not 255"),
        ([IMAGES % ", held_out: 0"], "train.validation.split", "the task has nothing in the split 'valid'"),
        ([IMAGES % ", held_out: 60000"], "task", "held_out is 60,000 of 60,000 training images; lower it"),
        (["optimizer.lr=1e300"], "optimizer", "lr is 1e+300; numbers here go up to 3.4e+38"),
        (["optimizer.lr=1e39"], "optimizer", "lr is 1e+39"),
        (["train.clip_norm=1e39"], "train", "clip_norm is 1e+39"),
        (["train.steps=1000000000000001"], "train.steps", "must be at most 1000000000000"),
        ([TEXTS, "model.core.causal=false"], "model.core.causal", "choose a causal core"),
        ([TEXTS, "eval.test.core.causal=false"], "eval.test.core.causal", "choose a causal core"),
        (
            ["eval.test.core.heads=4"],
            "eval.test.core.heads",
            "decides the weights, which are trained by then",
        ),
        (["eval.test.core.heads=3"], "eval.test.core", "set head_size"),
        (["eval.test.core.same_length=true"], "eval.test.core", "needs a cache_length above 0"),
        (
            [XL % ", position_encoding: absolute_learned", "eval.test.core.segment_length=4"],
            "eval.test.core.segment_length",
            "decides the weights",
        ),
        (
            [PRENORM % FIVE, "eval.test.core.segment_length=4"],
            "eval.test.core.segment_length",
            "decides the weights",
        ),
        ([STORIES % ", classes: answers", MEMORY % ""], "task.classes", "answers in symbols"),
        (
            [STORIES % "", MEMORY % "", "train.backprop={kind: truncated, segment_length: 2}"],
            "train.backprop",
            "which a memory network reads together; take kind full",
        ),
        (
            [STORIES % "", MEMORY % ", core: {kind: gru, hidden_size: 5}"],
            "model.core",
            "has outputs of 5 units, and memory_network.size is 6; make them equal",
        ),
        (
            [STORIES % "", THREE % "", "train.backprop={kind: truncated, segment_length: 2}"],
            "train.backprop",
            "cuts a story from its question, whose networks are read together; take kind full",
        ),
        (
            [THREE % ""],
            "model.architecture",
            "answer questions about stories, and task copying_memory asks none; take task babi",
        ),
        (
            [STORIES % "", THREE % ", readout: {kind: attention}"],
            "model.readout",
            "is no part of networks of story and question; leave it out",
        ),
        (
            [STORIES % "", THREE % ", source_core: {kind: gru, hidden_size: 6}"],
            "model.source_core",
            "reads the source of a pointer generator; leave it out",
        ),
        (
            [STORIES % "", "model={architecture: story_and_question}"],
            "model.core",
            "is missing; there are: rnn",
        ),
        (
            [
                STORIES % "",
                "model={architecture: story_and_question, "
                "core: {kind: transformer_xl, hidden_size: 6, heads: 2, segment_length: 5}}",
            ],
            "model.core",
            "and networks of story and question are recurrent; choose a recurrent core",
        ),
        (
            [
                STORIES % "",
                MEMORY % ", core: {kind: transformer_xl, hidden_size: 6, heads: 2, segment_length: 5}",
            ],
            "model.core",
            "the controller of a memory network goes step by step",
        ),
        *(
            ([f"task={{kind: babi, number: {number}}}"], "task.number", f"null for all; {wrong} is none")
            for number, wrong in [
                ("0", "0"),
                ("21", "21"),
                ("[1, 21]", "21"),
                ("'1'", "the text '1'"),
                ("1.0", "1.0"),
                ("true", "true"),
                ("[1, [2]]", "a list"),
            ]
        ),
        (
            ["model.memory_loss={}", "model.core.memory_tokens=0"],
            "model.memory_loss",
            "such as rmt with memory_tokens",
        ),
    ],
)
def test_they_are_refused_with_place_and_cure(recipe, sets, path, message):
    with pytest.raises(RecipeError) as caught:
        recipe.runs(overrides=sets)
    told = [problem for problem in caught.value.problems if problem.path == path]
    assert any(message in problem.message for problem in told), caught.value


@pytest.mark.parametrize(
    "sets",
    [
        ["eval.test.core={segment_length: 4, cache_length: 3, same_length: true}"],
        ["eval.test.core={memory_at_end: false, published_shift: true, dropout: 0.1}"],
        ["model.core={kind: rum, hidden_size: 8, lambda: 1}", "eval.test.core={eta: 1.0, zoneout: 0.1}"],
        ["model.core={kind: gated_gru, hidden_size: 8}", "eval.test.core={zoneout: 0.1}"],
        [GATED % "", "eval.test.core={hidden_zoneout: 0.1, cell_zoneout: 0.2}"],
        [TEXTS, ENCODER % (8, ", cutoffs: [3], divisor: 2"), TIED % ", tie_projections: [false, true]"],
    ],
)
def test_what_changes_no_weight_may_differ_in_an_evaluation_and_fitting_options_are_taken(recipe, sets):
    assert recipe.runs(overrides=sets)


# What is wrong by itself, and the section that alone is told of it.
WRONG = {
    "model.core.heads=3": "model.core",
    "model.core.kind=lsmt": "model.core",
    "model.core={kind: lstm}": "model.core",
    "model.core={kind: transformer_xl, segment_length: 5, causal: 3}": "model.core",
    "model.encoder={kind: adaptive}": "model.encoder",
    "model.encoder={kind: adaptve, size: 6}": "model.encoder",
    "model.encoder={kind: adaptive, size: 6, cutoffs: [3, 3]}": "model.encoder",
    "model.encoder={kind: linear, size: 0}": "model.encoder",
    "model.encoder={size: 6}": "model.encoder",
    "model.head={kind: adaptive, tied: 3}": "model.head",
    "model.head={kind: adaptve}": "model.head",
    "train.backprop={kind: replay, segment_length: 0}": "train.backprop",
    "train.backprop={kind: sliding, depth: -1, published_restart: true}": "train.backprop",
    "schedule={kind: plateau, factor: 7}": "schedule",
    "schedule={kind: plataeu}": "schedule",
}


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize(
    "rest",
    [
        [ENCODER % (8, ""), TIED % ", tie_projections: [true]"],
        [ENCODER % (8, ""), TIED % "", "model.memory_loss={}"],
        [
            ENCODER % (8, ""),
            TIED % "",
            XL % ", position_encoding: absolute_learned",
            "train.backprop={kind: truncated, segment_length: 5}",
        ],
        ["train.backprop={kind: sliding, depth: 2, published_restart: true}"],
    ],
    ids=["tied projections", "memory loss", "absolute places", "memory tokens"],
)
def test_beside_a_component_that_is_wrong_the_rest_is_checked_without_it(recipe, wrong, rest):
    assert recipe.runs(overrides=[TEXTS, *rest])
    with pytest.raises(RecipeError) as caught:
        recipe.runs(overrides=[TEXTS, *rest, wrong])
    paths = {problem.path for problem in caught.value.problems}
    assert all(path.startswith(WRONG[wrong]) for path in paths), caught.value


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_wrong_in_other_sections_is_told_beside_it(recipe, wrong):
    with pytest.raises(RecipeError) as caught:
        recipe.runs(overrides=["train.epochs=3", "eval.test.metrics=[bits]", wrong])
    paths = {problem.path for problem in caught.value.problems}
    assert {"train.epochs", "eval.test.metrics[0]"} <= paths or WRONG[wrong] == "train.backprop"
    assert "eval.test.metrics[0]" in paths
    assert any(path.startswith(WRONG[wrong]) for path in paths)
