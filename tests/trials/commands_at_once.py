"""Runs many commands at once on one folder of results and of runs, and counts what was lost.

    python tests/trials/commands_at_once.py --seed N [--count K]

Trains rows and seeds of a small recipe, evaluates and reports them, generates and verifies a data set, in
processes that start together, and one of each kind at least. Counts commands that ended as they may: done, or
refused in a sentence because another holds the run, or what is needed is not there yet. Must be 0: rows that
are missing in the end although a command wrote them, tables that are damaged or have a row twice, data that
is not whole, tracebacks. Exits with 1 if any must-be-0 is not.
"""

import argparse
import csv
import os
import random
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from rmem_cli.data.prepared import check_prepared
from rmem_cli.errors import DataError

RECIPE = """\
name: small
title: Copying memory
task: {kind: copying_memory, length: 3, symbols: 2, alphabet: 3}
model: {core: {kind: gru, hidden_size: 4}}
optimizer: {kind: adam, lr: 0.01}
train: {steps: 40, batch_size: 4, eval_every: 10, validation: {metric: loss, examples: 8}}
eval: [{name: test, split: test, examples: 8, metrics: [loss, accuracy]}]
seeds: [1, 2, 3]
rows: [{id: gru, title: GRU}, {id: lstm, title: LSTM, model.core.kind: lstm}]
scales: {smoke: {train.steps: 5}}
"""
DATA_SET = "quadratic"
ROWS, SEEDS, SCALES, METRICS = ("gru", "lstm"), (1, 2, 3), ("paper", "smoke"), ("loss", "accuracy")


def kinds(random_):
    """A command of each kind, and the runs whose rows it writes if it ends well."""
    row, seed, scale = random_.choice(ROWS), random_.choice(SEEDS), random_.choice(SCALES)
    run = ["--row", row, "--seed", str(seed), "--scale", scale]
    every = ["--scale", scale]
    return [
        (["train", "small.yaml", *run], [(row, scale, seed)]),
        (["train", "small.yaml", *run, "--rerun", "all"], [(row, scale, seed)]),
        (["train", "small.yaml", *every, "--jobs", "2"], [(r, scale, s) for r in ROWS for s in SEEDS]),
        (["eval", "small.yaml", *run], [(row, scale, seed)]),
        (["report", "small.yaml", "--format", "json"], []),
        (["report", "--grid", "small.yaml"], []),
        (["train", "small.yaml", *run, "--dry-run"], []),
        (["fetch", DATA_SET], []),
        (["fetch", DATA_SET, "--check"], []),
    ]


def main_trials():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--count", type=int, default=12, help="Commands, all at once.")
    arguments = parser.parse_args()
    random_ = random.Random(arguments.seed)
    counts = Counter()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "small.yaml").write_text(RECIPE, encoding="utf-8")
        own = {f"RMEM_{each}": str(folder / each) for each in ("DATA", "RUNS", "RESULTS", "CACHE")}
        environment = {**os.environ, **own, "OMP_NUM_THREADS": "1"}
        commands = kinds(random_)
        while len(commands) < arguments.count:
            commands.append(random_.choice(kinds(random_)))
        random_.shuffle(commands)
        processes = [
            subprocess.Popen(
                [sys.executable, "-m", "rmem_cli", *command],
                cwd=folder,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for command, _ in commands
        ]
        wanted = set()
        for (command, runs), process in zip(commands, processes, strict=True):
            _, said = process.communicate()
            if process.returncode == 0:
                counts["ended well"] += 1
                wanted |= {(*run, metric) for run in runs for metric in METRICS}
            elif "Traceback" in said or process.returncode not in (2, 3, 6):
                counts["traceback"] += 1
                print(f"TRACEBACK {' '.join(command)}: exit {process.returncode}\n{said}")
            else:
                counts["refused in a sentence"] += 1
        table = folder / "RESULTS" / "small.csv"
        rows = list(csv.DictReader(table.open(encoding="utf-8", newline=""))) if table.exists() else []
        have = {(row["row"], row["scale"], int(row["seed"]), row["metric"]) for row in rows}
        for row in sorted(wanted - have):
            counts["lost rows"] += 1
            print(f"LOST {row}")
        if len(have) != len(rows) or any(None in row.values() for row in rows):
            counts["damaged tables"] += 1
            print(f"DAMAGED: {len(rows)} rows of {len(have)} keys")
        os.environ |= own
        try:
            check_prepared(DATA_SET, "steps")
        except DataError as error:
            counts["data not whole"] += 1
            print(error)
    print(f"seed {arguments.seed}: " + ", ".join(f"{count} {what}" for what, count in sorted(counts.items())))
    return int(any(counts[each] for each in ("traceback", "lost rows", "damaged tables", "data not whole")))


if __name__ == "__main__":
    raise SystemExit(main_trials())
