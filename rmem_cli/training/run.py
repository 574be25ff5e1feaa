"""One run: train it to its end, evaluate it, record what came out."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from rmem_cli.errors import DivergedError, InterruptedRunError, UsageError
from rmem_cli.paths import results_root, runs_root
from rmem_cli.recipe.resolve import RunSpec
from rmem_cli.results.row import ResultRow
from rmem_cli.results.store import ResultStore
from rmem_cli.training.checkpoint import load_checkpoint
from rmem_cli.training.curves import thinned
from rmem_cli.training.loop import Training, build_seeded_model, build_task
from rmem_cli.training.memory import reset_peak_memory
from rmem_cli.training.progress import Progress
from rmem_cli.training.rows import Outcome, Trained, make_rows
from rmem_cli.training.run_folder import Environment, RunFolder, read_environment, run_path

Stop = Callable[[], bool]
_ENDED = {"ok", "diverged", "out_of_memory"}


@dataclass(frozen=True)
class Machine:
    """Where runs are computed.

    Attributes:
        device: Such as "cpu" or "cuda:0".
        threads: CPU threads of one run.
    """

    device: str
    threads: int


def train_run(
    spec: RunSpec,
    machine: Machine,
    progress: Callable[[int, int], Progress],
    stop: Stop,
    *,
    repeat: bool = False,
) -> Outcome:
    """Train a run to its end, going on from its last checkpoint, and write its rows and its curve.

    Args:
        spec: The run.
        machine: Where to compute; a run that goes on keeps the threads it started with.
        progress: Makes the display from the number of steps in all and of those already done.
        stop: Asked between steps; true saves a checkpoint and leaves.
        repeat: Start a run that has ended all over again.

    Raises:
        InterruptedRunError: `stop` was true.
        UsageError: The run started on another device or with other ops, or a folder cannot be written.
        DataError: Its data or its checkpoint is missing or damaged.
    """
    store = ResultStore(results_root())
    store.check_writable()
    device = torch.device(machine.device)
    reset_peak_memory(device)
    task = build_task(spec.settings)
    train_hash = _train_hash(spec)
    with RunFolder.open(spec, train_hash, runs_root()) as folder:
        status = folder.status()
        if repeat and status is not None and status.status in _ENDED:
            folder.clear()
        training = Training(spec.settings, spec.seed, task, folder, device)
        environment = _record_environment(folder, training, machine)
        training.resume()
        outcome = _train(training, folder, progress, stop)
        counters = training.counters
        trained = Trained(
            spec, folder, training.model, outcome, counters.step, counters.wall_seconds, environment
        )
        store.write(make_rows(trained, stop))
        store.write_curve(curve_name(spec, train_hash), thinned(folder.curve.text()))
        folder.write_status(outcome, counters.step)
    return outcome


def evaluate_run(spec: RunSpec, machine: Machine, stop: Stop) -> list[ResultRow]:
    """Evaluate the checkpoints of a trained run by the protocols of its settings, and write the rows.

    Raises:
        UsageError: The run has not been trained to its end.
        DataError: Its data or its checkpoint is missing or damaged.
    """
    store = ResultStore(results_root())
    store.check_writable()
    device = torch.device(machine.device)
    reset_peak_memory(device)
    path = run_path(spec, _train_hash(spec), runs_root())
    environment = read_environment(path)
    checkpoint = load_checkpoint(path, "last")
    if environment is None or checkpoint is None:
        raise UsageError(
            f"{spec.experiment} {spec.row} (scale {spec.scale}, seed {spec.seed}) has no checkpoint in "
            f"{path}; run `rmem train` first, with the same --scale and --set"
        )
    torch.set_num_threads(environment.threads)
    counters = checkpoint[1]["counters"]
    with RunFolder.open(spec, _train_hash(spec), runs_root()) as folder:
        status = folder.status()
        if status is None or status.status not in _ENDED:
            raise UsageError(
                f"the run in {path} has not come to its end; `rmem train` with the same options goes on"
            )
        model = build_seeded_model(spec.settings, build_task(spec.settings), spec.seed, device)
        trained = Trained(spec, folder, model, "ok", counters["step"], counters["wall_seconds"], environment)
        rows = make_rows(trained, stop)
    store.write(rows)
    return rows


def curve_name(spec: RunSpec, train_hash: str) -> str:
    """Name of a run's curve among the results."""
    parts = [spec.experiment, spec.row, spec.cell, f"{spec.scale}-seed{spec.seed}", train_hash]
    return "-".join(part for part in parts if part)


def _train_hash(spec: RunSpec) -> str:
    return spec.train_hash(spec.settings.task.data_hash())  # type: ignore[attr-defined]


def _record_environment(folder: RunFolder, training: Training, machine: Machine) -> Environment:
    """Note where the run computes, or make sure that it goes on as it started."""
    op_paths = training.model.core.op_paths()
    current = Environment.current(
        threads=machine.threads,
        device=machine.device,
        dtype=training.train.dtype,
        op_paths=";".join(f"{op}={path}" for op, path in sorted(op_paths.items())),
    )
    stored = folder.record_environment(current)
    if (stored.device, stored.op_paths) != (current.device, current.op_paths):
        raise UsageError(
            f"the run in {folder.path} started on {stored.device} with ops [{stored.op_paths}] and cannot go "
            f"on with {current.device} and [{current.op_paths}], or its numbers would not be those of one "
            "run; use the same device, or start it again after deleting that folder"
        )
    torch.set_num_threads(stored.threads)
    return _with_code_of_both(stored, current)


def _with_code_of_both(stored: Environment, current: Environment) -> Environment:
    """The environment as result rows state it: a run that went on with other code names both commits."""
    if stored.git_commit == current.git_commit and stored.git_dirty == current.git_dirty:
        return stored
    commits = dict.fromkeys([stored.git_commit or "unknown", current.git_commit or "unknown"])
    dirty = "true" if "true" in (stored.git_dirty, current.git_dirty) else stored.git_dirty
    return replace(stored, git_commit="+".join(commits), git_dirty=dirty)


def _train(
    training: Training, folder: RunFolder, progress: Callable[[int, int], Progress], stop: Stop
) -> Outcome:
    folder.write_status("running", training.counters.step)
    try:
        with progress(training.total, training.counters.step) as shown:
            training.run(stop, shown)
    except DivergedError as error:
        folder.write_status("diverged", training.counters.step, str(error))
        return "diverged"
    except InterruptedRunError as error:
        folder.write_status("interrupted", training.counters.step, str(error))
        raise
    except (torch.OutOfMemoryError, MemoryError) as error:
        folder.write_status("out_of_memory", training.counters.step, str(error))
        return "out_of_memory"
    return "ok"
