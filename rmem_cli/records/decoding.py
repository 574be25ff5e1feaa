"""The file of a run folder that keeps what was said about articles while others are still to come.

Its first line says what decoded them; each other one is an article (`rmem_cli.results.summaries.Summary`).
"""

import json
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from itertools import accumulate
from pathlib import Path

from pydantic import TypeAdapter

from rmem_cli.files import write_atomically
from rmem_cli.records.environment import Environment
from rmem_cli.records.files import written
from rmem_cli.results.summaries import Summary


@dataclass(frozen=True)
class Origin:
    """All that what is said about articles depends on.

    Attributes:
        eval_hash: Of the protocol.
        data_hash: Of the articles.
        weights: Hash of the weights.
        scorer: What scores them, in words.
        environment: Where they are decoded.
    """

    eval_hash: str
    data_hash: str
    weights: str
    scorer: str
    environment: Environment

    def goes_on(self, earlier: "Origin") -> bool:
        """Whether articles decoded by an earlier session stand beside its own: whatever commit ran."""
        here = self.environment
        there = replace(earlier.environment, git_commit=here.git_commit, git_dirty=here.git_dirty)
        return replace(earlier, environment=there) == self


class Decoding:
    """What was said about the articles of a protocol so far.

    What an earlier session has decoded in the same way counts, up to the first line that is damaged, or half
    of a batch; the rest is decoded again.

    Args:
        folder: The run folder; the caller holds its lock.
        protocol: Name of the protocol.
        origin: What decodes.
        batches: The places of the articles, batch by batch.

    Attributes:
        origin: The same, with the commits of earlier sessions.
        summaries: Those that are there.

    Raises:
        UsageError: The file cannot be written.
    """

    def __init__(self, folder: Path, protocol: str, origin: Origin, batches: Sequence[Sequence[int]]) -> None:
        self._path, self._batches = _path(folder, protocol), batches
        self.origin = origin
        self.summaries: list[Summary] = []
        earlier, summaries = _read(self._path)
        if earlier is not None and origin.goes_on(earlier):
            self.origin = replace(origin, environment=origin.environment.after(earlier.environment))
            self.summaries = _alike(summaries, batches)
        lines = [json.dumps(asdict(self.origin)) + "\n", *(one.to_line() for one in self.summaries)]
        with written(self._path):
            write_atomically(self._path, "".join(lines).encode())

    @property
    def done(self) -> int:
        """How many articles are decoded."""
        return len(self.summaries)

    @property
    def missing(self) -> list[Sequence[int]]:
        """The batches that are still to be decoded, in their order."""
        ends = accumulate(map(len, self._batches))
        return [batch for batch, end in zip(self._batches, ends, strict=True) if end > self.done]

    def append(self, summaries: Sequence[Summary]) -> None:
        """Add a batch; it is on disk when the call returns.

        Raises:
            UsageError: It cannot be written.
        """
        with written(self._path), self._path.open("a", encoding="utf-8", newline="") as file:
            file.writelines(one.to_line() for one in summaries)
            file.flush()
            os.fsync(file.fileno())
        self.summaries += summaries


def read_summaries(folder: Path, protocol: str) -> list[Summary]:
    """What was said about the articles of a protocol, as far as the file is whole."""
    return _read(_path(folder, protocol))[1]


def _path(folder: Path, protocol: str) -> Path:
    return folder / f"summaries-{protocol}.jsonl"


def _read(path: Path) -> tuple[Origin | None, list[Summary]]:
    """What decoded the summaries of a file, and those in front of the first line that is damaged."""
    summaries: list[Summary] = []
    try:
        first, *lines = path.read_bytes().decode(errors="replace").split("\n")[:-1]
        origin = TypeAdapter(Origin).validate_json(first)
    except (OSError, ValueError):
        return None, []
    with suppress(ValueError):
        for line in lines:
            summaries.append(Summary.from_line(line))
    return origin, summaries


def _alike(summaries: Sequence[Summary], batches: Sequence[Sequence[int]]) -> list[Summary]:
    """Those of whole batches, as far as they are of these places."""
    found: list[Summary] = []
    for batch in batches:
        of_batch = summaries[len(found) : len(found) + len(batch)]
        if [one.place for one in of_batch] != list(batch):
            break
        found += of_batch
    return found
