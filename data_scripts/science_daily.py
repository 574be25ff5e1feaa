"""Science Daily: papers with a short text about them, 50,308 pairs (Dangovski et al. 2019).

It was not published with the paper, so it can only be imported.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from rmem_cli.data.pair_records import Pair, pair_content, read_pairs
from rmem_cli.data.pairs import FORM
from rmem_cli.data.words import WRITTEN
from rmem_cli.data.writer import Content, Expected

from .dataset import Dataset, Form, SourceFile
from .words import words_form

_SPLITS = ("train", "valid", "test")
_ABOUT = {"train": 40_246, "valid": 5_031, "test": 5_031}  # assumed for plans: a tenth each is held out


def prepare_pairs(files: Mapping[str, Path]) -> Content:
    """Articles and summaries as they stand."""
    named = {split: files.get(f"{split}.jsonl") for split in _SPLITS}
    read = Counter[str]()
    pairs = {split: _counted(path, read) for split, path in named.items() if path is not None}
    return replace(pair_content(pairs), read=read)


def _counted(path: Path, read: Counter[str]) -> Iterator[Pair]:
    for pair in read_pairs(path):
        read["pairs"] += 1
        yield pair


SCIENCE_DAILY = Dataset(
    name="science_daily",
    title="Science Daily",
    files=tuple(SourceFile(f"{split}.jsonl", None, "", aliases=(f"{split}.csv",)) for split in _SPLITS),
    sources=(),
    forms=(Form(FORM, prepare_pairs, Expected({"pairs": 50_308}), unit="pairs"),),
    derived=(words_form(WRITTEN, Expected(_ABOUT)),),
    licence="not known",
    citation=(
        "Dangovski, Jing, Nakov, Tatalovic, Soljacic (2019), Rotational Unit of Memory: A Novel "
        "Representation Unit for RNNs with Scalable Applications, TACL 7"
    ),
    instructions=(
        "Ask the authors of the paper for it, put it into a folder as train.jsonl, valid.jsonl and test.jsonl"
        ' (a line for each pair: {"article": "...", "summary": "..."}) or as .csv files with such columns, '
        "and import it with `rmem fetch science_daily --from FOLDER`."
    ),
)
