"""How far a run is, and how it ended."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field

from rmem_cli.records.files import read_json
from rmem_cli.results.outcomes import Outcome

Status = Literal["queued", "running", "interrupted"] | Outcome


@dataclass(frozen=True)
class RunStatus:
    """How far a run is.

    Attributes:
        status: What became of it; "running" stays where a process was killed, "queued" where a cluster
            does not start it.
        step: Updates done.
        message: Why, where the status needs a reason.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    status: Status
    step: Annotated[int, Field(ge=0)]
    message: str = ""


def read_status(folder: Path) -> RunStatus | None:
    """The status of the run in a folder; None if it never started.

    Raises:
        DataError: The status is damaged.
    """
    return read_json(folder / "status.json", RunStatus)
