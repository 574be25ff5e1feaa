"""`rmem fetch`: download or import data sets, verify them, prepare them."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rmem_cli.commands import completion
from rmem_cli.commands.options import named_path
from rmem_cli.errors import DataError, UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from rmem_cli.data_scripts.dataset import Dataset

_MOST_LISTED = 8


def fetch(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NAME...",
            help="Data sets, as --list names them.",
            show_default=False,
            autocompletion=completion.data_sets,
        ),
    ] = None,
    source: Annotated[
        Path | None,
        typer.Option(
            "--from",
            metavar="PATH",
            parser=named_path,
            help="Import a local folder, archive or file instead of downloading.",
        ),
    ] = None,
    allow_missing: Annotated[
        bool,
        typer.Option(
            "--allow-missing", help="Prepare what can be had if files are missing, and record the gap."
        ),
    ] = False,
    pieces: Annotated[
        int | None,
        typer.Option(
            "--sentencepiece",
            metavar="SIZE",
            min=2,
            help="Also prepare the text as SIZE pieces of words (form sentencepiece-SIZE).",
        ),
    ] = None,
    show_list: Annotated[
        bool, typer.Option("--list", help="List data sets: size, licence, citation, recipes, whether here.")
    ] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Verify what is here again (all data sets, or those named).")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the outcome on stdout as JSON.")] = False,
) -> None:
    """Download data sets (or import local copies), verify them and prepare them for training."""
    from rich.console import Console

    from rmem_cli.data_scripts.dataset import dataset, dataset_names, own_sets
    from rmem_cli.paths import data_root

    preparing = source is not None or allow_missing or pieces is not None
    _refuse_contradictions(names or [], source, show_list=show_list, check=check, preparing=preparing)
    console = Console(stderr=True)
    chosen = [dataset(name) for name in dict.fromkeys(names or [*dataset_names(), *own_sets(data_root())])]
    if show_list:
        _list(chosen, as_json=as_json)
    elif check:
        _check(chosen, console, named=bool(names), as_json=as_json)
    else:
        wish = _Wish(source, allow_missing, pieces)
        outcomes = [wish.fetch(one, console) for one in chosen]
        if as_json:
            _print_json(outcomes)


def _refuse_contradictions(
    names: list[str], source: Path | None, *, show_list: bool, check: bool, preparing: bool
) -> None:
    if show_list and check:
        raise UsageError("--list and --check exclude each other: --check verifies, --list only looks.")
    if preparing and (show_list or check):
        raise UsageError(
            "--from, --allow-missing and --sentencepiece do not go with --list or --check: "
            "`rmem fetch NAME --from PATH`."
        )
    if source is not None and len(names) != 1:
        raise UsageError(
            f"--from imports one data set, and {len(names)} are named: `rmem fetch NAME --from PATH`."
        )
    if not (names or show_list or check):
        raise UsageError("Name a data set, such as `rmem fetch ptb`; `rmem fetch --list` shows them all.")


@dataclass(frozen=True)
class _Wish:
    """What is to be done with each data set."""

    source: Path | None
    allow_missing: bool
    pieces: int | None

    def fetch(self, one: "Dataset", console: "Console") -> dict[str, Any]:
        """Fetch a data set; returns the outcome for --json."""
        from rmem_cli.data_scripts.fetch import fetch as fetch_one
        from rmem_cli.data_scripts.pieces import prepare_pieces, refuse_no_text

        if self.pieces is not None:
            refuse_no_text(one)
        changed = fetch_one(one, console, path=self.source, allow_missing=self.allow_missing)
        if self.pieces is not None:
            prepare_pieces(one, self.pieces, console)
        return {"name": one.name, "changed": changed, "forms": _outcomes(one)}


def _list(chosen: "list[Dataset]", *, as_json: bool) -> None:
    from rmem_cli.commands.lists import print_records

    users = _recipes_by_data_set()
    about = [_about(one, users.get(one.name, [])) for one in chosen]
    if as_json:
        _print_json(about)
        return
    print_records(
        {
            "name": known["name"],
            "title": known["title"],
            "size": _size(known),
            "here": _summary(known["here"]),
            "licence": known["licence"],
            "citation": known["citation"],
            "recipes": ", ".join(known["recipes"]) or "none",
        }
        for known in about
    )


def _about(one: "Dataset", recipes: list[str]) -> dict[str, Any]:
    return {
        "name": one.name,
        "title": one.title,
        "generated": not one.files,
        "bytes": one.size,
        "packed_bytes": one.packed_size,
        "here": {form: _state(one.name, form) for form in _form_names(one)},
        "licence": one.licence,
        "citation": one.citation,
        "recipes": recipes,
    }


def _size(about: dict[str, Any]) -> str:
    from rich.filesize import decimal

    if about["generated"]:
        return "generated"
    if about["bytes"] is not None:
        return decimal(about["bytes"])
    packed = about["packed_bytes"]
    return "size not known" if packed is None else f"{decimal(packed)} packed"


def _summary(here: dict[str, str]) -> str:
    """The state of each form; of many forms, how many are in which."""
    if len(here) <= _MOST_LISTED:
        return ", ".join(f"{form}: {state}" for form, state in here.items())
    complete = sum(state == "complete" for state in here.values())
    others = [f"{form}: {state}" for form, state in here.items() if state not in ("complete", "no")]
    return ", ".join([f"{complete} of {len(here)} complete", *others])


def _recipes_by_data_set() -> dict[str, list[str]]:
    """Data set to the recipes that use it; what is wrong with a recipe is for `rmem validate` to say."""
    from rmem_cli.recipe import list_recipes, load_recipe

    users: dict[str, list[str]] = {}
    for name in list_recipes():
        try:
            runs = load_recipe(name).runs()
        except UsageError:
            continue
        tasks = [run.settings.task for run in runs]
        for data_set in sorted({data_set for task in tasks for data_set, _ in task.data_sets()}):
            users.setdefault(data_set, []).append(name)
    return users


def _form_names(one: "Dataset") -> list[str]:
    """The forms of a data set, and those made of it here with sentencepiece."""
    from rmem_cli.data.prepared import SENTENCEPIECE
    from rmem_cli.paths import data_root

    made = sorted(folder.name for folder in (data_root() / one.name).glob(f"{SENTENCEPIECE}*"))
    return [*(form.name for form in one.every_form), *made]


def _state(name: str, form: str) -> str:
    """Whether a prepared form is here; its content is read once for each change of a file."""
    from rmem_cli.data.prepared import prepared_folder, verified_prepared

    if not prepared_folder(name, form).exists():
        return "no"
    try:
        return "partial" if verified_prepared(name, form).missing else "complete"
    except DataError:
        return "damaged"


def _check(chosen: "list[Dataset]", console: "Console", *, named: bool, as_json: bool) -> None:
    """Verify the hashes of what is here; what was named must be here."""
    from rmem_cli.data.prepared import check_prepared, prepared_folder
    from rmem_cli.data_scripts.fetch import check_origin
    from rmem_cli.visible import say

    outcomes, problems = [], []
    for one in chosen:
        for form in _form_names(one):
            if not (named or prepared_folder(one.name, form).exists()):
                continue
            try:
                prepared = check_prepared(one.name, form)
                check_origin(one, prepared)
            except DataError as error:
                problems.append(str(error))
                outcomes.append({"name": one.name, "form": form, "ok": False, "problem": str(error)})
            else:
                gap = f", but partial: without {', '.join(prepared.missing)}" if prepared.missing else ""
                say(console, f"{one.name} ({form}) is right{gap}: {prepared.folder}")
                outcomes.append(
                    {
                        "name": one.name,
                        "form": form,
                        "ok": True,
                        "data_hash": prepared.data_hash,
                        "missing": prepared.missing,
                    }
                )
    if as_json:
        _print_json(outcomes)
    if problems:
        raise DataError("\n".join(problems))
    if not outcomes:
        say(
            console,
            "There is no prepared data here to verify; `rmem fetch --list` shows what there is to get.",
        )


def _outcomes(one: "Dataset") -> dict[str, dict[str, Any]]:
    """What is here of a data set now."""
    from rmem_cli.data.prepared import prepared_folder, read_prepared

    here = [form for form in _form_names(one) if prepared_folder(one.name, form).exists()]
    opened = {form: read_prepared(one.name, form) for form in here}
    return {
        form: {
            "folder": str(prepared.folder),
            "data_hash": prepared.data_hash,
            "counts": prepared.meta["counts"],
            "missing": prepared.missing,
        }
        for form, prepared in opened.items()
    }


def _print_json(value: object) -> None:
    from rmem_cli.json_text import json_text

    typer.echo(json_text(value))
