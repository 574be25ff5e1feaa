"""What a data set is: its files, where they come from, what is made of them; and the list of all of them."""

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path, PurePosixPath

from rich.console import Console

from rmem_cli.data.prepared import Prepared
from rmem_cli.data.unwritten import Unwritten
from rmem_cli.data.writer import Content, Expected
from rmem_cli.errors import UsageError, closest

from .checksum import Digest
from .stand_ins import StandIn

_DATASETS = {
    "ptb": ".ptb:PTB",
    "wikitext2": ".wikitext:WIKITEXT2",
    "wikitext103": ".wikitext:WIKITEXT103",
    "enwik8": ".enwik8:ENWIK8",
    "text8": ".text8:TEXT8",
    "mnist": ".mnist:MNIST",
    "cifar10": ".cifar10:CIFAR10",
    "babi": ".babi:BABI",
    "hyperpartisan": ".hyperpartisan:HYPERPARTISAN",
    "cnn_dailymail": ".cnn_dailymail:CNN_DAILYMAIL",
    "pubmed": ".scientific_papers:PUBMED",
    "arxiv": ".scientific_papers:ARXIV",
    "pubmed_sections": ".scientific_papers:PUBMED_SECTIONS",
    "arxiv_sections": ".scientific_papers:ARXIV_SECTIONS",
    "science_daily": ".science_daily:SCIENCE_DAILY",
    "own_articles": ".own_articles:OWN_ARTICLES",
    "unknown_words": ".unknown_words:UNKNOWN_WORDS",
    "copy": ".copy_reverse:COPY",
    "reverse": ".copy_reverse:REVERSE",
    "associative_retrieval": ".associative_retrieval:ASSOCIATIVE_RETRIEVAL",
    "quadratic": ".quadratic:QUADRATIC",
}

_OF_ONES_OWN = re.compile(r"own_articles_[A-Za-z0-9_-]{1,100}")


@dataclass(frozen=True)
class SourceFile:
    """A file known by its content.

    Args:
        name: File name; with `/` where files of one name lie in several folders.
        size: Bytes (None: not known).
        checksum: "sha256:...", or "md5:...", "sha1:...", "sha512:..." or "git-blob:..." where no sha256 is
            known ("": none is known).
        aliases: Other names it goes by.
        at_most: Bytes beyond which it cannot be this file, where the size is not known.
    """

    name: str
    size: int | None
    checksum: str
    aliases: tuple[str, ...] = ()
    at_most: int = 1 << 30

    @property
    def base_names(self) -> frozenset[str]:
        """The names, without folders, that it may have."""
        return frozenset(PurePosixPath(name).name for name in (self.name, *self.aliases))

    @property
    def most(self) -> int:
        """Bytes it may have."""
        return self.at_most if self.size is None else self.size

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
        size = "" if self.size is None else f"{self.size:,} bytes"
        expected = ", ".join(filter(None, (size, self.checksum)))
        return f"expected {expected}; found {found.size:,} bytes, {checksum}"


@dataclass(frozen=True)
class Source:
    """One public place of some files of a data set.

    Args:
        file: What is downloaded: a file of the data set, or an archive (or compressed form) of some of them.
        urls: Its address and those of its mirrors, best first.
        provides: Names of the files of the data set it holds; empty: `file` is one itself.
        browser: Whether the host turns away programs that do not call themselves a browser.
        unverified: Why it is doubtful that the files are there; such a place is tried last, and that is said.
    """

    file: SourceFile
    urls: tuple[str, ...]
    provides: tuple[str, ...] = ()
    browser: bool = False
    unverified: str = ""

    def holds(self, name: str) -> bool:
        """Whether this place holds the file of that name."""
        return name in (self.provides or (self.file.name,))


@dataclass(frozen=True)
class Form:
    """One thing prepared from a data set.

    Args:
        name: Folder of the prepared arrays, and what recipes call it.
        prepare: Source file name to path -> arrays and vocabulary. Files that are missing are not among them.
        expected: Counts that must come out (None: not known).
        files: The files it is made from (none named: all).
        unit: What is counted.
        stand_in: What stands for its content in a plan while it is not here (None: its size is not known).
    """

    name: str
    prepare: Callable[[Mapping[str, Path]], Content]
    expected: Expected | None = None
    files: tuple[str, ...] = ()
    unit: str = "symbols"
    stand_in: StandIn | None = None


