"""The JSON that a report writes is described by a committed JSON Schema, with the meaning of each field."""

import io
import json
from dataclasses import asdict
from importlib.resources import files

from pydantic import TypeAdapter

from rmem_cli.recipe import list_recipes, load_recipe
from rmem_cli.report import json_format
from rmem_cli.report.build import build_table
from rmem_cli.report.core_grid import build_core_grid
from rmem_cli.report.json_format import SCHEMA, Document
from rmem_cli.report.scoreboard import build_scoreboard

DOCUMENT = TypeAdapter(Document)
FILE = files("rmem_cli.report") / "report.schema.json"


def test_the_committed_schema_is_that_of_the_documents():
    """Where it is not: write `json.dumps(DOCUMENT.json_schema(mode="serialization"), indent=1)` there.

    A field that was renamed or removed makes a new SCHEMA.
    """
    assert json.loads(FILE.read_text(encoding="utf-8")) == DOCUMENT.json_schema(mode="serialization")


def test_what_is_written_can_be_read_by_the_schema_and_is_the_same():
    recipe = load_recipe("rum_recall")
    table = build_table(recipe, [])
    board = build_scoreboard([load_recipe(name) for name in list_recipes()], [table], lambda spec: None)
    for write, arguments, fields in (
        (json_format.write_all, ([table], board), {"tables": [table], "scoreboard": board}),
        (json_format.write, ([table],), {"tables": [table]}),
        (json_format.write_core_grid, (build_core_grid([(recipe, [])]),), {}),
    ):
        file = io.StringIO()
        write(*arguments, file)
        read = DOCUMENT.validate_json(file.getvalue())
        assert read.schema == SCHEMA
        for name, value in fields.items():
            again = getattr(read, name)
            if name == "tables":
                assert [asdict(one) for one in again] == [asdict(one) for one in value]
            else:
                assert again == value
