"""The training loop: from a run's settings to trained weights."""

import json
import math
import time
from array import array
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from itertools import islice
from typing import Any, NamedTuple

import torch
from pydantic import FiniteFloat, NonNegativeFloat, NonNegativeInt, TypeAdapter
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from rmem_cli.clock import clock
from rmem_cli.errors import DivergedError, InterruptedRunError
from rmem_cli.evaluation.evaluate import evaluate
from rmem_cli.models.batch import Batch
from rmem_cli.models.model import Model
from rmem_cli.models.state import State
from rmem_cli.ops import autocast
from rmem_cli.ops.forms import forms_in, noted_forms
from rmem_cli.recipe.schema import RunSettings, ValidationSettings
from rmem_cli.records.checkpoint import fitting, load_checkpoint, save_checkpoint
from rmem_cli.records.folder import RunFolder
from rmem_cli.records.pulse import Pulse, write_pulse
from rmem_cli.records.restoring import (
    check_numbers,
    check_segment,
    check_state,
    load_optimizer,
    load_weights,
)
from rmem_cli.results.metrics import metric
from rmem_cli.training.backprop import Gradient, build_backprop
from rmem_cli.training.optimizers import build_optimizer
from rmem_cli.training.parallel import Share, add_gradients, joined
from rmem_cli.training.progress import Progress
from rmem_cli.training.schedules import build_schedule
from rmem_cli.training.stages import Stage, stage_at
from rmem_cli.world import ALONE, Stop, World

_SECONDS_BETWEEN_CHECKPOINTS = 30.0
_SECONDS_BETWEEN_PULSES = 5.0


@dataclass
class Counters:
    """Where a run stands; all of it is in every checkpoint.

    Attributes:
        step: Updates done.
        best: Best value of the validation metric so far.
        best_step: Step at which it was reached.
        evaluations_since_best: Validations since then.
        evaluations_solved: Validations up to the last one, all of which were those of a solved task.
        wall_seconds: Time spent in training, over all sessions.
    """

    step: NonNegativeInt = 0
    best: FiniteFloat | None = None
    best_step: NonNegativeInt | None = None
    evaluations_since_best: NonNegativeInt = 0
    evaluations_solved: NonNegativeInt = 0
    wall_seconds: NonNegativeFloat = 0.0


def saved_counters(saved: Mapping[str, Any], total_steps: int) -> Counters:
    """The counters of a checkpoint.

    Args:
        saved: What it holds beside the weights.
        total_steps: Steps of the whole run.

    Raises:
        ValueError: They cannot be those of the run.
    """
    found = {"evaluations_solved": 0, **saved["counters"]}  # checkpoints from before there were such lack it
    if set(found) != {each.name for each in fields(Counters)}:
        raise ValueError("its counters are others")
    counters = TypeAdapter(Counters).validate_json(json.dumps(found, allow_nan=False), strict=True)
    evaluations = max(counters.evaluations_since_best, counters.evaluations_solved)
    if max(counters.step, counters.best_step or 0, evaluations) > total_steps:
        raise ValueError(f"its counters are beyond the {total_steps:,} steps of the run")
    return counters


class _Unread(NamedTuple):
    """The loss of a step that has not been fetched from the device: its segments' sums `[n]`, and weights."""

    step: int
    nll_sums: Tensor
    weight_sum: float


