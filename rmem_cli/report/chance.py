"""The lines of chance beside the models."""

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
    groups: list[tuple[dict[str, float], list[str]]] = []
    for row, at in entries.items():
        found = {scale: _chance(entry.spec, place) for scale, entry in at.items()}
        chances = {scale: value for scale, value in found.items() if value is not None}
        if chances:
            values, titles = _agreeing(groups, chances)
            values |= chances
            titles.append(recipe.row(row).title)
    return [
        Line(
            "chance",
            "chance",
            "chance" if len(groups) == 1 else f"chance for {'; '.join(titles)}",
            ours={scale: Ours(mean=value) for scale, value in values.items()},
        )
        for values, titles in groups
    ]


def _agreeing(
    groups: list[tuple[dict[str, float], list[str]]], chances: dict[str, float]
) -> tuple[dict[str, float], list[str]]:
    """The group that differs at no scale, a new one if there is none: a row may be run at one scale alone."""
    for values, titles in groups:
        if all(values.get(scale, value) == value for scale, value in chances.items()):
            return values, titles
    groups.append(({}, []))
    return groups[-1]


def _chance(spec: RunSpec, place: Place) -> float | None:
    protocol = place.protocol_of(spec)
    if protocol is None:
        return None
    task = cast(TaskSettings, spec.protocol_task(protocol))  # which all kinds of tasks derive from
    return task.chance(protocol.split).get(place.metric)
