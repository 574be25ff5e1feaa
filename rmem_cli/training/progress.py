"""How far a run is: a bar on a terminal, a line now and then elsewhere."""

from collections.abc import Callable, Mapping
from datetime import timedelta
from time import monotonic
from typing import Protocol, Self, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress
from rich.table import Column
from rich.text import Text

from rmem_cli.visible import say

_SECONDS_BETWEEN_FRAMES = 0.25
_SECONDS_BETWEEN_LINES = 10.0
_LEAST_SECONDS_BETWEEN_LINES = 1.0
_FRACTION_BETWEEN_LINES = 0.1

_Shown = TypeVar("_Shown")


class MakeProgress(Protocol):
    """Makes the display of a run."""

    def __call__(self, total: int, done: int, /, noun: str = "step") -> "Progress":
        """Of so many steps in all, some of them done; or of what else is counted."""


class Progress:
    """Shows the steps of a run while it is open as a context manager.

    Where it cannot be shown any more, because the terminal was closed or the disk of a log is full, the run
    goes on unseen: what would be lost is worth more than what would be read.

    On a terminal one line with a bar is redrawn. Elsewhere a line is written after every ten seconds or tenth
    of the run, whichever comes first, but at most one per second; validations always have a line.

    Args:
        total_steps: Steps of the whole run.
        title: What the run is called.
        console: Where people read, which is stderr; None: nothing is shown.
        first_step: Steps done before, in a run that goes on.
        noun: What is counted; "step" of training.
    """

    def __init__(
        self,
        total_steps: int,
        title: str,
        console: Console | None,
        first_step: int = 0,
        noun: str = "step",
    ) -> None:
        self._display: _Bar | _Lines | None = None
        if console is not None:
            form = _Bar if console.is_terminal else _Lines
            self._display = form(total_steps, title, console, first_step, noun)
        self._next_time = 0.0
        self._latest: tuple[int, Mapping[str, float]] | None = None

    def __enter__(self) -> Self:
        self._show(lambda display: display.start())
        return self

    def __exit__(self, *_: object) -> None:
        if self._latest is not None:
            step, metrics = self._latest
            self._show(lambda display: display.last_step(step, metrics))
        self._show(lambda display: display.stop())

    def step(self, step: int, metrics: Mapping[str, float]) -> None:
        """Report the training metrics of a step; costs next to nothing unless it is time to show them.

        Args:
            step: Updates done.
            metrics: Name to value.
        """
        self._latest = step, metrics
        now = monotonic()
        if now >= self._next_time:
            self._next_time = self._show(lambda display: display.step(step, metrics, now)) or 0.0

    def validation(self, step: int, metrics: Mapping[str, float]) -> None:
        """Show the metrics of a validation.

        Args:
            step: Updates done.
            metrics: Name to value.
        """
        self._show(lambda display: display.validation(step, metrics))

    def _show(self, what: Callable[["_Bar | _Lines"], _Shown]) -> _Shown | None:
        if self._display is None:
            return None
        try:
            return what(self._display)
        except OSError:
            self._display = None
            return None


class _Lines:
    """The display where lines stay: files, pipes, the logs of clusters."""

    def __init__(self, total_steps: int, title: str, console: Console, first_step: int, noun: str) -> None:
        self._total = total_steps
        self._noun = noun
        self._title = title
        self._console = console
        self._first_step = self._shown_step = first_step
        self._start_time = self._shown_time = monotonic()

    def start(self) -> None:
        self._start_time = self._shown_time = monotonic()

    def stop(self) -> None:
        pass

    def step(self, step: int, metrics: Mapping[str, float], now: float) -> float:
        """Show a step if it is time to; returns when to ask again."""
        enough_steps = step - self._shown_step >= _FRACTION_BETWEEN_LINES * self._total
        enough_time = now - self._shown_time >= _SECONDS_BETWEEN_LINES
        too_soon = now - self._shown_time < _LEAST_SECONDS_BETWEEN_LINES
        if not too_soon and (enough_steps or enough_time):
            self._show(step, metrics, now)
        return max(now, self._shown_time + _LEAST_SECONDS_BETWEEN_LINES)

    def last_step(self, step: int, metrics: Mapping[str, float]) -> None:
        if step != self._shown_step:
            self._show(step, metrics, monotonic())

    def validation(self, step: int, metrics: Mapping[str, float]) -> None:
        self._say(f"{self._where(step)}: validation {_format(metrics)}")

    def _say(self, text: str) -> None:
        say(self._console, f"{self._title}: {text}")

    def _show(self, step: int, metrics: Mapping[str, float], now: float) -> None:
        self._shown_step, self._shown_time = step, now
        self._say(f"{self._where(step)}: {_format(metrics)}{self._pace(step, now)}")

    def _where(self, step: int) -> str:
        return f"{self._noun} {step}/{self._total}"

    def _pace(self, step: int, now: float) -> str:
        steps, seconds = step - self._first_step, now - self._start_time
        if steps <= 0 or seconds <= 0:
            return ""
        left = timedelta(seconds=round((self._total - step) * seconds / steps))
        return f", {steps / seconds:.3g} {self._noun}s/s, {left} left"


class _Metrics(ProgressColumn):
    """The metrics, which give way where the terminal is narrow; the other columns do not."""

    def render(self, task: Task) -> Text:
        return Text(task.fields["metrics"], no_wrap=True, overflow="ellipsis")


class _Bar:
    """The display on a terminal."""

    def __init__(self, total_steps: int, title: str, console: Console, first_step: int, noun: str) -> None:
        self._validation = ""
        # Drawn by `step`, not by a thread of its own, which would take turns with the training.
        self._progress = RichProgress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=12, table_column=Column(no_wrap=True)),
            MofNCompleteColumn(table_column=Column(no_wrap=True)),
            TimeRemainingColumn(table_column=Column(no_wrap=True)),
            _Metrics(),
            console=console,
            auto_refresh=False,
            redirect_stdout=False,
        )
        about = title if noun == "step" else f"{title}, {noun}s"
        self._task = self._progress.add_task(about, total=total_steps, completed=first_step, metrics="")

    def start(self) -> None:
        self._progress.start()

    def stop(self) -> None:
        self._progress.stop()

    def step(self, step: int, metrics: Mapping[str, float], now: float) -> float:
        """Redraw the bar; returns when to ask again."""
        self._progress.update(
            self._task, completed=step, metrics=_format(metrics) + self._validation, refresh=True
        )
        return now + _SECONDS_BETWEEN_FRAMES

    def last_step(self, step: int, metrics: Mapping[str, float]) -> None:
        self.step(step, metrics, monotonic())

    def validation(self, step: int, metrics: Mapping[str, float]) -> None:
        self._validation = f" | validation {_format(metrics)}"
        self._progress.update(self._task, completed=step, metrics=self._validation[3:], refresh=True)


def _format(metrics: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in metrics.items())
