"""The model of a trained run, to have it say something."""

from rmem_cli.errors import UsageError
from rmem_cli.models.model import Model
from rmem_cli.recipe.resolve import RunSpec
from rmem_cli.runs.machine import Machine
from rmem_cli.runs.trained import name_of, open_trained
from rmem_cli.tasks.language_model import LanguageModel
from rmem_cli.tasks.summarization import Summarization


def open_language_model(
    spec: RunSpec, machine: Machine, checkpoint: str | None = None
) -> tuple[Model, LanguageModel]:
    """The model of a trained run, in evaluation mode, and its task; arguments as for `open_trained`.

    Raises:
        UsageError: The run is not one of a language model, or has not been trained.
        DataError: Its data or its checkpoint is missing or damaged.
    """
    kind = spec.settings.task.kind
    if kind != "language_model":
        about = "; give it an article to say something about, by --source or --article"
        raise UsageError(
            f"{name_of(spec)} learns the task {kind!r}; only a language_model has text to go on with"
            f"{about if spec.settings.task.has_source else ''}"
        )
    model, run = open_trained(spec, machine, checkpoint)
    assert isinstance(run.task, LanguageModel)  # noqa: S101  its kind says so
    return model, run.task


def open_summarizer(
    spec: RunSpec, machine: Machine, checkpoint: str | None = None
) -> tuple[Model, Summarization]:
    """The same of a run that summarizes articles."""
    kind = spec.settings.task.kind
    if not spec.settings.task.has_source:
        raise UsageError(
            f"{name_of(spec)} learns the task {kind!r}, which says nothing about articles; leave out "
            "--source and --article"
        )
    model, run = open_trained(spec, machine, checkpoint)
    assert isinstance(run.task, Summarization)  # noqa: S101  no other has a source
    return model, run.task
