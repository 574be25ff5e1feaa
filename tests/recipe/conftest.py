"""A made-up recipe and a reader of recipe texts."""

from collections.abc import Callable

import pytest

from rmem_cli.recipe import Recipe
from rmem_cli.recipe.reader import read_recipe

TEXT = """\
name: made_up
title: A made-up experiment
paper: rum2019
task: {kind: associative_recall, length: 50}
model: {core: {kind: rum, hidden_size: 50, lambda: 1, zoneout: 0.1}}
optimizer: {kind: adam, lr: 1e-3, beta1: 0.8}
train: {steps: 1000, batch_size: 128}
eval:
  - {name: test, split: test, examples: 2000, metrics: [accuracy]}
  - {name: long, split: test, examples: 2000, metrics: [accuracy, loss], task: {length: 100}}
seeds: [1, 2, 3]
rows:
  - {id: rum, title: RUM}
  - {id: lstm, title: LSTM, model.core.kind: lstm, notes: [ours], scales: {cpu: {train.steps: 70}}}
scales:
  cpu: {train.steps: 50, eval.test.examples: 200}
  smoke: {train.steps: 3, train.batch_size: 4, rows: [rum], seeds: [1]}
origin:
  optimizer: a paper
"""


@pytest.fixture(scope="session")
def text() -> str:
    return TEXT


@pytest.fixture(scope="session")
def read() -> Callable[[str], Recipe]:
    return lambda text: read_recipe(text.encode(), "made_up.yaml", "made_up")


@pytest.fixture(scope="session")
def recipe(read: Callable[[str], Recipe]) -> Recipe:
    return read(TEXT)
