"""The model of a trained run."""

import torch

from rmem_cli.errors import UsageError
from rmem_cli.evaluation.loaded import LoadedModel
from rmem_cli.models.model import Model
from rmem_cli.recipe.resolve import RunSpec
from rmem_cli.records.checkpoint import fitting, load_checkpoint
from rmem_cli.records.folder import HOW_TO_TRAIN
from rmem_cli.records.restoring import load_weights
from rmem_cli.runs.machine import Machine
from rmem_cli.runs.opened import Run, open_run


def open_trained(spec: RunSpec, machine: Machine, checkpoint: str | None) -> tuple[Model, Run]:
    """The model of a trained run, in evaluation mode, and the run.

    Args:
        spec: The run; the checkpoints may be those of an equal run of another name.
        machine: Where to compute.
        checkpoint: "best" or "last"; None takes the best one if there is one.

    Raises:
        UsageError: The run has not been trained.
        DataError: Its data or its checkpoint is missing or damaged.
    """
    run = open_run(spec)
    path = run.identity.trained_folder
    names = ("best", "last") if checkpoint is None else (checkpoint,)
    loaded = ((each, load_checkpoint(path, each)) for each in names)
    found = next(((each, content[0]) for each, content in loaded if content is not None), None)
    if found is None:
        wanted = "checkpoint" if checkpoint is None else f"checkpoint {checkpoint!r}"
        raise UsageError(f"{spec.label} has no {wanted} in {path}; {HOW_TO_TRAIN}")
    torch.set_num_threads(machine.threads)
    model = run.seeded_model(torch.device(machine.device))
    found_name, weights = found
    with fitting(path, found_name):
        load_weights(model, weights)
    return model.eval(), run


def open_loaded(spec: RunSpec, machine: Machine, checkpoint: str | None) -> LoadedModel:
    """The model of a trained run, as one that was exported is loaded; arguments as for `open_trained`."""
    model, run = open_trained(spec, machine, checkpoint)
    task = run.task
    loaded = LoadedModel(spec.label, model, spec.settings, task.symbols, task.tokenizer, task.class_names)
    return loaded.eval()
