"""How long a report of many made-up results takes: `python tests/trials/many_results.py --count 100000`."""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from rmem_cli.recipe import load_recipe
from rmem_cli.report.formats import FORMATS
from rmem_cli.results.metrics import metric
from rmem_cli.results.row import COLUMNS, ResultRow

NAMES = ["rmt_copy", "rum_recall", "rum_copying", "ur_copy", "rmt_reverse"]
ROW = ResultRow(
    experiment="", row="", cell="", scale="paper", seed=1, protocol="", split="test", part="",
    metric="accuracy", value=0.5, unit="fraction", examples=1600, step=10_000, checkpoint="best",
    parameters=75_500, wall_seconds=900.0, peak_memory_mb=380.0, device="cpu", threads=1,
    op_paths="attention=native", dtype="float32", torch_version="2.13.0",
    rmem_version="0.1.0", git_commit="0" * 40, git_dirty="false",
    train_hash="", eval_hash="", data_hash="", status="ok", time="2026-01-02T03:04:05Z",
)  # fmt: skip


def rows_of(name, count, seed):
    """Rows of one recipe: as many seeds as are needed of every row, protocol and metric at paper scale."""
    recipe = load_recipe(name)
    specs = {(spec.row, spec.cell): spec for spec in recipe.runs("paper")}
    places = [
        replace(
            ROW, experiment=name, row=spec.row, cell=spec.cell, protocol=protocol.name, split=protocol.split,
            metric=measured, unit=metric(measured).unit, train_hash=spec.train_hash(""),
            eval_hash=spec.eval_hash(protocol),
        )
        for spec in specs.values()
        for protocol in spec.settings.eval
        for measured in protocol.metrics
    ]  # fmt: skip
    for number in range(count):
        which, nth = number % len(places), number // len(places)
        yield replace(places[which], seed=nth + 1, value=((which * 7919 + nth * 104729 + seed) % 1000) / 1000)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=10_000)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for name in NAMES:
            lines = [",".join(COLUMNS)]
            lines += [",".join(row.to_text()) for row in rows_of(name, asked.count // len(NAMES), asked.seed)]
            Path(folder, f"{name}.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
        for arguments in (
            ["report", *NAMES],
            ["report"],
            *(["report", *NAMES, "--format", form] for form in FORMATS),
        ):
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            done = subprocess.run(
                [sys.executable, "-m", "rmem_cli", *arguments],
                env=os.environ | {"RMEM_RESULTS": folder},
                stdout=subprocess.DEVNULL,
                check=False,
            )
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            taken = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            print(f"{' '.join(arguments)}: exit {done.returncode}, {taken:.1f} s of processor time")
    largest = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(f"{asked.count} rows in {len(NAMES)} tables; largest process {largest:.0f} MB")


if __name__ == "__main__":
    main()
