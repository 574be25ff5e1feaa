"""The lines of chance beside the models."""

from collections import defaultdict
from typing import cast

from rmem_cli.recipe import Recipe, RunSpec
from rmem_cli.report.places import Place
from rmem_cli.report.selection import Entry
from rmem_cli.report.table import Line, Ours
from rmem_cli.tasks.config import TaskSettings


def chance_lines(recipe: Recipe, place: Place, entries: dict[str, dict[str, Entry]]) -> list[Line]:
    """What a model without memory reaches: one line, or several where rows differ in their task.

    Args:
        recipe: The experiment.
        place: Where it is measured.
        entries: Row to scale to entry, of all that is measured there.
    """
    titles: dict[tuple[tuple[str, float], ...], list[str]] = defaultdict(list)
    for row, at in entries.items():
        found = ((scale, _chance(entry.spec, place)) for scale, entry in at.items())
        chances = tuple((scale, value) for scale, value in found if value is not None)
        if chances:
            titles[chances].append(recipe.row(row).title)
    return [
        Line(
            "chance",
            "chance",
            "chance" if len(titles) == 1 else f"chance for {'; '.join(models)}",
            ours={scale: Ours(mean=value) for scale, value in chances},
        )
        for chances, models in titles.items()
    ]


def _chance(spec: RunSpec, place: Place) -> float | None:
    protocol = place.protocol_of(spec)
    if protocol is None:
        return None
    task = cast(TaskSettings, spec.protocol_task(protocol))  # which all kinds of tasks derive from
    return task.chance(protocol.split).get(place.metric)
