"""Where a run was computed."""

import platform
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, ClassVar, Self

from pydantic import ConfigDict, Field

from rmem_cli.records.files import read_json
from rmem_cli.results.provenance import Provenance

_MOST_THREADS = 4096


@dataclass(frozen=True)
class Environment:
    """Where a run was computed; when it goes on, the first four attributes and torch must be the same.

    Attributes:
        threads: CPU threads of PyTorch.
        device: "cpu", "cuda", ...
        dtype: Numbers of weights and activations.
        op_paths: Implementation of each op, such as "rotation=fast".
        rmem_version: Version of rmem.
        torch_version: Version of PyTorch.
        git_commit: Commit of the checkout that ran ("" if there was none); of all that ran, joined by "+",
            where other code went on.
        git_dirty: "true" if one of these had uncommitted changes, "false" if not, "" without a checkout.
        python: Version of Python.
        platform: Operating system and processor.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    threads: Annotated[int, Field(ge=1, le=_MOST_THREADS)]
    device: str
    dtype: str
    op_paths: str
    rmem_version: str
    torch_version: str
    git_commit: str
    git_dirty: str
    python: str
    platform: str

    @classmethod
    def current(cls, *, threads: int, device: str, dtype: str, op_paths: str) -> Self:
        """The environment of this process, with what only the caller knows."""
        return cls(
            threads=threads,
            device=device,
            dtype=dtype,
            op_paths=op_paths,
            **asdict(Provenance.current()),
            python=platform.python_version(),
            platform=platform.platform(),
        )

    def after(self, earlier: Self) -> Self:
        """This environment, with the commits of an earlier session in front of its own."""
        if (earlier.git_commit, earlier.git_dirty) == (self.git_commit, self.git_dirty):
            return self
        own = (self.git_commit or "unknown").split("+")
        before = [each for each in (earlier.git_commit or "unknown").split("+") if each not in own]
        dirty = "true" if "true" in (earlier.git_dirty, self.git_dirty) else earlier.git_dirty
        return replace(self, git_commit="+".join([*before, *own]), git_dirty=dirty)


def read_environment(folder: Path) -> Environment | None:
    """The environment of the run in a folder; None if it never started.

    Raises:
        DataError: The environment is damaged.
    """
    return read_json(folder / "environment.json", Environment)
