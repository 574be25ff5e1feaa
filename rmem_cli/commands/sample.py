"""`rmem sample`: text from a trained model."""

import math
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from rmem_cli.commands import completion
from rmem_cli.commands.options import (
    CHOICES,
    AllowedModules,
    Cells,
    Device,
    Overrides,
    Scale,
    is_exported,
    named_path,
    refuse_choices,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rmem_cli.evaluation.loaded import LoadedModel
    from rmem_cli.evaluation.reader import Reader
    from rmem_cli.recipe import RunSpec
    from rmem_cli.runs.machine import Machine

_SYMBOLS = 200  # that are added to a text
_WIDEST, _LONGEST = 10_000, 1_000_000  # of a search, as its settings say


def sample(
    context: typer.Context,
    recipe: Annotated[
        str,
        typer.Argument(
            metavar="RECIPE",
            help="A recipe's name, or its file; or a folder that `rmem export` wrote.",
            autocompletion=completion.recipe_names,
        ),
    ],
    row: Annotated[
        str | None,
        typer.Option(
            "--row",
            help="The row; not needed where there is one only.",
            show_default=False,
            autocompletion=completion.row_ids,
        ),
    ] = None,
    cell: Cells = None,
    seed: Annotated[
        int | None,
        typer.Option(
            "--seed",
            help="The run's seed.",
            show_default="the first of the recipe",
            autocompletion=completion.seeds,
        ),
    ] = None,
    scale: Scale = "paper",
    device: Device = "cpu",
    overrides: Overrides = None,
    prompt: Annotated[str, typer.Option("--prompt", help="What the text begins with.")] = "",
    source: Annotated[
        Path | None,
        typer.Option(
            "--source",
            metavar="FILE",
            parser=named_path,
            help="Summarize the article in this file of text.",
            show_default=False,
        ),
    ] = None,
    article: Annotated[
        str | None,
        typer.Option(
            "--article", metavar="ID", help="Summarize this article of the data.", show_default=False
        ),
    ] = None,
    tokens: Annotated[
        int | None,
        typer.Option(
            "--tokens",
            min=1,
            help="How many symbols to add, or a summary has at most.",
            show_default="200; of a summary, as the recipe says",
        ),
    ] = None,
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
            max=_WIDEST,
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
    """Let a trained model go on with a text, its memory carried from segment to segment, or summarize one.

    For example: rmem sample rum_ptb_char --row rum_1000 --scale cpu --prompt "the_market_" --tokens 300

    A summary: rmem sample rum_cnn_dailymail --row lstm --scale cpu --source article.txt --beam 4

    An exported model needs no data: rmem sample FOLDER --prompt "the_market_"
    """
    draws: dict[str, object] = {"--temperature": temperature, "--top-k": top_k, "--number": number}
    summarizes = source is not None or article is not None
    if summarizes:
        both = None if source is None else article
        given = {**draws, "--prompt": prompt or None, "--article beside --source": both}
        _refuse("a summary is the likeliest that is found about one article", given)
    elif beam is not None:
        _refuse("--beam looks for the likeliest text and draws nothing", draws)
    if summarizes or beam is not None:
        _check_longest(tokens)
    _check_temperature(temperature)
    _check_prompt(prompt)

    from rmem_cli.runs.machine import choose_machine

    if is_exported(recipe):
        refuse_choices(context, {**CHOICES, "overrides": "--set"}, f"{recipe} is one trained model")
        model = _exported(recipe, choose_machine(device, jobs=1), checkpoint)
    else:
        from rmem_cli.evaluation.loaded import check_continues, check_summarizes
        from rmem_cli.recipe import load_recipe
        from rmem_cli.runs.trained import open_loaded

        rows, seeds = None if row is None else [row], None if seed is None else [seed]
        spec = _the_run(load_recipe(recipe).runs(scale, rows, seeds, overrides or [], cell or []))
        check = check_summarizes if summarizes else check_continues
        check(spec.label, spec.settings.task)
        model = open_loaded(spec, choose_machine(device, jobs=1), checkpoint)

    if summarizes:
        text = None if source is None else _text_of(source)
        typer.echo(_summary(model, text, article or "", beam, tokens))
        return

    from rmem_cli.visible import visible

    reader, read = model.reader(), model.beginning(prompt)
    if beam is None:
        added = _drawn(reader, read, tokens or _SYMBOLS, temperature, top_k, number)
    else:
        added = _likeliest(reader, read, tokens or _SYMBOLS, beam)
    for piece in model.tokenizer.decode(chain(read[1:], added)):
        typer.echo(visible(piece), nl=False)
    typer.echo()


def _exported(folder: str, machine: "Machine", checkpoint: str | None) -> "LoadedModel":
    """The model of an exported folder.

    Raises:
        UsageError: It has another checkpoint than is asked for.
    """
    import torch

    from rmem_cli.modules.load import ready_model
    from rmem_cli.records.exported import read_exported

    exported = read_exported(Path(folder))
    exported.check_checkpoint(checkpoint)
    torch.set_num_threads(machine.threads)
    return ready_model(exported, machine.device)


def _refuse(why: str, options: "dict[str, object]") -> None:
    """What is asked for has no use for some options."""
    from rmem_cli.errors import UsageError

    given = [name for name, value in options.items() if value is not None]
    if given:
        raise UsageError(f"{why}; leave out {given[0]}")


def _check_longest(tokens: int | None) -> None:
    """A search holds all that it has found, and ends somewhere."""
    from rmem_cli.errors import UsageError

    if tokens is not None and tokens > _LONGEST:
        raise UsageError(
            f"--tokens is {tokens:,}, and a search goes on for {_LONGEST:,} symbols at most; lower it"
        )


def _check_prompt(prompt: str) -> None:
    """Bytes that are no text are single surrogates in it."""
    from rmem_cli.errors import UsageError
    from rmem_cli.visible import visible

    try:
        prompt.encode()
    except UnicodeEncodeError as error:
        raise UsageError(f"--prompt is no text in UTF-8, from {visible(prompt[error.start])} on") from error


def _check_temperature(temperature: float | None) -> None:
    """The range of the option has infinity in it."""
    from rmem_cli.errors import UsageError

    if temperature == math.inf:
        raise UsageError("--temperature is inf; give it a number, such as 0.8")


def _text_of(path: Path) -> str:
    """The text of a file.

    Raises:
        UsageError: It cannot be read, or is no text.
    """
    from rmem_cli.errors import UsageError
    from rmem_cli.files import encoding_of

    try:
        content = path.read_bytes()
        return content.decode(encoding_of(content))
    except UnicodeDecodeError as error:
        raise UsageError(f"--source {path} is not text in UTF-8; save it as that") from error
    except OSError as error:
        raise UsageError(
            f"--source {path} cannot be read ({error.strerror or error}); name a file with an article's text"
        ) from error


def _summary(
    model: "LoadedModel", text: str | None, article_id: str, beam: int | None, longest: int | None
) -> str:
    """The likeliest that a search finds to be said about an article, a sentence on each line.

    Args:
        model: It.
        text: Of an article of one's own; None: it is one of the data.
        article_id: Its id there.
        beam: Size of the beam; None: that of the recipe.
        longest: Words at most, likewise.
    """
    from rmem_cli.evaluation.rouge import lines, sentences
    from rmem_cli.evaluation.summaries import said_about
    from rmem_cli.tasks.build import open_task
    from rmem_cli.tasks.summarization import Summarization
    from rmem_cli.visible import visible

    sources = model.sources()
    if text is None:
        task = open_task(model.settings.task)
        assert isinstance(task, Summarization)  # noqa: S101  no other has a source
        article = task.article_named(article_id)
    else:
        article = sources.article_of(text)
    asked = {"beam": beam, "longest": longest}
    settings = model.search_settings(**{name: value for name, value in asked.items() if value is not None})
    (words,) = said_about(model.model, sources, [article], settings)
    return visible(lines(sentences(words)))


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
    from rmem_cli.recipe.schema import BeamSearchSettings

    settings = BeamSearchSettings(beam=beam, shortest=0, longest=count)
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
