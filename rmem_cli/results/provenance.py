"""Which code made a result: versions, commit, and whether the commit is all of it."""

import base64
import hashlib
import os
import shutil
import subprocess
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, PackagePath, distribution, version
from pathlib import Path
from typing import Self

from rmem_cli.version import VERSION

# What decides a result. Uncommitted results, notes and tests do not change the code that ran.
_CODE = ("rmem_cli", "data_scripts", "recipes", "pyproject.toml")
_GIT_TIMEOUT_SECONDS = 20


@dataclass(frozen=True)
class Provenance:
    """The code behind a result.

    Attributes:
        rmem_version: Version of rmem.
        torch_version: Version of PyTorch.
        git_commit: Commit of the checkout that runs, or version and hash of the installed release, such as
            "0.1.0+1f0c..."; "" if rmem runs from neither, so that nobody can tell what ran.
        git_dirty: "true" if its code has changes that are not committed, or differs from what was installed;
            "false" if not; "" if there is nothing to compare it with.
    """

    rmem_version: str
    torch_version: str
    git_commit: str
    git_dirty: str

    @classmethod
    def current(cls) -> Self:
        """The provenance of whatever this process runs now."""
        checkout = Path(__file__).resolve().parents[2]
        commit, dirty = git_state(checkout)
        if not commit:
            commit, dirty = release_state(checkout)
        return cls(VERSION, _version("torch"), commit, dirty)


def git_state(folder: Path) -> tuple[str, str]:
    """The commit of a checkout of rmem and whether its code differs from that commit.

    Args:
        folder: The folder that holds `rmem_cli`.

    Returns:
        The commit (40 hex digits) and "true" or "false" for dirty; two empty strings if the folder's
        `rmem_cli` is not under version control, or git is missing or refuses.
    """
    # An installation inside the checkout of something else (its .venv, say) is not tracked there.
    if not _git(folder, "ls-files", "--", "rmem_cli/__init__.py"):
        return "", ""
    commit = _git(folder, "rev-parse", "--verify", "HEAD")
    changes = _git(folder, "status", "--porcelain", "--untracked-files=all", "--", *_CODE)
    if not commit or changes is None:
        return "", ""
    return commit, "true" if changes else "false"


def release_state(folder: Path, name: str = "rmem") -> tuple[str, str]:
    """Version and hash of an installed release, and whether its files differ from what was installed.

    Args:
        folder: The folder that holds `rmem_cli`.
        name: The distribution.

    Returns:
        Such as "0.1.0+1f0c2a..." and "true" or "false"; two empty strings if the folder's `rmem_cli` is not
        what an installer put there: an editable installation, or a copy.
    """
    try:
        release = distribution(name)
    except PackageNotFoundError:
        return "", ""
    files = [file for file in release.files or [] if file.hash is not None and file.suffix != ".pyc"]
    init = next((file for file in files if file.as_posix() == "rmem_cli/__init__.py"), None)
    if init is None or Path(str(init.locate())).resolve() != folder / "rmem_cli" / "__init__.py":
        return "", ""
    code = [file for file in files if file.parts[0] == "rmem_cli"]
    listed = sorted(f"{file.as_posix()} {file.hash.value}" for file in code if file.hash is not None)
    identity = hashlib.sha256("\n".join(listed).encode()).hexdigest()[:12]
    changed = any(not _is_as_installed(file) for file in code)
    return f"{release.version}+{identity}", "true" if changed else "false"


def _is_as_installed(file: PackagePath) -> bool:
    """Whether a file still has the hash that its installer recorded (PEP 376: base64 without padding)."""
    if file.hash is None:
        return True
    try:
        found = hashlib.new(file.hash.mode, Path(str(file.locate())).read_bytes()).digest()
    except (OSError, ValueError):
        return False
    return base64.urlsafe_b64encode(found).rstrip(b"=").decode() == file.hash.value


def _git(folder: Path, *arguments: str) -> str | None:
    """Output of a git command in a folder; None if it cannot be had."""
    git = shutil.which("git")
    if git is None:
        return None
    # Variables of a surrounding git process (a hook) would point at another repository.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    command = [git, "--no-optional-locks", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(  # noqa: S603 - a list of fixed words and one folder, no shell
            command, env=environment, capture_output=True, text=True, timeout=_GIT_TIMEOUT_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return ""
