from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rmem_cli.recipe import Recipe, load_recipe
from rmem_cli.results.metrics import metric
from rmem_cli.results.row import ResultRow

BASE = """
name: made_up
title: A made-up experiment
paper: rum2019
task: {TASK}
model: {core: {kind: lstm, hidden_size: 4}}
optimizer: {kind: adam, lr: 0.001}
train: {steps: 10, batch_size: 2}
eval: [VALID, TEST]
seeds: [1, 2, 3]
scales:
  cpu: {train.steps: 5}
  smoke: {train.steps: 1, seeds: [1]}
"""
TASKS = {
    "text": {
        "TASK": "kind: language_model, dataset: ptb, form: char, segment_length: 5",
        "VALID": "{name: valid, split: valid, metrics: [bpc]}",
        "TEST": "{name: test, split: test, metrics: [bpc]}",
    },
    "recall": {
        "TASK": "kind: associative_recall, length: 10",
        "VALID": "{name: valid, split: valid, examples: 10, metrics: [loss]}",
        "TEST": "{name: test, split: test, examples: 10, metrics: [accuracy]}",
    },
    "articles": {
        "TASK": "kind: document_classification, segment_length: 5, segments: 2, whole_fold: true",
        "VALID": "{name: train, split: train, metrics: [loss]}",
        "TEST": "{name: test, split: test, metrics: [f1, accuracy]}",
    },
    "facts": {
        "TASK": "kind: memorize, dataset: ptb, form: word, segments: 2, segment_length: 5",
        "VALID": "{name: one, split: test, examples: 10, metrics: [accuracy], task: {segments: 1}}",
        "TEST": "{name: three, split: test, examples: 10, metrics: [accuracy], task: {segments: 3}}",
    },
    "copying": {
        "TASK": "kind: copying_memory, length: 200",
        "VALID": "{name: valid, split: valid, examples: 10, metrics: [loss]}",
        "TEST": "{name: test, split: test, examples: 10, metrics: [loss]}",
    },
}


@pytest.fixture
def recipe(tmp_path: Path) -> Callable[..., Recipe]:
    """Writes and loads a recipe: a task of above, keys to add, and texts to replace."""

    def load(rows: str, task: str = "text", extra: str = "", **changes: str) -> Recipe:
        text = BASE
        for old, new in (TASKS[task] | changes).items():
            text = text.replace(old, new)
        path = tmp_path / "made_up.yaml"
        path.write_text(f"{text}{extra}\nrows:\n{rows}\n", encoding="utf-8")
        return load_recipe(path)

    return load


@pytest.fixture
def results() -> Callable[..., list[ResultRow]]:
    """Result rows as training would write them: the values of seeds 1, 2, ... of one row; None diverged."""

    def make(
        recipe: Recipe,
        row: str,
        values: list[float | None],
        *,
        protocol: str = "test",
        scale: str = "paper",
        name: str = "bpc",
        cell: str = "",
        **columns: Any,
    ) -> list[ResultRow]:
        spec = next(run for run in recipe.runs(scale) if (run.row, run.cell) == (row, cell))
        data_hash = str(columns.get("data_hash", "abc"))
        return [
            replace(
                _row(recipe.name, row, cell, scale, seed, name, value),
                protocol=protocol,
                split=spec.protocol(protocol).split,
                train_hash=spec.train_hash(data_hash),
                eval_hash=spec.eval_hash(spec.protocol(protocol)),
                **(columns | {"data_hash": data_hash}),
            )
            for seed, value in enumerate(values, 1)
        ]

    return make


def _row(
    experiment: str, row: str, cell: str, scale: str, seed: int, name: str, value: float | None
) -> ResultRow:
    return ResultRow(
        experiment=experiment, row=row, cell=cell, scale=scale, seed=seed, protocol="", split="", part="",
        metric=name, value=value, unit=metric(name).unit, examples=100, step=10, checkpoint="last",
        parameters=17950, wall_seconds=60.0 * seed, peak_memory_mb=100.0 * seed, device="cpu", threads=2,
        op_paths="", dtype="float32", torch_version="2.13.0", rmem_version="0.1.0", git_commit="0" * 40,
        git_dirty="false", train_hash="", eval_hash="", data_hash="",
        status="diverged" if value is None else "ok", time="2026-01-02T03:04:05Z",
    )  # fmt: skip
