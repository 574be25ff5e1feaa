"""Learning curves small enough to keep among the results."""

from collections import defaultdict

_POINTS = 100


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
