"""Type-correct and mostly odd recipes at random: each is refused with place and cure, or trains.

Run by hand for more than the tests do: `python tests/odd_settings.py --seed 1 --count 5000`. Values are drawn
from the types of the settings classes, over all kinds and sections. It prints how many were refused and how
many trained, and each recipe that was neither.
"""

import argparse
import io
import os
import random
import re
import sys
import tempfile
import types
import typing
from collections import Counter
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import annotated_types
import numpy as np
import yaml
from pydantic.fields import FieldInfo
from rich.console import Console

from rmem_cli.data.writer import Content, write_prepared
from rmem_cli.errors import RmemError
from rmem_cli.recipe import Recipe
from rmem_cli.recipe.problems import RecipeError
from rmem_cli.recipe.reader import read_recipe
from rmem_cli.recipe.registry import CORES, TASKS, Registry
from rmem_cli.recipe.schema import RunSettings
from rmem_cli.recipe.settings import Component, Settings
from rmem_cli.runs.machine import Machine
from rmem_cli.runs.run import train_run
from rmem_cli.training.progress import Progress

# What is there on this machine alone, or takes data that no test makes.
ELSEWHERE = {"pretrained_rmt", "pretrained", "image_sequence", "document_classification"}
ELSEWHERE |= {"memorize", "detect_and_memorize", "reasoning", "babilong", "quadratic_equations", "babi"}
ELSEWHERE |= {"summarization"}
WHOLE = [1, 1, 2, 2, 3, 4, 5, 6, 8, 9, 12]
NUMBERS = [0.0, 1e-30, 1e-5, 0.1, 0.5, 0.9, 1.0, 2.0, 1e39, 1e300]
# Fields whose range says little of what is odd in them.
CHOSEN: dict[str, list[Any]] = {
    "steps": [*[1, 2, 3] * 12, 10**15],
    "epochs": [None, None, None, 0.01],
    "batch_size": [1, 2, 3],
    "examples": [1, 2, 3, 5, None],
    "dataset": ["ptb"],
    "form": ["char"],
    "text": [None],
    "accumulate": [*[1] * 8, 2, 3],
    "lr": [*[1e-3, 0.1] * 20, 1e39, 1e300],
    "alphabet": [1, 2, 3, 8, 8, 254, 255, 300],
    "nesting": [1, 2],
    "training_examples": [None, 1, 3],
    "prepared": [False],
    "memory_tokens": [0, 1, 2, 3],
    "layers": [1, 1, 2, 3],
    "hidden_size": [1, 2, 3, 4, 6, 7, 8, 12],
    "cutoffs": [[], [], [2], [2, 4], [4, 2], [3, 3], [2, 300]],
    "tie_projections": [[], [], [True], [False, True]],
    "checkpoint_every": [None, 1],
    "diverged_above": [None, None, 1e3],
    "dtype": ["float32", "float32", "float64"],
    "at": [[1], [1, 2], [1], [2], []],
}
REFUSED, TRAINED, DIVERGED = "refused", "trained", "diverged"
CURE = re.compile(
    r"must|did you mean|there are|is missing|give|set |write|make |change |leave|needs?\b|take |lower|choose|"
    r"remove|at most|go up to|no multiple of|measure it by|`rmem "
)


class OddError(Exception):
    """A recipe that is neither refused as it should be nor trains."""


def drawn_recipe(source: random.Random) -> str:
    """The text of a recipe of one row."""
    tree: dict[str, Any] = {"name": "odd", "title": "Odd", "paper": None} | drawn(RunSettings, source)
    _make_plausible(tree, source)
    for protocol in tree["eval"]:
        protocol["task"] = _changes(TASKS, tree["task"], source) if source.random() < 0.1 else {}
        protocol["core"] = _changes(CORES, tree["model"]["core"], source) if source.random() < 0.2 else {}
    for stage in tree["train"].get("stages") or []:
        stage["task"] = _changes(TASKS, tree["task"], source) or {"length": 4}
    tree["rows"] = [{"id": "one", "title": "One"}]
    tree["seeds"] = [1]
    return yaml.safe_dump(tree, sort_keys=False)


