"""What a recipe runs, joined with the results of that."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from rmem_cli.recipe import Recipe
from rmem_cli.recipe.resolve import PAPER
from rmem_cli.report.parts import add_means
from rmem_cli.report.pooling import pool_folds, pool_tasks
from rmem_cli.report.searches import add_chosen
from rmem_cli.report.selection import Entry, Results, by_key, entries, select
from rmem_cli.results.row import ResultRow


@dataclass(frozen=True)
class Joined:
    """Runs and results of one recipe.

    Attributes:
        plan: Scale to what the recipe runs there, for `paper` and every other scale with results.
        results: What was measured.
        left_out: Why results were left out, to how many.
    """

    plan: dict[str, list[Entry]]
    results: Results
    left_out: Counter[str]


def join(recipe: Recipe, rows: Sequence[ResultRow], scale: str | None = None) -> Joined:
    """The results that the recipe would give now, with all that it runs.

    Args:
        recipe: The experiment.
        rows: Results of the experiment.
        scale: Keep this scale only, whether it has results or not; None for `paper` and those with results.

    Raises:
        UsageError: The recipe has no such scale.
    """
    scales = [scale] if scale is not None else list(recipe.scales)
    whole = {name: entries(recipe.runs(name, [row.id for row in recipe.rows_at(name)])) for name in scales}
    selection = select(whole, rows, recipe.scales)
    searched = {name: recipe.searches(name) for name in scales}
    pooled = pool_tasks(*pool_folds(whole, selection.results))
    plan, found = add_chosen(*pooled, searched)
    results = add_means(plan, by_key(found))
    measured = {key.scale for key in results}
    shown = [name for name in plan if name in measured or name == PAPER] or list(plan)
    return Joined({name: plan[name] for name in shown}, results, selection.left_out)
