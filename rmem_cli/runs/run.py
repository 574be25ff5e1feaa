"""One run: train it to its end, evaluate it, record what came out."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import torch

from rmem_cli.errors import DivergedError, RmemError, UsageError
from rmem_cli.models.model import Model
from rmem_cli.ops import autocast
from rmem_cli.paths import results_root, runs_root
from rmem_cli.recipe.resolve import RunSpec
from rmem_cli.recipe.schema import RunSettings, TrainSettings
from rmem_cli.records.checkpoint import fitting, load_checkpoint
from rmem_cli.records.curve import thinned
from rmem_cli.records.environment import Environment, read_environment
from rmem_cli.records.folder import HOW_TO_TRAIN, RunFolder, UnforeseenError
from rmem_cli.records.status import RunStatus, read_status
from rmem_cli.records.tensorboard import TensorBoardCurveFile
from rmem_cli.results.outcomes import FAILURES, OUTCOMES, Outcome
from rmem_cli.results.row import ResultRow
from rmem_cli.results.store import ResultStore
from rmem_cli.runs.machine import Machine
from rmem_cli.runs.opened import Run, open_run
from rmem_cli.runs.peak_memory import OutOfMemoryError, one_out_of_memory_error, reset_peak_memory
from rmem_cli.runs.plan import keep_rate
from rmem_cli.runs.rows import Trained, checkpoints_of, make_rows, write_samples
from rmem_cli.training.loop import Counters, Training, saved_counters
from rmem_cli.training.progress import MakeProgress, Progress
from rmem_cli.world import Stop

# What ends a run as a failure, and what that is called.
FAILURES_BY_ERROR: dict[type[RmemError], Outcome] = {
    DivergedError: "diverged",
    OutOfMemoryError: "out_of_memory",
    UnforeseenError: "failed",
}


@contextmanager
def small_numbers_are_zero() -> Iterator[None]:
    """Gradients that vanish end in numbers that a processor takes a hundred times as long over."""
    before = sys.float_info.min / 2 == 0.0
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)


@small_numbers_are_zero()
def train_run(
    spec: RunSpec,
    machine: Machine,
    progress: MakeProgress,
    stop: Stop,
    *,
    repeat: bool = False,
) -> RunStatus:
    """Train a run to its end, going on from its last checkpoint, and write its rows and its curve.

    Args:
        spec: The run.
        machine: Where to compute; a run that goes on keeps the threads it started with.
        progress: Makes the display.
        stop: Asked between steps; true saves a checkpoint and leaves.
        repeat: Start a run that has ended all over again.

    Returns:
        How it ended: ok, diverged, out of memory or failed by an error that nobody foresaw, and why.

    Raises:
        InterruptedRunError: `stop` was true.
        UsageError: The run started on another device, with another torch or with other ops, or a file cannot
            be written.
        DataError: Its data or its checkpoint is missing or damaged.
        OutOfMemoryError: Not even the model fits into memory.
        UnforeseenError: Not even the model could be built; the folder has the traceback.
        LostProcessError: Another of the processes that train the run has ended.
    """
    store = ResultStore(results_root())
    store.check_writable()
    store.read(spec.experiment)  # a damaged table would refuse the rows at the end
    device = torch.device(machine.device)
    reset_peak_memory(device)
    run = open_run(spec)
    _check_machine(spec.settings.train, machine)
    with RunFolder.open(spec, run.identity.train_hash, runs_root()) as folder, _one_error(folder):
        status = folder.status()
        if repeat and status is not None and status.status in OUTCOMES:
            folder.clear()
        set_up(read_environment(folder.path), machine, spec.settings.train)
        if machine.tensorboard:
            folder.curve = TensorBoardCurveFile(folder.path / "metrics.csv")
        training = _training(run, folder, machine)
        environment = _record_environment(folder, training, machine)
        machine.world.told(spec)
        if machine.compile:
            training.model.compile()
        training.resume()
        with _last_word(training), _one_error(folder):
            ended, rows = _train_and_evaluate(run, training, environment, progress, stop)
            # The rows come last: a run that has them is done, and nothing would write curve or status again.
            store.write_curve(run.identity.curve, thinned(folder.curve.text()))
            write_samples(store, folder.path, rows)
            folder.write_status(ended.status, ended.step, ended.message)
        store.write(rows)
        if not machine.compile and machine.world.size == 1:
            keep_rate(run, training.model, device, training.step_seconds)
    return ended


@small_numbers_are_zero()
def follow_run(spec: RunSpec, machine: Machine, stop: Stop) -> None:
    """Train and evaluate a run together with the process in which `train_run` does.

    Raises:
        InterruptedRunError: `stop` was true, in whichever process.
        LostProcessError: Another process has ended.
        RmemError: As `train_run`; the other processes learn that this one has ended.
    """
    run = open_run(spec)
    folder = RunFolder.followed(run.identity.folder)
    with _one_error(folder):
        set_up(read_environment(folder.path), machine, spec.settings.train)
        training = _training(run, folder, machine)
        if machine.compile:
            training.model.compile()
        training.resume()
        with suppress(DivergedError):  # the others have found the same loss, and say it
            training.run(stop, _unseen(training.total, 0))
            _rows(training, run, "ok", environment_of(training.model, run.settings, machine), _unseen, stop)


def _unseen(total: int, done: int, noun: str = "step") -> Progress:
    return Progress(total, "", None, done, noun)


def _check_machine(train: TrainSettings, machine: Machine) -> None:
    """Every process has rows of a batch for all of its shares, and the device the precision asked for."""
    if machine.world.size * train.accumulate > train.batch_size:
        each = f" with {train.accumulate} shares each (train.accumulate)" if train.accumulate > 1 else ""
        raise UsageError(
            f"{machine.world.size} processes{each} are more than the {train.batch_size} rows of a batch "
            "(train.batch_size), and some would have nothing to do; start fewer"
        )
    if train.precision == "tf32" and torch.device(machine.device).type != "cuda":
        raise UsageError(
            f"train.precision is tf32, which NVIDIA's GPUs have, and --device is {machine.device}; "
            "give --device cuda, or leave the precision out"
        )


def _training(run: Run, folder: RunFolder, machine: Machine) -> Training:
    model = run.seeded_model(torch.device(machine.device))
    return Training(run.settings, run.spec.seed, run.stages, model, folder, machine.world)


@contextmanager
def _one_error(folder: RunFolder) -> Iterator[None]:
    """Inside, whatever goes wrong is an `RmemError`."""
    with folder.unforeseen_errors(), one_out_of_memory_error():
        yield


@small_numbers_are_zero()
def evaluate_run(spec: RunSpec, machine: Machine, progress: MakeProgress, stop: Stop) -> list[ResultRow]:
    """Evaluate the checkpoints of a trained run by the protocols of its settings, and write the rows.

    They may be those of an equal run of another name. Summaries that were decoded before a stop count.

    Args:
        spec: The run.
        machine: Where to compute.
        progress: Makes the display, where summaries are decoded.
        stop: Asked between protocols and while decoding.

    Raises:
        InterruptedRunError: `stop` was true.
        DivergedError: A loss is not finite.
        UsageError: The run has not been trained to its end, or it failed.
        DataError: Its data or its checkpoint is missing or damaged.
        OutOfMemoryError: The memory does not suffice.
        UnforeseenError: Something else went wrong; the folder has the traceback.
    """
    store = ResultStore(results_root())
    store.check_writable()
    device = torch.device(machine.device)
    reset_peak_memory(device)
    run = open_run(spec)
    path = run.identity.trained_folder
    if read_status(path) is None:
        raise UsageError(f"{spec.label} has not been trained: nothing is in {path}; {HOW_TO_TRAIN}")
    with RunFolder.hold(path) as folder, _one_error(folder):
        counters = _finished_counters(folder, run.steps)
        set_up(read_environment(path), machine, spec.settings.train)
        model = run.seeded_model(device)
        current = environment_of(model, spec.settings, machine)
        environment = current.after(folder.record_environment(current))
        load = checkpoints_of(run, path)
        trained = Trained(run, path, load, model, "ok", counters.step, counters.wall_seconds, environment)
        rows = make_rows(trained, progress, stop)
        write_samples(store, folder.path, rows)
    store.write(rows)
    return rows


def _finished_counters(folder: RunFolder, total: int) -> Counters:
    """Step and training time of a run that can be evaluated."""
    status = folder.status()
    if status is not None and status.status in FAILURES:
        raise UsageError(
            f"the run in {folder.path} failed ({status.message}), so there is nothing to evaluate; "
            "`rmem train --rerun failed` with the same options repeats it"
        )
    checkpoint = load_checkpoint(folder.path, "last")
    if status is None or status.status != "ok" or checkpoint is None:
        raise UsageError(
            f"the run in {folder.path} has not come to its end; `rmem train` with the same options goes on "
            "(with --rerun all, if its results are here already)"
        )
    with fitting(folder.path, "last"):
        return saved_counters(checkpoint[1], total)


def set_up(stored: Environment | None, machine: Machine, train: TrainSettings) -> None:
    """Compute with the threads that a run started with, from its first weights on, to the same bits.

    Args:
        stored: Where the run started; None: it starts here.
        machine: Where to compute.
        train: Of the run.
    """
    alone = machine.world.size == 1  # other threads are other bits, and so are other processes
    torch.set_num_threads(stored.threads if stored is not None and alone else machine.threads)
    mode, on_gpu = machine.deterministic, torch.device(machine.device).type == "cuda"
    # Kernels are chosen for equal bits, not for the last few per cent of speed.
    wanted = mode == "error" or (mode == "warn" and on_gpu)
    if wanted or torch.are_deterministic_algorithms_enabled():  # setting it loads torch's compiler: a second
        torch.use_deterministic_algorithms(wanted, warn_only=mode == "warn")
    rounded = train.precision == "tf32"
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = rounded


def environment_of(model: Model, settings: RunSettings, machine: Machine) -> Environment:
    """What computes a run here."""
    with autocast.lowering(autocast.lower_type(settings.train.precision), torch.device(machine.device).type):
        paths = _op_paths(model, machine)
    return Environment.current(
        threads=torch.get_num_threads(),
        device=machine.device,
        dtype=settings.train.dtype,
        op_paths=";".join(f"{op}={path}" for op, path in sorted(paths.items())),
    )


def _op_paths(model: Model, machine: Machine) -> dict[str, str]:
    return model.op_paths() | ({"core": "compiled"} if machine.compile else {})


def _record_environment(folder: RunFolder, training: Training, machine: Machine) -> Environment:
    """Note where the run computes, or make sure that it goes on as it started."""
    current = environment_of(training.model, training.settings, machine)
    stored = folder.record_environment(current)
    if stored.torch_version != current.torch_version:
        raise UsageError(
            f"the run in {folder.path} started with torch {stored.torch_version} and cannot go on with torch "
            f"{current.torch_version}, or its numbers would not be those of one run; install torch "
            f"{stored.torch_version}, or start it again after deleting that folder"
        )
    if (stored.device, stored.op_paths) != (current.device, current.op_paths):
        raise UsageError(
            f"the run in {folder.path} started on {stored.device} with ops [{stored.op_paths}] and cannot go "
            f"on with {current.device} and [{current.op_paths}], or its numbers would not be those of one "
            "run; use the same device, or start it again after deleting that folder"
        )
    environment = current.after(stored)
    folder.record_code(stored, environment)
    return environment


@contextmanager
def _last_word(training: Training) -> Iterator[None]:
    """Inside, what ends a run before it has an outcome stays in its status: the same command goes on with it.

    A status of failure would let `--rerun` forget what the run has done.
    """
    try:
        yield
    except (RmemError, KeyboardInterrupt) as error:
        with suppress(UsageError):  # on a disk that is full, what has ended the run matters more
            training.folder.write_status("interrupted", training.counters.step, str(error))
        raise


def _train_and_evaluate(
    run: Run,
    training: Training,
    environment: Environment,
    progress: MakeProgress,
    stop: Stop,
) -> tuple[RunStatus, list[ResultRow]]:
    """How a run ended, and its result rows, which have no values if it failed."""
    folder, counters = training.folder, training.counters
    folder.write_status("running", counters.step)

    try:
        with _one_error(folder):
            with progress(training.total, counters.step) as shown:
                training.run(stop, shown)
            return RunStatus("ok", counters.step), _rows(training, run, "ok", environment, progress, stop)
    except tuple(FAILURES_BY_ERROR) as error:
        outcome = FAILURES_BY_ERROR[type(error)]
        rows = _rows(training, run, outcome, environment, progress, stop)
        return RunStatus(outcome, counters.step, str(error)), rows


def _rows(
    training: Training,
    run: Run,
    outcome: Outcome,
    environment: Environment,
    progress: MakeProgress,
    stop: Stop,
) -> list[ResultRow]:
    """Those of a run whose training has ended."""
    path, model, counters, world = training.folder.path, training.model, training.counters, training.world
    load, seconds = checkpoints_of(run, path), counters.wall_seconds
    trained = Trained(run, path, load, model, outcome, counters.step, seconds, environment, world)
    return make_rows(trained, progress, stop)
