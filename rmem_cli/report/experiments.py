"""The experiments of a folder of results: recipes, rows and curves, each read once."""

from collections import Counter
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

from rmem_cli.recipe import Recipe, list_recipes, load_recipe
from rmem_cli.report.build import build_table
from rmem_cli.report.citations import Readings
from rmem_cli.report.core_grid import CoreGrid, build_core_grid
from rmem_cli.report.joined import Joined, join
from rmem_cli.report.scoreboard import Cost, Scoreboard, build_scoreboard
from rmem_cli.report.table import Table
from rmem_cli.results.curves import Curves
from rmem_cli.results.store import ResultStore
from rmem_cli.results.summaries import read_samples
from rmem_cli.results.withdrawn import Withdrawals


class Experiments:
    """What is reported from one folder of results.

    Args:
        folder: Folder of the results.
        readings: Published numbers that a reader filled in.
    """

    def __init__(self, folder: Path, readings: Readings | None = None) -> None:
        self.store = ResultStore(folder)
        self.curves = Curves(folder)
        self.readings = readings
        self.recipe = cache(load_recipe)

    def with_results(self) -> tuple[list[str], list[str]]:
        """Names of the recipes that have results, and of results that have no recipe."""
        names, known = self.store.experiments(), list_recipes()
        return [name for name in names if name in known], [name for name in names if name not in known]

    def table(self, name: str, scale: str | None = None) -> Table:
        """The table of the recipe of a name; else as for `table_of`.

        Raises:
            UsageError: There is no such recipe or scale, or its results are damaged.
        """
        return self.table_of(self.recipe(name), scale)

    def table_of(self, recipe: Recipe, scale: str | None = None) -> Table:
        """The table of a recipe, with the results that count, and why others were withdrawn.

        Raises:
            UsageError: It has no such scale, or its results are damaged.
        """
        withdrawals = Withdrawals(self.store.folder)
        found = [(row, withdrawals.of(row)) for row in self.store.read_all(recipe.name)]
        rows = [row for row, withdrawal in found if withdrawal is None]
        reasons = Counter(withdrawal.reason for _, withdrawal in found if withdrawal is not None)
        table = build_table(recipe, rows, scale, curves=self.curves, readings=self.readings)
        told = [
            f"withdrawn: {count} result{'s' * (count > 1)}: {reason}" for reason, count in reasons.items()
        ]
        return replace(table, remarks=[*table.remarks, *told])

    def site(self, folder: Path, names: list[str], tables: list[Table], board: Scoreboard) -> list[Path]:
        """Write HTML pages into a folder that is there.

        Args:
            folder: The folder.
            names: The experiments that get a page.
            tables: Their tables.
            board: The scoreboard.

        Returns:
            The files.
        """
        from rmem_cli.report.site import Experiment, write_site

        found = [
            Experiment(table, self.recipe(name), self.joined(name))
            for name, table in zip(names, tables, strict=True)
        ]
        samples = cache(partial(read_samples, self.store.folder))
        return write_site(folder, found, board, self.curves, samples)

    def joined(self, name: str, scale: str | None = None) -> Joined:
        """What a recipe runs, with the results of that; errors as for `table`."""
        recipe = self.recipe(name)
        return join(recipe, self.store.read(recipe.name), scale)

    def core_grid(self, names: list[str], scale: str | None = None) -> CoreGrid:
        """Every core in the experiments named; errors as for `table`."""
        recipes = [self.recipe(name) for name in names]
        return build_core_grid([(recipe, self.store.read(recipe.name)) for recipe in recipes], scale)

    def scoreboard(self, tables: list[Table], cost: Cost) -> Scoreboard:
        """The verdicts on all published tables.

        Args:
            tables: The tables of all recipes with results.
            cost: How long a run takes.
        """
        recipes = [self.recipe(name) for name in list_recipes()]
        return build_scoreboard(recipes, tables, cost)
