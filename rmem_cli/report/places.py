"""What is measured alike: the sections of a table."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from rmem_cli.recipe import RunSpec
from rmem_cli.recipe.schema import EvalProtocol
from rmem_cli.report.selection import Entry


@dataclass(frozen=True)
class Place:
    """What the lines of a section have in common.

    Attributes:
        cell: Matrix cell.
        protocol: Name of the evaluation protocol.
        split: Its split.
        part: Part of the split.
        metric: Name of the metric.
    """

    cell: str
    protocol: str
    split: str
    part: str
    metric: str

    def protocol_of(self, spec: RunSpec) -> EvalProtocol | None:
        """The protocol by which a run is measured here; None if it is not."""
        for protocol in spec.settings.eval:
            here = (spec.cell, protocol.name, protocol.split) == (self.cell, self.protocol, self.split)
            if here and self.metric in protocol.metrics:
                return protocol
        return None


def find_places(plan: dict[str, list[Entry]], measured: Iterable[tuple[str, ...]]) -> list[Place]:
    """All places: each matrix cell, each protocol, each of its parts that has results, each metric.

    Args:
        plan: Scale to what the recipe runs there.
        measured: The keys of `selection.Selection.results`.
    """
    parts: dict[tuple[str, str, str], dict[str, None]] = defaultdict(dict)
    for _, _, cell, protocol, part, name in measured:
        parts[cell, protocol, name][part] = None
    return list(
        dict.fromkeys(
            Place(spec.cell, one.name, one.split, part, name)
            for spec in (entry.spec for planned in plan.values() for entry in planned)
            for one in spec.settings.eval
            for name in one.metrics
            for part in parts.get((spec.cell, one.name, name), {"": None})
        )
    )


def entries_at(place: Place, plan: dict[str, list[Entry]]) -> dict[str, dict[str, Entry]]:
    """Row to scale to entry, of all that is measured at a place."""
    found: dict[str, dict[str, Entry]] = defaultdict(dict)
    for scale, planned in plan.items():
        for entry in planned:
            if place.protocol_of(entry.spec) is not None:
                found[entry.spec.row][scale] = entry
    return found
