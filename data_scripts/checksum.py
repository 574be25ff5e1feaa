"""The size and the hashes of a stream of bytes."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

CHUNK = 1 << 20


class Digest:
    """Counts and hashes the bytes that are fed to it.

    Args:
        algorithms: Hashes wanted besides sha256, such as "md5"; some sources state no other.
    """

    def __init__(self, algorithms: Iterable[str] = ()) -> None:
        self.size = 0
        self._hashes = {name: hashlib.new(name, usedforsecurity=False) for name in {"sha256", *algorithms}}

    def update(self, chunk: bytes) -> None:
        """Take in the next bytes."""
        self.size += len(chunk)
        for running in self._hashes.values():
            running.update(chunk)

    def hex(self, algorithm: str = "sha256") -> str:
        """The hash of all bytes so far, in hex."""
        return self._hashes[algorithm].hexdigest()


def digest_file(path: Path, algorithms: Iterable[str] = ()) -> Digest:
    """Size and hashes of a file, read in pieces."""
    digest = Digest(algorithms)
    with path.open("rb") as handle:
        while chunk := handle.read(CHUNK):
            digest.update(chunk)
    return digest
