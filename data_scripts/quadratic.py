"""The quadratic equations of the Recurrent Memory Transformer, as its examples were published.

What a row is: `rmem_cli.data.generated.quadratic`. No row comes twice.
"""

from collections.abc import Mapping
from pathlib import Path

from rmem_cli.data.generated.quadratic import (
    ANSWER_LENGTH,
    VOCABULARY,
    draw_equations,
    encode,
    quadratic_rows,
)
from rmem_cli.data.writer import Content

from .dataset import Dataset
from .generated import CITATION, LICENCE, SEED, SIZES, distinct_rows, generated_content, generated_form


def prepare_quadratic(
    files: Mapping[str, Path], *, seed: int = SEED, sizes: Mapping[str, int] = SIZES
) -> Content:
    """The equations; there are no files."""
    del files
    equations = distinct_rows(draw_equations, seed, "quadratic", sizes)
    rows = {split: [encode(of)] for split, of in equations.items()}
    return generated_content(rows, VOCABULARY, ANSWER_LENGTH, seed)


QUADRATIC = Dataset(
    name="quadratic",
    title="Quadratic equations",
    files=(),
    sources=(),
    forms=(generated_form("steps", prepare_quadratic, VOCABULARY, quadratic_rows),),
    licence=LICENCE,
    citation=CITATION,
)
