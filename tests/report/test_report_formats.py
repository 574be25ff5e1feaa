import csv
import io
import json
import re
from pathlib import Path

import pytest

from rmem_cli.report import markdown
from rmem_cli.report.csv_format import COLUMNS
from rmem_cli.report.formats import FORMATS
from rmem_cli.report.table import (
    Comparison,
    Line,
    Ours,
    PaperTable,
    Published,
    Section,
    SolveRate,
    StepsToSolve,
    Table,
)
from rmem_cli.report.verdict import Outcome, Verdict


def cited(name, **fields):
    empty = dict.fromkeys(("value", "sd", "n", "text", "x_name", "x", "curve", "claim", "parameters"))
    values = {"verified": True, "basis": "printed", **empty, "source": "Table 1 [key2019]", **fields}
    return Published(id=f"paper.table.{name}", **values)


def compared(outcome, reason="", **fields):
    values = {"difference": None, "low": None, "high": None, "tolerance": 0.01, **fields}
    return Comparison(**values, verdict=Verdict(outcome, reason))


NOT_RUN = compared(Outcome.NOT_RUN)
LINES = [
    Line(
        "row",
        "rum",
        "RUM | λ 1",
        cited("rum", value=0.98, sd=0.01, n=5, notes=(2,)),
        {
            "paper": Ours(
                mean=0.99, sd=0.0123, n=3, planned=3, solve_rate=SolveRate(2, 3, 0.2077, 0.9385),
                steps=15000, steps_to_solve=StepsToSolve((9500, 12000, None), 15000, 500),
                parameters=17950, wall_seconds=754.0, peak_memory_mb=1234.0,
            ),
            "cpu": Ours(mean=0.5, n=1, planned=3, failed={"diverged": 1, "out_of_memory": 1}),
        },
        compared(Outcome.INCONCLUSIVE, difference=0.01, low=-0.0123, high=0.0323),
        (1,),
    ),
    Line(
        "row",
        "lstm",
        "LSTM",
        cited("lstm", verified=False),
        {"paper": Ours(mean=None, planned=3, failed={"diverged": 3}, caveats=("dirty tree",))},
        compared(Outcome.NO_VERDICT, "dirty tree, no seed finished"),
    ),
    Line("row", "gru", "GRU", None, {}, NOT_RUN),
    Line("chance", "chance", "chance", ours={"paper": Ours(mean=0.1), "cpu": Ours(mean=0.125)}),
    Line("published", "paper.table.a", "[bold]A[/bold]", cited("a", text="solves it"), comparison=NOT_RUN),
    Line(
        "published", "paper.table.b", "B",
        cited("b", basis="digitized", x=(1.0, 2.0, 4.0, 8.0, 16.0), curve=(1.0, 0.9, 0.8, 0.7, 0.6)),
        comparison=NOT_RUN,
    ),
]  # fmt: skip
SECTION = Section("length=30", "test", "test", "", "accuracy", "fraction", True, 3, ["paper", "cpu"], LINES)
TABLE = Table(
    experiment="made_up",
    title="A made-up experiment",
    reference="A Paper (A Journal, 2019) [key2019]",
    summary="RUM solves it in two of three seeds.",
    where="Table 1",
    scales=["paper", "cpu"],
    rows=3,
    rows_run={"paper": 2, "cpu": 1},
    papers=[PaperTable("paper.table", "A table", "Table 1", "printed", [""], [SECTION])],
    main=0,
    sections=[
        SECTION,
        Section(
            "", "", "", "", "score", "mixed", None, None, ["paper", "cpu"],
            [Line("published", "paper.table.c", "C", cited("c", value=36.44), comparison=NOT_RUN)],
        ),
    ],
    footnotes=["eta 1 instead of 2", "published: Table 1 [key2019]"],
    remarks=["left out: 2 results of other settings than the recipe has now"],
)  # fmt: skip

GOLDEN = Path(__file__).parents[1] / "golden" / "report"


def written(name, tables, *, everything=True):
    file = io.StringIO()
    FORMATS[name].write(tables, file, everything=everything)
    return file.getvalue()


@pytest.mark.parametrize(("name", "file"), [("terminal", "made_up.txt"), ("markdown", "made_up.md")])
def test_the_forms_for_people_read_as_the_stored_ones(name, file):
    assert written(name, [TABLE]) == (GOLDEN / file).read_text(encoding="utf-8")


