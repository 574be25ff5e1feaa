"""A trained run, as it is exported."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from rmem_cli.data.task_tokenizers import TaskTokenizer
from rmem_cli.errors import UsageError, closest
from rmem_cli.paths import runs_root
from rmem_cli.recipe import Recipe, RunSpec
from rmem_cli.recipe.own_core import OwnCoreSettings, module_of
from rmem_cli.recipe.own_files import with_bare_names
from rmem_cli.recipe.settings_file import read_settings
from rmem_cli.records.checkpoint import fitting, load_checkpoint
from rmem_cli.records.environment import read_environment
from rmem_cli.records.exported import Description
from rmem_cli.records.folder import HOW_TO_TRAIN, RECIPE, has_ended
from rmem_cli.records.listing import FoundRun, found_runs, named_runs
from rmem_cli.records.restoring import load_weights
from rmem_cli.runs.identity import identity_of
from rmem_cli.runs.opened import open_run
from rmem_cli.training.loop import saved_counters

_NAME = re.compile(r"(?P<scale>.+)-seed(?P<seed>\d+)-(?P<hash>[0-9a-f]{12})")


@dataclass(frozen=True)
class Exportable:
    """A trained run with all that its export holds.

    Attributes:
        description: What it is.
        spec: The run.
        tokenizer: How text becomes symbols; None: the task has no text.
        weights: By their names.
        parameters: How many they are.
        modules: Modules of one's own that its core is in, such as `my_cores`.
    """

    description: Description
    spec: RunSpec
    tokenizer: TaskTokenizer | None
    weights: Mapping[str, Tensor]
    parameters: int
    modules: tuple[str, ...]


def run_named(name: str) -> FoundRun:
    """The run of a name, as `rmem runs list` has it, or of its beginning up to a slash.

    Raises:
        UsageError: There is none, or there are several.
    """
    runs = found_runs(runs_root())
    chosen = named_runs(runs, [name])
    if not chosen:
        names = [run.name for run in runs]
        raise UsageError(f"there is no run {name!r} in {runs_root()}; {closest(name, names)}")
    if len(chosen) > 1:
        raise UsageError(f"{name!r} is {len(chosen)} runs: {', '.join(run.name for run in chosen)}; name one")
    return chosen[0]


def spec_of(run: FoundRun, recipe: Recipe | None) -> RunSpec:
    """The run in a folder: as its recipe has it, or, where that does not give it, as its settings there say.

    Args:
        run: Its folder.
        recipe: The recipe that it is of; None: there is none here.

    Raises:
        UsageError: The folder is not named like one of a run, or its data or the code of its core is another.
        RecipeError: Its settings are damaged, or this rmem does not take them.
        DataError: Its data is missing or damaged.
    """
    experiment, row, *cell, last = run.name.split("/")
    named = _NAME.fullmatch(last)
    if named is None:
        raise UsageError(f"{run.path} is not named like the folder of a run; `rmem runs list` names those")
    scale, seed, train_hash = named["scale"], int(named["seed"]), named["hash"]
    if recipe is not None and scale in recipe.scales and row in {one.id for one in recipe.rows_at(scale)}:
        for spec in recipe.runs(scale, [row], [seed]):
            if identity_of(spec).train_hash == train_hash:
                return spec
    file = run.path / RECIPE
    try:
        settings = read_settings(file.read_bytes(), str(file))
    except OSError as error:
        raise UsageError(f"{file} cannot be read ({error.strerror or error})") from error
    spec = RunSpec(experiment, row, row, "".join(cell), scale, seed, [], settings)
    if identity_of(spec).train_hash != train_hash:
        raise UsageError(
            f"the run in {run.path} was trained on other data than is here, or with other code of its core; "
            "bring that back, or train again"
        )
    return spec


def exportable(run: FoundRun, spec: RunSpec, checkpoint: str | None = None) -> Exportable:
    """What the export of a trained run holds.

    Args:
        run: Its folder.
        spec: The run.
        checkpoint: "best" or "last"; None takes that of the run's first evaluation.

    Raises:
        UsageError: The run has not come to its end, has no such checkpoint, or needs a pretrained model.
        DataError: Its data or its checkpoint is missing or damaged.
    """
    backbones = {value for part in spec.settings.every_part() if (value := getattr(part, "backbone", None))}
    if backbones:
        raise UsageError(
            f"{run.name} is made of a pretrained model ({', '.join(sorted(backbones))}), which an export "
            "would not hold; keep its run folder"
        )
    if not has_ended(run.path):
        raise UsageError(f"the run in {run.path} has not come to its end; {HOW_TO_TRAIN}")
    name = checkpoint or spec.settings.eval[0].checkpoint
    found, last = load_checkpoint(run.path, name), load_checkpoint(run.path, "last")
    environment = read_environment(run.path)
    if found is None or last is None or environment is None:
        raise UsageError(f"{run.path} has no checkpoint {name!r}; choose the other one with --checkpoint")
    opened, (weights, saved) = open_run(spec), found
    with fitting(run.path, name):
        model = opened.seeded_model(torch.device("cpu"))
        load_weights(model, weights)
        step = saved_counters(saved, opened.steps).step
        wall_seconds = saved_counters(last[1], opened.steps).wall_seconds
    description = Description(
        experiment=spec.experiment,
        row=spec.row,
        title=spec.title,
        cell=spec.cell,
        scale=spec.scale,
        seed=spec.seed,
        footnotes=spec.footnotes,
        checkpoint="best" if name == "best" else "last",
        step=step,
        wall_seconds=wall_seconds,
        train_hash=opened.identity.train_hash,
        data_hash=opened.identity.data_hash,
        symbols=opened.task.symbols,
        classes=opened.task.classes,
        class_names=opened.task.class_names,
        environment=environment,
        sha256={},
    )
    own = {module_of(part.kind) for part in spec.settings.every_part() if isinstance(part, OwnCoreSettings)}
    return Exportable(
        description,
        _without_folders(spec),
        opened.task.tokenizer,
        weights,
        model.parameter_count(),
        tuple(sorted(own)),
    )


def _without_folders(spec: RunSpec) -> RunSpec:
    """The run with the bare names of files of one's own: where they are here is nobody else's affair."""
    task = spec.settings.task
    own = task.own_files()
    if own is None:
        return spec
    bare = task.model_copy(update={task.own: with_bare_names(own)})
    return replace(spec, settings=spec.settings.model_copy(update={"task": bare}))
