"""How a run that is being trained was a moment ago, for whoever looks at its folder from any machine."""

import json
import socket
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import ConfigDict, Field

from rmem_cli.errors import DataError
from rmem_cli.files import write_atomically
from rmem_cli.records.files import read_json

FILE = "pulse.json"
_LEAST_SILENCE = 60.0  # seconds
_STEPS_OF_SILENCE = 10


@dataclass(frozen=True)
class Pulse:
    """What a run said of itself.

    Attributes:
        step: Updates done.
        total: Updates in all.
        seconds_per_step: Of the steps since the run last said so; None if there was none.
        metric: What was measured last, in words, such as "loss 0.31".
        host: Name of the machine.
        time: When, in seconds since 1970.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    step: Annotated[int, Field(ge=0)]
    total: Annotated[int, Field(ge=0)]
    seconds_per_step: float | None
    metric: str
    host: str = field(default_factory=socket.gethostname)
    time: float = field(default_factory=lambda: time.time())

    @property
    def age(self) -> float:
        """Seconds since then, by this machine's clock."""
        return max(0.0, time.time() - self.time)

    @property
    def is_silent(self) -> bool:
        """Whether it should have said something since."""
        return self.age > max(_LEAST_SILENCE, _STEPS_OF_SILENCE * (self.seconds_per_step or 0.0))

    @property
    def seconds_left(self) -> float | None:
        """Of training, at this speed."""
        return None if self.seconds_per_step is None else (self.total - self.step) * self.seconds_per_step


def write_pulse(folder: Path, pulse: Pulse) -> None:
    """Replace what a run says of itself; where that cannot be written, the run goes on unseen."""
    with suppress(OSError):
        write_atomically(folder / FILE, (json.dumps(asdict(pulse)) + "\n").encode())


def read_pulse(folder: Path) -> Pulse | None:
    """What the run in a folder last said; None if that was nothing, or is damaged."""
    try:
        return read_json(folder / FILE, Pulse)
    except DataError:
        return None
