"""`rmem doctor`: what rmem finds on this machine."""


def doctor() -> None:
    """Print the environment: versions, devices, folders, and which form of each operation runs, and why."""
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False, soft_wrap=True)
    for title, lines in (
        ("environment", _environment()),
        ("folders", _folders()),
        ("operations", _operations()),
    ):
        table = Table(title=title, title_justify="left", box=None, show_header=False)
        for line in lines:
            table.add_row(*line)
        console.print(table)


def _environment() -> list[tuple[str, str]]:
    import platform

    import torch

    from rmem_cli import __version__

    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        gpus.append("mps")
    return [
        ("rmem", __version__),
        ("python", platform.python_version()),
        ("torch", torch.__version__),
        ("cpu", f"{torch.get_num_threads()} threads, {torch.backends.cpu.get_cpu_capability()}"),
        ("gpu", ", ".join(gpus) or "none"),
    ]


def _folders() -> list[tuple[str, str]]:
    from rmem_cli.paths import data_root, native_root, results_root, runs_root

    return [
        ("RMEM_DATA", str(data_root())),
        ("RMEM_RUNS", str(runs_root())),
        ("RMEM_RESULTS", str(results_root())),
        ("RMEM_NATIVE_CACHE", str(native_root())),
    ]


def _operations() -> list[tuple[str, str, str]]:
    from rmem_cli.ops.native import build
    from rmem_cli.ops.product import dispatch

    statuses = {family: build.status(family) for family in build.FAMILIES if family != "product"}
    if dispatch.mkl_is_narrow():
        statuses["product"] = build.status("product")
    else:
        statuses["product"] = build.Status(False, "torch's own: MKL leaves no vectors half unused here")
    return [(op, "native" if each.available else "fast", each.reason) for op, each in statuses.items()]
