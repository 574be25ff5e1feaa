"""The rule and the numbers behind each verdict, in a sentence each."""

import math
from collections.abc import Iterator

from rmem_cli.recipe.resolve import PAPER
from rmem_cli.report import wording
from rmem_cli.report.statistics import half_width
from rmem_cli.report.table import Comparison, Line, Published, Rule, Section, Table
from rmem_cli.report.verdict import MIN_SEEDS, Outcome

_RULES: dict[Rule, str] = {
    "welch": "Welch's 95 % interval of the difference of two means",
    "student": "Student's 95 % interval of our mean minus the published number, taken as exact",
    "single run": "the 95 % interval in which one more of our runs would lie, minus the published one",
    "claim": "the claim, by the recipe's rule for a solved task",
}
_PLACES = {
    Outcome.REPRODUCED: "lies inside",
    Outcome.BETTER: "lies wholly outside, on the better side of,",
    Outcome.WORSE: "lies wholly outside, on the worse side of,",
    Outcome.INCONCLUSIVE: "crosses the edge of",
}


def explanations(table: Table) -> list[str]:
    """A sentence for each verdict of a table on a row that was run at the paper's size.

    Args:
        table: The table.
    """
    return [text for paper in table.papers for section in paper.columns for text in _of_section(section)]


def _of_section(section: Section) -> Iterator[str]:
    for line in section.lines:
        compared, published = line.comparison, line.published
        if line.kind == "row" and compared is not None and published is not None and PAPER in line.ours:
            where = ", ".join(filter(None, (section.cell, section.part)))
            about = f"{line.title} ({published.id}{', ' + where if where else ''})"
            yield f"{about}: {compared.verdict.outcome}: {_why(section, line, compared, published)}"


def _why(section: Section, line: Line, compared: Comparison, published: Published) -> str:
    ours, digits = line.ours[PAPER], section.digits
    if compared.rule == "claim" and ours.solve_rate is not None:
        rate = ours.solve_rate
        reason = f"; {compared.verdict.reason}" if compared.verdict.reason else ""
        return (
            f"{_RULES['claim']}: published as {published.claim}, {rate.solved} of {rate.seeds} seeds solved "
            f"it{reason}; reproduced asks for all of at least {MIN_SEEDS} seeds"
        )
    values = f"ours {wording.ours(ours, digits).text}, published {wording.published(published, digits).text}"
    if compared.rule is None or compared.low is None or compared.high is None or compared.difference is None:
        return f"{values}; {compared.verdict.reason or _too_few(ours.n)}"
    interval = (
        f"{_RULES[compared.rule]}, {compared.difference:+.4g}: [{compared.low:+.4g}, {compared.high:+.4g}]"
    )
    spread = ours.sd if compared.rule != "single run" else (ours.sd or 0.0) * math.sqrt(1 + ours.n)
    told = f"{values}; {interval}"
    if compared.rule != "welch" and spread is not None:
        told += f", {ours.n - 1} degrees of freedom, half width {half_width(spread, ours.n):.4g}"
    place = _PLACES.get(compared.verdict.outcome)
    if place is None or compared.tolerance is None:
        return f"{told}; {compared.verdict.reason or _too_few(ours.n)}"
    return f"{told}; it {place} the tolerance of ± {compared.tolerance:g}"


def _too_few(seeds: int) -> str:
    return f"{seeds} of the {MIN_SEEDS} seeds that a verdict asks for"
