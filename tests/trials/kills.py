"""SIGKILL at random moments: what goes on afterwards ends as what was never stopped, to the bit.

    python tests/trials/kills.py --seed 1 --count 50

A trial trains two runs of a small experiment in a process of its own, `rmem train` or, with its last kills,
`rmem eval`, and kills it at a random moment, again and again up to four times; then the same command is left
alone. With `--jobs 2`, one kill may hit the command alone, whose runs have to end by themselves. Held is an
end with exit code 0 whose result rows, curves and learning curves are those of an undisturbed experiment, in
all columns but those of time and memory.
"""

import argparse
import csv
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import typer

RECIPE = """\
name: killed
title: Copying memory
paper: rum2019
task: {kind: copying_memory, length: 3, symbols: 2, alphabet: 3}
model: {core: {kind: rum, hidden_size: 8, zoneout: 0.2}}
optimizer: {kind: adam, lr: 0.01}
train:
  steps: 150
  batch_size: 4
  eval_every: 10
  log_every: 3
  checkpoint_every: 7
  validation: {examples: 64}
eval:
  - {name: last, split: test, examples: 400, metrics: [loss, accuracy]}
  - {name: best, split: test, examples: 400, checkpoint: best, metrics: [loss]}
seeds: [1, 2]
rows: [{id: rum, title: RUM}]
scales: {smoke: {train.steps: 2}}
"""
VARYING = {"wall_seconds", "peak_memory_mb", "time"}


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    environment |= {f"RMEM_{name}": str(folder / name.lower()) for name in ("DATA", "RUNS", "RESULTS")}
    command = [sys.executable, "-m", "rmem_cli", *arguments]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    return subprocess.Popen(command, env=environment, text=True, start_new_session=True, **pipes)  # type: ignore[call-overload,no-any-return]


def left_behind(folder: Path) -> dict[str, object]:
    """All that the runs of an experiment leave, without what differs from one time to the next."""
    with (folder / "results" / "killed.csv").open(newline="") as file:
        rows = sorted(
            tuple((name, cell) for name, cell in row.items() if name not in VARYING)
            for row in csv.DictReader(file)
        )
    texts = [*folder.glob("results/curves/*"), *folder.rglob("runs/**/metrics.csv")]
    return {"rows": rows} | {path.name + path.parent.name: path.read_text() for path in texts}


def kill(process: subprocess.Popen[str], source: random.Random, seconds: float) -> None:
    """Kill a command after some seconds: with the processes that it has started, or alone."""
    time.sleep(seconds)
    if source.random() < 0.5:
        os.kill(process.pid, signal.SIGKILL)
    else:
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def trial(root: Path, recipe: Path, source: random.Random, seconds: float) -> tuple[Path, str]:
    """One trial; returns its folder, and how the last command ended."""
    folder = root / f"trial-{source.random()}"
    command = ["train", str(recipe), *source.choice([[], ["--jobs", "2"]])]
    for _ in range(source.randrange(1, 5)):
        kill(start(folder, *command), source, source.uniform(0, 1.2 * seconds))
    ended = finish(folder, *command)
    if not ended and source.random() < 0.3:
        again = ["eval", str(recipe)]
        kill(start(folder, *again), source, source.uniform(0, seconds))
        ended = finish(folder, *again)
    return folder, ended


def finish(folder: Path, *command: str) -> str:
    """Give a command until no run is busy any more; returns what went wrong, if anything."""
    for _ in range(50):
        process = start(folder, *command)
        said, _ = process.communicate()
        if "another process is working on the run" not in said:
            break
        time.sleep(0.2)  # one that was left alone ends after its step
    return "" if process.returncode == 0 else f"exit code {process.returncode}: {said[-300:]}"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=50)
    options = parser.parse_args()
    outcomes: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        recipe = root / "killed.yaml"
        recipe.write_text(RECIPE)
        started = time.monotonic()
        wrong = finish(root / "undisturbed", "train", str(recipe))
        seconds = time.monotonic() - started
        if wrong:
            raise SystemExit(wrong)
        expected = left_behind(root / "undisturbed")
        for number in range(options.count):
            source = random.Random(f"{options.seed} {number}")
            folder, ended = trial(root, recipe, source, seconds)
            if not ended and left_behind(folder) != expected:
                ended = "other numbers"
            outcomes[f"NOT HELD: {ended}" if ended else "the same bits"] += 1
            shutil.rmtree(folder)
    for outcome, count in sorted(outcomes.items()):
        typer.echo(f"{count:5} {outcome}")


if __name__ == "__main__":
    main()
