"""Runs handed to a cluster: one array of jobs, by submitit."""

import importlib
import os
import shutil
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, PositiveInt, ValidationError
from rich.console import Console

from rmem_cli.errors import InterruptedRunError, RunsFailedError, UsageError
from rmem_cli.paths import results_root, runs_root
from rmem_cli.recipe.messages import sentence
from rmem_cli.recipe.own_core import allow_modules, allowed_modules
from rmem_cli.recipe.resolve import RunSpec
from rmem_cli.recipe.settings import Settings
from rmem_cli.records.folder import RunFolder, check_runs_root
from rmem_cli.records.status import Status
from rmem_cli.results.store import ResultStore
from rmem_cli.runs.experiment import train_runs
from rmem_cli.runs.identity import identity_of
from rmem_cli.runs.machine import choose_machine
from rmem_cli.runs.together import together

_SECONDS_TO_SAVE = 30
Cluster = Literal["slurm", "local"]


class Profile(Settings):
    """What each job of a cluster gets; the file is YAML with some of these names.

    Attributes:
        partition: Of Slurm; None: its default.
        account: Of Slurm; None: the user's default.
        minutes: Time of a job, after which it is put back into the queue.
        gpus: GPUs of a job.
        processes: Processes that train a run together; None: one for each GPU.
        cores: CPU cores of a process.
        memory_gb: Memory of a job.
        at_once: Jobs of the array that run side by side; None: as many as the cluster takes.
        requeues: How often a job may run out of its time before it is given up.
        setup: Commands of the shell before each job, such as to load modules.
    """

    partition: str | None = None
    account: str | None = None
    minutes: PositiveInt = 60
    gpus: Annotated[int, Field(ge=0)] = 0
    processes: PositiveInt | None = None
    cores: PositiveInt = 1
    memory_gb: Annotated[float, Field(gt=0)] = 8
    at_once: PositiveInt | None = None
    requeues: Annotated[int, Field(ge=0)] = 100
    setup: list[str] = Field(default_factory=list)

    @property
    def together(self) -> int:
        """Processes that train a run together."""
        return self.processes or max(1, self.gpus)


def read_profile(path: Path | None) -> Profile:
    """The profile in a file; the default, if there is none.

    Raises:
        UsageError: It cannot be read, or is no profile; the message names all that is wrong.
    """
    if path is None:
        return Profile()
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        return Profile.model_validate({} if content is None else content)
    except OSError as error:
        raise UsageError(f"the profile {path} cannot be read ({error.strerror or error})") from error
    except ValidationError as error:
        wrong = "; ".join(
            f"{'.'.join(map(str, each['loc'])) or 'the file'}: {sentence(each, Profile)}"
            for each in error.errors()
        )
        raise UsageError(
            f"the profile {path} is wrong: {wrong}; it may have {', '.join(Profile.model_fields)}"
        ) from error
    except (ValueError, yaml.YAMLError) as error:
        raise UsageError(f"the profile {path} is no YAML ({str(error).splitlines()[0]})") from error


@contextmanager
def _saved_before_it_is_requeued() -> Iterator[None]:
    """Let training save a checkpoint when the cluster says that the time is up, before submitit requeues it.

    It gets half of a minute for that, as submitit has Slurm say so a minute and a half before the end. A
    SIGTERM is passed over, as submitit does: Slurm sends it beside, and with `scancel`.
    """
    number = getattr(signal, f"SIG{os.environ.get('SUBMITIT_PREEMPT_SIGNAL', 'USR2')}")
    requeue: Any = signal.getsignal(number)
    if not callable(requeue):  # not in a job
        yield
        return
    told: list[int] = []

    def tell(number: int, frame: FrameType | None) -> None:
        if not told:
            told.append(number)
            signal.signal(signal.SIGALRM, lambda *_: requeue(number, frame))
            signal.alarm(_SECONDS_TO_SAVE)
            signal.raise_signal(signal.SIGINT)

    signal.signal(number, tell)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        yield
    except (InterruptedRunError, KeyboardInterrupt):
        signal.alarm(0)
        if told:
            requeue(told[0], None)
        raise
    finally:
        signal.alarm(0)


