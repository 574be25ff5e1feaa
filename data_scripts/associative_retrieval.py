"""Associative retrieval of the Recurrent Memory Transformer, as its examples were published.

What a row is: `rmem_cli.data.generated.associative_retrieval`. No row comes twice.
"""

from collections.abc import Mapping
from pathlib import Path

from rmem_cli.data.generated.associative_retrieval import VOCABULARY, retrieval_rows
from rmem_cli.data.writer import Content

from .dataset import Dataset
from .generated import CITATION, LICENCE, SEED, SIZES, distinct_rows, generated_content, generated_form


def prepare_retrieval(
    files: Mapping[str, Path], *, seed: int = SEED, sizes: Mapping[str, int] = SIZES
) -> Content:
    """The retrieval task; there are no files."""
    del files
    rows = distinct_rows(retrieval_rows, seed, "associative_retrieval", sizes)
    return generated_content({split: [of] for split, of in rows.items()}, VOCABULARY, 1, seed)


ASSOCIATIVE_RETRIEVAL = Dataset(
    name="associative_retrieval",
    title="Associative retrieval, four pairs",
    files=(),
    sources=(),
    forms=(generated_form("pairs4", prepare_retrieval, VOCABULARY, retrieval_rows),),
    licence=LICENCE,
    citation=CITATION,
)
