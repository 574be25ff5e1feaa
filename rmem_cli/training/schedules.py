"""Learning-rate schedules: the rate as a function of the step, and of the validation metric for `Plateau`."""

import math
from abc import ABC, abstractmethod
from bisect import bisect_right

from rmem_cli.recipe.kinds import ScheduleSettings
from rmem_cli.recipe.registry import build
from rmem_cli.training.config import (
    CosineSettings,
    InverseSqrtSettings,
    LinearSettings,
    PlateauSettings,
    StepSettings,
    WarmedUpSettings,
)


def build_schedule(settings: ScheduleSettings, base_lr: float, total_steps: int) -> "Schedule":
    """The schedule that the settings describe.

    Args:
        settings: Settings of one of the kinds in `training/config.py`.
        base_lr: The learning rate of the optimizer's settings.
        total_steps: Optimizer steps of the whole run.
    """
    schedule: Schedule = build(settings, base_lr, total_steps)
    return schedule


class Schedule(ABC):
    """A linear warm-up, then what a subclass defines.

    Args:
        base_lr: The learning rate at the end of the warm-up.
        total_steps: Optimizer steps of the whole run.
        settings: Settings of the subclass's kind.
    """

    settings: WarmedUpSettings

    def __init__(self, base_lr: float, total_steps: int, settings: WarmedUpSettings) -> None:
        self.settings = settings
        self.base_lr = base_lr
        self.total_steps = total_steps

    def lr(self, step: int) -> float:
        """The learning rate of the update after `step` updates (0 for the first)."""
        warmup = self.settings.warmup_steps
        if step < warmup:
            return self.base_lr * (step + 1) / warmup
        return self._lr_after_warmup(step)

    def observe(self, value: float, higher_is_better: bool) -> None:  # noqa: B027 - most need not know
        """Take note of a validation result; only `Plateau` reacts."""

    def state_dict(self) -> dict[str, float]:
        """What a checkpoint must keep beside the step."""
        return {}

    def load_state_dict(self, state: dict[str, float]) -> None:  # noqa: B027 - most keep nothing
        """Go on from what `state_dict` returned."""

    @abstractmethod
    def _lr_after_warmup(self, step: int) -> float:
        """The learning rate of the update after `step` updates, when the warm-up is over."""

    def _fraction(self, step: int) -> float:
        """How much of the way from the end of the warm-up to `total_steps` is done, 0 to 1."""
        warmup = self.settings.warmup_steps
        return min(1.0, (step - warmup) / max(1, self.total_steps - warmup))


class Constant(Schedule):
    """Always the same rate."""

    def _lr_after_warmup(self, step: int) -> float:  # noqa: ARG002 - the same at every step
        return self.base_lr


class Linear(Schedule):
    """A straight line that reaches `min_lr` when all steps are done."""

    settings: LinearSettings

    def _lr_after_warmup(self, step: int) -> float:
        done = self._fraction(step)
        return self.base_lr * (1 - done) + self.settings.min_lr * done


class Cosine(Schedule):
    """Half a cosine that reaches `min_lr` when all steps are done (Loshchilov and Hutter 2017).

    Where it spans the warm-up, the rate is that of Transformer-XL's code, set after each update:
    the first has the full rate, and a warm-up of `n` steps ends in a jump down to the cosine.
    """

    settings: CosineSettings

    def lr(self, step: int) -> float:
        """See `Schedule.lr`."""
        warmup = self.settings.warmup_steps
        if self.settings.spans_warmup and step < warmup:
            return self.base_lr * step / warmup if step else self.base_lr
        return super().lr(step)

    def _lr_after_warmup(self, step: int) -> float:
        done = min(1.0, step / self.total_steps) if self.settings.spans_warmup else self._fraction(step)
        left = (1 + math.cos(math.pi * done)) / 2
        return self.base_lr * left + self.settings.min_lr * (1 - left)


class InverseSqrt(Schedule):
    """Proportional to one over the root of the number of updates (Vaswani et al. 2017)."""

    settings: InverseSqrtSettings

    def _lr_after_warmup(self, step: int) -> float:
        return self.base_lr * math.sqrt(self.settings.warmup_steps / (step + 1))


class Step(Schedule):
    """Multiplied at each of the steps `at`, by `factor` or by the one of `factors` that is its own."""

    settings: StepSettings

    def _lr_after_warmup(self, step: int) -> float:
        passed = bisect_right(sorted(self.settings.at), step)
        if self.settings.factors is None:
            return self.base_lr * self.settings.factor**passed
        by_step = sorted(zip(self.settings.at, self.settings.factors, strict=True))
        return self.base_lr * math.prod(factor for _, factor in by_step[:passed])


class Plateau(Schedule):
    """Multiplied by `factor` when more than `patience` validations in a row are no better than the best one.

    Better is what exceeds it by more than its share `threshold`.
    """

    settings: PlateauSettings

    def __init__(self, base_lr: float, total_steps: int, settings: PlateauSettings) -> None:
        super().__init__(base_lr, total_steps, settings)
        self._best = -math.inf  # of the metric, its sign turned where lower is better
        self._without_improvement = 0
        self._reductions = 0

    def observe(self, value: float, higher_is_better: bool) -> None:
        """Take note of a validation result; one that is not a number counts as no improvement."""
        score = value if higher_is_better else -value
        margin = self.settings.threshold * abs(self._best) if math.isfinite(self._best) else 0.0
        if score > self._best + margin:
            self._best = score
            self._without_improvement = 0
            return
        self._without_improvement += 1
        if self._without_improvement > self.settings.patience:
            self._reductions += 1
            self._without_improvement = 0

    def state_dict(self) -> dict[str, float]:
        """Best value, validations since, and how often the rate was reduced."""
        return {
            "best": self._best,
            "without_improvement": self._without_improvement,
            "reductions": self._reductions,
        }

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Go on from what `state_dict` returned."""
        self._best = state["best"]
        self._without_improvement = int(state["without_improvement"])
        self._reductions = int(state["reductions"])

    def _lr_after_warmup(self, step: int) -> float:  # noqa: ARG002 - depends on the validations alone
        return max(self.base_lr * self.settings.factor**self._reductions, self.settings.min_lr)
