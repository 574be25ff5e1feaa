"""Where the published numbers of a recipe belong in its table."""

from collections.abc import Sequence

import pandas as pd

from rmem_cli.published.store import find_table
from rmem_cli.recipe import Recipe
from rmem_cli.report.citations import Citation, Readings, cite, cite_table
from rmem_cli.report.places import Place

Cite = tuple[str, Citation, Place | None]  # row of the recipe ("": none), what is cited, and where it stands


class Cited:
    """The published rows that a recipe names, row by row, and those of its published tables.

    Args:
        recipe: The experiment.
        places: All that it measures.
        readings: Published numbers that a reader filled in.
    """

    def __init__(self, recipe: Recipe, places: Sequence[Place], readings: Readings | None = None) -> None:
        named = [
            (row.id, one)
            for row in recipe.rows
            for address in row.published
            for one in cite(address.id, address.cell, readings)
        ]
        of_tables = [("", one) for table in recipe.published_tables for one in cite_table(table, readings)]
        cited = pd.DataFrame([*named, *of_tables], columns=["row", "citation"], dtype=object)
        cited["key"] = [one.key for one in cited["citation"]]
        cited["home"] = pd.Series(_homes(recipe, list(cited["citation"]), places), dtype=object)
        is_beside = (cited["row"] != "") & cited["home"].notna()
        beside = cited[is_beside].groupby(["home", "row"], sort=False)["citation"]
        self.beside = {where: sorted(found, key=_rank) for where, found in beside}
        self.apart = cited[~cited["key"].isin(cited[is_beside]["key"])].drop_duplicates("key")
        homes = cited["home"].where(cited["home"].notna(), None)
        self.all: list[Cite] = list(zip(cited["row"], cited["citation"], homes, strict=True))
        self.tables = list(
            dict.fromkeys([*recipe.published_tables, *(one.table_id for _, one, _ in self.all)])
        )

    def at(self, place: Place, row: str) -> list[Citation]:
        """What was published of a row for a place: numbers, then learning curves, words, and what is blank.

        The first gets the verdict.
        """
        return self.beside.get((place, row), [])

    def learning_curve(self, place: Place, row: str) -> Citation | None:
        """The published learning curve of a row for a place."""
        return next((one for one in self.at(place, row) if one.is_learning_curve), None)

    def others(self) -> list[tuple[Citation, Place | None]]:
        """What stands beside no row of the recipe, each once, in the order of the recipe and its tables.

        With the place of its metric, if there is one.
        """
        homes = self.apart["home"].where(self.apart["home"].notna(), None)
        return list(zip(self.apart["citation"], homes, strict=True))

    def of_table(self, table: str) -> list[Cite]:
        """What is cited of a published table, in its order; what rows of the recipe name, once for each."""
        order = list(find_table(table).rows)
        cited = [each for each in self.all if each[1].table_id == table]
        named = {one.key for row, one, _ in cited if row}
        kept = [(row, one, home) for row, one, home in cited if row or one.key not in named]
        return sorted(kept, key=lambda each: order.index(each[1].id.rpartition(".")[2]))

    def rows_of(self, citation: Citation) -> set[str]:
        """Rows of the recipe that name the published row."""
        return {row for row, one, _ in self.all if row and one.id == citation.id}


def _homes(recipe: Recipe, cited: Sequence[Citation], places: Sequence[Place]) -> list[Place | None]:
    """Where published values stand: at the first protocol of their metric on their split, else the first.

    A claim stands where the task's solution is measured.
    """
    solved = None if recipe.solved is None else recipe.solved.metric
    asked = pd.DataFrame({"citation": cited, "number": range(len(cited))}, dtype=object)
    asked["metric"] = [one.metric if one.row.claim is None else solved or one.metric for one in cited]
    there = pd.DataFrame({"place": places, "metric": [place.metric for place in places]}, dtype=object)
    pairs = asked.merge(there, on="metric")
    of_place = list(zip(pairs["citation"], pairs["place"], strict=True))
    pairs["fits"] = [one.is_for(place) for one, place in of_place]
    pairs["other_split"] = [one.table.split != place.split for one, place in of_place]
    fitting = pairs[pairs["fits"].astype(bool)].sort_values("other_split", kind="stable")
    first = fitting.drop_duplicates("number")
    homes = dict(zip(first["number"], first["place"], strict=True))
    return [homes.get(number) for number in range(len(cited))]


def _rank(citation: Citation) -> tuple[bool, bool, bool]:
    return not citation.row.verified, isinstance(citation.value, str), citation.is_learning_curve
