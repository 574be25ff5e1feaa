"""What a shell completes in the place of names: recipes, rows, cells, data sets, runs, `--set` paths.

A shell asks at each press of its key: nothing here imports torch, and what is wrong is not told in the
middle of somebody's line: nothing is completed then.
"""

import io
import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import redirect_stdout
from functools import wraps
from itertools import chain
from typing import TYPE_CHECKING, Any

import typer

from rmem_cli.errors import RmemError

if TYPE_CHECKING:
    from rmem_cli.recipe import Recipe
    from rmem_cli.recipe.resolve import Resolved

_BASH = {"_RMEM_COMPLETE": "complete_bash"}
_RECIPES = ("recipes", "names", "recipe")  # what commands call them
_USUAL_SCALES = ("paper", "cpu", "smoke")
_BREAK = re.compile(r"[=:]+")  # what bash takes for a word of its own, of what stands in our words

Complete = Callable[[typer.Context, str], list[str]]


def _quiet(complete: Callable[[typer.Context, str], Iterable[str]]) -> Complete:
    """The words that begin as the incomplete one; none where a recipe or a folder cannot be read."""

    @wraps(complete)
    def quiet(ctx: typer.Context, incomplete: str) -> list[str]:
        try:
            return [word for word in dict.fromkeys(complete(ctx, incomplete)) if word.startswith(incomplete)]
        except (RmemError, OSError):
            return []

    return quiet


@_quiet
def recipe_names(ctx: typer.Context, incomplete: str) -> Iterable[str]:
    """Recipes that can be named without a path."""
    del ctx, incomplete
    from rmem_cli.recipe import list_recipes

    return list_recipes()


@_quiet
def row_ids(ctx: typer.Context, incomplete: str) -> Iterable[str]:
    """Rows of the recipes named, at the scale named."""
    del incomplete
    return (one.row.id for one in _resolved(ctx))


@_quiet
def cell_labels(ctx: typer.Context, incomplete: str) -> Iterable[str]:
    """Values of a recipe's matrix, such as `length=30`."""
    del incomplete
    return (part for one in _resolved(ctx) for part in one.cell.split(",") if part)


@_quiet
def scale_names(ctx: typer.Context, incomplete: str) -> Iterable[str]:
    """Scales of the recipes named, or of any where none is named yet."""
    del incomplete
    return chain.from_iterable(recipe.scales for recipe in _recipes(ctx)) if _named(ctx) else _USUAL_SCALES


@_quiet
def seeds(ctx: typer.Context, incomplete: str) -> Iterable[str]:
    """Seeds of the recipes named."""
    del incomplete
    return (str(seed) for one in _resolved(ctx) for seed in one.seeds)


@_quiet
def settings(ctx: typer.Context, incomplete: str) -> Iterable[str]:
    """For `--set`: the paths of the fields of the rows named; of one path, its values."""
    from rmem_cli.recipe.choices import choices

    known: dict[str, list[str]] = {}
    for one in _resolved(ctx, earlier=True):
        for path, values in choices(one.settings):
            known[path] = list(dict.fromkeys([*known.get(path, []), *values]))
    path, equals, _ = incomplete.partition("=")
    chosen = [each for each in known if each == path or (not equals and each.startswith(path))]
    if len(chosen) > 1:
        return [f"{each}=" for each in chosen]
    return [f"{each}={value}" for each in chosen for value in known[each]]


@_quiet
def data_sets(ctx: typer.Context, incomplete: str) -> Iterable[str]:
    """Data sets that can be fetched."""
    del ctx, incomplete
    from rmem_cli.data_scripts.dataset import dataset_names

    yield from dataset_names()


@_quiet
def run_names(ctx: typer.Context, incomplete: str) -> Iterable[str]:
    """Runs that have a folder."""
    del ctx, incomplete
    from rmem_cli.paths import runs_root
    from rmem_cli.records.listing import run_folders

    root = runs_root()
    return (folder.relative_to(root).as_posix() for folder in run_folders(root))


