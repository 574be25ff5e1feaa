"""The rule and the numbers behind each verdict, in a sentence each."""

from collections.abc import Iterator, Sequence

from rmem_cli.recipe.resolve import PAPER
from rmem_cli.report import wording
from rmem_cli.report.comparison import AT_STEP
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
    sections = (section for paper in table.papers for section in paper.columns)
    return [text for section in sections for text in _of_section(section, table.footnotes)]


def _of_section(section: Section, footnotes: Sequence[str]) -> Iterator[str]:
    for line in section.lines:
        compared, published = line.comparison, line.published
        if line.kind == "row" and compared is not None and published is not None and PAPER in line.ours:
            where = ", ".join(filter(None, (section.cell, section.part)))
            about = f"{line.title} ({published.id}{', ' + where if where else ''})"
            values = _values(section, line, compared, footnotes)
            yield f"{about}: {compared.verdict.outcome}: {_why(line, compared, published, values)}"


def _values(section: Section, line: Line, compared: Comparison, footnotes: Sequence[str]) -> str:
    """What was compared: values at the end, or, of curves, those at a step, which a footnote has."""
    notes = (footnotes[note - 1] for note in compared.notes)
    if at_step := next((note for note in notes if note.startswith(AT_STEP)), ""):
        return at_step
    digits = section.digits
    ours, theirs = wording.ours(line.ours[PAPER], digits), wording.published(line.published, digits)
    return f"ours {ours.text}, published {theirs.text}"


def _why(line: Line, compared: Comparison, published: Published, values: str) -> str:
    ours = line.ours[PAPER]
    if compared.rule == "claim" and ours.solve_rate is not None:
        rate = ours.solve_rate
        reason = f"; {compared.verdict.reason}" if compared.verdict.reason else ""
        return (
            f"{_RULES['claim']}: published as {published.claim}, {rate.solved} of {rate.seeds} seeds solved "
            f"it{reason}; reproduced asks for all of at least {MIN_SEEDS} seeds"
        )
    if compared.rule is None or compared.low is None or compared.high is None or compared.difference is None:
        return f"{values}; {compared.verdict.reason or _too_few(ours.n)}"
    interval = (
        f"{_RULES[compared.rule]}, {compared.difference:+.4g}: [{compared.low:+.4g}, {compared.high:+.4g}]"
    )
    told = f"{values}; {interval}"
    if compared.rule != "welch":
        half = (compared.high - compared.low) / 2
        told += f", {ours.n - 1} degrees of freedom, half width {half:.4g}"
    place = _PLACES.get(compared.verdict.outcome)
    if place is None or compared.tolerance is None:
        return f"{told}; {compared.verdict.reason or _too_few(ours.n)}"
    return f"{told}; it {place} the tolerance of ± {compared.tolerance:g}"


def _too_few(seeds: int) -> str:
    return f"{seeds} of the {MIN_SEEDS} seeds that a verdict asks for"
