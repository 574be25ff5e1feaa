"""What tables say of a search: which of the candidates it chose, and how."""

from collections.abc import Mapping, Sequence

from rmem_cli.recipe.matrix import Value
from rmem_cli.recipe.resolve import Resolved
from rmem_cli.report.searches import searched_metric
from rmem_cli.report.selection import Choice, Entry


def notes_on_choices(at_scale: Mapping[str, Entry]) -> list[str]:
    """Which of the candidates a search chose, and how, of a row at each scale where there is a search.

    Args:
        at_scale: Scale to what is measured there of the row.
    """
    choices = {scale: entry.choice for scale, entry in at_scale.items() if entry.choice is not None}
    told = {scale: note for scale, choice in choices.items() if (note := _note(choice))}
    return [note if len(told) == 1 else f"{scale}: {note}" for scale, note in told.items()]


def _note(choice: Choice) -> str:
    """What a search has found, and whether it may have stopped short of something better."""
    one, count = choice.shown, len(choice.candidates)
    if one is None:
        return ""
    search, names = one.search, one.matrix_cell.names
    assert search is not None  # noqa: S101  it is a candidate
    searched = [value for value in one.matrix_cell.values if value.key in search.over]
    values = ", ".join(f"{names[value.key]}={value.text}" for value in searched)
    by = f"by {search.protocol} {searched_metric(one)}, {_seeds(one)}"
    if choice.has_failed:
        return f"{values} stands for {count} of which none has a number {by}"
    if choice.equals > 1:
        return f"{values}: the first of {choice.equals} that are equally the best of {count} {by}"
    edges = [names[value.key] for value in searched if _is_extreme(value, choice.candidates)]
    edge = f"; at the edge of what was tried of {' and '.join(edges)}" if edges else ""
    return f"{values}: the best of {count} {by}{edge}"


def _seeds(one: Resolved) -> str:
    return f"seed{'s' * (len(one.seeds) > 1)} {', '.join(map(str, one.seeds))}"


def _is_extreme(value: Value, candidates: Sequence[Resolved]) -> bool:
    """Whether it is the least or the largest of more than two numbers."""
    numbers = {
        each.number
        for one in candidates
        for each in one.matrix_cell.values
        if each.key == value.key and each.number is not None
    }
    return len(numbers) > 2 and value.number in (min(numbers), max(numbers))
