"""Many runs: which are to be done, and doing them one after the other or side by side."""

import multiprocessing
import signal
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.process import BaseProcess
from typing import Literal

import torch
from rich.console import Console

from rmem_cli.errors import DivergedError, InterruptedRunError, RmemError, RunsFailedError
from rmem_cli.paths import results_root, runs_root
from rmem_cli.recipe.own_core import allow_modules, allowed_modules
from rmem_cli.recipe.resolve import RunSpec
from rmem_cli.records.folder import check_runs_root
from rmem_cli.results.outcomes import OUTCOMES
from rmem_cli.results.store import ResultStore
from rmem_cli.runs.equal import EqualRuns, each_once
from rmem_cli.runs.identity import identity_of
from rmem_cli.runs.machine import Machine
from rmem_cli.runs.run import FAILURES_BY_ERROR, train_run
from rmem_cli.runs.signals import interrupts_held, release_interrupts, stop_requested
from rmem_cli.streams import guarded_streams
from rmem_cli.training.progress import MakeProgress, Progress
from rmem_cli.visible import say
from rmem_cli.world import Stop

Rerun = Literal["missing", "failed", "all"]
_EXIT_CODES: dict[str, int] = {outcome: error.exit_code for error, outcome in FAILURES_BY_ERROR.items()}


@dataclass(frozen=True)
class Failure:
    """A run that did not end well.

    Attributes:
        spec: The run.
        exit_code: What it means for the command.
        message: Why.
    """

    spec: RunSpec
    exit_code: int
    message: str

    def as_error(self) -> RunsFailedError:
        """The error of a command that ends with it."""
        error = RunsFailedError(f"{self.spec.label}: {self.message}")
        error.exit_code = self.exit_code
        return error


def missing_runs(specs: Iterable[RunSpec], rerun: Rerun) -> list[RunSpec]:
    """Those runs that have to be done.

    Args:
        specs: Runs.
        rerun: `missing`: those without result, where a run that failed has one; `failed`: these too; `all`:
            all.

    Raises:
        DataError: The data of a run is missing.
    """
    store = ResultStore(results_root())
    return [spec for spec in specs if not _is_done(spec, store, rerun)]


def failed_runs(specs: Iterable[RunSpec]) -> list[RunSpec]:
    """Those runs whose results say that they failed.

    Raises:
        DataError: The data of a run is missing.
    """
    store = ResultStore(results_root())
    return [
        spec for spec in specs if _is_done(spec, store, "missing") and not _is_done(spec, store, "failed")
    ]


def _is_done(spec: RunSpec, store: ResultStore, rerun: Rerun) -> bool:
    train_hash = identity_of(spec).train_hash
    if rerun == "all":
        return False
    accepted = {"ok"} if rerun == "failed" else set(OUTCOMES)
    whole = (spec.row, spec.cell, spec.scale, spec.seed, train_hash, "")
    have = {
        (row.eval_hash, row.metric)
        for row in store.read(spec.experiment)
        if (row.row, row.cell, row.scale, row.seed, row.train_hash, row.part) == whole
        and row.status in accepted
    }
    return all(
        (spec.eval_hash(protocol), name) in have
        for protocol in spec.settings.eval
        for name in protocol.metrics
    )


def taken_over(specs: Sequence[RunSpec], *, write: bool = True) -> list[RunSpec]:
    """Those runs whose results equal runs of other names have, in any table (see `rmem_cli.runs.equal`).

    Args:
        specs: Runs.
        write: Whether to copy them into the tables of these.

    Raises:
        DataError: The data of a run is missing.
        UsageError: The results cannot be written.
    """
    equal = EqualRuns(ResultStore(results_root()))
    return [spec for spec in specs if (equal.take_over(spec) if write else bool(equal.results(spec)))]


def due_runs(
    specs: Iterable[RunSpec], rerun: Rerun, *, write: bool = True
) -> tuple[list[RunSpec], list[RunSpec]]:
    """Those runs that have to be trained, and those whose results are taken over instead.

    Args:
        specs: Runs.
        rerun: As of `missing_runs`; of `all`, nothing is taken over.
        write: As of `taken_over`.

    Raises:
        DataError: The data of a run is missing.
        UsageError: The results cannot be written.
    """
    todo = missing_runs(specs, rerun)
    equal = [] if rerun == "all" else taken_over(todo, write=write)
    return [spec for spec in todo if spec not in equal], equal


