"""Lists for people and for pipes."""

import textwrap
from collections.abc import Iterable, Mapping

import typer

from rmem_cli.visible import one_line

_INDENT = "  "
_LEAST_WIDTH = 10


def print_records(records: Iterable[Mapping[str, str]]) -> None:
    """Print records: on a terminal wrapped to its width, elsewhere one on a line, tabs between its fields.

    Args:
        records: Field to text, a name in the first and a title in the second.
    """
    width = terminal_width()
    for record in records:
        texts = {field: one_line(text) for field, text in record.items()}
        if width is None:
            typer.echo("\t".join(texts.values()))
            continue
        (_, name), (_, title), *others = texts.items()
        for line in _wrapped(f"{name}: {title}", "", width):
            typer.echo(line)
        for field, text in others:
            for line in _wrapped(f"{field}: {text}", _INDENT, width):
                typer.echo(line)


def print_line(text: str) -> None:
    """Print a text, wrapped to the width of a terminal if there is one."""
    for line in _wrapped(one_line(text), "", terminal_width()):
        typer.echo(line)


def terminal_width() -> int | None:
    """Columns of the terminal that reads standard output; None if none does."""
    import shutil
    import sys

    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def _wrapped(text: str, indent: str, width: int | None) -> list[str]:
    if width is None:
        return [indent + text]
    return textwrap.wrap(
        text,
        max(width, _LEAST_WIDTH),
        initial_indent=indent,
        subsequent_indent=indent + _INDENT,
        break_on_hyphens=False,
    )
