"""Builds the C++ sources beside this file, once for each machine, and loads them as torch operations.

Each op family has a folder; in `common/` is what several of them include.

A finished library is moved to its place in one step, under a lock: several processes that start at once build
it once, and one that is killed while building leaves nothing that the next could mistake for a library. Its
hash stands beside it: one that was damaged since would end the process that loads it, and is built again.
"""

import functools
import hashlib
import importlib
import logging
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import filelock
import torch

from rmem_cli.errors import UsageError
from rmem_cli.files import sha256_of
from rmem_cli.paths import native_root
from rmem_cli.visible import visible

FAMILIES = ("gates", "rotation", "unitary", "layer_norm_lstm", "attention", "product")
_MODES = ("auto", "on", "off")
_SOURCES = Path(__file__).parent
# Hidden, as torch finds what it calls by name in its own list, and calls within the library are direct.
_COMMON_FLAGS = ["-O3", "-DNDEBUG", "-fno-math-errno", "-fno-trapping-math", "-fvisibility=hidden"]
_CPU_FLAGS = {
    # Tuned for its own processor, a compiler loads a number once that it multiplies twice.
    "AVX512": ["-mtune=native", "-mavx512f", "-mavx512dq", "-mavx512vl", "-mavx512bw", "-mfma"],
    "AVX2": ["-mtune=native", "-mavx2", "-mfma"],
}
_COMPILER_SECONDS = 60
_log = logging.getLogger("rmem")


@dataclass(frozen=True)
class Status:
    """Whether the native form of an op family runs in this process.

    Attributes:
        available: It does.
        reason: Where its library is, or why it does not run: a phrase.
    """

    available: bool
    reason: str


@functools.cache
def status(family: str) -> Status:
    """Load the native form of an op family, building it first where that has not been done.

    Args:
        family: One of `FAMILIES`; its source is `<family>/<family>.cpp`.

    Raises:
        UsageError: `RMEM_NATIVE` is `on` and it cannot be had, or is none of auto, on and off.
    """
    mode = mode_asked_for()
    if mode == "off":
        return Status(False, "RMEM_NATIVE=off")
    try:
        return Status(True, str(_loaded(family)))
    except (_CannotBuildError, OSError, RuntimeError) as error:
        lines = visible(str(error)).strip().splitlines()
        reason = lines[0] if lines else type(error).__name__
        if mode == "on":
            raise UsageError(f"RMEM_NATIVE=on, but the native {family} cannot be had: {reason}") from error
        _log.warning("native %s not used: %s; the PyTorch form gives the same numbers", family, reason)
        return Status(False, reason)


def usable(family: str, *tensors: torch.Tensor) -> bool:
    """Whether the native form of an op family takes these tensors: of one float type, on the CPU.

    Tensors that have a shape alone (`meta`) are taken as if they were there.
    """
    first = tensors[0]
    return (
        first.dtype in (torch.float32, torch.float64)
        and first.device.type in ("cpu", "meta")
        and all((each.device, each.dtype) == (first.device, first.dtype) for each in tensors)
        and available(family)
    )


def available(family: str) -> bool:
    """Whether the native form of an op family runs in this process; arguments and errors as for `status`."""
    return status(family).available


# It is settled for the process, and `torch.compile` need not translate how. This is all that
# `torch.compiler.assume_constant_result` does, once it has imported what takes longer than torch itself.
available._dynamo_marked_constant = True  # type: ignore[attr-defined]


class _CannotBuildError(Exception):
    """A reason why a source cannot be compiled here: a phrase."""


def mode_asked_for() -> str:
    """What `RMEM_NATIVE` asks for: auto, on or off.

    Raises:
        UsageError: Something else.
    """
    mode = os.environ.get("RMEM_NATIVE", "") or "auto"
    if mode not in _MODES:
        raise UsageError(f"RMEM_NATIVE is {mode!r}; it must be one of {', '.join(_MODES)}")
    return mode


@functools.cache
def _loaded(family: str) -> Path:
    """Load the library of an op family, which can be done once in a process; returns its file."""
    try:
        root = native_root()
    except UsageError as error:
        raise _CannotBuildError(str(error)) from error
    library = root / f"{family}-{_identity(family)}" / f"{_module(family)}.so"
    if not _is_whole(library):
        try:
            _build_once(family, library)
        except _CannotBuildError as error:
            if library.exists():
                raise _CannotBuildError(f"{library} is not as it was built, and {error}") from error
            raise
    torch.ops.load_library(library)  # type: ignore[no-untyped-call]
    importlib.import_module(f"rmem_cli.ops.{family}.native").register()
    return library


def _is_whole(library: Path) -> bool:
    """Whether a library is there, as it was built."""
    try:
        return _hash_file(library).read_text(encoding="ascii") == sha256_of(library)
    except (OSError, ValueError):
        return False


