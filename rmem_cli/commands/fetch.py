"""`rmem fetch`: download or import data sets, verify them, prepare them."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rmem_cli.errors import DataError, UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from rmem_cli.data_scripts.dataset import Dataset


def fetch(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAME...", help="Data sets, as --list names them.", show_default=False),
    ] = None,
    source: Annotated[
        Path | None,
        typer.Option(
            "--from", metavar="PATH", help="Import a local folder, archive or file instead of downloading."
        ),
    ] = None,
    show_list: Annotated[
        bool, typer.Option("--list", help="List data sets: size, licence, citation, whether here.")
    ] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Verify what is here again (all data sets, or those named).")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the outcome on stdout as JSON.")] = False,
) -> None:
    """Download data sets (or import local copies), verify them and prepare them for training."""
    from rich.console import Console

    from rmem_cli.data_scripts.dataset import dataset, dataset_names

    _refuse_contradictions(names or [], source, show_list=show_list, check=check)
    people = Console(stderr=True)
    chosen = [dataset(name) for name in dict.fromkeys(names or dataset_names())]
    if show_list:
        _list(chosen, as_json=as_json)
    elif check:
        _check(chosen, people, named=bool(names), as_json=as_json)
    else:
        _fetch(chosen, people, source, as_json=as_json)


def _refuse_contradictions(names: list[str], source: Path | None, *, show_list: bool, check: bool) -> None:
    if show_list and check:
        raise UsageError("--list and --check exclude each other: --check verifies, --list only looks.")
    if source is not None and (show_list or check):
        raise UsageError("--from goes with a name alone: `rmem fetch NAME --from PATH`.")
    if source is not None and len(names) != 1:
        raise UsageError(
            f"--from imports one data set, and {len(names)} are named: `rmem fetch NAME --from PATH`."
        )
    if not (names or show_list or check):
        raise UsageError("Name a data set, such as `rmem fetch ptb`; `rmem fetch --list` shows them all.")


def _fetch(chosen: "list[Dataset]", people: "Console", source: Path | None, *, as_json: bool) -> None:
    from rmem_cli.data_scripts.fetch import fetch as fetch_one

    outcomes = []
    for one in chosen:
        changed = fetch_one(one, people, path=source)
        outcomes.append({"name": one.name, "changed": changed, "forms": _forms(one)})
    if as_json:
        _print_json(outcomes)


def _list(chosen: "list[Dataset]", *, as_json: bool) -> None:
    from rich.console import Console
    from rich.filesize import decimal
    from rich.table import Table

    if as_json:
        _print_json([_about(one) for one in chosen])
        return
    table = Table.grid(padding=(0, 2, 1, 0))
    for about in map(_about, chosen):
        here = ", ".join(f"{form}: {state}" for form, state in about["here"].items())
        title = f"{about['title']}, {decimal(about['bytes'])}; here: {here}"
        table.add_row(about["name"], f"{title}\nlicence: {about['licence']}\ncitation: {about['citation']}")
    Console().print(table)


def _about(one: "Dataset") -> dict[str, Any]:
    here = {form.name: _state(one.name, form.name) for form in one.forms}
    return {
        "name": one.name,
        "title": one.title,
        "bytes": one.size,
        "here": here,
        "licence": one.licence,
        "citation": one.citation,
    }


def _state(name: str, form: str) -> str:
    """Whether a prepared form is here, by the cheap checks of opening it."""
    from rmem_cli.data.prepared import open_prepared, prepared_folder

    if not prepared_folder(name, form).exists():
        return "no"
    try:
        missing = open_prepared(name, form).meta["missing"]
    except DataError:
        return "damaged"
    return "partial" if missing else "yes"


def _check(chosen: "list[Dataset]", people: "Console", *, named: bool, as_json: bool) -> None:
    """Verify the hashes of what is here; what was named must be here."""
    from rmem_cli.data.prepared import check_prepared, prepared_folder
    from rmem_cli.data_scripts.progress import say

    outcomes, problems = [], []
    for one in chosen:
        for form in (form.name for form in one.forms):
            if not (named or prepared_folder(one.name, form).exists()):
                continue
            try:
                prepared = check_prepared(one.name, form)
            except DataError as error:
                problems.append(str(error))
                outcomes.append({"name": one.name, "form": form, "ok": False, "problem": str(error)})
            else:
                say(people, f"{one.name} ({form}) is right: {prepared.folder}")
                outcomes.append({"name": one.name, "form": form, "ok": True, "data_hash": prepared.data_hash})
    if as_json:
        _print_json(outcomes)
    if problems:
        raise DataError("\n".join(problems))
    if not outcomes:
        say(
            people,
            "There is no prepared data here to verify; `rmem fetch --list` shows what there is to get.",
        )


def _forms(one: "Dataset") -> dict[str, dict[str, Any]]:
    from rmem_cli.data.prepared import open_prepared

    opened = {form.name: open_prepared(one.name, form.name) for form in one.forms}
    return {
        form: {
            "folder": str(prepared.folder),
            "data_hash": prepared.data_hash,
            "counts": prepared.meta["counts"],
        }
        for form, prepared in opened.items()
    }


def _print_json(value: object) -> None:
    import json

    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))
