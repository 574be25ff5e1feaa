"""text8, 10^8 characters of cleaned Wikipedia text (a to z and space), cut into 90, 5 and 5 million."""

from collections.abc import Mapping
from pathlib import Path

from rmem_cli.data.writer import Content, Expected

from . import stand_ins
from .byte_text import byte_content
from .dataset import Dataset, Form, Source, SourceFile

HELD_OUT = 5_000_000
"""Characters of the validation part, and of the test part."""


def prepare_characters(files: Mapping[str, Path], held_out: int = HELD_OUT) -> Content:
    """Every character as a symbol."""
    return byte_content(files["text8"], held_out)


TEXT8 = Dataset(
    name="text8",
    title="text8",
    files=(SourceFile("text8", 100_000_000, "md5:3bea1919949baf155f99411df5fada7e"),),
    sources=(
        Source(
            SourceFile(
                "text8.zip",
                31_344_016,
                "sha256:a6640522afe85d1963ad56c05b0ede0a0c000dddc9671758a6cc09b7a38e5232",
            ),
            ("http://mattmahoney.net/dc/text8.zip",),
            provides=("text8",),
        ),
        Source(
            SourceFile("text8.gz", None, "md5:68799af40b6bda07dfa47a32612e5364"),
            ("https://github.com/piskvorky/gensim-data/releases/download/text8/text8.gz",),
            provides=("text8",),
        ),
    ),
    forms=(
        Form(
            "char",
            prepare_characters,
            Expected({"train": 90_000_000, "valid": 5_000_000, "test": 5_000_000}, distinct=27),
            stand_in=stand_ins.text,
        ),
    ),
    licence="Wikipedia text: GFDL, CC BY-SA",
    citation="Mahoney (2011), About the Test Data, mattmahoney.net/dc/textdata.html",
    text_form="char",
)
