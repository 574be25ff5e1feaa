"""A run whose data is open: all that follows from its recipe and its data, found out once."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from rmem_cli.errors import UsageError
from rmem_cli.evaluation.rouge import Rouge
from rmem_cli.models.model import Model
from rmem_cli.models.sequence import build_model
from rmem_cli.recipe.kinds import TaskSettings
from rmem_cli.recipe.resolve import RunSpec
from rmem_cli.recipe.schema import EvalProtocol, ModelSettings, RunSettings
from rmem_cli.runs.identity import Identity, identity_of
from rmem_cli.runs.peak_memory import one_out_of_memory_error
from rmem_cli.seeding import derive_seed
from rmem_cli.tasks.base import Task
from rmem_cli.tasks.build import open_task
from rmem_cli.training.stages import Stage, build_stages, total_steps

_CLASSES_OF_F1 = 2
_DTYPES = {"float32": torch.float32, "float64": torch.float64}


@dataclass(frozen=True)
class Measurement:
    """One way in which a trained run is evaluated.

    Attributes:
        protocol: What the recipe says of it.
        task: Its task; that of the run, if the protocol changes nothing of it.
        model: The model's settings with the core of the protocol.
        eval_hash: Hash of the protocol.
        parts: Names of the parts of its task.
    """

    protocol: EvalProtocol
    task: Task
    model: ModelSettings
    eval_hash: str
    parts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Run:
    """What a `RunSpec` comes to when its data is open.

    Attributes:
        spec: The run as its recipe has it.
        identity: Its hashes, folder and curve.
        stages: What is learned, one after the other; the last one is on the run's own task.
        measurements: How it is evaluated.
    """

    spec: RunSpec
    identity: Identity
    stages: list[Stage]
    measurements: list[Measurement]

    @property
    def settings(self) -> RunSettings:
        """What it is made of."""
        return self.spec.settings

    @property
    def task(self) -> Task:
        """What it learns in the end, and what it is validated on."""
        return self.stages[-1].task

    @property
    def steps(self) -> int:
        """Optimizer steps in all."""
        return self.stages[-1].first + self.stages[-1].steps

    @property
    def dtype(self) -> torch.dtype:
        """Of weights and activations."""
        return _DTYPES[self.settings.train.dtype]

    def new_model(self, settings: ModelSettings | None = None) -> Model:
        """A model whose weights come from torch's global generator.

        Args:
            settings: Other ones than the run's own.
        """
        return _model(self.settings, settings, self.task)

    def seeded_model(self, device: torch.device, settings: ModelSettings | None = None) -> Model:
        """The model, its first weights a function of the seed.

        Args:
            device: Where it is to be.
            settings: Other ones than the run's own.

        Raises:
            UsageError: The model sees the future that the task asks for.
        """
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive_seed(self.spec.seed, "weights"))
            model = self.new_model(settings)
        if self.settings.task.predicts_future and not model.causal:
            # Other cores are refused with their recipe.
            kind = getattr(self.settings.model.core, "kind", self.settings.model.architecture)
            raise UsageError(
                f"core {kind!r} reads its whole segment at once, and task "
                f"{self.settings.task.kind!r} asks for what comes later in it; choose a causal core"
            )
        return model.to(device, self.dtype)


@one_out_of_memory_error()
def open_run(spec: RunSpec, tasks: "Tasks | None" = None) -> Run:
    """Open the data of a run and make sure that everything its recipe asks for can be had.

    Args:
        spec: The run.
        tasks: Those that are open already; without, it opens all of its own.

    Raises:
        UsageError: A stage or an evaluation has other symbols or classes than the task, or an evaluation a
            core of other weights; it names all of them. Or the library that scores summaries is missing.
        DataError: Data is missing or damaged.
        OutOfMemoryError: The task does not fit into memory.
    """
    settings = spec.settings
    identity = identity_of(spec)
    for protocol in settings.eval:
        if protocol.summaries is not None:  # its library is missed before anything is trained
            Rouge(stemming=protocol.summaries.stemming)
    tasks = Tasks() if tasks is None else tasks
    task = tasks.open(settings.task)
    measurements = [_measurement(spec, protocol, tasks) for protocol in settings.eval]
    stages = build_stages(settings, tasks.open, total_steps(settings.train, task))
    problems = [problem for each in measurements for problem in _problems(settings, each, task)]
    problems += [problem for stage in enumerate(stages) for problem in _problems_of_stage(*stage, task)]
    if problems:
        raise UsageError("\n".join(problems))
    return Run(spec, identity, stages, measurements)


class Tasks:
    """Tasks by their settings, each of them opened once."""

    def __init__(self) -> None:
        self._opened: list[tuple[TaskSettings, Task]] = []

    def open(self, settings: TaskSettings) -> Task:
        """The task of these settings."""
        for known, task in self._opened:
            if known == settings:
                return task
        task = open_task(settings)
        self._opened.append((settings, task))
        return task


def _measurement(spec: RunSpec, protocol: EvalProtocol, tasks: Tasks) -> Measurement:
    settings = spec.protocol_task(protocol)
    model = spec.settings.model.model_copy(update={"core": spec.protocol_core(protocol)})
    return Measurement(protocol, tasks.open(settings), model, spec.eval_hash(protocol), settings.parts())


def _problems(settings: RunSettings, measurement: Measurement, own: Task) -> Iterator[str]:
    """What the weights that are trained will not do in."""
    protocol, task = measurement.protocol, measurement.task
    if _sizes(task) != _sizes(own):
        yield (
            f"evaluation {protocol.name!r} changes the task to one of {task.symbols} symbols and "
            f"{task.classes} classes, but the model learns {own.symbols} and {own.classes}; "
            f"change eval.{protocol.name}.task"
        )
    if "f1" in protocol.metrics and task.classes != _CLASSES_OF_F1:
        yield (
            f"evaluation {protocol.name!r} measures f1, which is of two classes, and there are "
            f"{task.classes}; take accuracy in eval.{protocol.name}.metrics"
        )
    if protocol.core and _shapes(settings, measurement.model, own) != _shapes(settings, None, own):
        yield (
            f"evaluation {protocol.name!r} changes the core to one of other weights than those that are "
            f"learned; change eval.{protocol.name}.core"
        )


def _problems_of_stage(number: int, stage: Stage, own: Task) -> Iterator[str]:
    if _sizes(stage.task) != _sizes(own):
        yield (
            f"stage {number} changes the task to one of {stage.task.symbols} symbols and "
            f"{stage.task.classes} classes, but the model has {own.symbols} and {own.classes}; "
            f"change train.stages[{number}].task"
        )


def _sizes(task: Task) -> tuple[int, int]:
    return task.symbols, task.classes


def _shapes(settings: RunSettings, model: ModelSettings | None, task: Task) -> dict[str, torch.Size]:
    """The shape of each weight of a model."""
    with torch.device("meta"):
        return {name: value.shape for name, value in _model(settings, model, task).state_dict().items()}


def _model(settings: RunSettings, model: ModelSettings | None, task: Task) -> Model:
    defaults = settings.task.encoder, settings.task.head
    return build_model(settings.model if model is None else model, task.symbols, task.classes, *defaults)
