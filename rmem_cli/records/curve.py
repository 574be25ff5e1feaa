"""The learning curve of a run, and its thinned form, which is small enough to keep among the results."""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

from rmem_cli.files import write_atomically
from rmem_cli.records.files import damaged, written

_POINTS = 100
_LONGEST_CURVE = 1 << 30  # bytes
_COMPLETE_ROW = re.compile(r"(?P<step>[0-9]{1,18}),\w+,\w+,(?P<value>[^,\n]+)", re.ASCII)


class CurveFile:
    """A CSV file of metrics by step: `step,split,metric,value`.

    Args:
        path: The file; made by the first `truncate_after` or `append`.
    """

    _header = "step,split,metric,value\n"

    def __init__(self, path: Path) -> None:
        self._path = path

    def append(self, step: int, split: str, metrics: Mapping[str, float]) -> None:
        """Add one row per metric; they are in the file when the call returns.

        Args:
            step: Updates done.
            split: "train", "valid" or "test".
            metrics: Metric name to value.

        Raises:
            UsageError: They cannot be written; a half-written row is dropped when the run goes on.
        """
        lines = [f"{step},{split},{metric},{float(value)!r}\n" for metric, value in metrics.items()]
        with written(self._path), self._path.open("a", encoding="utf-8", newline="") as file:
            if file.tell() == 0:
                file.write(self._header)
            file.writelines(lines)

    def truncate_after(self, step: int) -> None:
        """Drop the rows after a step, which a resumed run writes again, and any half-written line.

        Args:
            step: Updates done in the checkpoint from which the run goes on; -1 drops all rows.

        Raises:
            UsageError: It cannot be written; the curve is as it was.
            DataError: It is damaged.
        """
        rows = [f"{row[0]}\n" for row in self._rows() if int(row["step"]) <= step] if step >= 0 else []
        with written(self._path):
            write_atomically(self._path, "".join([self._header, *rows]).encode())

    def text(self) -> str:
        """The whole file; empty if there is none.

        Raises:
            DataError: It cannot be read.
        """
        try:
            if self._path.stat().st_size > _LONGEST_CURVE:
                raise damaged(self._path)
            return self._path.read_bytes().decode(errors="replace")
        except FileNotFoundError:
            return ""
        except OSError as error:
            raise damaged(self._path) from error

    def _rows(self) -> Iterator[re.Match[str]]:
        """The rows, without a last one that is half-written.

        Raises:
            DataError: Another one is not a row.
        """
        *lines, _ = self.text().split("\n")
        if lines and lines[0] != self._header.strip():
            raise damaged(self._path)
        for line in lines[1:]:
            row = _COMPLETE_ROW.fullmatch(line)
            if row is None or not _is_number(row["value"]):
                raise damaged(self._path)
            yield row


class UnwrittenCurveFile(CurveFile):
    """A learning curve that another process writes."""

    def append(self, step: int, split: str, metrics: Mapping[str, float]) -> None:
        """Nothing."""

    def truncate_after(self, step: int) -> None:
        """Nothing."""


def thinned(curve: str) -> str:
    """A learning curve with about a hundred evenly spaced points of each metric, the last one included.

    Args:
        curve: CSV text with the header `step,split,metric,value`.
    """
    header, *lines = curve.splitlines(keepends=True) or [""]
    series: dict[tuple[str, str], list[int]] = defaultdict(list)
    for index, line in enumerate(lines):
        _, split, name, _ = line.split(",")
        series[split, name].append(index)
    kept = {index for indices in series.values() for index in _evenly(indices)}
    return header + "".join(line for index, line in enumerate(lines) if index in kept)


def _evenly(indices: list[int]) -> list[int]:
    stride = -(-len(indices) // _POINTS)
    return indices[::-1][::stride]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
