"""Random damage to run folders and checkpoints: a sentence or the same bits, never another number.

    python tests/trials/run_folders.py --seed 1 --count 100

Two small runs are stopped in the middle, one of generated examples, one of a text with a state that is
carried and segments that are run again. Each trial damages a copy of one, at random: the bytes of a file, its
place, or what a checkpoint holds, with the right hash; then trains it to its end in this process. Held is a
refusal in one sentence (exit code 2 or 3), or an end with the results of a run that was never damaged.
"""

import argparse
import hashlib
import io
import json
import os
import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import typer
from rich.console import Console
from safetensors import torch as safetensors

from rmem_cli.data.writer import Content, write_prepared
from rmem_cli.errors import InterruptedRunError, RmemError
from rmem_cli.recipe import load_recipe
from rmem_cli.recipe.resolve import RunSpec
from rmem_cli.records.folder import run_path
from rmem_cli.records.status import read_status
from rmem_cli.results.store import ResultStore
from rmem_cli.runs.identity import identity_of
from rmem_cli.runs.machine import Machine
from rmem_cli.runs.run import train_run
from rmem_cli.training.progress import Progress

RECIPES = {
    "copying": """\
name: copying
title: Copying memory
paper: rum2019
task: {kind: copying_memory, length: 3, symbols: 2, alphabet: 3}
model: {core: {kind: gru, hidden_size: 8}}
optimizer: {kind: adam, lr: 0.01}
train: {steps: 12, batch_size: 4, eval_every: 4, log_every: 1, validation: {examples: 8}}
eval: [{name: test, split: test, examples: 8, checkpoint: best, metrics: [loss, accuracy]}]
seeds: [1]
rows: [{id: gru, title: GRU}]
scales: {smoke: {train.steps: 2}}
""",
    "text": """\
name: text
title: A text
paper: rum2019
task: {kind: language_model, dataset: ptb, form: char, segment_length: 6}
model: {core: {kind: lstm, hidden_size: 8, dropout: 0.2}}
optimizer: {kind: rmsprop, lr: 0.01, momentum: 0.5}
schedule: {kind: plateau, factor: 0.5, patience: 0}
train:
  steps: 20
  batch_size: 4
  eval_every: 4
  log_every: 1
  validation: {metric: bpc, batch_size: 3}
  backprop: {kind: sliding, depth: 2}
eval: [{name: test, split: test, batch_size: 2, metrics: [bpc]}]
seeds: [1]
rows: [{id: lstm, title: LSTM}]
scales: {smoke: {train.steps: 2}}
""",
}
COMPARED = ("protocol", "metric", "value", "examples", "step", "status")


def train(spec: RunSpec, stop: Callable[[], bool] = lambda: False) -> None:
    def progress(total: int, done: int, noun: str = "step") -> Progress:
        return Progress(total, "trial", Console(file=io.StringIO()), first_step=done, noun=noun)

    train_run(spec, Machine("cpu", 1), progress, stop)


def results(spec: RunSpec) -> list[tuple[Any, ...]]:
    rows = ResultStore(Path(os.environ["RMEM_RESULTS"])).read(spec.experiment)
    return [tuple(repr(getattr(row, name)) for name in COMPARED) for row in rows]


def write_text() -> None:
    source = np.random.default_rng(1)
    arrays = {
        split: [source.integers(6, size=size).astype(np.uint8)]
        for split, size in (("train", 600), ("valid", 60), ("test", 45))
    }
    content = Content(arrays, list("_abcde"), end_of_line=0)
    write_prepared("ptb", "char", content, sources=[], licence="none", citation="none")


def damage_bytes(path: Path, source: random.Random) -> str:
    """Damage a file; returns how."""
    content = bytearray(path.read_bytes())
    kind = source.choice(["cut", "flip", "zero", "junk", "gone", "folder", "long", "deep", "edit"])
    if kind == "cut":
        path.write_bytes(content[: source.randrange(len(content) + 1)])
    elif kind == "flip" and content:
        for _ in range(source.choice([1, 20])):
            content[source.randrange(len(content))] ^= 1 << source.randrange(8)
        path.write_bytes(content)
    elif kind == "zero":
        path.write_bytes(bytes(len(content)))
    elif kind == "junk":
        path.write_bytes(source.randbytes(source.choice([1, 100, 10_000])))
    elif kind == "folder":
        path.unlink()
        path.mkdir()
    elif kind == "long":
        os.truncate(path, 1 << 31)  # of which nothing is on the disk
    elif kind == "deep":
        path.write_text("[" * 100_000)
    elif kind == "edit":
        text = content.decode(errors="replace")
        word = source.choice(text.replace('"', " ").replace(",", " ").split() or ["x"])
        path.write_text(text.replace(word, source.choice(["x", "-1", "1e9", "null", "[]", "nan"]), 1))
    else:
        path.unlink()
    return kind


