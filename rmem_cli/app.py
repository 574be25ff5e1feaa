"""The Typer application: subcommands, global options, and errors turned into exit codes."""

import inspect
import os
import sys
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, NoReturn

import typer

from rmem_cli.commands import completion
from rmem_cli.commands.bench import bench
from rmem_cli.commands.doctor import doctor
from rmem_cli.commands.evaluate import evaluate
from rmem_cli.commands.export import export
from rmem_cli.commands.fetch import fetch
from rmem_cli.commands.list_recipes import list_recipes
from rmem_cli.commands.plot import plot
from rmem_cli.commands.published import published
from rmem_cli.commands.report import report
from rmem_cli.commands.results import results
from rmem_cli.commands.runs import runs
from rmem_cli.commands.sample import sample
from rmem_cli.commands.show import show
from rmem_cli.commands.status import status
from rmem_cli.commands.submit import submit
from rmem_cli.commands.train import train
from rmem_cli.commands.validate import validate
from rmem_cli.errors import RmemError
from rmem_cli.interrupts import EXIT_CODE, MESSAGE, ignore_interrupts
from rmem_cli.streams import guarded_streams
from rmem_cli.visible import one_line, visible


def _paragraphs(function: Callable[..., object] | None) -> str:
    """What a docstring says, each paragraph in one line, which a terminal of any width folds."""
    told = (inspect.getdoc(function) or "").split("\n\n")
    return "\n\n".join(" ".join(each.split()) for each in told)


app = typer.Typer(
    name="rmem",
    help="Reproduce the recurrent-memory papers: fetch data, train recipes, report beside published numbers.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("fetch")(fetch)
app.command("train")(train)
app.command("eval")(evaluate)
app.command("report")(report)
app.add_typer(plot, name="plot")
app.command("sample")(sample)
app.command("export")(export)
app.command("submit")(submit)
app.command("status")(status)
app.add_typer(runs, name="runs")
app.add_typer(results, name="results")
app.command("list")(list_recipes)
app.command("show")(show)
app.command("validate")(validate)
app.command("published")(published)
app.command("bench")(bench)
app.command("doctor")(doctor)
for group in (app, plot, runs, results):
    for command in group.registered_commands:
        command.help = _paragraphs(command.callback)


def main() -> None:
    """Run the command line; a mistake of the user's ends in one message and its exit code."""
    _bound_spinning()
    with guarded_streams():
        try:
            try:
                raise SystemExit(_run() or 0)
            finally:
                sys.stdout.flush()
        except RmemError as error:
            sys.stderr.write(f"rmem: {visible(str(error))}\n")
            raise SystemExit(error.exit_code) from None
        except typer.TyperException as error:
            _end_wrong_usage(error)
        except KeyboardInterrupt:
            _end_interrupted()
        except SystemExit as ended:
            if ended.code == EXIT_CODE:  # typer's silent end of a KeyboardInterrupt
                _end_interrupted()
            raise


def _run() -> Any:
    run = partial(app, prog_name="rmem", standalone_mode=False)
    return completion.answer_bash(run) if completion.asks_bash() else run()


def _end_wrong_usage(error: typer.TyperException) -> NoReturn:
    """What typer finds wrong, and where the right options are told; nothing where it has printed the help."""
    told = error.format_message().replace("Value error, ", "").replace("Input should be ", "it must be ")
    message, context = one_line(told), getattr(error, "ctx", None)  # without pydantic's beginnings
    if message:
        sys.stderr.write(f"rmem: {message}\n")
    if message and context is not None:
        sys.stderr.write(f"Try '{visible(context.command_path)} -h' for help.\n")
    raise SystemExit(error.exit_code) from None


def _end_interrupted() -> NoReturn:
    ignore_interrupts()
    sys.stderr.write(MESSAGE)
    raise SystemExit(EXIT_CODE) from None


def _bound_spinning() -> None:
    """Let OpenMP's threads spin a few thousand times, not for milliseconds, before they sleep.

    A thread that spins while it waits for one that has lost its core to another process keeps that one from
    the core that is left. OpenMP reads this when torch is loaded.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "2000")


def _print_version(context: typer.Context, wanted: bool) -> None:
    if wanted and not context.resilient_parsing:
        from rmem_cli.version import VERSION

        typer.echo(f"rmem {VERSION}")
        raise typer.Exit


@app.callback()
def _global_options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    del version
