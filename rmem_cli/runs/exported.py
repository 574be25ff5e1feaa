"""Evaluating an exported model by the protocols of its settings."""

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor

from rmem_cli.errors import UsageError
from rmem_cli.models.model import Model
from rmem_cli.records.exported import Exported
from rmem_cli.results.row import ResultRow
from rmem_cli.runs.machine import Machine
from rmem_cli.runs.opened import open_run
from rmem_cli.runs.peak_memory import one_out_of_memory_error, reset_peak_memory
from rmem_cli.runs.rows import Trained, make_rows
from rmem_cli.runs.run import environment_of, set_up, small_numbers_are_zero
from rmem_cli.training.progress import MakeProgress
from rmem_cli.world import Stop


@small_numbers_are_zero()
@one_out_of_memory_error()
def evaluate_exported(
    exported: Exported, machine: Machine, progress: MakeProgress, stop: Stop
) -> list[ResultRow]:
    """The results of an exported model: those of its run, where nothing of the protocols was changed.

    They are not written: tables have what was trained here.

    Args:
        exported: The model.
        machine: Where to compute; threads are those that the run started with.
        progress: Makes the display, where summaries are decoded.
        stop: Asked between protocols and while decoding.

    Raises:
        InterruptedRunError: `stop` was true.
        DivergedError: A loss is not finite.
        UsageError: The data set is another than the one that was learned.
        DataError: The data is missing or damaged, or the weights are those of another model.
        OutOfMemoryError: The memory does not suffice.
    """
    about, device = exported.description, torch.device(machine.device)
    reset_peak_memory(device)
    run = open_run(exported.spec)
    if run.identity.data_hash != about.data_hash:
        raise _other_data(exported, run.identity.data_hash)
    set_up(about.environment, machine, run.settings.train)
    model = run.seeded_model(device)
    environment = environment_of(model, run.settings, machine).after(about.environment)

    def load(model: Model, name: str) -> tuple[Mapping[str, Tensor], int]:
        exported.check_checkpoint(name)
        exported.put_into(model)
        return exported.weights, about.step

    with TemporaryDirectory() as decoded:
        trained = Trained(run, Path(decoded), load, model, "ok", about.step, about.wall_seconds, environment)
        return make_rows(trained, progress, stop)


def _other_data(exported: Exported, here: str) -> UsageError:
    own = exported.spec.settings.task.own_files()
    names = "" if own is None else ", ".join(path.name for path in own.files.values())
    cure = f"bring back {names} as it was" if names else "import the data of then with `rmem fetch`"
    return UsageError(
        f"{exported.folder} learned data of hash {exported.description.data_hash}, and here it is {here}; "
        f"{cure}"
    )