def test_the_csv_form_keeps_every_digit_and_gives_each_scale_a_record():
    records = list(csv.DictReader(io.StringIO(written("csv", [TABLE]))))
    assert [(record["id"], record["scale"]) for record in records] == [
        ("rum", "paper"),
        ("rum", "cpu"),
        ("lstm", "paper"),
        ("gru", "paper"),
        ("chance", "paper"),
        ("chance", "cpu"),
        ("paper.table.a", "paper"),
        ("paper.table.b", "paper"),
        ("paper.table.c", "paper"),
    ]
    assert list(records[0]) == list(COLUMNS)
    assert {name: value for name, value in records[0].items() if value} == {
        "experiment": "made_up",
        "cell": "length=30",
        "protocol": "test",
        "split": "test",
        "metric": "accuracy",
        "unit": "fraction",
        "kind": "row",
        "id": "rum",
        "title": "RUM | λ 1",
        "published_id": "paper.table.rum",
        "published_verified": "true",
        "published_basis": "printed",
        "published": "0.98",
        "published_sd": "0.01",
        "published_n": "5",
        "published_source": "Table 1 [key2019]",
        "scale": "paper",
        "mean": "0.99",
        "sd": "0.0123",
        "seeds": "3",
        "planned_seeds": "3",
        "steps": "15000",
        "solved": "2",
        "solve_rate_low": "0.2077",
        "solve_rate_high": "0.9385",
        "steps_to_solve": "9500;12000;",
        "steps_budget": "15000",
        "steps_resolution": "500",
        "difference": "0.01",
        "difference_low": "-0.0123",
        "difference_high": "0.0323",
        "tolerance": "0.01",
        "verdict": "inconclusive",
        "parameters": "17950",
        "wall_seconds": "754.0",
        "peak_memory_mb": "1234.0",
    }
    assert (records[1]["failed"], records[1]["verdict"]) == ("diverged=1;out_of_memory=1", "")
    assert records[7]["published_curve"] == "1.0=1.0;2.0=0.9;4.0=0.8;8.0=0.7;16.0=0.6"


def test_markdown_strikes_nothing_out_and_reads_no_formula():
    assert markdown.escaped("~5 to ~6, ~~old~~, $10 to $20") == r"\~5 to \~6, \~\~old\~\~, \$10 to \$20"


def test_the_json_form_has_a_schema_number_and_the_fields_of_the_table():
    document = json.loads(written("json", [TABLE]))
    assert document["schema"] == 1
    (table,) = document["tables"]
    assert list(table) == [
        "experiment", "title", "reference", "summary", "where", "scales", "rows", "rows_run",
        "papers", "main", "sections", "footnotes", "remarks", "solved",
    ]  # fmt: skip
    section = table["sections"][0]
    assert list(section) == [
        "cell", "protocol", "split", "part", "metric", "unit", "higher_is_better", "digits", "scales",
        "lines", "x_name", "x", "x_is_cell",
    ]  # fmt: skip
    line = section["lines"][0]
    assert list(line) == ["kind", "id", "title", "published", "ours", "comparison", "notes"]
    assert line["comparison"] == {
        "difference": 0.01, "low": -0.0123, "high": 0.0323, "tolerance": 0.01,
        "verdict": {"outcome": "inconclusive", "reason": ""}, "notes": [], "rule": None,
    }  # fmt: skip
    assert line["ours"]["paper"] == {
        "mean": 0.99, "sd": 0.0123, "n": 3, "planned": 3, "failed": {},
        "solve_rate": {"solved": 2, "seeds": 3, "low": 0.2077, "high": 0.9385}, "bounds": None,
        "steps": 15000, "steps_to_solve": {"steps": [9500, 12000, None], "budget": 15000, "resolution": 500},
        "caveats": [],
        "parameters": 17950, "wall_seconds": 754.0, "peak_memory_mb": 1234.0,
    }  # fmt: skip
    assert list(line["published"]) == [
        "id", "verified", "basis", "value", "sd", "n", "text", "x_name", "x", "curve", "claim", "parameters",
        "source", "notes", "is_too_wide",
    ]  # fmt: skip


@pytest.mark.parametrize("name", FORMATS)
def test_no_table_and_two_tables_can_be_written(name):
    assert written(name, [TABLE, TABLE]).count("RUM") == 2 * written(name, [TABLE]).count("RUM")
    assert "RUM" not in written(name, [])


def test_one_header_stands_above_the_csv_of_two_tables():
    assert written("csv", [TABLE, TABLE]).count("experiment,cell") == 1


def test_text_that_no_terminal_shows_fits_110_columns_and_has_no_colours(monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    text = written("terminal", [TABLE])
    assert max(map(len, text.splitlines())) <= 110
    assert "\x1b" not in text


def test_a_terminal_gets_colours(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    for name, value in {"TERM": "xterm-256color", "COLUMNS": "120"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("NO_COLOR", raising=False)
    file = Terminal()
    FORMATS["terminal"].write([TABLE], file)
    assert "\x1b" in file.getvalue()
    assert "not run" in file.getvalue()


@pytest.mark.parametrize("columns", [60, 80, 110, 200])
def test_no_word_is_cut_and_no_line_too_long_however_wide_the_terminal_is(monkeypatch, columns):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    for name, value in {"TERM": "xterm", "COLUMNS": str(columns), "NO_COLOR": "1"}.items():
        monkeypatch.setenv(name, value)
    file = Terminal()
    FORMATS["terminal"].write([TABLE], file, everything=True)
    text = re.sub(r"\x1b\[[0-9;]*m", "", file.getvalue())
    assert "…" not in text.replace("0.800, …", "").replace("…,", "")
    assert max(map(len, text.splitlines())) <= columns
    for word in ("inconclusive", "+0.010", "15,000", "diverged;", "17.9k"):
        assert word in text.split() or any(word in part for part in text.split())
