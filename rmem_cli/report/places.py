"""What is measured alike: the sections of a table."""

import re
from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from rmem_cli.recipe import RunSpec
from rmem_cli.recipe.schema import EvalProtocol
from rmem_cli.report.parts import MEAN
from rmem_cli.report.selection import Entry, Key

_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?(e[-+]?[0-9]+)?", re.ASCII)


@dataclass(frozen=True)
class Place:
    """What the lines of a section have in common.

    Attributes:
        cell: Matrix cell.
        protocol: Name of the evaluation protocol.
        split: Its split.
        part: Part of the split; "" for the whole, `mean` for the mean of its parts.
        metric: Name of the metric.
    """

    cell: str
    protocol: str
    split: str
    part: str
    metric: str

    def key(self, scale: str, row: str) -> Key:
        """Where the results of a row at a scale are found."""
        return Key(scale, row, self.cell, self.protocol, self.part, self.metric)

    def protocol_of(self, spec: RunSpec) -> EvalProtocol | None:
        """The protocol by which a run is measured here; None if it is not."""
        for protocol in spec.settings.eval:
            here = (spec.cell, protocol.name, protocol.split) == (self.cell, self.protocol, self.split)
            if here and self.metric in protocol.metrics:
                return protocol
        return None


def find_places(plan: dict[str, list[Entry]], measured: Iterable[Key]) -> list[Place]:
    """All places: each matrix cell, each protocol, each metric, the whole and each part that has results.

    Args:
        plan: Scale to what the recipe runs there.
        measured: Where there are results.
    """
    parts: dict[tuple[str, str, str], dict[str, None]] = defaultdict(dict)
    for key in measured:
        parts[key.cell, key.protocol, key.metric][key.part] = None
    return list(
        dict.fromkeys(
            Place(spec.cell, one.name, one.split, part, name)
            for spec in (entry.spec for planned in plan.values() for entry in planned)
            for one in spec.settings.eval
            for name in one.metrics
            for part in _parts(spec, one, parts[spec.cell, one.name, name])
        )
    )


def _parts(spec: RunSpec, protocol: EvalProtocol, measured: Collection[str]) -> list[str]:
    """The whole; behind it, where they have results, the mean of its parts, and the parts in their order."""
    if not any(measured):
        return [""]
    parts = (MEAN, *spec.protocol_task(protocol).parts())
    return ["", *(part for part in parts if part in measured)]


def place_x(place: Place, at_place: dict[str, dict[str, Entry]]) -> tuple[str, float] | None:
    """The one field of the task that the protocol sets, and its value, if it is the same number everywhere.

    Args:
        place: The place.
        at_place: Row to scale to entry, of all that is measured there.
    """
    found: set[tuple[str, float] | None] = set()
    for entry in (entry for at_scale in at_place.values() for entry in at_scale.values()):
        protocol = place.protocol_of(entry.spec)
        fields = [] if protocol is None else list(protocol.task.items())
        numbers = [(name, value) for name, value in fields if type(value) in (int, float)]
        found.add(numbers[0] if len(numbers) == len(fields) == 1 else None)
    return found.pop() if len(found) == 1 else None


def cell_x(place: Place, at_place: dict[str, dict[str, Entry]]) -> tuple[str, float] | None:
    """The last field of the matrix cell whose value is a number that measures something, and its value.

    Args:
        place: The place.
        at_place: Row to scale to entry, of all that is measured there.
    """
    tasks = [entry.spec.settings.task for at_scale in at_place.values() for entry in at_scale.values()]
    names = {name for task in tasks for name in task.numbered}
    for part in reversed(place.cell.split(",")):
        name, _, value = part.partition("=")
        if name not in names and _NUMBER.fullmatch(value):
            return name, float(value)
    return None


def entries_at(place: Place, plan: dict[str, list[Entry]]) -> dict[str, dict[str, Entry]]:
    """Row to scale to entry, of all that is measured at a place."""
    found: dict[str, dict[str, Entry]] = defaultdict(dict)
    for scale, planned in plan.items():
        for entry in planned:
            if place.protocol_of(entry.spec) is not None:
                found[entry.spec.row][scale] = entry
    return found


def main_place(scale: str, planned: list[Entry], measured: Collection[Key]) -> Place:
    """Where models are compared: the first protocol on the test split and its first metric.

    Of protocols that differ in one number of the task, such as a length, it is the one with the largest.
    Those without any result are passed over if there are others.

    Args:
        scale: The scale.
        planned: What the recipe runs there, or a part of it.
        measured: Where there are results.
    """
    plan = {scale: planned}
    places = [place for place in find_places(plan, measured) if not place.part]
    tested = [place for place in places if place.split == "test"] or places
    with_results = [
        place for place in tested if any(place.key(scale, entry.spec.row) in measured for entry in planned)
    ]
    candidates = with_results or tested
    first = candidates[0]
    numbers = {place: place_x(place, entries_at(place, plan)) for place in candidates}
    alike = [
        (number[1], place)
        for place, number in numbers.items()
        if number is not None and place.metric == first.metric and (numbers[first] or ("",))[0] == number[0]
    ]
    return max(alike, key=lambda pair: pair[0])[1] if alike else first
