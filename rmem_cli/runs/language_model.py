"""The model of a trained run, to go on with a text."""

from rmem_cli.errors import UsageError
from rmem_cli.models.model import Model
from rmem_cli.recipe.resolve import RunSpec
from rmem_cli.runs.machine import Machine
from rmem_cli.runs.trained import name_of, open_trained
from rmem_cli.tasks.language_model import LanguageModel


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
        raise UsageError(
            f"{name_of(spec)} learns the task {kind!r}; only a language_model has text to go on with"
        )
    model, run = open_trained(spec, machine, checkpoint)
    assert isinstance(run.task, LanguageModel)  # noqa: S101  its kind says so
    return model, run.task
