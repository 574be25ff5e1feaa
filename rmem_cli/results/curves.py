"""The learning curves among the results: one thinned CSV for each run."""

import csv
import math
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from rmem_cli.results.row import ResultRow


@dataclass(frozen=True)
class LearningCurve:
    """What a run measured while it was trained.

    Attributes:
        series: (split, metric) to (step, value), in the order of steps.
    """

    series: dict[tuple[str, str], list[tuple[int, float]]]

    @property
    def last_step(self) -> int:
        """The last step at which anything was measured; 0 if nothing was."""
        return max((points[-1][0] for points in self.series.values()), default=0)

    def validation(self, metric: str) -> list[tuple[int, float]]:
        """(step, value) of a metric in validation, whatever its split; nothing if it was not measured."""
        found = (
            points for (split, name), points in self.series.items() if split != "train" and name == metric
        )
        return next(found, [])


def curve_name(experiment: str, row: str, cell: str, scale: str, seed: int, train_hash: str) -> str:
    """Name of a run's curve among the results."""
    parts = [experiment, row, cell, f"{scale}-seed{seed}", train_hash]
    return "-".join(part for part in parts if part)


def read_curve(folder: Path, row: ResultRow) -> LearningCurve | None:
    """The curve of the run behind a result; None if it is not there, or is none.

    Args:
        folder: Folder of the results.
        row: A result of the run.
    """
    name = curve_name(row.experiment, row.row, row.cell, row.scale, row.seed, row.train_hash)
    try:
        with (folder / "curves" / f"{name}.csv").open(encoding="utf-8-sig", newline="") as file:
            return _parse(file.read())
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _parse(text: str) -> LearningCurve:
    series: dict[tuple[str, str], list[tuple[int, float]]] = defaultdict(list)
    for record in csv.DictReader(text.splitlines()):
        value = float(record["value"])
        if math.isfinite(value):
            series[record["split"], record["metric"]].append((int(record["step"]), value))
    return LearningCurve(dict(series))
