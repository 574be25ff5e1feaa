"""Learning curves: when our seeds solved a task, and how they went beside published curves."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

from rmem_cli.recipe.schema import TrainSettings
from rmem_cli.recipe.solved import SolvedRule
from rmem_cli.report.citations import STEPS
from rmem_cli.report.comparison import AtStep
from rmem_cli.report.measured import measure
from rmem_cli.report.table import Line, Ours, Published, Section, StepsToSolve
from rmem_cli.results.curves import LearningCurve
from rmem_cli.results.row import ResultRow

Curves = Callable[[ResultRow], LearningCurve | None]
Points = list[tuple[int, float]]

_SOLVED_EARLY = (
    "training ends ahead of its {steps:,} steps when validation gives {metric} of {bound} {at}{in_a_row}"
)


def no_curves(row: ResultRow) -> LearningCurve | None:
    """For reports that look at no learning curves."""
    del row
    return None


def trained_steps(
    results: Sequence[ResultRow],
    train: TrainSettings,
    curves: Curves,
    rule: SolvedRule | None = None,
) -> int | None:
    """How many steps every finished seed of a row was trained; None if nothing tells.

    Args:
        results: One for each seed. Their own step is that of the checkpoint, which may be an earlier one.
        train: Settings of the row, whose steps are None if they are counted in epochs.
        curves: The learning curve behind a result.
        rule: When the task is solved. A seed that ended because it was, by this or something stricter, counts
            as trained as long as planned: its task stays solved. None: none does.
    """
    planned, stop = train.steps, train.stop_when_solved
    stays_solved = planned is not None and rule is not None and stop is not None and stop.implies(rule)
    found = [
        planned if planned is not None and stays_solved and ended_solved(curve, train) else curve.last_step
        for row in results
        if row.status == "ok" and (curve := curves(row)) is not None
    ]
    return min(found, default=planned)


def ended_solved(curve: LearningCurve, train: TrainSettings) -> bool:
    """Whether training ended by `stop_when_solved`: its last validations are those of a solved task.

    Args:
        curve: Thinned or not: it is looked at as far back as so many validations take.
        train: Settings of the run.
    """
    stop, every = train.stop_when_solved, train.eval_every
    points = [] if stop is None else curve.validation(stop.metric)
    if stop is None or every is None or not points:
        return False
    before = points[-1][0] - stop.evaluations * every
    return before >= 0 and all(stop.holds(value) for step, value in points if step > before)


def notes_on_ends(results: Sequence[ResultRow], train: TrainSettings, curves: Curves) -> list[str]:
    """Why seeds were trained for fewer steps than was planned, where solving the task ended one of them.

    Args:
        results: One for each seed.
        train: Settings of the row.
        curves: The learning curve behind a result.
    """
    stop, planned = train.stop_when_solved, train.steps
    found = [curve for row in results if row.status == "ok" and (curve := curves(row)) is not None]
    if stop is None or planned is None:
        return []
    if not any(curve.last_step < planned and ended_solved(curve, train) for curve in found):
        return []
    in_a_row = f", {stop.evaluations} times in a row" if stop.evaluations > 1 else ""
    return [
        _SOLVED_EARLY.format(
            steps=planned, metric=stop.metric, bound=stop.bound, at=stop.at, in_a_row=in_a_row
        )
    ]


def steps_to_solve(
    results: Sequence[ResultRow], rule: SolvedRule, budget: int, curves: Curves
) -> StepsToSolve | None:
    """When the seeds of a row first solved the task in validation; None if no seed has a curve that tells.

    Args:
        results: One for each seed; those that neither came to their end nor diverged count for nothing, and
            one that diverged has not solved the task, whatever it did before.
        rule: When the task is solved.
        budget: What comes after so many steps does not count.
        curves: The learning curve behind a result.
    """
    counted = [row for row in results if row.status in ("ok", "diverged")]
    found = [(row, points) for row in counted if (points := _validation(row, rule.metric, curves))]
    if not found:
        return None
    steps = [_first(points, rule, budget) if row.status == "ok" else None for row, points in found]
    reached = sorted(step for step in steps if step is not None)
    missed = [None] * (len(steps) - len(reached))
    return StepsToSolve((*reached, *missed), budget, max(_resolution(points) for _, points in found))


def at_last_common_step(
    results: Sequence[ResultRow], published: Published, metric: str, curves: Curves
) -> AtStep | None:
    """Ours and a published learning curve at the last step at which all seeds that finished have a value."""
    found = list(_together(results, published, metric, curves))
    return found[-1] if found else None


def learning_sections(
    where: Section, lines: Mapping[str, tuple[Line, Published, Sequence[ResultRow]]], curves: Curves
) -> list[Section]:
    """One section for each step at which a published curve and all seeds of a row have a value.

    Args:
        where: The section of the test by the same metric.
        lines: Id of a row to its line there, its published learning curve, and its results.
        curves: The learning curve behind a result.
    """
    at: dict[int, list[Line]] = {}
    for line, published, results in lines.values():
        for index, point in enumerate(_together(results, published, where.metric, curves)):
            shown = published if index == 0 else None  # once, for all steps
            one = replace(line, published=shown, ours={results[0].scale: point.ours}, comparison=None)
            at.setdefault(point.step, []).append(one)
    common = replace(where, protocol="training", split="valid", part="", x_name=STEPS, x_is_cell=False)
    return [replace(common, lines=at[step], x=float(step)) for step in sorted(at)]


def _together(
    results: Sequence[ResultRow], published: Published, metric: str, curves: Curves
) -> Iterator[AtStep]:
    finished = [row for row in results if row.status == "ok"]
    others = [row for row in results if row.status != "ok"]
    seeds = [dict(_validation(row, metric, curves)) for row in finished]
    for x, value in zip(published.x or (), published.curve or (), strict=True):
        if seeds and all(x in points for points in seeds):
            rows = [
                replace(row, value=points[int(x)], step=int(x))
                for row, points in zip(finished, seeds, strict=True)
            ]
            yield AtStep(int(x), value, _plain(measure([*rows, *others], len(results))))


def _plain(ours: Ours) -> Ours:
    """Without what a run costs as a whole."""
    return replace(ours, parameters=None, wall_seconds=None, peak_memory_mb=None)


def _validation(row: ResultRow, metric: str, curves: Curves) -> Points:
    curve = curves(row)
    return [] if curve is None else curve.validation(metric)


def _first(points: Points, rule: SolvedRule, budget: int) -> int | None:
    return next((step for step, value in points if step <= budget and rule.holds(value)), None)


def _resolution(points: Points) -> int:
    steps = [0, *(step for step, _ in points)]
    return max(later - earlier for earlier, later in pairwise(steps))
