"""A trained model in a program of one's own."""

from collections.abc import Iterable
from pathlib import Path

import torch

from rmem_cli.evaluation.loaded import LoadedModel
from rmem_cli.models.sequence import build_model
from rmem_cli.recipe import own_core
from rmem_cli.records.exported import Exported, read_exported


def load(
    folder: str | Path, *, device: torch.device | str = "cpu", allow_modules: Iterable[str] = ()
) -> LoadedModel:
    """A model that `rmem export` wrote, in evaluation mode; neither its run nor its data set is needed.

    Args:
        folder: Where it is.
        device: Where it is to be.
        allow_modules: Modules that may be imported for a core of one's own, as `--allow-module` has them.

    Raises:
        UsageError: Nothing was exported there, or by a newer rmem.
        DataError: It is damaged.

    Example:
        >>> model = load("exported")
        >>> predictions, state = model(inputs)  # [batch, time, classes]
        >>> predictions, state = model(more_inputs, state)  # goes on
    """
    own_core.allow_modules(allow_modules)
    return ready_model(read_exported(Path(folder)), device)


def ready_model(exported: Exported, device: torch.device | str) -> LoadedModel:
    """The model of an export that was read, in evaluation mode; arguments and errors as for `load`."""
    settings, about = exported.spec.settings, exported.description
    with torch.random.fork_rng(devices=[]):  # its first weights, which are replaced, leave no trace
        model = build_model(
            settings.model, about.symbols, about.classes, settings.task.encoder, settings.task.head
        )
    model.to(device, getattr(torch, settings.train.dtype))
    exported.put_into(model)
    tokenizer, class_names = exported.tokenizer, about.class_names
    return LoadedModel(str(exported.folder), model, settings, about.symbols, tokenizer, class_names).eval()
