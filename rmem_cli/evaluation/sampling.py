"""Text from a trained language model, symbol by symbol, across segments."""

from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor

from rmem_cli.errors import UsageError
from rmem_cli.evaluation.next_symbol import next_logits
from rmem_cli.models.batch import Batch
from rmem_cli.models.model import Model
from rmem_cli.models.state import State
from rmem_cli.paths import runs_root
from rmem_cli.recipe.resolve import RunSpec
from rmem_cli.records.checkpoint import fitting, load_checkpoint
from rmem_cli.records.folder import HOW_TO_TRAIN, run_path
from rmem_cli.records.restoring import load_weights
from rmem_cli.runs.run import Machine
from rmem_cli.tasks.base import Task
from rmem_cli.tasks.language_model import LanguageModel
from rmem_cli.training.loop import build_seeded_model, build_task

Choose = Callable[[Tensor], int]


class Reader:
    """Reads a text as evaluation does, and tells after each symbol what may come next.

    A model whose segments cannot be read in parts reads the current one anew with every symbol, from the
    state before it (see `next_logits`): the numbers are those of the whole segment, bit for bit.

    Args:
        model: Causal, of classes, in evaluation mode.
        window: Symbols after which a new segment begins in any case: those of one batch of the task.
        carried: Whether the state goes on from window to window.
    """

    def __init__(self, model: Model, window: int, *, carried: bool = True) -> None:
        self.model = model
        self.window = window
        self.carried = carried
        self._state: State | None = None
        self._segment: list[int] = []
        self._place = 0  # of the segment in its window

    @torch.no_grad()
    def read(self, symbols: Iterable[int]) -> Tensor:
        """The logits `[classes]` of what follows symbols, at least one."""
        logits = None
        for symbol in symbols:
            self._segment.append(symbol)
            full = len(self._segment) == self._length()
            logits = self._end_of_segment() if full else None
        return self._run()[0] if logits is None else logits

    def _length(self) -> int:
        """Symbols of the current segment when it is full."""
        if self.model.stepwise:
            return 1
        return min(self.model.segment_length or self.window, self.window - self._place)

    def _end_of_segment(self) -> Tensor:
        logits, state = self._run()
        self._place = (self._place + len(self._segment)) % self.window
        self._segment = []
        self._state = state if self.carried or self._place else None
        return logits

    def _run(self) -> tuple[Tensor, State]:
        """The logits after the symbols of the segment, and the state after it, which counts if it is full."""
        if not self._segment:
            raise ValueError("no symbol has been read since the last segment ended")
        device = next(self.model.parameters()).device
        filled = [*self._segment, *[0] * (self._length() - len(self._segment))]
        inputs = torch.tensor([filled], device=device)
        fresh = torch.tensor([self._state is None], device=device)
        segment = Batch(inputs, inputs, torch.ones_like(inputs), fresh)
        logits, state = next_logits(self.model, segment, len(self._segment), self._state)
        return logits[0], state


def generate(reader: Reader, beginning: list[int], count: int, choose: Choose) -> Iterator[int]:
    """Symbols that go on from a beginning, one at a time.

    Args:
        reader: Of the model, new.
        beginning: Symbols before them, at least one.
        count: How many.
        choose: Picks a symbol by the logits `[classes]`.
    """
    read = beginning
    for _ in range(count):
        symbol = choose(reader.read(read))
        yield symbol
        read = [symbol]


def draw(temperature: float, top_k: int | None, source: torch.Generator) -> Choose:
    """Draws from the softmax of the logits.

    Args:
        temperature: What logits are divided by; 0 always takes the most likely symbol.
        top_k: How many of the most likely symbols are drawn from; None: all.
        source: Of the draws, on the CPU.
    """

    def choose(logits: Tensor) -> int:
        logits = logits.double().cpu()
        if temperature == 0:
            return int(logits.argmax())
        best = logits.topk(min(top_k or len(logits), len(logits)))
        probabilities = (best.values / temperature).softmax(-1)
        return int(best.indices[torch.multinomial(probabilities, 1, generator=source)])

    return choose


def open_language_model(
    spec: RunSpec, machine: Machine, checkpoint: str | None = None
) -> tuple[Model, LanguageModel]:
    """The model of a trained run, in evaluation mode, and its task.

    Args:
        spec: The run.
        machine: Where to compute.
        checkpoint: "best" or "last"; None takes the best one if there is one.

    Raises:
        UsageError: The run is not one of a language model, or has not been trained.
        DataError: Its data or its checkpoint is missing or damaged.
    """
    run = f"{spec.experiment} {spec.row} (scale {spec.scale}, seed {spec.seed})"
    task = _language_model(spec, run)
    path = run_path(spec, spec.train_hash(spec.settings.task.data_hash()), runs_root())  # type: ignore[attr-defined]
    names = ("best", "last") if checkpoint is None else (checkpoint,)
    loaded = ((name, load_checkpoint(path, name)) for name in names)
    found = next(((name, each[0]) for name, each in loaded if each is not None), None)
    if found is None:
        wanted = "checkpoint" if checkpoint is None else f"checkpoint {checkpoint!r}"
        raise UsageError(f"{run} has no {wanted} in {path}; {HOW_TO_TRAIN}")
    torch.set_num_threads(machine.threads)
    model = build_seeded_model(spec.settings, task, spec.seed, torch.device(machine.device))
    name, weights = found
    with fitting(path, name):
        load_weights(model, weights)
    return model.eval(), task


def _language_model(spec: RunSpec, run: str) -> LanguageModel:
    kind = spec.settings.task.kind
    if kind != "language_model":
        raise UsageError(f"{run} learns the task {kind!r}; only a language_model has text to go on with")
    task: Task = build_task(spec.settings)
    assert isinstance(task, LanguageModel)  # noqa: S101  its kind says so
    return task