class Job:
    """Trains a run; put back into the queue, it goes on from the last checkpoint.

    Args:
        device: As `--device`.
        processes: That train it together.
        repeat: Start it all over again, if it has ended.
    """

    def __init__(self, device: str, processes: int, *, repeat: bool) -> None:
        self._device, self._processes, self._repeat = device, processes, repeat
        self._modules = allowed_modules()

    def __call__(self, spec: RunSpec) -> None:
        """Train it to its end.

        Raises:
            RunsFailedError: It failed; submitit notes why.
        """
        with _saved_before_it_is_requeued():
            self._train(spec)

    def _train(self, spec: RunSpec) -> None:
        allow_modules(self._modules)
        console = Console(stderr=True, force_terminal=False)
        here = choose_machine(self._device, self._processes)
        with together(here, self._processes) as machine:
            failures = train_runs([spec], machine, console, repeat=self._repeat)
        if failures:
            raise RunsFailedError(f"{spec.label}: {failures[0].message}")

    def checkpoint(self, spec: RunSpec) -> Any:
        """What submitit puts into the queue when the time is up: the same, but not all over again."""
        job = Job(self._device, self._processes, repeat=False)
        return importlib.import_module("submitit").helpers.DelayedSubmission(job, spec)


def submit(
    specs: Sequence[RunSpec], cluster: Cluster, profile: Profile, device: str, *, repeat: bool = False
) -> list[str]:
    """Hand runs to a cluster, as one array.

    Args:
        specs: At least one.
        cluster: `slurm`, or `local`: processes of this machine, without a queue.
        profile: What each job gets.
        device: As `--device`.
        repeat: Start runs that have ended all over again.

    Returns:
        The numbers of the jobs, in the order of the runs.

    Raises:
        UsageError: submitit or the cluster is not here, or refuses; or a folder cannot be written.
        RunBusyError: Another process is working on one of the runs.
    """
    check_runs_root(runs_root())
    ResultStore(results_root()).check_writable()
    executor = _executor(cluster, profile)
    for spec in specs:  # before the jobs start, which hold the folders then
        _note(spec, "queued", f"handed to {cluster}")
    try:
        job = Job(device, profile.together, repeat=repeat)
        return [str(each.job_id) for each in executor.map_array(job, specs)]
    except Exception as error:
        for spec in specs:
            _note(spec, "interrupted", f"not taken by {cluster}")
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise UsageError(f"{cluster} does not take the jobs: {reason[-1]}") from error


def _executor(cluster: Cluster, profile: Profile) -> Any:
    """submitit's, which writes scripts and output of the jobs beside the runs."""
    try:
        submitit = importlib.import_module("submitit")
    except ImportError as error:
        raise UsageError(
            "rmem submit needs submitit, which is not installed: pip install 'rmem[slurm]'"
        ) from error
    if cluster == "slurm" and shutil.which("sbatch") is None:
        raise UsageError(
            "there is no Slurm here: sbatch is not found; submit from a machine that has it, or use "
            "`rmem train --jobs N`"
        )
    requeues = {"slurm_max_num_timeout": profile.requeues} if cluster == "slurm" else {}
    executor = submitit.AutoExecutor(folder=runs_root() / "jobs", cluster=cluster, **requeues)
    asked = {
        "name": "rmem",
        "timeout_min": profile.minutes,
        "cpus_per_task": profile.cores * profile.together,
        "mem_gb": profile.memory_gb,
        "gpus_per_node": profile.gpus or None,
        "slurm_partition": profile.partition,
        "slurm_account": profile.account,
        "slurm_array_parallelism": profile.at_once,
        "slurm_setup": profile.setup or None,
    }
    executor.update_parameters(**{name: value for name, value in asked.items() if value is not None})
    return executor


def _note(spec: RunSpec, status: Status, message: str) -> None:
    """Say in a run's folder what becomes of it."""
    with RunFolder.open(spec, identity_of(spec).train_hash, runs_root()) as folder:
        before = folder.status()
        folder.write_status(status, 0 if before is None else before.step, message)
