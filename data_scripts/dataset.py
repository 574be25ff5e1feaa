"""What a data set is: its files, where they come from, what is made of them; and the list of all of them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path

from rmem_cli.data.writer import Content, Expected
from rmem_cli.errors import UsageError

from .checksum import Digest

_DATASETS = {"ptb": ".ptb:PTB"}


@dataclass(frozen=True)
class SourceFile:
    """A file known by its content.

    Args:
        name: File name; with `/` where files of one name lie in several folders.
        size: Bytes (None: not known).
        checksum: "sha256:...", or "md5:..." or "sha1:..." where no sha256 is known ("": none is known).
    """

    name: str
    size: int | None
    checksum: str

    @property
    def algorithm(self) -> str:
        """The hash that `checksum` is made with."""
        return self.checksum.partition(":")[0] or "sha256"

    def mismatch(self, found: Digest) -> str | None:
        """How other bytes differ from this file, as part of a sentence; None if they do not.

        Args:
            found: Digest of those bytes that includes `algorithm`.
        """
        wrong_size = self.size is not None and found.size != self.size
        checksum = f"{self.algorithm}:{found.hex(self.algorithm)}"
        if not wrong_size and self.checksum in ("", checksum):
            return None
        expected = "" if self.size is None else f"{self.size:,} bytes, "
        return f"expected {expected}{self.checksum}; found {found.size:,} bytes, {checksum}"


@dataclass(frozen=True)
class Source:
    """One public place of some files of a data set.

    Args:
        file: What is downloaded: a file of the data set, or an archive (or compressed form) of some of them.
        urls: Its address and those of its mirrors, best first.
        provides: Names of the files of the data set it holds; empty: `file` is one itself.
        browser: Whether the host turns away programs that do not call themselves a browser.
    """

    file: SourceFile
    urls: tuple[str, ...]
    provides: tuple[str, ...] = ()
    browser: bool = False

    def holds(self, name: str) -> bool:
        """Whether this place holds the file of that name."""
        return name in (self.provides or (self.file.name,))


@dataclass(frozen=True)
class Form:
    """One thing prepared from a data set.

    Args:
        name: Folder of the prepared arrays, and what recipes call it.
        prepare: Source file name to path -> arrays and vocabulary.
        expected: Counts that must come out (None: not known).
    """

    name: str
    prepare: Callable[[Mapping[str, Path]], Content]
    expected: Expected | None


@dataclass(frozen=True)
class Dataset:
    """A data set.

    Args:
        name: What `rmem fetch` calls it.
        title: Its usual name.
        files: All its files: the content that counts, whatever it was packed in.
        sources: Where they can be downloaded, in the order of trying.
        forms: What is prepared.
        licence: Terms of use.
        citation: What to cite.
    """

    name: str
    title: str
    files: tuple[SourceFile, ...]
    sources: tuple[Source, ...]
    forms: tuple[Form, ...]
    licence: str
    citation: str

    @property
    def size(self) -> int:
        """Bytes of all files, unpacked."""
        return sum(file.size or 0 for file in self.files)


def dataset_names() -> list[str]:
    """The names of all data sets."""
    return list(_DATASETS)


def dataset(name: str) -> Dataset:
    """The data set of a name.

    Raises:
        UsageError: There is none; the message names the closest.
    """
    if name not in _DATASETS:
        close = get_close_matches(name, _DATASETS, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"there are: {', '.join(_DATASETS)}."
        raise UsageError(f"There is no data set {name!r}; {hint}")
    module, _, variable = _DATASETS[name].partition(":")
    found: Dataset = getattr(import_module(module, __package__), variable)
    return found
