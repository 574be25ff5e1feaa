"""`rmem show`: a resolved recipe, with the origin of each value."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from rmem_cli.commands import completion
from rmem_cli.commands.options import AsJson, refuse_choices
from rmem_cli.errors import DataError

if TYPE_CHECKING:
    from rmem_cli.recipe import Recipe, RunSpec
    from rmem_cli.recipe.resolve import Resolved


_CHOICES = {"row": "--row", "scale": "--scale", "overrides": "--set"}


def show(
    context: typer.Context,
    recipe: Annotated[
        str,
        typer.Argument(
            metavar="RECIPE",
            help="A recipe's name, or its file; or a run, named as in reports, or its beginning up to a "
            "slash, if that is one run.",
            autocompletion=completion.recipes_and_results,
        ),
    ],
    row: Annotated[
        list[str] | None,
        typer.Option(
            "--row",
            help="A row of the recipe; can be repeated.",
            show_default="all",
            autocompletion=completion.row_ids,
        ),
    ] = None,
    scale: Annotated[
        str,
        typer.Option(
            "--scale",
            help="paper, or another scale of the recipe.",
            autocompletion=completion.scale_names,
        ),
    ] = "paper",
    overrides: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="PATH=VALUE",
            help="Change one field; can be repeated.",
            autocompletion=completion.settings,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show every setting of a recipe's rows, and where each value comes from; or a run and its results."""
    from rmem_cli.results.run_names import may_begin_run_name

    if may_begin_run_name(recipe):
        from rmem_cli.commands.shown_run import show_run

        refuse_choices(context, _CHOICES, f"{recipe} is a run, or the beginning of one's name")
        show_run(recipe, as_json=as_json)
        return
    from rmem_cli.json_text import json_text
    from rmem_cli.recipe import load_recipe

    loaded = load_recipe(recipe)
    resolved = loaded.resolve(scale, row, overrides or ())
    if as_json:
        typer.echo(json_text([_as_json(loaded, one) for one in resolved]))
    else:
        typer.echo("\n---\n".join(_as_yaml(loaded, one) for one in resolved))


def _as_yaml(recipe: "Recipe", resolved: "Resolved") -> str:
    from rmem_cli.recipe.explain import explain, flow, render
    from rmem_cli.visible import one_line

    spec = resolved.specs(recipe.name)[0]
    train_hash, missing = _train_hash(spec)
    where = f"row {spec.row}" + (f", {spec.cell}" if spec.cell else "")
    about = [f"{recipe.name}, {where}, scale {spec.scale}: {spec.title}"]
    published = _published(resolved)
    about += [f"compared with {', '.join(published)}"] if published else []
    about += spec.footnotes
    about += [f"train_hash {train_hash}" if train_hash else f"no train_hash yet: {missing}"]
    about += [f"eval_hash {protocol.name} {spec.eval_hash(protocol)}" for protocol in spec.settings.eval]
    about += [f"dropped with the old kind: {lost.path}: {flow(lost.value)}" for lost in resolved.dropped]
    comments = [f"# {one_line(line)}" for line in about]
    return "\n".join([*comments, render(explain(recipe, resolved))])


def _as_json(recipe: "Recipe", resolved: "Resolved") -> dict[str, Any]:
    from rmem_cli.recipe.explain import explain

    spec = resolved.specs(recipe.name)[0]
    lines = [line for line in explain(recipe, resolved) if line.layer]
    return {
        "experiment": spec.experiment,
        "row": spec.row,
        "title": spec.title,
        "cell": spec.cell,
        "scale": spec.scale,
        "seeds": resolved.seeds,
        "search": None if resolved.search is None else resolved.search.model_dump(mode="json"),
        "published": _published(resolved),
        "footnotes": spec.footnotes,
        "settings": spec.settings.model_dump(mode="json", by_alias=True),
        "origin": {line.path: {"layer": line.layer, "note": line.note} for line in lines},
        "dropped": {lost.path: lost.value for lost in resolved.dropped},
        "train_hash": _train_hash(spec)[0],
        "eval_hash": {protocol.name: spec.eval_hash(protocol) for protocol in spec.settings.eval},
    }


def _published(resolved: "Resolved") -> list[str]:
    """Ids of the published rows that a row stands for, in its matrix cell."""
    return [one.id for one in resolved.row.published if one.cell in (None, resolved.cell)]


def _train_hash(spec: "RunSpec") -> tuple[str | None, str]:
    """The hash, or None and why there is none: it covers the data, which may not be here yet."""
    from rmem_cli.runs.identity import identity_of

    try:
        return identity_of(spec).train_hash, ""
    except DataError as error:
        return None, str(error)
