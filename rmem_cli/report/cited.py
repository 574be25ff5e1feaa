"""Where the published numbers of a recipe belong in its table."""

from collections.abc import Sequence

from rmem_cli.recipe import Recipe
from rmem_cli.report.citations import Citation, Readings, cite, cite_table
from rmem_cli.report.places import Place


class Cited:
    """The published rows that a recipe names, row by row, and those of its published tables.

    Args:
        recipe: The experiment.
        places: All that it measures.
        readings: Published numbers that a reader filled in.
    """

    def __init__(self, recipe: Recipe, places: Sequence[Place], readings: Readings | None = None) -> None:
        self.recipe = recipe
        self.places = places
        self.by_row = {
            row.id: [one for address in row.published for one in cite(address.id, address.cell, readings)]
            for row in recipe.rows
        }
        self.tables = [one for table in recipe.published_tables for one in cite_table(table, readings)]

    def home(self, citation: Citation) -> Place | None:
        """Where a published value stands: the first protocol of its metric on its split, else the first.

        A claim stands where the task's solution is measured.
        """
        name = citation.metric
        if citation.row.claim is not None and self.recipe.solved is not None:
            name = self.recipe.solved.metric
        places = [place for place in self.places if place.metric == name and citation.is_for(place)]
        of_split = [place for place in places if place.split == citation.table.split]
        return next(iter(of_split or places), None)

    def at(self, place: Place, row: str) -> list[Citation]:
        """What was published of a row for a place: numbers, then learning curves, words, and what is blank.

        The first gets the verdict.
        """
        found = [one for one in self.by_row.get(row, []) if self.home(one) == place]
        return sorted(found, key=_rank)

    def learning_curve(self, place: Place, row: str) -> Citation | None:
        """The published learning curve of a row for a place."""
        return (
            next((one for one in self.at(place, row) if one.is_learning_curve), None)
            if row in self.by_row
            else None
        )

    def others(self) -> list[Citation]:
        """What stands beside no row of the recipe, each once, in the order of the recipe and its tables."""
        beside = {one.key for row in self.by_row for place in self.places for one in self.at(place, row)}
        found: dict[tuple[str, int | None], Citation] = {}
        for one in [*(one for own in self.by_row.values() for one in own), *self.tables]:
            if one.key not in beside:
                found.setdefault(one.key, one)
        return list(found.values())

    def rows_of(self, citation: Citation) -> set[str]:
        """Rows of the recipe that name the published row."""
        return {row for row, own in self.by_row.items() if citation.id in {one.id for one in own}}


def _rank(citation: Citation) -> tuple[bool, bool, bool]:
    return not citation.row.verified, isinstance(citation.value, str), citation.is_learning_curve
