"""Which code made a result: versions, commit, and whether the commit is all of it."""

import os
import shutil
import subprocess
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Self

# What decides a result. Uncommitted results, notes and tests do not change the code that ran.
_CODE = ("rmem_cli", "data_scripts", "recipes", "pyproject.toml")
_GIT_TIMEOUT_SECONDS = 20


@dataclass(frozen=True)
class Provenance:
    """The code behind a result.

    Attributes:
        rmem_version: Version of rmem.
        torch_version: Version of PyTorch.
        git_commit: Commit of the checkout that runs ("" if rmem does not run from one).
        git_dirty: "true" if its code has uncommitted changes, "false" if not, "" without a checkout.
    """

    rmem_version: str
    torch_version: str
    git_commit: str
    git_dirty: str

    @classmethod
    def current(cls) -> Self:
        """The provenance of whatever this process runs now."""
        checkout = Path(__file__).resolve().parents[2]
        return cls(_version("rmem"), _version("torch"), *git_state(checkout))


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