def _make_plausible(tree: dict[str, Any], source: random.Random) -> None:
    """Mend most of what one section says of another, or hardly any recipe would be accepted."""
    task, train, model = TASKS.settings(tree["task"]["kind"]), tree["train"], tree["model"]
    if source.random() < 0.9:
        train["validation"] = {"metric": task.metrics[0], "examples": 3}
        train["eval_every"] = source.choice(WHOLE)
    for number, protocol in enumerate(tree["eval"]):
        if source.random() < 0.95:
            protocol |= {"name": f"p{number}", "metrics": [source.choice(task.metrics)], "examples": 3}
        if source.random() < 0.9:
            protocol["feed"] = source.choice(["truth", "predictions"]) if task.feeds_back else "truth"
        if not task.generated:
            protocol.pop("examples_drawn", None)
        if source.random() < 0.9:
            protocol.pop("summaries", None)
    if tree["task"]["kind"] == "language_model" and source.random() < 0.95:
        tree["task"] |= {"dataset": "ptb", "form": "char"}
    if model.get("core") is None:
        model["core"] = _component(CORES, source)
    if source.random() < 0.95:
        model.pop("architecture", None)
        for name in ("memory_network", "pointer_generator", "source_core"):
            model.pop(name, None)
    for name in ("memory_loss", "encoder", "readout", "head"):
        if source.random() < 0.8:
            model.pop(name, None)
    for name in ("stages", "early_stopping", "stop_when_solved", "restart"):
        if source.random() < 0.7:
            train.pop(name, None)
    if source.random() < 0.9 and "segment_length" in CORES.settings(model["core"]["kind"]).model_fields:
        model["core"]["segment_length"] = source.choice(WHOLE)
    if source.random() < 0.9 and "chrono_length" in CORES.settings(model["core"]["kind"]).model_fields:
        model["core"]["chrono_length"] = 5
        model["core"].pop("master_downsize", None)


def drawn(settings: type[Settings], source: random.Random) -> dict[str, Any]:
    """A value for each field that must be there, and for some of the others."""
    values: dict[str, Any] = {}
    for name, field in settings.model_fields.items():
        if name == "kind":
            values[name] = field.default
        elif field.is_required() or source.random() < 0.3 or name == "eval":
            values[field.alias or name] = _value(name, field, source)
    if settings.__name__ == "TrainSettings" and source.random() < 0.9:
        values.pop("epochs", None)
        values["steps"] = source.choice(CHOSEN["steps"])
    return values


def _value(name: str, field: FieldInfo, source: random.Random) -> Any:
    if name in CHOSEN:
        return source.choice(CHOSEN[name])
    return _of_type(field.annotation, field.metadata, source)


def _of_type(annotation: Any, metadata: list[Any], source: random.Random) -> Any:
    origin = get_origin(annotation)
    if origin is Literal:
        return source.choice(get_args(annotation))
    if origin in (typing.Union, types.UnionType):
        return _of_type(source.choice(get_args(annotation)), metadata, source)
    if origin is typing.Annotated:
        inner, *more = get_args(annotation)
        return _of_type(inner, [*metadata, *more], source)
    if origin is list:
        return [_of_type(get_args(annotation)[0], [], source) for _ in range(source.choice([1, 1, 2]))]
    if origin is dict or annotation in (type(None), Any):
        return None if annotation is type(None) else {}
    if isinstance(annotation, type) and issubclass(annotation, Component):
        return _component(annotation.registry, source)
    if isinstance(annotation, type) and issubclass(annotation, Settings):
        return drawn(annotation, source)
    if annotation is bool:
        return source.random() < 0.5
    if annotation is int:
        return source.choice(WHOLE)
    if annotation is float:
        return source.choice(_within(metadata, NUMBERS, source))
    return source.choice(["p1", "test", "loss"])


