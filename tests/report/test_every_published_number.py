"""Every verified number of the papers is in every form of a report, as it was published."""

import csv
import io
import json
import re
from dataclasses import dataclass

import pytest
from typer.testing import CliRunner

from rmem_cli.app import app
from rmem_cli.published.store import find, load_paper, papers
from rmem_cli.recipe import list_recipes, load_recipe
from rmem_cli.report.build import build_table
from rmem_cli.report.citations import cite_table
from rmem_cli.report.formats import FORMATS

TABLES = [f"{paper}.{name}" for paper in papers() for name in load_paper(paper).tables]
NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?")


@dataclass(frozen=True)
class Number:
    """A verified cell of a published table: its number, or those of its curve, in the unit of our metric."""

    id: str
    column: int | None
    values: tuple[float, ...]


def numbers_of(table):
    for citation in cite_table(table):
        found = citation.value if isinstance(citation.value, tuple) else (citation.value,)
        numbers = [value for value in found if isinstance(value, float)]
        factor = 0.01 if citation.metric is not None and citation.table.unit == "percent" else 1.0
        if citation.row.verified and numbers:
            yield Number(citation.id, citation.column, tuple(round(value * factor, 12) for value in numbers))


NUMBERS = [number for table in TABLES for number in numbers_of(table)]


@pytest.fixture(scope="module")
def tables():
    """The table of each recipe, without results."""
    return [build_table(load_recipe(name), []) for name in list_recipes()]


def lines_of(table):
    """The published cells of a recipe's table."""
    sections = [*table.sections, *(column for paper in table.papers for column in paper.columns)]
    return [line.published for section in sections for line in section.lines if line.published is not None]


def written(form, table):
    file = io.StringIO()
    FORMATS[form].write([table], file, everything=True)
    return file.getvalue()


def values_in(text):
    return {float(number.replace(",", "")) for number in NUMBER.findall(text)}


def test_every_number_of_a_table_that_recipes_run_is_in_a_report(tables):
    """But for rows with a reason why none runs them, in tables that no recipe shows as a whole."""
    reported = {paper.id for table in tables for paper in table.papers}
    found = {(line.id, line.curve or (line.value,)) for table in tables for line in lines_of(table)}
    wanted = [
        number
        for number in NUMBERS
        if number.id.rpartition(".")[0] in reported and find(number.id).not_run is None
    ]
    assert len(wanted) > 500
    assert [number for number in wanted if (number.id, number.values) not in found] == []


def test_every_number_of_every_table_is_in_the_published_list():
    records = json.loads(CliRunner().invoke(app, ["published", *papers(), "--format", "json"]).stdout)
    text = CliRunner().invoke(app, ["published", *papers()]).stdout
    assert records
    known = values_in(text)
    for table in TABLES:
        for citation in cite_table(table):
            found = citation.value if isinstance(citation.value, tuple) else (citation.value,)
            assert {value for value in found if isinstance(value, float)} <= known


def test_csv_and_json_have_each_number_with_all_its_digits(tables):
    for table in tables:
        expected = {(line.id, line.value) for line in lines_of(table) if line.value is not None}
        curves = {(line.id, line.curve) for line in lines_of(table) if line.curve is not None}
        records = list(csv.DictReader(io.StringIO(written("csv", table))))
        assert expected == {
            (one["published_id"], float(one["published"])) for one in records if one["published"]
        }
        points = {one["published_id"]: one["published_curve"] for one in records if one["published_curve"]}
        assert curves == {
            (name, tuple(float(point.partition("=")[2]) for point in text.split(";")))
            for name, text in points.items()
        }
        (document,) = json.loads(written("json", table))["tables"]
        papers_there = [column for paper in document["papers"] for column in paper["columns"]]
        lines = [line["published"] for one in [*document["sections"], *papers_there] for line in one["lines"]]
        known = [one for one in lines if one is not None]
        assert expected == {(one["id"], one["value"]) for one in known if one["value"] is not None}
        assert curves == {(one["id"], tuple(one["curve"])) for one in known if one["curve"] is not None}


@pytest.mark.parametrize("form", ["terminal", "markdown", "latex"])
def test_forms_for_people_have_each_number_with_all_its_digits(tables, form):
    for table in tables:
        known = values_in(written(form, table))
        missing = [
            (line.id, value)
            for line in lines_of(table)
            for value in line.curve or (line.value,)
            if value is not None and value not in known
        ]
        assert missing == []


def test_pages_have_each_number_with_all_its_digits(tables, tmp_path):
    names = [table.experiment for table in tables]
    done = CliRunner().invoke(app, ["report", *names, "--format", "html", "--out", str(tmp_path)])
    assert done.exit_code == 0
    for table in tables:
        known = values_in((tmp_path / f"{table.experiment}.html").read_text(encoding="utf-8"))
        assert [
            (line.id, value)
            for line in lines_of(table)
            for value in line.curve or (line.value,)
            if value is not None and value not in known
        ] == []
