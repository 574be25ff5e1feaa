"""The learning curves among the results: one thinned CSV for each run."""

import csv
import math
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from rmem_cli.results.row import ResultRow
from rmem_cli.results.run_names import file_name
from rmem_cli.results.text_files import BYTE_ORDER_MARK, damaged_line, read_text

_CURE = (
    "restore the file with git (a spreadsheet that saved it may have changed it), "
    "or move it away: a report does without a curve that is not there"
)
_HEADER = ["step", "split", "metric", "value"]
_POINT = re.compile(
    r"(?P<step>[0-9]{1,18}),(?P<split>train|valid|test),(?P<metric>\w+),"
    r"(?P<value>-?(?:[0-9]+(?:\.[0-9]+)?(?:e[-+]?[0-9]+)?|inf|nan))",
    re.ASCII,
)


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
        return max((points[-1][0] for points in self.series.values() if points), default=0)

    def validation(self, metric: str) -> list[tuple[int, float]]:
        """(step, value) of a metric in validation, whatever its split; nothing if it was not measured."""
        found = (
            points for (split, name), points in self.series.items() if split != "train" and name == metric
        )
        return next(found, [])


class Curves:
    """The curves of a folder of results, each read once.

    Args:
        folder: Folder of the results.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._read = cache(self._curve)

    def __call__(self, row: ResultRow) -> LearningCurve | None:
        """The curve of the run behind a result; None if it is not there.

        Raises:
            UsageError: It is not one that rmem wrote, or not all of it; the message names file and line.
        """
        name = curve_of(row)
        curve, lines = self._read(name)
        if curve is not None and row.status == "ok" and curve.last_step < (row.step or 0):
            message = f"it ends before step {row.step}, which has a result"
            raise damaged_line(self._path(name), max(lines, 1), message, _CURE)
        return curve

    def _path(self, name: str) -> Path:
        return self.folder / "curves" / f"{name}.csv"

    def _curve(self, name: str) -> tuple[LearningCurve | None, int]:
        """The curve of a name, and how many lines its file has."""
        path = self._path(name)
        text = read_text(path, _CURE)
        lines = (text or "").removeprefix(BYTE_ORDER_MARK).splitlines(keepends=True)
        return None if text is None else LearningCurve(_series(path, lines)), len(lines)


def curve_of(row: ResultRow) -> str:
    """Name of the curve of the run behind a result."""
    return file_name(row, row.train_hash)


def _series(path: Path, lines: Sequence[str]) -> dict[tuple[str, str], list[tuple[int, float]]]:
    """The points of each split and metric whose value is finite.

    Raises:
        UsageError: A line is none of a curve, or is missing.
    """
    series: dict[tuple[str, str], list[tuple[int, float]]] = defaultdict(list)
    number = 0
    try:
        for number, line in enumerate(lines, 1):
            cells = _cells(line)
            if number > 1:
                _append(series, cells)
            elif cells != _HEADER:
                raise ValueError(f"the header is not {','.join(_HEADER)}")
        for split in {split for split, _ in series}:
            together = [[step for step, _ in series[each]] for each in series if each[0] == split]
            if any(steps != together[0] for steps in together):
                raise ValueError(
                    f"the metrics of {split} are not all at the same steps, as if some were lost"
                )
    except (ValueError, csv.Error) as error:
        raise damaged_line(path, number, str(error), _CURE) from error
    return {
        what: [(step, value) for step, value in points if math.isfinite(value)]
        for what, points in series.items()
    }


def _cells(line: str) -> list[str]:
    if not line.endswith("\n"):
        raise ValueError("the line has no end, as if the file had been cut")
    return next(csv.reader([line], strict=True), [])


def _append(series: dict[tuple[str, str], list[tuple[int, float]]], cells: list[str]) -> None:
    """Add a line's point to its series."""
    point = _POINT.fullmatch(",".join(cells))
    if point is None:
        raise ValueError(f"{','.join(cells)!r} is not step,split,metric,value")
    points = series[point["split"], point["metric"]]
    step = int(point["step"])
    if points and step <= points[-1][0]:
        raise ValueError(f"step {step} comes after step {points[-1][0]}")
    points.append((step, float(point["value"])))
