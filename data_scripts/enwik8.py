"""enwik8, the first 10^8 bytes of an English Wikipedia dump, in the two forms that papers use.

Both cut it into 90, 5 and 5 million bytes. `bytes` keeps every byte (RUM, Fast-Slow RNN). `txl` leaves the
newlines out: the loader published with Transformer-XL reads the text line by line and adds no symbol for the
end of a line, and all its numbers, and those of RMT, are per symbol of what is left (Dai et al. 2019, code).
"""

from collections.abc import Mapping
from pathlib import Path

from rmem_cli.data.writer import Content, Expected

from . import stand_ins
from .byte_text import byte_content
from .dataset import Dataset, Form, Source, SourceFile

HELD_OUT = 5_000_000
"""Bytes of the validation part, and of the test part."""


def prepare_bytes(files: Mapping[str, Path], held_out: int = HELD_OUT) -> Content:
    """Every byte as a symbol."""
    return byte_content(files["enwik8"], held_out)


def prepare_txl(files: Mapping[str, Path], held_out: int = HELD_OUT) -> Content:
    """Every byte but newlines as a symbol."""
    return byte_content(files["enwik8"], held_out, drop_newlines=True)


ENWIK8 = Dataset(
    name="enwik8",
    title="enwik8",
    files=(
        SourceFile(
            "enwik8", 100_000_000, "sha256:2b49720ec4d78c3c9fabaee6e4179a5e997302b3a70029f30f2d582218c024a8"
        ),
    ),
    sources=(
        Source(
            SourceFile(
                "enwik8.zip",
                36_445_475,
                "sha256:547994d9980ebed1288380d652999f38a14fe291a6247c157c3d33d4932534bc",
            ),
            ("http://mattmahoney.net/dc/enwik8.zip",),
            provides=("enwik8",),
        ),
    ),
    forms=(
        Form(
            "bytes",
            prepare_bytes,
            Expected({"train": 90_000_000, "valid": 5_000_000, "test": 5_000_000}, distinct=205),
            stand_in=stand_ins.text,
        ),
        Form(
            "txl",
            prepare_txl,
            Expected({"train": 88_982_818, "valid": 4_945_742, "test": 4_943_417}, distinct=204),
            stand_in=stand_ins.text,
        ),
    ),
    licence="Wikipedia text: GFDL, CC BY-SA",
    citation="Hutter (2006), The Human Knowledge Compression Contest, prize.hutter1.net",
    text_form="bytes",
)
