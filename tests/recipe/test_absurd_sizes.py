"""Recipes of absurd sizes are refused in a few sentences, soon."""

import time

import pytest
import yaml

from rmem_cli.recipe.problems import MOST_TOLD, RecipeError
from rmem_cli.recipe.reader import read_recipe

TEXT = """\
name: small
title: Copying memory
task: {kind: copying_memory, length: 3, symbols: 2, alphabet: 3}
model: {core: {kind: gru, hidden_size: 4}}
optimizer: {kind: adam, lr: 0.01}
train: {steps: 4, batch_size: 4}
eval: [{name: test, split: test, examples: 8, metrics: [loss, accuracy]}]
seeds: [1]
rows: [{id: gru, title: GRU}]
scales: {smoke: {train.steps: 2}}
"""


def many(form, count):
    return ", ".join(form.format(number) for number in range(count))


# What is replaced, by what, and a part of the message.
SIZES = {
    "keys": (
        "scales:",
        "\n".join(f"key{i}: 1" for i in range(20_000)) + "\nscales:",
        "key0: unknown key; there are",
    ),
    "keys of a section": ("steps: 4", "steps: 4, " + many("key{}: 1", 20_000), "more problems"),
    "keys of a row": ("title: GRU", "title: GRU, " + many("key{}: 1", 20_000), "unknown key 'key0'"),
    "a matrix": (
        "seeds:",
        f"matrix: {{task.length: [{many('{}', 2000)}], task.symbols: [{many('{}', 500)}]}}\nseeds:",
        "matrix: stands for 1,000,000 combinations; a recipe may have 500",
    ),
    "seeds": ("seeds: [1]", f"seeds: [{many('{}', 20_000)}]", "seeds: may list up to 1,000"),
    "too many seeds for a file": (
        "seeds: [1]",
        f"seeds: [{many('{}', 50_000)}]",
        "more than 50,000 keys and values",
    ),
    "a batch": ("batch_size: 4", "batch_size: 100000000", "must be at most 1000000, not 100000000"),
    "steps": ("steps: 4", "steps: 1000000000000000000000", "a whole number may have up to 18 digits"),
    "nested lists": ("seeds:", f"notes: {'[' * 40}{']' * 40}\nseeds:", "notes[0]: must be text, not a list"),
    "deep lists": ("seeds:", f"notes: {'[' * 300_000}{']' * 300_000}\nseeds:", "nested too deeply"),
    "rows": (
        "rows: [",
        f"rows: [{many('{{id: r{}, title: R}}', 5000)}, ",
        "rows: lists 5,001 rows; a recipe may have",
    ),
    "rows of a scale": (
        "smoke: {",
        f"smoke: {{rows: [{many('row{}', 20_000)}], ",
        "unknown row 'row0'",
    ),
    "scales": (
        "scales: {",
        f"scales: {{{many('s{}: {{}}', 5000)}, ",
        "scales: has 5,001 scales; a recipe may have",
    ),
    "origins": (
        "seeds:",
        f"origin: {{{many('train.key{}: x', 10_000)}}}\nseeds:",
        "origin: has 9,950 more such fields",
    ),
    "one key twice": ("seeds: [1]", "\n".join(["seeds: [1]"] * 10_000), "the key stands twice"),
    "a word": ("kind: gru", f"kind: {'g' * 300_000}", "unknown core"),
    "metrics": ("[loss, accuracy]", f"[{many('m{}', 20_000)}]", "no metric 'm0'"),
    "values of one axis": (
        "seeds:",
        f"matrix: {{task.length: [{many('{}', 20_000)}]}}\nseeds:",
        "stands for 20,000 combinations",
    ),
}


def seconds_of_plain_yaml():
    """Processor time of a list of 10,000 numbers here, on this machine as busy as it is."""
    text = f"[{many('{}', 10_000)}]"
    started = time.thread_time()
    assert sum(1 for _ in yaml.parse(text, Loader=yaml.SafeLoader)) > 10_000
    return time.thread_time() - started


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.slow
def test_what_is_absurdly_large_is_refused_in_a_few_lines_and_soon(size):
    old, new, message = SIZES[size]
    assert old in TEXT
    data = TEXT.replace(old, new, 1).encode()
    for _ in range(3):  # busy neighbours make one measurement longer than the other
        started = time.thread_time()
        with pytest.raises(RecipeError) as caught:
            read_recipe(data, "small.yaml", "small")
        took = time.thread_time() - started
        if in_time := took < 15 * seconds_of_plain_yaml():
            break
    assert in_time  # the longest takes 9 times as long; a quadratic reader, far more
    told = str(caught.value)
    assert message in told
    assert len(told.splitlines()) <= MOST_TOLD + 1
    assert max(map(len, told.splitlines())) < 2100


def test_the_number_of_the_others_is_told():
    wrong = TEXT.replace("scales:", "\n".join(f"key{i}: 1" for i in range(20_000)) + "\nscales:")
    with pytest.raises(RecipeError) as caught:
        read_recipe(wrong.encode(), "small.yaml", "small")
    assert str(caught.value).splitlines()[-1] == "and 19,950 more problems"
