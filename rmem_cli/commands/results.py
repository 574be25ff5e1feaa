"""`rmem results`: withdrawing results, and merging those of others."""

from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Annotated

import typer

from rmem_cli.commands import completion
from rmem_cli.commands.options import named_path

results = typer.Typer(help="Withdraw results, or merge those of others into one's own.", no_args_is_help=True)


@results.command("drop")
def drop_results(
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN...",
            help="Runs, as `rmem runs list` names them, or their beginning up to a slash.",
            autocompletion=completion.result_names,
        ),
    ],
    reason: Annotated[str, typer.Option("--reason", help="Why they count no more.", show_default=False)],
) -> None:
    """Withdraw the results of runs: their rows stay in the tables, and count nowhere until made again.

    What an equal run took over from one of them, or it from that, is withdrawn with it.
    """
    from rmem_cli.errors import UsageError
    from rmem_cli.paths import results_root
    from rmem_cli.results.store import ResultStore
    from rmem_cli.results.withdrawn import withdraw
    from rmem_cli.visible import one_line

    if not reason.strip():
        raise UsageError("--reason is blank; say why the results count no more")
    store, rows = ResultStore(results_root()), []
    for experiment in store.experiments():
        is_named = any(experiment == name.split("/")[0] for name in names)
        # Of the others, equal runs are withdrawn, too; what cannot be read has none.
        with nullcontext() if is_named else suppress(UsageError):
            rows += store.read(experiment)
    cleaned = [name.rstrip("/") for name in names]
    for run in withdraw(store.folder, rows, cleaned, one_line(reason)):
        typer.echo(f"withdrew {one_line(run)}", err=True)


@results.command("merge")
def merge_results(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Results of another folder.", parser=named_path)
    ],
) -> None:
    """Put the results of another folder into one's own, with their learning curves.

    A later row replaces an earlier one that measures the same; tables of older versions are read, too.
    """
    from rmem_cli.paths import results_root
    from rmem_cli.results.merge import merge_results as merge
    from rmem_cli.results.store import ResultStore
    from rmem_cli.visible import one_line

    for name, count in merge(ResultStore(results_root()), folder).items():
        typer.echo(f"{one_line(name)}: {count} new result{'s' * (count != 1)}", err=True)
