"""Files of one's own that a task reads in place of a data set that `rmem fetch` knows."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, PositiveFloat, model_validator

from rmem_cli.recipe.document import Node
from rmem_cli.recipe.settings import Settings

SPLITS = ("train", "valid", "test")
SHARES = (0.9, 0.05, 0.05)
FIELDS = ("text", "documents", "pairs")
"""The fields of tasks that name such files."""
_FILES = ("file", *SPLITS)

FileName = Annotated[str, Field(min_length=1)]


class OwnFiles(Settings):
    """Files of one's own: one that is divided, or one for each split.

    A name is relative to the folder of the recipe's file, or, in `--set`, to the working folder. What counts
    is the content: the same files in another folder are the same data.

    Attributes:
        file: One file, which is divided in its own order.
        shares: How much of `file` is for training, for validation and for the test; null: 0.9, 0.05, 0.05.
        train: A file for training alone, in place of `file`.
        valid: One for validation; null: there is none.
        test: One for the test; null: there is none.
    """

    file: FileName | None = None
    shares: Annotated[list[PositiveFloat], Field(min_length=3, max_length=3)] | None = None
    train: FileName | None = None
    valid: FileName | None = None
    test: FileName | None = None

    @model_validator(mode="after")
    def _one_file_or_one_for_each_split(self) -> Self:
        if (self.file is None) == (self.train is None):
            raise ValueError("needs either file, which is divided, or train, with valid and test beside it")
        if self.file is not None and (self.valid or self.test):
            raise ValueError("file is divided into all splits; leave out valid and test, or call it train")
        if self.file is None and self.shares is not None:
            raise ValueError("shares divide one file; call it file, or leave them out")
        return self

    @model_validator(mode="after")
    def _shares_add_up(self) -> Self:
        total = math.fsum(self.shares or SHARES)
        if abs(total - 1) > 1e-6:
            raise ValueError(f"shares add up to {total:g}; make it 1, such as {list(SHARES)}")
        return self

    @property
    def files(self) -> dict[str, Path]:
        """Each file by its field."""
        named = {name: getattr(self, name) for name in _FILES}
        return {name: Path(path) for name, path in named.items() if path is not None}

    @property
    def empty_splits(self) -> frozenset[str]:
        """Those that no file is for."""
        return frozenset() if self.file is not None else frozenset(SPLITS) - self.files.keys()

    def cuts(self, length: int) -> list[int]:
        """Where training, validation and test end in something of a length."""
        shares = self.shares or SHARES
        return [round(math.fsum(shares[:count]) * length) for count in (1, 2)] + [length]


class OwnTokens(OwnFiles):
    """Files of one's own whose texts become symbols.

    Attributes:
        tokens: What a symbol stands for: `characters`, `words` (between white space), or pieces of words that
            `sentencepiece` finds in what is trained on.
        size: Most symbols; of characters and words the most frequent ones, the others being `<unk>`. null:
            all that are in what is trained on.
    """

    tokens: Literal["characters", "words", "sentencepiece"] = "characters"
    size: Annotated[int, Field(ge=4)] | None = None

    @model_validator(mode="after")
    def _pieces_have_a_size(self) -> Self:
        if self.tokens == "sentencepiece" and self.size is None:
            raise ValueError("size is missing, which sentencepiece needs; give one, such as 2000")
        return self


class OwnText(OwnTokens):
    """A text of one's own. An end of line is a symbol; a file that is divided is cut behind lines."""


class OwnDocuments(OwnTokens):
    """Documents of one's own with labels: a CSV file with a header, lines of JSON, or a JSON array.

    Attributes:
        text: The column, or field, of the text.
        label: That of the label; the classes are the labels of what is trained on.
    """

    text: FileName = "text"
    label: FileName = "label"


class OwnPairs(OwnFiles):
    """Articles of one's own with summaries: a CSV file with a header, lines of JSON, or a JSON array.

    Attributes:
        article: The column, or field, of the article.
        summary: That of the summary; a line is a sentence, as is an entry of a list.
        id: That of what `rmem sample --article` names it by, where there is one.
    """

    article: FileName = "article"
    summary: FileName = "summary"
    id: FileName = "id"


def with_bare_names(own: OwnFiles) -> OwnFiles:
    """The same files, wherever they are: named without their folders."""
    return own.model_copy(update={name: path.name for name, path in own.files.items()})


def with_whole_paths(tree: Node) -> Node:
    """The sections of a recipe in which files of one's own are named from the root, wherever they stand.

    Args:
        tree: Its nodes know the file that they were written in.
    """
    for section in FIELDS:
        for name in _FILES:
            tree = _changed(tree, ("task", section, name))
    return tree


def _changed(node: Node, path: tuple[str, ...]) -> Node:
    """The same with the whole path of a file at a path, if one is named there."""
    if not path:
        return _whole(node) if isinstance(node.value, str) and node.value else node
    name = path[0]
    if name not in node.fields:
        return node
    return node.with_field(name, _changed(node.fields[name], path[1:]), node.keys[name])


def _whole(node: Node) -> Node:
    folder = Path() if node.place.line is None else Path(node.place.source).parent
    return replace(node, value=str((folder / str(node.value)).absolute()))