def damage_value(value: Any, source: random.Random) -> Any:
    """Another value in the place of one."""
    others: list[Any] = [None, "x", -1, 10**9, float("nan"), [], {}, torch.zeros(2, 3), True]
    if not isinstance(value, float):  # a number that could be the right one cannot be told from it
        others.append(2.5)
    if isinstance(value, torch.Tensor):
        others += [
            value.double(),
            value[:1] if value.dim() else value[None],
            value.long(),
            value.flatten()[:0],
        ]
    return source.choice(others)


def forge(folder: Path, source: random.Random) -> str:
    """Change something in the checkpoint, with the right hash; returns what."""
    pointer_file = folder / "checkpoints" / "last.json"
    pointer = json.loads(pointer_file.read_text())
    content = folder / "checkpoints" / pointer["folder"]
    weights = safetensors.load((content / "weights.safetensors").read_bytes())
    state = torch.load(content / "state.pt", weights_only=True)
    if source.random() < 0.3:
        name = source.choice(list(weights))
        tensor = weights.pop(name)
        changed = source.choice([None, tensor[:1].clone(), tensor.double(), tensor.flatten()])
        what = f"weights: {name.rpartition('.')[2]}"
        if changed is not None:
            weights[source.choice([name, f"{name}.nan"])] = changed
        elif source.random() < 0.5:
            weights["nan"] = tensor
    else:
        what, place, key = "state", state, source.choice(list(state))
        for _ in range(source.randrange(6)):
            if not isinstance(place[key], dict | list) or not place[key]:
                break
            place, what = place[key], f"{what}: {key}" if isinstance(key, str) else what
            key = source.choice(list(place) if isinstance(place, dict) else range(len(place)))
        # Of which parameters an optimizer remembers nothing, because no gradient reached them, is not known.
        if source.random() < 0.3 and place is not state["optimizer"]["state"]:
            del place[key]
        else:
            place[key] = damage_value(place[key], source)
        what += f": {key}, {str(place.get(key) if isinstance(place, dict) else place)[:40]}"
    buffer = io.BytesIO()
    torch.save(state, buffer)
    files = {"weights.safetensors": safetensors.save(weights), "state.pt": buffer.getvalue()}
    for file, data in files.items():
        (content / file).write_bytes(data)
        pointer["sha256"][file] = hashlib.sha256(data).hexdigest()
    pointer_file.write_text(json.dumps(pointer))
    return f"forged {what}"


def damage(folder: Path, source: random.Random) -> str:
    """Damage a run folder; returns how."""
    if source.random() < 0.5:
        return forge(folder, source)
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name not in IGNORED)
    path = source.choice(files)
    return f"{path.name} {damage_bytes(path, source)}"


# What is only for people, and what a run locks.
IGNORED = ("recipe.yaml", "lock")


def trial(spec: RunSpec, stopped: Path, expected: list[tuple[Any, ...]], source: random.Random) -> str:
    """One trial; returns what became of it."""
    folder = identity_of(spec).folder
    shutil.rmtree(folder, ignore_errors=True)
    shutil.rmtree(os.environ["RMEM_RESULTS"], ignore_errors=True)
    shutil.copytree(stopped, folder)
    how = damage(folder, source)
    try:
        train(spec)
    except RmemError as error:
        held = error.exit_code in (2, 3) and "\n" not in str(error) and not results(spec)
        outcome = "a sentence" if held else f"NOT HELD, {how}: {type(error).__name__}: {error}"
    except Exception as error:
        outcome = f"NOT HELD, {how}: {type(error).__name__}: {error}"
    else:
        outcome = "the same bits" if results(spec) == expected else f"NOT HELD, {how}: {read_status(folder)}"
    return outcome


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=100)
    options = parser.parse_args()
    torch.set_num_threads(1)
    outcomes: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        for variable in ("DATA", "RUNS", "RESULTS"):
            os.environ[f"RMEM_{variable}"] = str(root / variable.lower())
        write_text()
        prepared = [prepare(root, recipe) for recipe in RECIPES]
        for number in range(options.count):
            source = random.Random(f"{options.seed} {number}")
            outcomes[trial(*source.choice(prepared), source)] += 1
    for outcome, count in sorted(outcomes.items()):
        typer.echo(f"{count:5} {outcome}")


def prepare(root: Path, name: str) -> tuple[RunSpec, Path, list[tuple[Any, ...]]]:
    """A run, its folder when it was stopped in the middle, and the results of it undisturbed."""
    recipe = root / f"{name}.yaml"
    recipe.write_text(RECIPES[name])
    [spec] = load_recipe(str(recipe)).runs()
    calls = iter(range(100))
    try:
        train(spec, stop=lambda: next(calls) == 7)
    except InterruptedRunError:
        folder = run_path(spec, identity_of(spec).train_hash, root / "runs")
        stopped = root / f"stopped-{name}"
        shutil.copytree(folder, stopped)
    train(spec)
    return spec, stopped, results(spec)


if __name__ == "__main__":
    main()