def _hash_file(library: Path) -> Path:
    return library.with_name(f"{library.name}.sha256")


def _module(family: str) -> str:
    return f"rmem_{family}"


def _identity(family: str) -> str:
    """Of all that the compiled code depends on: the sources, torch, the flags for this CPU."""
    digest = hashlib.sha256()
    for source in _sources(_source(family)):
        digest.update(source.read_bytes())
    digest.update(repr((torch.__version__, sys.platform, platform.machine(), _flags())).encode())
    return digest.hexdigest()[:16]


def _source(family: str) -> Path:
    return _SOURCES / family / f"{family}.cpp"


def _sources(source: Path) -> list[Path]:
    """A source and the headers that it includes, directly or not; they are named from this folder on."""
    found = [source]
    for each in found:
        included = re.findall(r'^#include "(.+)"', each.read_text(encoding="utf-8"), re.MULTILINE)
        found += [_SOURCES / name for name in included if _SOURCES / name not in found]
    return found


def _flags() -> list[str]:
    """Of the compiler: torch's vector types are chosen by the two macros."""
    capability = torch.backends.cpu.get_cpu_capability()
    if capability not in _CPU_FLAGS:
        # What every compiler builds without being told more.
        capability = "DEFAULT"
    flags = [*_COMMON_FLAGS, f"-DCPU_CAPABILITY={capability}", f"-DCPU_CAPABILITY_{capability}"]
    flags += _CPU_FLAGS.get(capability, [])
    if sys.platform != "darwin":
        # Apple's compiler has no OpenMP; there, the loops run on one thread.
        flags.append("-fopenmp")
    return flags


def _build_once(family: str, library: Path) -> None:
    root = library.parent.parent
    try:
        root.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(root / f"{family}.lock"):
            if not _is_whole(library):
                _build(family, library)
    except OSError as error:
        why = f"{root} cannot be written ({error.strerror}); name another folder in RMEM_NATIVE_CACHE"
        raise _CannotBuildError(why) from error


def _build(family: str, library: Path) -> None:
    root = library.parent.parent
    for abandoned in root.glob(f"{family}.building-*"):
        _remove(abandoned)
    folder = Path(tempfile.mkdtemp(prefix=f"{family}.building-", dir=root))
    try:
        _compile(family, folder)
        built = folder / library.name
        _hash_file(built).write_text(sha256_of(built), encoding="ascii")
        _remove(library.parent)
        folder.replace(library.parent)
    finally:
        _remove(folder)


def _remove(path: Path) -> None:
    """Remove a folder, or a file in its place."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _compile(family: str, folder: Path) -> None:
    # Imported by a build of torch for CUDA where there is no GPU, it warns of a CUDA that nothing here uses.
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)
    from torch.utils import cpp_extension

    compiler = cpp_extension.get_cxx_compiler()  # type: ignore[no-untyped-call]
    _check_compiler(compiler)
    with _ninja_on_path():
        if shutil.which("ninja") is None:
            raise _CannotBuildError("ninja was not found; `pip install 'rmem[native]'` brings it")
        _log.warning("building the native %s, once for this machine: about a minute", family)
        try:
            cpp_extension.load(
                _module(family),
                [str(_source(family))],
                extra_cflags=_flags(),
                extra_include_paths=[str(_SOURCES)],
                build_directory=str(folder),
                with_cuda=False,
                is_python_module=False,
            )
        except (RuntimeError, ImportError, subprocess.SubprocessError) as error:
            raise _CannotBuildError(_first_error(str(error))) from error
        except OSError as error:
            if error.errno is not None:
                raise
            raise _CannotBuildError(f"what was built cannot be loaded ({error})") from error


def _check_compiler(compiler: str) -> None:
    if shutil.which(compiler) is None:
        raise _CannotBuildError(f"no C++ compiler ({compiler}) was found; install one, or set CXX")
    if not any(_ends_well([compiler, option]) for option in ("-v", "--version")):
        raise _CannotBuildError(f"the C++ compiler ({compiler}) does not run; install another, or set CXX")


def _ends_well(command: list[str]) -> bool:
    try:
        done = subprocess.run(command, capture_output=True, check=False, timeout=_COMPILER_SECONDS)  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return False
    return done.returncode == 0


def _first_error(output: str) -> str:
    """The compiler's first complaint, behind ninja's own headline."""
    complaints = [line.strip() for line in output.splitlines() if "error:" in line]
    return f"it does not compile ({complaints[0] if complaints else output.strip().splitlines()[0]})"


@contextmanager
def _ninja_on_path() -> Iterator[None]:
    """The ninja of this environment can be found, even where the environment is not activated."""
    before = os.environ.get("PATH", "")
    os.environ["PATH"] = os.pathsep.join([before, str(Path(sys.executable).parent)])
    try:
        yield
    finally:
        os.environ["PATH"] = before
