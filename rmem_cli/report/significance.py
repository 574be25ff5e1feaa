"""Which row of a column is surely the best."""

from rmem_cli.report.statistics import welch_interval
from rmem_cli.report.table import Line, Ours, Section
from rmem_cli.report.verdict import MIN_SEEDS


def best_line(section: Section, scale: str) -> Line | None:
    """The row that is surely better than every other one that was run; None if there is none.

    Surely: the 95 % interval (Welch) of its difference to each of them excludes zero. Rows of fewer than
    three seeds show no order, and so no row is the best beside them, nor where a seed has no number or
    results count for no verdict.

    Args:
        section: Lines that are measured alike.
        scale: The scale.
    """
    rows = [(line, line.ours[scale]) for line in section.lines if line.kind == "row" and scale in line.ours]
    if (
        len(rows) < 2
        or section.higher_is_better is None
        or not all(map(_has_spread, (ours for _, ours in rows)))
    ):
        return None
    sign = 1 if section.higher_is_better else -1
    best, its = max(rows, key=lambda row: sign * (row[1].mean or 0.0))
    others = [ours for line, ours in rows if line is not best]
    return best if all(_is_surely_ahead(its, ours, sign) for ours in others) else None


def _has_spread(ours: Ours) -> bool:
    is_whole = not ours.without_number and not ours.caveats
    return is_whole and ours.mean is not None and ours.sd is not None and ours.n >= MIN_SEEDS


def _is_surely_ahead(ours: Ours, other: Ours, sign: int) -> bool:
    if ours.mean is None or other.mean is None or ours.sd is None or other.sd is None:
        return False
    ahead = sign * (ours.mean - other.mean)
    return welch_interval(ahead, ours.sd, ours.n, other.sd, other.n).low > 0
