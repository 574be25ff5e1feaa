"""Processes that append rows to one results table at once: every row is there in the end, once, whole.

    python tests/trials/appended_rows.py --seed 1 --processes 8 --rows 10000

Each process writes its share, some rows at a time as a run does, which also replaces rows of its own that it
wrote before. Held is a table with a header and one line for each row, with the text that was written last.
Exits with 1 if it is not.
"""

import argparse
import csv
import multiprocessing
import random
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import typer

from results import ROW
from rmem_cli.results.row import COLUMNS, ResultRow
from rmem_cli.results.store import ResultStore


def batches(writer: int, rows: int, seed: int) -> Iterator[list[ResultRow]]:
    """What a process writes, one after the other; the last of each row is what is to be there."""
    source = random.Random(f"{seed} {writer}")
    first = 0
    while first < rows:
        again = max(0, first - source.randrange(3))
        end = min(rows, first + source.randint(1, 40))
        yield [
            replace(ROW, row=f"row, {writer}", seed=one, value=source.random()) for one in range(again, end)
        ]
        first = end


def write(folder: Path, writer: int, rows: int, seed: int) -> None:
    """The process of a writer."""
    for batch in batches(writer, rows, seed):
        ResultStore(folder).write(batch)


def expected(processes: int, rows: int, seed: int) -> list[list[str]]:
    """The cells of all rows, in no order."""
    last = {
        row.key: row.to_text()
        for writer in range(processes)
        for batch in batches(writer, rows, seed)
        for row in batch
    }
    return sorted(last.values())


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--rows", type=int, default=10_000, help="Of all processes together.")
    options = parser.parse_args()
    of_each = options.rows // options.processes
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as name:
        folder, started = Path(name), time.monotonic()
        writers = [
            context.Process(target=write, args=(folder, writer, of_each, options.seed))
            for writer in range(options.processes)
        ]
        for process in writers:
            process.start()
        for process in writers:
            process.join()
        taken = time.monotonic() - started
        lines = (folder / "recall.csv").read_text(encoding="utf-8").splitlines()
        header, *found = csv.reader(lines)
        held = (
            all(process.exitcode == 0 for process in writers)
            and tuple(header) == tuple(COLUMNS)
            and sorted(found) == expected(options.processes, of_each, options.seed)
        )
    told = f"{len(found)} rows by {options.processes} processes in {taken:.0f} s"
    typer.echo(f"{told}: {'every one there, once, whole' if held else 'NOT HELD'}")
    raise SystemExit(not held)


if __name__ == "__main__":
    main()