@dataclass(frozen=True)
class Derived:
    """One thing prepared from another prepared form, whose source files are not needed for it any more.

    Args:
        name: Folder of the prepared arrays, and what recipes call it.
        made_from: The other form.
        prepare: The other form, a folder to keep unfinished work in, and the console for progress (stderr) ->
            arrays and vocabulary. Called again after it was stopped, it goes on from what is in the folder.
        unit: What is counted.
        expected: Counts of a plan; what comes out is not held to them.
        stand_in: As of `Form`.
    """

    name: str
    made_from: str
    prepare: Callable[[Prepared, Path, Console], Content]
    unit: str = "symbols"
    expected: Expected | None = None
    stand_in: StandIn | None = None


@dataclass(frozen=True)
class Dataset:
    """A data set.

    Args:
        name: What `rmem fetch` calls it.
        title: Its usual name.
        files: All its files: the content that counts, whatever it was packed in; none if it is generated.
        sources: Where they can be downloaded, in the order of trying.
        forms: What is prepared.
        licence: Terms of use.
        citation: What to cite.
        alternatives: Other complete sets of files with the same content, laid out differently.
        text_form: The form that gives the text back, where there is one: further tokenizers start from it.
        instructions: How to get a local copy, where no public source is known.
        alone: The file that a single one of whatever name is taken for; empty: a file has to have its name.
        derived: What is prepared from its forms.
        read: Reads a file, and raises a DataError that says at which line it is damaged.
    """

    name: str
    title: str
    files: tuple[SourceFile, ...]
    sources: tuple[Source, ...]
    forms: tuple[Form, ...]
    licence: str
    citation: str
    alternatives: tuple[tuple[SourceFile, ...], ...] = ()
    text_form: str = ""
    instructions: str = ""
    alone: str = ""
    derived: tuple[Derived, ...] = ()
    read: Callable[[Path], object] | None = None

    @property
    def every_file(self) -> list[SourceFile]:
        """The files of all layouts."""
        return [*self.files, *(file for layout in self.alternatives for file in layout)]

    @property
    def every_form(self) -> list[Form | Derived]:
        """Everything that is prepared."""
        return [*self.forms, *self.derived]

    @property
    def size(self) -> int | None:
        """Bytes of all files, unpacked; None if not all sizes are known."""
        sizes = [file.size for file in self.files if file.size is not None]
        return sum(sizes) if len(sizes) == len(self.files) else None

    @property
    def packed_size(self) -> int | None:
        """Bytes of the first thing to download; None if not known or if there is nothing."""
        return self.sources[0].file.size if self.sources else None

    @property
    def most_unpacked(self) -> int:
        """Bytes to which an archive of its files may unpack, with room for what is packed with them."""
        return 10 * sum(file.most for file in self.files) + (1 << 30)

    @property
    def layouts(self) -> list[tuple[SourceFile, ...]]:
        """The complete sets of files; none if it is generated."""
        return [layout for layout in (self.files, *self.alternatives) if layout]

    def layout(self, found: Collection[str]) -> tuple[SourceFile, ...]:
        """The layout of which the smallest share is lacking beside the files found."""

        def lacking(layout: tuple[SourceFile, ...]) -> float:
            return sum(file.name not in found for file in layout) / len(layout)

        return min(self.layouts, key=lacking, default=())

    def missing(self, found: Collection[str]) -> list[SourceFile]:
        """The files that are lacking beside those found; of several layouts, in the most complete one."""
        return [file for file in self.layout(found) if file.name not in found]


def dataset_names() -> list[str]:
    """The names of all data sets."""
    return list(_DATASETS)


def own_sets(folder: Path) -> list[str]:
    """The names of all further sets of articles of one's own in a folder of data."""
    return sorted(path.name for path in folder.glob("own_articles_*") if _OF_ONES_OWN.fullmatch(path.name))


def dataset(name: str) -> Dataset:
    """The data set of a name.

    Raises:
        UsageError: There is none; the message names the closest.
    """
    if _OF_ONES_OWN.fullmatch(name):
        own: Dataset = import_module(".own_articles", __package__).named(name)
        return own
    if name not in _DATASETS:
        if name.startswith("own_articles_"):
            wanted = "behind own_articles_, up to 100 letters, digits, _ and - are a name"
            raise UsageError(f"There is no data set {name!r}: {wanted}.")
        raise UsageError(f"There is no data set {name!r}; {closest(name, _DATASETS)}")
    module, _, variable = _DATASETS[name].partition(":")
    found: Dataset = getattr(import_module(module, __package__), variable)
    return found


@cache
def unwritten(name: str, form: str) -> Prepared | None:
    """A data set in its known size, but without its content; None if its size is not known."""
    known_set = dataset(name) if name in _DATASETS else None
    forms = [] if known_set is None else known_set.every_form
    known = next((each for each in forms if each.name == form), None)
    if known is None or known.expected is None or known.stand_in is None:
        return None
    return Unwritten.of(name, form, known.stand_in(known.expected), known.expected.counts)
