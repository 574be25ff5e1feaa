"""What the parts of an evaluation, such as the twenty tasks of one model, are on average."""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from rmem_cli.report.selection import Entry, Key, Results
from rmem_cli.report.statistics import mean
from rmem_cli.results.row import ResultRow

MEAN = "mean"


def mean_of_tasks(count: int) -> str:
    """What the matrix cell is called that is the mean of so many tasks."""
    return f"mean of {count} tasks"


def add_means(plan: dict[str, list[Entry]], results: Results) -> Results:
    """The results, with the mean over the parts of a task as one more part, `mean`.

    Each part counts once, however many examples it has, so that the mean is not the value of the whole. A
    seed counts where it has a result of every part.

    Args:
        plan: Scale to what the recipe runs there.
        results: What was measured.
    """
    by_seed: dict[Key, dict[int, list[ResultRow]]] = defaultdict(lambda: defaultdict(list))
    for key, rows in results.items():
        for result in rows if key.part else []:
            by_seed[key._replace(part=MEAN)][result.seed].append(result)
    found = dict(results)
    for key, seeds in by_seed.items():
        count = _parts_at(plan, key)
        if complete := [_mean(rows) for _, rows in sorted(seeds.items()) if len(rows) == count]:
            found[key] = complete
    return found


def _parts_at(plan: dict[str, list[Entry]], key: Key) -> int:
    """How many parts the task has where a result is from."""
    (spec,) = (
        entry.spec for entry in plan[key.scale] if (entry.spec.row, entry.spec.cell) == (key.row, key.cell)
    )
    return len(spec.protocol_task(spec.protocol(key.protocol)).parts())


def _mean(rows: Sequence[ResultRow]) -> ResultRow:
    values = [math.nan if row.value is None else row.value for row in rows]
    return replace(
        rows[0],
        part=MEAN,
        value=mean(values) if all(math.isfinite(value) for value in values) else None,
        examples=sum(row.examples or 0 for row in rows),
        status=next((row.status for row in rows if row.status != "ok"), "ok"),
    )
