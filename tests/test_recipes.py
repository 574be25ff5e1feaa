"""Every recipe that comes with rmem, from its file to its rows."""

import csv
import json
import os
import sys
from importlib.resources import files
from pathlib import Path

import pytest
import yaml

from rmem_cli.app import main
from rmem_cli.published.store import find, find_table, load_paper
from rmem_cli.recipe import load_recipe
from rmem_cli.report.build import build_table

NAMES = sorted(
    path.name.removesuffix(".yaml")
    for path in files("rmem_cli.recipes").iterdir()
    if path.name.endswith(".yaml")
)
EVERY_RECIPE = pytest.mark.parametrize("name", NAMES)


def rmem(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["rmem", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    return ended.value.code


def results(name):
    """The rows of an experiment's table as text."""
    with (Path(os.environ["RMEM_RESULTS"]) / f"{name}.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_recipes_of_the_first_experiments_are_there():
    assert {"quickstart", "rum_copying", "rum_recall", "rum_ptb_char"} <= set(NAMES)


@EVERY_RECIPE
def test_every_row_is_valid_at_every_scale_and_smoke_is_one_of_them(name):
    recipe = load_recipe(name)
    assert recipe.name == name
    assert "smoke" in recipe.scales
    for scale in recipe.scales:
        assert recipe.runs(scale)


OF_NO_PAPER = ["grid_small"]


@EVERY_RECIPE
def test_what_it_calls_published_exists(name):
    recipe = load_recipe(name)
    if name in OF_NO_PAPER:
        assert (recipe.paper, recipe.published_tables) == (None, [])
    else:
        load_paper(recipe.paper)
    for table in recipe.published_tables:
        assert find_table(table)
    for address in (address for row in recipe.rows for address in row.published):
        assert find(address.id)


@EVERY_RECIPE
def test_every_section_says_where_its_numbers_come_from(name):
    document = yaml.safe_load((files("rmem_cli.recipes") / f"{name}.yaml").read_text())
    sourced = {path.partition(".")[0] for path in document["origin"]}
    assert {"task", "optimizer", "train", "eval"} <= sourced


@EVERY_RECIPE
def test_no_two_rows_or_cells_are_the_same_run(name):
    hashes = [spec.train_hash("") for spec in load_recipe(name).runs(seeds=[1])]
    assert len(set(hashes)) == len(hashes)


@EVERY_RECIPE
@pytest.mark.slow
def test_it_runs_to_its_end_at_smoke_scale_and_is_then_up_to_date(
    name, tmp_path, monkeypatch, write_made_up, capsys
):
    monkeypatch.chdir(tmp_path)
    specs = load_recipe(name).runs("smoke")
    for data_set in {each for spec in specs for each in spec.settings.task.data_sets()}:
        write_made_up(*data_set)
    assert rmem(monkeypatch, "train", name, "--scale", "smoke", "--json") == 0
    expected = {
        (spec.row, spec.cell, str(spec.seed), protocol.name, part, metric)
        for spec in specs
        for protocol in spec.settings.eval
        for part in ("", *spec.settings.task.parts())
        for metric in protocol.metrics
    }
    rows = results(name)
    columns = ("row", "cell", "seed", "protocol", "part", "metric")
    found = [tuple(row[column] for column in columns) for row in rows]
    assert set(found) == expected
    assert len(found) == len(expected)
    assert {(row["status"], row["scale"]) for row in rows} == {("ok", "smoke")}
    assert all(float(row["value"]) >= 0 for row in rows)
    (table,) = json.loads(capsys.readouterr().out)["tables"]
    titles = {line["title"] for section in table["sections"] for line in section["lines"]}
    assert {spec.title for spec in specs} <= titles

    before = {path: path.read_bytes() for path in Path(os.environ["RMEM_RESULTS"]).rglob("*.csv")}
    monkeypatch.setattr("rmem_cli.runs.experiment.train_run", None)
    assert rmem(monkeypatch, "train", name, "--scale", "smoke") == 0
    assert f"runs to do: 0 of {len(specs)}" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in before} == before


@EVERY_RECIPE
def test_its_report_shows_every_published_row_that_it_names(name):
    recipe = load_recipe(name)
    named = {address.id for row in recipe.rows for address in row.published}
    named |= {f"{table}.{row}" for table in recipe.published_tables for row in find_table(table).rows}
    table = build_table(recipe, [])
    shown = {line.published.id for part in table.sections for line in part.lines if line.published}
    also = " ".join(table.footnotes)
    assert {one for one in named - shown if f"({one}, " not in also} == set()
