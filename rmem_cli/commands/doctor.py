"""`rmem doctor`: what rmem finds on this machine."""

from typing import TYPE_CHECKING

import typer

from rmem_cli.commands.options import AsJson

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def doctor(
    as_json: AsJson = False,
) -> None:
    """Print the environment: versions, devices, folders, and which form of each operation runs, and why.

    With --json: an object of environment (rmem, python, torch, cpu, gpu), folders (variable to path) and
    operations (name to form and reason).
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from rmem_cli.json_text import json_text
    from rmem_cli.visible import one_line

    if as_json:
        operations = {name: {"form": form, "reason": reason} for name, form, reason in _operations()}
        found = {"environment": dict(_environment()), "folders": dict(_folders()), "operations": operations}
        typer.echo(json_text(found))
        return
    console = Console(highlight=False, soft_wrap=True)
    for title, lines_of in (
        ("environment", _environment),
        ("folders", _folders),
        ("operations", _operations),
    ):
        table = Table(title=title, title_justify="left", box=None, show_header=False)
        for line in lines_of():
            table.add_row(*(Text(one_line(cell), overflow="fold") for cell in line))
        console.print(table)


def _environment() -> list[tuple[str, str]]:
    import platform

    import torch

    from rmem_cli.version import VERSION

    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        gpus.append("mps")
    return [
        ("rmem", VERSION),
        ("python", platform.python_version()),
        ("torch", torch.__version__),
        ("cpu", f"{_threads(torch.get_num_threads())}, {torch.backends.cpu.get_cpu_capability()}"),
        ("gpu", ", ".join(gpus) or "none"),
    ]


def _threads(count: int) -> str:
    return "1 thread" if count == 1 else f"{count} threads"


def _folders() -> list[tuple[str, str]]:
    from rmem_cli import paths

    return [
        ("RMEM_DATA", _shown(paths.data_root)),
        ("RMEM_RUNS", _shown(paths.runs_root)),
        ("RMEM_RESULTS", _shown(paths.results_root)),
        ("RMEM_CACHE", _shown(paths.cache_root)),
        ("RMEM_NATIVE_CACHE", _shown(paths.native_root)),
    ]


def _shown(root: "Callable[[], Path]") -> str:
    """A folder, or why there is none."""
    from rmem_cli.errors import UsageError

    try:
        return str(root())
    except UsageError as error:
        return f"none: {error}"


def _operations() -> list[tuple[str, str, str]]:
    from rmem_cli.ops.native import build

    return [(family, *_form_and_reason(family)) for family in build.FAMILIES]


def _form_and_reason(family: str) -> tuple[str, str]:
    from rmem_cli.errors import UsageError
    from rmem_cli.ops.native import build
    from rmem_cli.ops.product import dispatch

    if family == "product" and not dispatch.mkl_is_narrow():
        return "fast", "torch's own: MKL leaves no vectors half unused here"
    try:
        status = build.status(family)
    except UsageError as error:
        return "none", str(error)
    return "native" if status.available else "fast", status.reason
