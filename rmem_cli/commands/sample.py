"""`rmem sample`: text from a trained language model."""

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from rmem_cli.commands.options import AllowedModules, Cells, Device, Overrides, Scale

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rmem_cli.evaluation.reader import Reader
    from rmem_cli.recipe import RunSpec


def sample(
    recipe: Annotated[
        str, typer.Argument(metavar="RECIPE", help="A recipe's name, or the path of its file.")
    ],
    row: Annotated[
        str | None,
        typer.Option("--row", help="The row; not needed where there is one only.", show_default=False),
    ] = None,
    cell: Cells = None,
    seed: Annotated[
        int | None, typer.Option("--seed", help="The run's seed.", show_default="the first of the recipe")
    ] = None,
    scale: Scale = "paper",
    device: Device = "cpu",
    overrides: Overrides = None,
    prompt: Annotated[str, typer.Option("--prompt", help="What the text begins with.")] = "",
    tokens: Annotated[int, typer.Option("--tokens", min=1, help="How many symbols to add.")] = 200,
    temperature: Annotated[
        float | None,
        typer.Option(
            "--temperature",
            min=0.0,
            help="Below 1 safer, above 1 bolder, 0 always the likeliest.",
            show_default="1",
        ),
    ] = None,
    top_k: Annotated[
        int | None,
        typer.Option("--top-k", min=1, help="Draw from this many likeliest symbols.", show_default="all"),
    ] = None,
    number: Annotated[
        int | None,
        typer.Option("--number", help="Which of many texts: another number, another text.", show_default="1"),
    ] = None,
    beam: Annotated[
        int | None,
        typer.Option(
            "--beam",
            min=1,
            help="Draw nothing: look for the likeliest text, with so many at a time.",
            show_default=False,
        ),
    ] = None,
    checkpoint: Annotated[
        Literal["best", "last"] | None,
        typer.Option(help="Which checkpoint.", show_default="best, or last if there is none"),
    ] = None,
    allow_module: AllowedModules = None,  # noqa: ARG001  its callback takes note of it
) -> None:
    """Let a trained language model go on with a text, its memory carried from segment to segment.

    For example: rmem sample rum_ptb_char --row rum_1000 --scale cpu --prompt "the_market_" --tokens 300
    """
    from rmem_cli.recipe import load_recipe

    if beam is not None:
        _refuse_draws({"--temperature": temperature, "--top-k": top_k, "--number": number})
    rows = None if row is None else [row]
    seeds = None if seed is None else [seed]
    spec = _the_run(load_recipe(recipe).runs(scale, rows, seeds, overrides or [], cell or []))

    import numpy as np

    from rmem_cli.data.decoded import decode
    from rmem_cli.data.encoded import encode
    from rmem_cli.evaluation.reader import Reader
    from rmem_cli.runs.language_model import open_language_model
    from rmem_cli.runs.machine import choose_machine

    model, task = open_language_model(spec, choose_machine(device, jobs=1), checkpoint)
    beginning = encode(task.text, prompt).tolist()
    reader, read = Reader(model, task.segment_length, carried=task.carried), [task.first_symbol, *beginning]
    if beam is None:
        added = _drawn(reader, read, tokens, temperature, top_k, number)
    else:
        added = _likeliest(reader, read, tokens, beam)
    symbols = (np.array([symbol]) for part in (beginning, added) for symbol in part)
    for piece in decode(task.text, symbols):
        typer.echo(piece, nl=False)
    typer.echo()


def _refuse_draws(options: "dict[str, float | None]") -> None:
    """A search has no use for what says how to draw."""
    from rmem_cli.errors import UsageError

    given = [name for name, value in options.items() if value is not None]
    if given:
        raise UsageError(f"--beam looks for the likeliest text and draws nothing; leave out {given[0]}")


def _drawn(
    reader: "Reader",
    read: list[int],
    count: int,
    temperature: float | None,
    top_k: int | None,
    number: int | None,
) -> "Iterable[int]":
    """Symbols as they are drawn, one after the other."""
    from rmem_cli.evaluation.sampling import draw, generate
    from rmem_cli.seeding import generator

    source = generator(1 if number is None else number, "sample")
    return generate(reader, read, count, draw(1.0 if temperature is None else temperature, top_k, source))


def _likeliest(reader: "Reader", read: list[int], count: int, beam: int) -> "Iterable[int]":
    """The likeliest symbols that a beam search finds."""
    import torch

    from rmem_cli.evaluation.search import search
    from rmem_cli.recipe.schema import SearchSettings

    settings = SearchSettings(beam=beam, shortest=0, longest=count)
    return search(reader, torch.tensor([read]), settings)[0].symbols


def _the_run(specs: "list[RunSpec]") -> "RunSpec":
    """The only run, or the first of several that differ by their seed alone."""
    from rmem_cli.errors import UsageError

    runs = {(spec.row, spec.cell): spec for spec in reversed(specs)}
    if len(runs) == 1:
        return runs.popitem()[1]
    rows = list(dict.fromkeys(spec.row for spec in specs))
    if len(rows) > 1:
        raise UsageError(f"several rows could go on with the text; choose one with --row: {', '.join(rows)}")
    cells = ", ".join(cell for _, cell in reversed(runs))
    raise UsageError(f"row {rows[0]} stands for several runs ({cells}); choose one with --cell")