def _within(metadata: list[Any], values: list[Any], source: random.Random) -> list[Any]:
    """Mostly those within the bounds of a field."""
    if source.random() < 0.01:
        return values
    above = [each.gt for each in metadata if isinstance(each, annotated_types.Gt)]
    below = [each.lt for each in metadata if isinstance(each, annotated_types.Lt)]
    fitting = [v for v in values if all(v > b for b in above) and all(v < b for b in below) and v < 1e38]
    return fitting or values


def _component(registry: Registry, source: random.Random) -> dict[str, Any]:
    kind = source.choice([each for each in registry.kinds() if each not in ELSEWHERE])
    return {"kind": kind, **drawn(registry.settings(kind), source)}


def _changes(registry: Registry, component: dict[str, Any], source: random.Random) -> dict[str, Any]:
    """One field of a component with another value of its kind."""
    fields = drawn(registry.settings(component["kind"]), source)
    fields.pop("kind")
    return dict([source.choice(list(fields.items()))]) if fields else {}


def what_becomes_of(text: str) -> str:
    """Read a recipe and train what it says.

    Raises:
        OddError: It is refused without place or cure, or accepted and does not train.
    """
    try:
        recipe = read_recipe(text.encode(), "odd.yaml", "odd")
    except RecipeError as error:
        for problem in error.problems:
            if not re.search(r"odd\.yaml:\d+", str(problem.place)) or not CURE.search(problem.message):
                raise OddError(f"refused without place or cure: {problem}") from error
        return REFUSED
    return _trained(recipe)


def _trained(recipe: Recipe) -> str:
    spec = recipe.runs()[0]
    try:
        ended = train_run(spec, Machine("cpu", 1), _quiet, lambda: False, repeat=True)
    except RmemError as error:
        # What only the data can tell is told before the first step.
        if type(error).__name__ == "UsageError" and CURE.search(str(error)):
            return "refused with its data"
        raise OddError(f"accepted, then {type(error).__name__}: {error}") from error
    if ended.status not in ("ok", "diverged"):
        raise OddError(f"accepted, then {ended.status}: {ended.message}")
    return TRAINED if ended.status == "ok" else DIVERGED


def _quiet(total: int, done: int, noun: str = "step") -> Progress:
    return Progress(total, "odd", Console(file=io.StringIO()), first_step=done, noun=noun)


def write_data() -> None:
    """A made-up text where the recipes look for one."""
    symbols = np.random.default_rng(1).integers(6, size=400).astype(np.uint8)
    splits = {"train": [symbols], "valid": [symbols[:50]], "test": [symbols[:40]]}
    content = Content(splits, list("_abcde"), end_of_line=0)
    write_prepared("ptb", "char", content, sources=[], licence="none", citation="none")


def trial(seed: int, number: int) -> tuple[str, str]:
    """What became of the recipe of this number, and its text."""
    text = drawn_recipe(random.Random(f"{seed} {number}"))
    return what_becomes_of(text), text


def main() -> int:
    """Print the counts; 1 if any recipe was neither refused nor trained."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--count", type=int, default=300)
    arguments = parser.parse_args()
    counts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        for name in ("DATA", "RUNS", "RESULTS", "CACHE"):
            os.environ[f"RMEM_{name}"] = str(Path(folder) / name)
        write_data()
        for number in range(arguments.count):
            try:
                counts[trial(arguments.seed, number)[0]] += 1
            except OddError as error:
                counts["neither"] += 1
                print(f"recipe {number}: {error}")
    for outcome, count in sorted(counts.items()):
        print(f"{outcome}: {count}")
    return int(counts["neither"] > 0)


if __name__ == "__main__":
    sys.exit(main())
