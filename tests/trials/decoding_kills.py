"""Kills decoding of summaries at random moments, and damages what it left: the end is always the same text.

    python tests/trials/decoding_kills.py --seed N [--count K]

A model is trained once. Each trial evaluates a copy of its run folder, killed (SIGKILL) or told to stop
(SIGTERM) once to three times at a random article, and may cut the file of summaries in between as a full disk
would; then it is evaluated to its end. Held is a trial after which the rows (but for time and memory), the
file of summaries and the samples are those of an evaluation that nothing disturbed. Exits with 1 if any trial
did not hold.
"""

import argparse
import csv
import importlib
import io
import multiprocessing
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from rich.console import Console

from rmem_cli.__main__ import main as rmem
from rmem_cli.data.pair_records import Pair, pair_content
from rmem_cli.data.words import SPLIT_ALREADY, prepare_words
from rmem_cli.data.writer import write_prepared

RECIPE = """\
name: killed
title: Summaries
task: {kind: summarization, dataset: cnn_dailymail, vocabulary: 60, source_length: 30, target_length: 20}
model:
  architecture: pointer_generator
  core: {kind: lstm, hidden_size: 16}
  pointer_generator: {size: 8}
optimizer: {kind: adam, lr: 0.02}
train: {steps: 20, batch_size: 8}
eval:
  - name: summaries
    split: test
    batch_size: 4
    metrics: [rouge_1, rouge_2, rouge_l, repeated_trigrams]
    summaries: {beam: 4, shortest: 20, longest: 60}
seeds: [1]
rows: [{id: lstm, title: LSTM}]
"""
ARTICLES = 100
PRELOADED = ("rouge_score.rouge_scorer", "torch._dynamo", "rmem_cli.runs.experiment", "rmem_cli.runs.run")
VARYING = {"wall_seconds", "peak_memory_mb", "time"}


def write_articles(work: Path) -> None:
    """Articles of made-up words, some of them rare."""
    source = random.Random(1)

    def pair(number: int) -> Pair:
        words = [f"w{source.randrange(90)}" for _ in range(source.randrange(5, 60))]
        return Pair(str(number), " ".join(words), " ".join([*words[:12], "."]))

    about = {"sources": [], "licence": "none", "citation": "none"}
    splits = {split: [pair(number) for number in range(ARTICLES)] for split in ("train", "valid", "test")}
    pairs = write_prepared("cnn_dailymail", "pairs", pair_content(splits), **about)
    content = prepare_words(pairs, work, Console(file=io.StringIO()), SPLIT_ALREADY)
    write_prepared("cnn_dailymail", "words", content, **about)


class Folder:
    """A folder of runs and results."""

    def __init__(self, root: Path, recipe: Path) -> None:
        self.root, self.recipe = root, recipe

    def start(self, verb: str) -> multiprocessing.Process:
        process = multiprocessing.get_context("fork").Process(target=self._run, args=(verb,))
        process.start()
        return process

    def _run(self, verb: str) -> None:
        os.environ |= {f"RMEM_{name}": str(self.root / name) for name in ("RUNS", "RESULTS")}
        output = os.open(self.root.with_suffix(".said"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(output, 1)
        os.dup2(output, 2)
        sys.argv = ["rmem", verb, str(self.recipe)]
        rmem()

    def finish(self, verb: str) -> str:
        """What went wrong, if anything."""
        process = self.start(verb)
        process.join()
        said = self.root.with_suffix(".said").read_text(encoding="utf-8")
        return "" if process.exitcode == 0 else f"{verb}: exit code {process.exitcode}: {said[-300:]}"

    @property
    def file(self) -> Path | None:
        return next(iter(self.root.rglob("summaries-*.jsonl")), None)

    def lines(self) -> int:
        return 0 if self.file is None else self.file.read_bytes().count(b"\n")

    def left_behind(self) -> dict[str, object]:
        """Everything that has to be the same."""
        with (self.root / "RESULTS" / "killed.csv").open(encoding="utf-8", newline="") as table:
            rows = [{k: v for k, v in row.items() if k not in VARYING} for row in csv.DictReader(table)]
        samples = (self.root / "RESULTS" / "summaries").iterdir()
        return {"rows": rows, "summaries": self.file.read_bytes()} | {
            path.name: path.read_bytes() for path in samples
        }


def disturb(folder: Folder, source: random.Random, counts: Counter) -> None:
    """Evaluate until a random article, and end it; what it left may lose its end."""
    wanted, number = source.randrange(ARTICLES + 1), source.choice([signal.SIGKILL, signal.SIGTERM])
    process = folder.start("eval")
    while process.is_alive() and folder.lines() < wanted:
        time.sleep(0.002)
    time.sleep(source.uniform(0, 0.05))
    if process.is_alive():
        os.kill(process.pid, number)
    process.join()
    ended = "killed" if process.exitcode == -signal.SIGKILL else "stopped"
    counts[ended if process.exitcode else "at its end before"] += 1
    if folder.file is not None and source.random() < 0.5:
        content = folder.file.read_bytes()
        folder.file.write_bytes(content[: source.randrange(len(content) + 1)])
        counts["files cut"] += 1


def main() -> int:
    """Print the counts; 1 if a trial did not hold."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--count", type=int, default=20)
    arguments = parser.parse_args()
    counts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        own = {"RMEM_DATA": root / "data", "RMEM_CACHE": root / "cache", "PATH": root, "OMP_NUM_THREADS": 1}
        os.environ |= {key: str(value) for key, value in own.items()}  # no git: a commit may come in between
        for module in PRELOADED:  # what is imported here takes no time in each process
            importlib.import_module(module)
        write_articles(root / "work")
        (root / "killed.yaml").write_text(RECIPE, encoding="utf-8")
        undisturbed = Folder(root / "undisturbed", root / "killed.yaml")
        for verb in ("train", "eval"):
            if wrong := undisturbed.finish(verb):
                raise SystemExit(wrong)
        expected = undisturbed.left_behind()
        for number in range(arguments.count):
            source = random.Random(f"{arguments.seed} {number}")
            folder = Folder(root / f"trial-{number}", root / "killed.yaml")
            shutil.copytree(undisturbed.root, folder.root)
            shutil.rmtree(folder.root / "RESULTS")
            folder.file.unlink()
            for _ in range(source.randrange(1, 4)):
                disturb(folder, source, counts)
            wrong = folder.finish("eval")
            differing = [] if wrong else [k for k, v in folder.left_behind().items() if v != expected[k]]
            held = not wrong and not differing
            counts["HELD" if held else "NOT HELD"] += 1
            if not held:
                print(f"trial {number}: {wrong or differing}")
            shutil.rmtree(folder.root)
    print(f"seed {arguments.seed}: " + ", ".join(f"{count} {what}" for what, count in sorted(counts.items())))
    return int(bool(counts["NOT HELD"]))


if __name__ == "__main__":
    raise SystemExit(main())
