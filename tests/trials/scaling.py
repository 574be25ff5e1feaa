"""Training time of one run in one process of one thread, of two threads, and in two processes of a thread.

    python tests/trials/scaling.py rmt_wt2 --row rmt_m10_bptt1 --scale cpu --set train.steps=60
    python tests/trials/scaling.py rum_recall --row paper_rum_lambda0 --cell length=30 --rounds 5

What follows the recipe's name goes to `rmem train`, with one seed. The three ways take turns, `--rounds`
times, on a machine that should have nothing else to do. Printed are the training times of the result rows,
the median of each way, and the median of the rounds' ratios to two threads.
"""

import argparse
import csv
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

WAYS = {"one thread": (1, 1), "two threads": (1, 2), "two processes": (2, 1)}
"""To the number of processes, and of threads of each."""


def main() -> None:
    """Print the times and ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipe")
    parser.add_argument("--rounds", type=int, default=3)
    asked, options = parser.parse_known_args()
    rounds = []
    for number in range(asked.rounds):
        rounds.append({way: training_seconds(asked.recipe, options, *WAYS[way]) for way in WAYS})
        print(f"round {number + 1}: {', '.join(f'{way} {took:.2f} s' for way, took in rounds[-1].items())}")
    for way in WAYS:
        times = statistics.median(taken[way] for taken in rounds)
        ratio = statistics.median(taken[way] / taken["two threads"] for taken in rounds)
        print(f"{way}: {times:.2f} s, {ratio:.2f} of two threads")


def training_seconds(recipe: str, options: list[str], processes: int, threads: int) -> float:
    """What the result row of one run says of its training time."""
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {f"RMEM_{name}": f"{folder}/{name}" for name in ("RUNS", "RESULTS")}
        environment |= {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
        command = [sys.executable, "-m", "rmem_cli", "train", recipe, "--seed", "1", *options]
        if processes > 1:
            command += ["--nproc", str(processes)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr}")
        with next(Path(folder, "RESULTS").glob("*.csv")).open(newline="") as file:
            return float(next(csv.DictReader(file))["wall_seconds"])


if __name__ == "__main__":
    main()