def train_runs(
    specs: Sequence[RunSpec],
    machine: Machine,
    console: Console,
    *,
    jobs: int = 1,
    repeat: bool = False,
    further: Callable[[], Sequence[RunSpec]] = tuple,
) -> list[Failure]:
    """Train runs, each to its end; one that fails does not stop the others. Equal ones are trained once.

    Args:
        specs: The runs.
        machine: Where each of them is computed.
        console: Where people read.
        jobs: How many at a time, each in a process of its own.
        repeat: Start runs that have ended all over again.
        further: Says after these which others their results ask for.

    Raises:
        InterruptedRunError: Ctrl-C, SIGTERM or SIGHUP came; every run has saved a checkpoint.
        UsageError: The folder of results or of runs cannot be written.
        RunsFailedError: One of several processes that train a run together could not go on, so that none of
            them knows where the others are.
    """
    ResultStore(results_root()).check_writable()
    check_runs_root(runs_root())
    with stop_requested() as stop:

        def train(some: Sequence[RunSpec]) -> list[Failure]:
            if jobs > 1:
                return _side_by_side(some, machine, jobs, repeat, stop)
            failures = []
            for spec in some:
                failure = _train_one(spec, machine, console, repeat, stop)
                failures += [failure] if failure else []
                if failure and machine.world.size > 1 and failure.exit_code != DivergedError.exit_code:
                    raise failure.as_error()  # no process knows where the others are
            return failures

        def train_each_once(some: Sequence[RunSpec]) -> list[Failure]:
            first, equal = each_once(some)
            failures = train(first)
            done = taken_over(equal)
            return failures + train([spec for spec in equal if spec not in done])

        failures = train_each_once(specs)
        failures += train_each_once(further())
        machine.world.told(None)
        return failures


def progress_of(spec: RunSpec, console: Console) -> MakeProgress:
    """What shows people how far a run is."""

    def progress(total: int, done: int, /, noun: str = "step") -> Progress:
        return Progress(total, spec.label, console, first_step=done, noun=noun)

    return progress


def _train_one(spec: RunSpec, machine: Machine, console: Console, repeat: bool, stop: Stop) -> Failure | None:
    try:
        ended = train_run(spec, machine, progress_of(spec, console), stop, repeat=repeat)
    except InterruptedRunError:
        raise
    except RmemError as error:
        return Failure(spec, error.exit_code, str(error))
    if ended.status == "ok":
        return None
    return Failure(spec, _EXIT_CODES[ended.status], f"{ended.status.replace('_', ' ')}: {ended.message}")


def _side_by_side(
    specs: Sequence[RunSpec], machine: Machine, jobs: int, repeat: bool, stop: Stop
) -> list[Failure]:
    context = multiprocessing.get_context("spawn")
    # It would be started with the first process, and let the interrupts held then come.
    resource_tracker.ensure_running()
    waiting = list(specs)
    running: list[tuple[RunSpec, BaseProcess]] = []
    failures: list[Failure] = []
    while running or (waiting and not stop()):
        while waiting and len(running) < jobs and not stop():
            spec = waiting.pop(0)
            given = spec, machine, repeat, allowed_modules()
            process: BaseProcess = context.Process(target=_run_in_process, args=given)
            with interrupts_held():
                process.start()
            running.append((spec, process))
        if stop():
            for _, process in running:
                process.terminate()
        time.sleep(0.05)
        for spec, process in [pair for pair in running if not pair[1].is_alive()]:
            running.remove((spec, process))
            if process.exitcode != 0:
                failures.append(_failure_of_process(spec, process.exitcode or 1))
    if stop():
        raise InterruptedRunError("stopped; the same command goes on from the last checkpoints")
    return failures


def _alone() -> bool:
    """Whether the process that started this one is gone: nobody would note that the run has ended."""
    parent = multiprocessing.parent_process()
    return parent is not None and not parent.is_alive()


def _failure_of_process(spec: RunSpec, code: int) -> Failure:
    """What the exit code of a process means, negative for the signal that killed it."""
    if code > 0:
        return Failure(spec, code, "failed; its own message is above")
    why = f"was killed by signal {-code}, as systems do that run out of memory"
    return Failure(
        spec, RunsFailedError.exit_code, f"{why}; the same command goes on from its last checkpoint"
    )


def _run_in_process(spec: RunSpec, machine: Machine, repeat: bool, modules: frozenset[str]) -> None:
    allow_modules(modules)
    torch.set_num_threads(machine.threads)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # what the process that started this one says is enough
    with guarded_streams(), stop_requested() as requested:
        console = Console(stderr=True, force_terminal=False)
        release_interrupts()
        try:
            failure = _train_one(spec, machine, console, repeat, lambda: requested() or _alone())
        except (InterruptedRunError, KeyboardInterrupt):
            raise SystemExit(InterruptedRunError.exit_code) from None
        if failure is not None:
            say(console, f"{spec.label}: {failure.message}")
            raise SystemExit(failure.exit_code)