@_quiet
def result_names(ctx: typer.Context, incomplete: str) -> Iterable[str]:
    """Runs that have results; those of the experiment that the word begins with, or else experiments."""
    del ctx
    from rmem_cli.paths import results_root
    from rmem_cli.results.run_names import run_name
    from rmem_cli.results.store import ResultStore

    store = ResultStore(results_root())
    experiment, within, _ = incomplete.partition("/")
    fitting = [name for name in store.experiments() if name.startswith(incomplete)]
    if not within and len(fitting) > 1:
        return (f"{name}/" for name in fitting)
    chosen = experiment if within else "".join(fitting)
    return map(run_name, store.read_all(chosen)) if chosen in store.experiments() else []


@_quiet
def recipes_and_results(ctx: typer.Context, incomplete: str) -> Iterable[str]:
    """What `rmem show` shows."""
    return [*recipe_names(ctx, incomplete), *(result_names(ctx, incomplete) if "/" in incomplete else [])]


@_quiet
def published_names(ctx: typer.Context, incomplete: str) -> Iterable[str]:
    """Papers with published numbers; of one paper, its tables; of one table, its rows."""
    del ctx
    from rmem_cli.published.store import load_paper, papers

    paper, dot, table = incomplete.partition(".")
    if not dot or paper not in papers():
        return papers()
    tables = load_paper(paper).tables
    name, dot, _ = table.partition(".")
    if not dot or name not in tables:
        return (f"{paper}.{each}" for each in tables)
    return (f"{paper}.{name}.{row}" for row in tables[name].rows)


def _named(ctx: typer.Context) -> list[str]:
    """The recipes of a command line so far; behind an option that wants a value, they are words yet."""
    found = next((value for name in _RECIPES if (value := ctx.params.get(name))), ctx.args)
    return [found] if isinstance(found, str) else list(found)


def _recipes(ctx: typer.Context) -> "Iterator[Recipe]":
    from rmem_cli.recipe import load_recipe

    return (load_recipe(name) for name in _named(ctx))


def _resolved(ctx: typer.Context, *, earlier: bool = False) -> "Iterator[Resolved]":
    """Rows and cells of the recipes named, at the scale named.

    Args:
        ctx: Of the command line so far.
        earlier: Whether of the rows named alone, as earlier `--set` change them.
    """
    scale = ctx.params.get("scale") or "paper"
    rows = (ctx.params.get("row") if earlier else None) or None
    rows = [rows] if isinstance(rows, str) else rows
    changed = ctx.params.get("overrides") if earlier else None
    for recipe in _recipes(ctx):
        ids = [row.id for row in recipe.rows_at(scale)]
        yield from recipe.resolve(scale, rows or ids, changed or ())


def asks_bash() -> bool:
    """Whether bash asks for completions."""
    return _BASH.items() <= os.environ.items()


def answer_bash(run: Callable[[], Any]) -> None:
    """Have bash's question answered about words as they were typed.

    Bash takes `=` and `:` for words of their own, and replaces what stands behind the last of them.

    Args:
        run: Prints whole words, a line each, and may exit.
    """
    typed, place, before = _as_typed(os.environ.get("COMP_WORDS", "").split("\n"), _place())
    os.environ |= {"COMP_WORDS": "\n".join(typed), "COMP_CWORD": str(place)}
    whole = io.StringIO()
    try:
        with redirect_stdout(whole):
            run()
    finally:
        for line in whole.getvalue().splitlines():
            typer.echo(line.removeprefix(before))


def _place() -> int:
    text = os.environ.get("COMP_CWORD", "")
    return int(text) if text.isdecimal() else 0


def _as_typed(words: list[str], current: int) -> tuple[list[str], int, str]:
    """Words without breaks at `=` and `:`.

    Args:
        words: As bash has them.
        current: The place of the incomplete one.

    Returns:
        The words, the place of the incomplete one, and how much of it bash leaves as it is.
    """
    typed: list[str] = []
    place, before = current, ""
    for index, word in enumerate(words):
        parted = index > 1 and (_BREAK.fullmatch(word) or _BREAK.fullmatch(words[index - 1]))
        if parted:
            typed[-1] += word
        else:
            typed.append(word)
        if index == current:
            place = len(typed) - 1
            own = "" if _BREAK.fullmatch(word) else word
            before = typed[-1].removesuffix(own) if parted else ""
    return typed, place, before
