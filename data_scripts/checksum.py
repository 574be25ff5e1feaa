"""The size and the hashes of a stream of bytes."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

CHUNK = 1 << 20
GIT_BLOB = "git-blob"


class Digest:
    """Counts and hashes the bytes that are fed to it.

    Args:
        algorithms: Hashes wanted besides sha256, such as "md5"; some sources state no other. "git-blob" is
            the name git gives to a file's content; it starts with the size, so that all must be in memory.
    """

    def __init__(self, algorithms: Iterable[str] = ()) -> None:
        self.size = 0
        wanted = {"sha256", *algorithms}
        self._kept = bytearray() if GIT_BLOB in wanted else None
        self._hashes = {name: hashlib.new(name, usedforsecurity=False) for name in wanted - {GIT_BLOB}}

    def update(self, chunk: bytes) -> None:
        """Take in the next bytes."""
        self.size += len(chunk)
        for running in self._hashes.values():
            running.update(chunk)
        if self._kept is not None:
            self._kept += chunk

    def hex(self, algorithm: str = "sha256") -> str:
        """The hash of all bytes so far, in hex."""
        if algorithm == GIT_BLOB:
            content = b"blob %d\0" % self.size + bytes(self._kept or b"")
            return hashlib.sha1(content, usedforsecurity=False).hexdigest()
        return self._hashes[algorithm].hexdigest()


def digest_file(path: Path, algorithms: Iterable[str] = ()) -> Digest:
    """Size and hashes of a file, read in pieces."""
    digest = Digest(algorithms)
    with path.open("rb") as handle:
        while chunk := handle.read(CHUNK):
            digest.update(chunk)
    return digest
