import errno
import io
import time

import pytest
from rich.console import Console

from rmem_cli.training import progress as progress_module
from rmem_cli.training.progress import Progress


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(progress_module, "monotonic", clock)
    return clock


def run(clock: Clock, steps: int, seconds_per_step: float, first_step: int = 0) -> list[str]:
    """The lines that a run writes to a file."""
    console = Console(file=(file := io.StringIO()), width=60)
    with Progress(steps, "recall [lstm] seed 1", console, first_step) as progress:
        for step in range(first_step + 1, steps + 1):
            clock.now += seconds_per_step
            progress.step(step, {"loss": 1 / step, "lr": 1e-3})
    return file.getvalue().splitlines()


class Closed(io.StringIO):
    """A file that cannot be written any more after some lines, as a terminal that was closed."""

    def __init__(self, lines: int) -> None:
        super().__init__()
        self.left = lines

    def write(self, text: str) -> int:
        self.left -= text.count("\n")
        if self.left < 0:
            raise OSError(errno.EIO, "Input/output error")
        return super().write(text)


@pytest.mark.parametrize("terminal", [False, True])
@pytest.mark.parametrize("lines", [0, 1, 3])
def test_a_run_whose_terminal_was_closed_goes_on_unseen(clock: Clock, lines: int, terminal: bool) -> None:
    console = Console(file=Closed(lines), force_terminal=terminal)
    with Progress(10, "recall", console) as progress:
        for step in range(1, 11):
            clock.now += 20
            progress.step(step, {"loss": 1.0})
            progress.validation(step, {"loss": 1.0})


def test_a_line_says_where_the_run_is_and_how_long_it_takes(clock: Clock) -> None:
    lines = run(clock, steps=100, seconds_per_step=0.5)
    assert lines[0] == ("recall [lstm] seed 1: step 10/100: loss 0.1, lr 0.001, 2 steps/s, 0:00:45 left")


def test_a_slow_run_writes_a_line_every_ten_seconds(clock: Clock) -> None:
    lines = run(clock, steps=1000, seconds_per_step=1.0)
    assert len(lines) == 100


def test_a_run_of_a_minute_writes_a_line_every_tenth(clock: Clock) -> None:
    assert len(run(clock, steps=1000, seconds_per_step=0.06)) == 10


def test_a_run_of_less_than_a_second_writes_its_last_step_only(clock: Clock) -> None:
    lines = run(clock, steps=1000, seconds_per_step=0.0001)
    assert len(lines) == 1
    assert "step 1000/1000" in lines[0]


def test_a_resumed_run_counts_its_speed_from_where_it_goes_on(clock: Clock) -> None:
    lines = run(clock, steps=100, seconds_per_step=2.0, first_step=90)
    assert "step 95/100: " in lines[0]
    assert lines[0].endswith("0.5 steps/s, 0:00:10 left")


@pytest.mark.parametrize("terminal", [True, False])
def test_validations_are_always_shown(terminal: bool) -> None:
    console = Console(file=(file := io.StringIO()), width=200, force_terminal=terminal)
    with Progress(1000, "title", console) as progress:
        progress.validation(0, {"accuracy": 0.125})
        progress.validation(1, {"accuracy": 0.25})
    text = file.getvalue()
    assert "validation accuracy 0.125" in text
    assert "validation accuracy 0.25" in text


def test_a_terminal_shows_a_bar_with_the_last_step_and_the_latest_validation() -> None:
    console = Console(file=(file := io.StringIO()), width=120, force_terminal=True)
    with Progress(200, "rum [lambda 1]", console) as progress:
        for step in range(1, 201):
            progress.step(step, {"loss": 1.5})
            if step == 100:
                progress.validation(step, {"bpc": 2.25})
    last = file.getvalue().rpartition("rum [lambda 1]")[2].splitlines()[0]
    assert "200/200" in last
    assert "loss 1.5 | validation bpc 2.25" in last


def test_on_a_narrow_terminal_the_metrics_give_way_and_the_place_stays() -> None:
    console = Console(file=(file := io.StringIO()), width=70, force_terminal=True)
    with Progress(1000, "rum_recall rum_lambda1 seed 1", console) as progress:
        progress.validation(500, {"loss": 1.25, "accuracy": 0.5})
        progress.step(1000, {"loss": 1.5, "lr": 1e-3})
    last = file.getvalue().rpartition("rum_recall rum_lambda1 seed 1")[2].splitlines()[0]
    assert "1000/1000" in last
    assert "…" in last


@pytest.mark.parametrize("terminal", [True, False])
def test_a_step_that_is_not_shown_costs_microseconds(terminal: bool) -> None:
    console = Console(file=io.StringIO(), force_terminal=terminal)
    calls = 10_000
    with Progress(10**9, "title", console) as progress:
        progress.step(1, {"loss": 1.0})
        start = time.perf_counter()
        for step in range(calls):
            progress.step(step, {"loss": 1.0})
        seconds = time.perf_counter() - start
    assert seconds / calls < 20e-6