@dataclass
class Training:
    """One run, from its first step or its last checkpoint to its end.

    Args:
        settings: What the recipe says.
        seed: What all random draws derive from.
        stages: What is learned, the data open; the last one is on the run's own task.
        model: With its first weights, on the device where to compute.
        folder: The run folder, locked.
        world: The processes that train it together, each on rows of its own of every batch.
    """

    settings: RunSettings
    seed: int
    stages: list[Stage]
    model: Model
    folder: RunFolder
    world: World = ALONE
    counters: Counters = field(default_factory=Counters, init=False)

    def __post_init__(self) -> None:
        train = self.settings.train
        self.train = train
        self.task = self.stages[-1].task
        self.total = self.stages[-1].first + self.stages[-1].steps
        parameter = next(self.model.parameters())
        self.device, self.dtype = parameter.device, parameter.dtype
        self.model.cover(self.stages[0].coverage)
        self._start_optimizer(self.stages[0])
        several = self.world.as_several(train.accumulate)
        self.shares = [Share(each, train, self.task.carries_state) for each in several]
        self._started = self._saved = time.monotonic()
        self._recent_loss = 0.0
        self._recent_steps = 0
        self._shown: dict[str, float] = {}
        self._unread: list[_Unread] = []
        self._pulse_time, self._pulse_step, self._measured = self._started, 0, ""
        self.step_seconds = array("d")  # of each step of this session, by `clock`

    def _start_optimizer(self, stage: Stage) -> None:
        """A new optimizer and schedule: for the whole run, or for one stage if each has its own."""
        trainable = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        self.optimizer = build_optimizer(self.settings.optimizer, trainable)
        base_lr: float = self.settings.optimizer.lr
        self._first_step = stage.first if self.train.restart else 0
        steps = stage.steps if self.train.restart else self.total
        self.schedule = build_schedule(self.settings.schedule, base_lr, steps)

    def run(self, stop: Stop, progress: Progress) -> None:
        """Train to the end, going on from the last checkpoint if there is one.

        Args:
            stop: Asked between steps; true saves a checkpoint and leaves.
            progress: Told of every step.

        Raises:
            DivergedError: The loss is not finite, or above `train.diverged_above`.
            InterruptedRunError: `stop` was true.
        """
        self.model.train()
        self._pulse_step = self.counters.step
        self._tell()
        spent = 0.0
        try:
            while not self._finished():
                stopped, overdue = self.world.any([stop(), self._overdue()])
                if stopped or overdue:
                    self.save("last")
                if stopped:
                    raise InterruptedRunError(
                        f"stopped after step {self.counters.step}; the same command goes on from there"
                    )
                started = clock(self.device)
                steps = len(self._unread) + 1
                self._step(progress)
                spent += clock(self.device) - started
                if not self._unread:  # only then is it known that the device has done them
                    self.step_seconds.extend([spent / steps] * steps)
                    spent = 0.0
                if validation := self._due_validation():
                    self._validate(validation, progress)
                if self.train.checkpoint_every and self.counters.step % self.train.checkpoint_every == 0:
                    self.save("last")
                if time.monotonic() - self._pulse_time > _SECONDS_BETWEEN_PULSES:
                    self._tell()
            self.save("last")
            self._tell()
        finally:
            self._count_time()

    def resume(self) -> None:
        """Go on from the last checkpoint, if there is one.

        Raises:
            DataError: The checkpoint is damaged.
        """
        checkpoint = load_checkpoint(self.folder.path, "last")
        if checkpoint is None:
            self.folder.curve.truncate_after(-1)
            return
        with fitting(self.folder.path, "last"):
            self._restore(*checkpoint)
        self.folder.curve.truncate_after(self.counters.step)

    def _restore(self, weights: Mapping[str, Tensor], saved: Mapping[str, Any]) -> None:
        """Take over what a checkpoint holds.

        Raises:
            Exception: It is not one of this run.
        """
        self.counters = saved_counters(saved, self.total)
        load_weights(self.model, weights)
        stage = stage_at(self.stages, self.counters.step)
        self.model.cover(stage.coverage)
        self._start_optimizer(stage)
        load_optimizer(
            self.optimizer,
            saved["optimizer"],
            lambda weights: build_optimizer(self.settings.optimizer, weights),
            self.counters.step - self._first_step,
        )
        check_numbers("schedule", saved["schedule"], self.schedule.state_dict(), self.counters.step)
        self.schedule.load_state_dict(saved["schedule"])
        self._check_carried(saved["backprop"], saved["state"])
        for share in self.shares:
            share.load_state_dict({name: saved[name] for name in ("backprop", "state")}, self.device)
        recent = {"loss": saved["recent_loss"], "steps": saved["recent_steps"]}
        check_numbers("recent", recent, {"loss": 0.0, "steps": 0}, self.counters.step)
        self._recent_loss, self._recent_steps = recent["loss"], recent["steps"]

    def _check_carried(self, remembered: dict[str, Any], state: State | None) -> None:
        """What is carried between two batches, of all rows: the state, and what back-propagation keeps."""
        backprop = build_backprop(self.train.backprop)
        backprop.load_state_dict(remembered)
        kept = backprop.kept()
        carries = self.task.carries_state and self.counters.step > 0
        if (state is not None) != carries or (kept and not carries):
            raise ValueError("it carries a state where none is carried, or none where one is")
        if not carries:
            return
        rows = self.train.batch_size
        initial = self.model.initial_state(rows, device=torch.device("cpu"))
        for each in [state, *(before for _, before in kept if before is not None)]:
            check_state(each, initial)
        if kept:
            task = stage_at(self.stages, self.counters.step).task
            like = task.training_batch(0, rows, self.seed)
            for segment, _ in kept:
                check_segment(segment, like, task.symbols, task.classes)

    def save(self, name: str) -> None:
        """Write a checkpoint, `last` or `best`.

        Raises:
            UsageError: The run folder cannot be written.
        """
        self._read_losses()
        self._count_time()
        self._saved = self._started
        of_rows = self.world.all(joined([share.state_dict() for share in self.shares]))
        if not self.world.writes:
            return
        state = {
            **joined(of_rows),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "counters": {each.name: getattr(self.counters, each.name) for each in fields(Counters)},
            "recent_loss": self._recent_loss,
            "recent_steps": self._recent_steps,
        }
        save_checkpoint(self.folder.path, name, self.model.state_dict(), state)

    def _tell(self) -> None:
        """Say how far the run is, and how fast."""
        now, step = time.monotonic(), self.counters.step
        steps, seconds = step - self._pulse_step, now - self._pulse_time
        self._pulse_time, self._pulse_step = now, step
        if self.world.writes:
            told = self._measured or ", ".join(f"{name} {value:.4g}" for name, value in self._shown.items())
            pulse = Pulse(step, self.total, seconds / steps if steps else None, told)
            write_pulse(self.folder.path, pulse)

    def _count_time(self) -> None:
        now = time.monotonic()
        self.counters.wall_seconds += now - self._started
        self._started = now

    def _finished(self) -> bool:
        counters, early, solved = self.counters, self.train.early_stopping, self.train.stop_when_solved
        out_of_patience = early is not None and counters.evaluations_since_best >= early.patience
        is_solved = solved is not None and counters.evaluations_solved >= solved.evaluations
        return counters.step >= self.total or out_of_patience or is_solved

    def _step(self, progress: Progress) -> None:
        step = self.counters.step
        stage = stage_at(self.stages, step)
        if step == stage.first > 0:
            self._enter(stage)
        lr = self.schedule.lr(step - self._first_step)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        batch = stage.task.training_batch(step, self.train.batch_size, self.seed).of_type(self.dtype)
        self._gradient(batch, step)
        if self.device.type == "cpu" or self._line_due(step + 1):
            self._read_losses()
        if self.train.clip_norm is not None:
            clip_grad_norm_(self.model.parameters(), self.train.clip_norm)
        self.optimizer.step()
        self.counters.step += 1
        self._log(lr, progress)

    def _gradient(self, batch: Batch, step: int) -> list[Gradient]:
        """Put that of a whole batch, of which this process reads its rows, into the parameters."""
        self.optimizer.zero_grad()
        self.model.begin_training_step(step)
        with self._forms_checked():
            gradients = [share.gradient(self.model, batch, self.seed, step) for share in self.shares]
        nll_sums = torch.stack([each for gradient in gradients for each in gradient.nll_sums])
        nll_sums = add_gradients(self.world, [*self.model.parameters()], nll_sums)
        self._unread.append(_Unread(step + 1, nll_sums, gradients[0].weight_sum))
        return gradients

    def _read_losses(self) -> None:
        """Fetch the losses that are still on the device.

        Raises:
            DivergedError: One is not finite, or above `train.diverged_above`.
        """
        unread, self._unread = self._unread, []
        if not unread:
            return
        values = iter(torch.cat([each.nll_sums for each in unread]).tolist())
        for step, nll_sums, weight_sum in unread:
            loss = sum(islice(values, len(nll_sums))) / weight_sum
            self._check_loss(loss, step)
            self._recent_loss += loss
            self._recent_steps += 1
            self._shown = {"loss": loss}

    @contextmanager
    def _forms_checked(self) -> Iterator[None]:
        """In the first step of a session, make sure that operations run in the forms that rows will name."""
        if self.step_seconds or self.model.compiled:
            yield
            return
        with noted_forms() as ran:
            yield
        with autocast.lowering(autocast.lower_type(self.train.precision), self.device.type):
            paths = self.model.op_paths()
        stated = {operation: forms_in(form) for operation, form in paths.items()}
        if any(forms != stated.get(operation, forms) for operation, forms in ran.items()):
            raise RuntimeError(f"operations ran as {ran}, and the model says {stated}")

    def _enter(self, stage: Stage) -> None:
        """Leave behind what belongs to the task before, and to the model that knew less."""
        for share in self.shares:
            share.forget()
        if stage.coverage != stage_at(self.stages, stage.first - 1).coverage:
            self.model.cover(stage.coverage)
            self.counters.best = self.counters.best_step = None
            self.counters.evaluations_since_best = 0
        if self.train.restart:
            self._start_optimizer(stage)

    def _check_loss(self, loss: float, step: int) -> None:
        bound = self.train.diverged_above
        if not math.isfinite(loss) or (bound is not None and loss > bound):
            limit = "" if bound is None else f" (train.diverged_above is {bound})"
            raise DivergedError(
                f"the loss is {loss} at step {step}{limit}; a smaller optimizer.lr or "
                "train.clip_norm may help"
            )

    def _line_due(self, step: int) -> bool:
        """Whether the learning curve has a line of a step."""
        return step % self.train.log_every == 0 or step == self.total

    def _log(self, lr: float, progress: Progress) -> None:
        step = self.counters.step
        progress.step(step, self._shown)
        if self._line_due(step):
            average = self._recent_loss / self._recent_steps
            self.folder.curve.append(step, "train", {"loss": average, "lr": lr})
            self._recent_loss, self._recent_steps = 0.0, 0

    def _due_validation(self) -> ValidationSettings | None:
        step, every = self.counters.step, self.train.eval_every
        due = step == self.total or (every is not None and step % every == 0)
        return self.train.validation if due else None

    def _validate(self, validation: ValidationSettings, progress: Progress) -> None:
        values = self._validation_values(validation)
        step = self.counters.step
        self.folder.curve.append(step, validation.split, values)
        progress.validation(step, values)
        value = values[validation.metric]
        self._measured = f"{validation.metric} {value:.4g} at step {step}"
        self.schedule.observe(value, metric(validation.metric).higher_is_better)
        solved = self.train.stop_when_solved
        is_solved = solved is not None and solved.holds(values[solved.metric])
        self.counters.evaluations_solved = self.counters.evaluations_solved + 1 if is_solved else 0
        if self._improved(value, validation.metric):
            self.counters.best, self.counters.best_step = value, step
            self.counters.evaluations_since_best = 0
            self.save("best")
        else:
            self.counters.evaluations_since_best += 1
        self.save("last")

    def _validation_values(self, validation: ValidationSettings) -> Mapping[str, float]:
        known = [name for name in self.settings.task.metrics if not metric(name).asks_for_summaries]
        names: dict[str, Any] = dict.fromkeys([*known, validation.metric])
        totals = evaluate(
            self.model,
            self.task,
            validation.split,
            validation.examples,
            validation.batch_size or self.train.batch_size,
            self.seed,
            metrics=names,
            drawn=validation.examples_drawn,
            world=self.world,
        )
        return {name: totals.metric(name) for name in names}

    def _improved(self, value: float, name: str) -> bool:
        best, early = self.counters.best, self.train.early_stopping
        if best is None:
            return math.isfinite(value)
        margin = 0.0 if early is None else early.min_delta
        gain = value - best if metric(name).higher_is_better else best - value
        return gain > margin

    def _overdue(self) -> bool:
        """Whether it is time to save, where time decides."""
        by_time = self.train.checkpoint_every is None
        return by_time and time.monotonic() - self._saved > _SECONDS_BETWEEN_CHECKPOINTS
