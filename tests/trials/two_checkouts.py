"""Short runs in two checkouts on one machine: rows, curves and weights compared to the bit.

Run by hand: `python tests/trials/two_checkouts.py BEFORE AFTER`, two folders with a `.venv` in which each is
installed. The runs are those of `two_checkouts.yaml`, with native operations and without; those on a text
read the Penn Treebank of the folder that RMEM_TEST_DATA names, and are left out without it. It prints how
many rows, curves and weights are equal, and each that is not.
"""

import argparse
import csv
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file

RECIPE = Path(__file__).with_suffix(".yaml")
# What two runs of one program differ in, too, and the program's own name.
NOT_COMPARED = {
    "wall_seconds",
    "peak_memory_mb",
    "rmem_version",
    "git_commit",
    "git_dirty",
    "time",
    # Older programs have no such columns.
    *("low", "high", "settings", "processes", "compiled"),
}

Found = dict[str, object]


def main() -> int:
    """Print the counts; 1 if anything differs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkouts", type=Path, nargs=2, metavar="CHECKOUT")
    parser.add_argument(
        "--row", action="append", default=[], help="only this row; may be given several times"
    )
    arguments = parser.parse_args()
    before, after = arguments.checkouts
    differences = 0
    for native in ("on", "off"):
        with tempfile.TemporaryDirectory() as folder:
            old, new = (
                trained(checkout.resolve(), Path(folder) / side, native, arguments.row)
                for side, checkout in (("before", before), ("after", after))
            )
        for what in old:
            differences += compared(f"native {native}, {what}", old[what], new[what])
    return int(differences > 0)


def trained(checkout: Path, folder: Path, native: str, rows: Iterable[str]) -> dict[str, Found]:
    """What the runs of a checkout leave: rows, curves, weights, each by its name."""
    names = ("data", "runs", "results")
    environment = os.environ | {f"RMEM_{name.upper()}": str(folder / name) for name in names}
    environment |= {"RMEM_NATIVE": native, "OMP_NUM_THREADS": "1"}

    def rmem(*arguments: str) -> None:
        command = [str(checkout / ".venv" / "bin" / "rmem"), *arguments]
        done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr}")

    folder.mkdir()
    chosen = set(rows) or set(row_names())
    source = os.environ.get("RMEM_TEST_DATA")
    if source is None:
        print("RMEM_TEST_DATA is not set: the runs on a text are left out")
        chosen = {row for row in chosen if not row.startswith("text_")}
    elif any(row.startswith("text_") for row in chosen):
        rmem("fetch", "ptb", "--from", str(Path(source) / "ptb"))
    options = [part for row in sorted(chosen) for part in ("--row", row)]
    rmem("train", str(RECIPE), "--device", "cpu", *options)
    return {"rows": result_rows(folder), "curves": curves(folder), "weights": weights(folder)}


def row_names() -> list[str]:
    """The rows of the recipe, in its order."""
    lines = RECIPE.read_text().splitlines()
    return [
        line.split("id: ")[1].split(",")[0] for line in lines if line.lstrip().startswith(("- id", "- {id"))
    ]


def result_rows(folder: Path) -> Found:
    """Each result row without what two runs of one program differ in."""
    with (folder / "results" / "two_checkouts.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    keys = ("row", "protocol", "metric")
    return {
        " ".join(row[key] for key in keys): {name: row[name] for name in row.keys() - NOT_COMPARED}
        for row in rows
    }


def curves(folder: Path) -> Found:
    """The text of each curve, by the name of its row."""
    return {file.parent.parent.name: file.read_text() for file in (folder / "runs").rglob("metrics.csv")}


def weights(folder: Path) -> Found:
    """Each weight of each checkpoint, by row, checkpoint and name."""
    return {
        f"{file.parents[3].name} {file.parent.name.split('-')[0]} {name}": value
        for file in (folder / "runs").rglob("weights.safetensors")
        for name, value in load_file(file).items()
    }


def compared(what: str, before: Mapping[str, object], after: Mapping[str, object]) -> int:
    """Print how many values of two are equal, and which are not; the number of those that are not."""
    names = sorted(before.keys() | after.keys())
    differing = [name for name in names if not same(before.get(name), after.get(name))]
    print(f"{what}: {len(names) - len(differing)} equal, {len(differing)} not")
    for name in differing:
        print(f"  {name}")
    return len(differing)


def same(one: object, other: object) -> bool:
    """Whether two values are equal to the bit."""
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        return (
            one.dtype == other.dtype
            and one.shape == other.shape
            and one.numpy().tobytes() == other.numpy().tobytes()
        )
    return type(one) is type(other) and one == other


if __name__ == "__main__":
    sys.exit(main())
