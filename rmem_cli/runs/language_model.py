"""The model of a trained run, to have it say something."""

import torch

from rmem_cli.errors import UsageError
from rmem_cli.models.model import Model
from rmem_cli.recipe.resolve import RunSpec
from rmem_cli.records.checkpoint import fitting, load_checkpoint
from rmem_cli.records.folder import HOW_TO_TRAIN
from rmem_cli.records.restoring import load_weights
from rmem_cli.runs.machine import Machine
from rmem_cli.runs.opened import open_run
from rmem_cli.tasks.base import Task
from rmem_cli.tasks.language_model import LanguageModel
from rmem_cli.tasks.summarization import Summarization


def open_language_model(
    spec: RunSpec, machine: Machine, checkpoint: str | None = None
) -> tuple[Model, LanguageModel]:
    """The model of a trained run, in evaluation mode, and its task.

    Args:
        spec: The run; the checkpoints may be those of an equal run of another name.
        machine: Where to compute.
        checkpoint: "best" or "last"; None takes the best one if there is one.

    Raises:
        UsageError: The run is not one of a language model, or has not been trained.
        DataError: Its data or its checkpoint is missing or damaged.
    """
    kind = spec.settings.task.kind
    if kind != "language_model":
        about = "; give it an article to say something about, by --source or --article"
        raise UsageError(
            f"{_name(spec)} learns the task {kind!r}; only a language_model has text to go on with"
            f"{about if spec.settings.task.has_source else ''}"
        )
    model, task = _opened(spec, machine, checkpoint)
    assert isinstance(task, LanguageModel)  # noqa: S101  its kind says so
    return model, task


def open_summarizer(
    spec: RunSpec, machine: Machine, checkpoint: str | None = None
) -> tuple[Model, Summarization]:
    """The same of a run that summarizes articles."""
    kind = spec.settings.task.kind
    if not spec.settings.task.has_source:
        raise UsageError(
            f"{_name(spec)} learns the task {kind!r}, which says nothing about articles; leave out --source "
            "and --article"
        )
    model, task = _opened(spec, machine, checkpoint)
    assert isinstance(task, Summarization)  # noqa: S101  no other has a source
    return model, task


def _name(spec: RunSpec) -> str:
    return f"{spec.experiment} {spec.row} (scale {spec.scale}, seed {spec.seed})"


def _opened(spec: RunSpec, machine: Machine, checkpoint: str | None) -> tuple[Model, Task]:
    run = open_run(spec)
    path = run.identity.trained_folder
    names = ("best", "last") if checkpoint is None else (checkpoint,)
    loaded = ((each, load_checkpoint(path, each)) for each in names)
    found = next(((each, content[0]) for each, content in loaded if content is not None), None)
    if found is None:
        wanted = "checkpoint" if checkpoint is None else f"checkpoint {checkpoint!r}"
        raise UsageError(f"{_name(spec)} has no {wanted} in {path}; {HOW_TO_TRAIN}")
    torch.set_num_threads(machine.threads)
    model = run.seeded_model(torch.device(machine.device))
    found_name, weights = found
    with fitting(path, found_name):
        load_weights(model, weights)
    return model.eval(), run.task
