"""`rmem published`: the published numbers, where each was read, and what no recipe runs yet."""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from rmem_cli.commands import completion

if TYPE_CHECKING:
    from rmem_cli.published.schema import PublishedRow, PublishedTable
    from rmem_cli.published.selection import Tables
    from rmem_cli.recipe import Recipe


class PublishedFormat(StrEnum):
    """The values of --format."""

    TERMINAL = "terminal"
    JSON = "json"


def published(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME]...",
            help="Papers, tables or rows, such as rum2017 or rum2017.recall.",
            autocompletion=completion.published_names,
        ),
    ] = None,
    missing: Annotated[
        bool, typer.Option("--missing", help="Only rows without a number, with what is known of them.")
    ] = False,
    unaddressed: Annotated[
        bool,
        typer.Option("--unaddressed", help="Only rows that no recipe names and no reason says why."),
    ] = False,
    as_bibtex: Annotated[
        bool, typer.Option("--bibtex", help="Print the BibTeX entries of the papers.")
    ] = False,
    format_name: Annotated[
        PublishedFormat, typer.Option("--format", help="How to write them.")
    ] = PublishedFormat.TERMINAL,
) -> None:
    """List the published papers and tables, or the rows of those named with their numbers and sources.

    A row is addressed by a recipe whose row names it, by a reason why none runs it, or, where the paper
    quotes it from others, by that.
    """
    from rmem_cli.errors import UsageError
    from rmem_cli.json_text import json_text
    from rmem_cli.published.references import bibtex
    from rmem_cli.published.selection import as_records, papers_of, select, with_rows

    if missing + unaddressed + as_bibtex > 1:
        raise UsageError("--missing, --unaddressed and --bibtex are different questions; ask one of them")
    tables = select(names or [])
    if missing:
        tables = with_rows(tables, lambda _id, _table, row: not row.verified)
    if unaddressed:
        tables = _unaddressed(tables)
    if as_bibtex:
        if format_name is PublishedFormat.JSON:
            raise UsageError("--bibtex has a form of its own; leave --format json out")
        typer.echo(bibtex(papers_of(tables)), nl=False)
    elif format_name is PublishedFormat.JSON:
        typer.echo(json_text(as_records(tables)))
    else:
        _print(tables, whole=bool(names) or missing or unaddressed)


def addressed_ids(recipe: "Recipe") -> set[str]:
    """Ids of the published rows that the rows of a recipe name."""
    return {address.id for row in recipe.rows for address in row.published}


def _unaddressed(tables: "Tables") -> "Tables":
    """Rows with a value of the paper's own that no recipe names, and that have no reason for it."""
    from rmem_cli.published.selection import with_rows
    from rmem_cli.recipe import list_recipes, load_recipe

    addressed = set().union(*(addressed_ids(load_recipe(name)) for name in list_recipes()))

    def is_open(name: str, table: "PublishedTable", row: "PublishedRow") -> bool:
        excused = row.quoted or row.not_run or table.not_run
        return row.verified and not excused and name not in addressed

    return with_rows(tables, is_open)


def _print(tables: "Tables", *, whole: bool) -> None:
    from rmem_cli.commands.lists import terminal_width
    from rmem_cli.published.text import overview, rows_in_full

    for line in (rows_in_full if whole else overview)(tables, terminal_width()):
        typer.echo(line)
