"""From the scoreboard to grids of cells."""

from collections.abc import Callable, Sequence
from functools import partial

from rmem_cli.report import wording
from rmem_cli.report.page import Cell, Column, Grid, Page, text_column
from rmem_cli.report.scoreboard import Candidate, Score, Scoreboard
from rmem_cli.report.verdict import Outcome

_SHOWN = tuple(outcome for outcome in Outcome if outcome is not Outcome.NO_PUBLISHED_NUMBER)
_NEXT = 3  # of the rows that wait, the cheapest
_LEGEND = (
    "a cell is a number or a claim that was verified in a source; smaller: of those not run, the ones with "
    "results of a smaller size; quoted: further cells, which the paper quotes from others"
)


def page(board: Scoreboard, *, everything: bool = False) -> Page:
    """What is written about all published tables.

    Args:
        board: The counts.
        everything: Name each table; else those that nothing was run of are one line.
    """
    printed = [score for score in board.scores if not score.is_lesser]
    lesser = [score for score in board.scores if score.is_lesser]
    grids = [_grid("as printed, or computed from released runs", printed, everything)]
    grids += [_grid("read off figures or known from quotations, apart", lesser, everything)] if lesser else []
    idle = f"{len(board.idle)} published tables that no recipe runs"
    names = f": {', '.join(board.idle)}" if everything else " (`--all` names them)"
    remarks = [*_next(board.candidates), idle + names, _LEGEND]
    counted = [score for score in printed if score.cells]
    reproduced = sum(score.outcomes.get(Outcome.REPRODUCED, 0) for score in counted)
    status = f"{reproduced} of {sum(score.cells for score in counted)} printed cells reproduced"
    return Page("scoreboard", "Published tables", status, [], grids, [], remarks)


def _grid(caption: str, scores: Sequence[Score], everything: bool) -> Grid:
    named = [score for score in scores if everything or score.has_results]
    folded = [score for score in scores if score not in named]
    groups = [[score] for score in named] + ([folded] if folded else [])
    names = [score.table for score in named] + ([f"{len(folded)} more, nothing run"] if folded else [])
    recipes = [_first(score.recipes) for score in named] + ([Cell("`--all`")] if folded else [])

    def numbers(heading: str, count: Callable[[Score], int], outcome: Outcome | None = None) -> Column:
        return _numbers(heading, [sum(map(count, group)) for group in groups], outcome)

    columns = [
        text_column("Table", [*names, "all of these"]),
        Column(Cell("Recipe"), [*recipes, Cell()]),
        numbers("cells", lambda score: score.cells),
    ]
    for outcome in _SHOWN:
        if any(score.outcomes.get(outcome) for score in scores):
            count = partial(_with_outcome, outcome)
            columns.append(numbers(str(outcome), count, outcome))
    columns.append(numbers("smaller", lambda score: score.smaller))
    columns += [numbers("quoted", lambda score: score.quoted)] if any(one.quoted for one in scores) else []
    return Grid(caption, columns, has_total=True)


def _with_outcome(outcome: Outcome, score: Score) -> int:
    return score.outcomes.get(outcome, 0)


def _first(names: Sequence[str]) -> Cell:
    more = f", {len(names) - 1} more" if len(names) > 1 else ""
    return Cell(names[0] + more, about=names[0])


def _numbers(heading: str, counts: Sequence[int], outcome: Outcome | None = None) -> Column:
    """Counts and their sum; what is zero is left blank."""
    cells = [Cell(str(count) if count else "", outcome=outcome) for count in [*counts, sum(counts)]]
    return Column(Cell(heading.replace("too few ", "few\n").replace("no ", "no\n")), cells, is_number=True)


def _next(candidates: Sequence[Candidate]) -> list[str]:
    """The cheapest rows that wait for seeds, with what they take."""
    known = [one for one in candidates if one.seconds is not None]
    if not candidates:
        return []
    if not known:
        return [
            f"{len(candidates)} rows wait for seeds; what they take is not known here: "
            "`rmem train NAME --dry-run` finds it and keeps it"
        ]
    return [f"next: {_told(one)}" for one in known[:_NEXT]]


def _told(one: Candidate) -> str:
    seeds = f"{one.seeds} seed{'s' * (one.seeds > 1)}"
    return f"{one.experiment}, {one.title}: {seeds}, about {wording.duration(one.seconds)}: `{one.command}`"
