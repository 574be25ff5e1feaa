"""How many verdicts of each kind a table has, those on lesser published numbers apart."""

from collections import Counter
from collections.abc import Iterable

from rmem_cli.report.table import Section
from rmem_cli.report.verdict import Outcome

_COUNTED = (Outcome.REPRODUCED, Outcome.BETTER, Outcome.WORSE, Outcome.INCONCLUSIVE)
_GROUPS = {
    "printed": "numbers and claims that the papers print",
    "raw runs": "numbers and claims that the papers print",
    "digitized": "curves read off figures",
    "quoted": "numbers known from quotations",
    "reading": "numbers that a reader filled in",
}


def tally(sections: Iterable[Section]) -> list[str]:
    """A sentence for each sort of published numbers that has verdicts."""
    counts: dict[str, Counter[Outcome]] = {}
    for line in (line for section in sections for line in section.lines):
        if line.published is not None and line.comparison is not None:
            group = counts.setdefault(_GROUPS[line.published.basis], Counter())
            group[line.comparison.verdict.outcome] += 1
    return [
        f"verdicts on {name}: "
        + ", ".join(f"{count[outcome]} {outcome}" for outcome in _COUNTED if count[outcome])
        for name, count in counts.items()
        if any(count[outcome] for outcome in _COUNTED)
    ]
