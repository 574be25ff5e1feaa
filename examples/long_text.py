"""A language model reads a text of any length, its memory going on from piece to piece.

    rmem export rum_ptb_char/rum_1000 --out model
    python examples/long_text.py model book.txt

What is in memory at a time is one piece of the text, and the state of the model, however long the text is.
"""

import argparse
import math
from pathlib import Path

import torch
from torch.nn import functional

from rmem_cli import load


def main() -> None:
    """Say of each piece how many bits the model needs for each of its symbols."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("folder", help="that `rmem export` wrote")
    options.add_argument("text", type=Path)
    options.add_argument("--piece", type=int, default=2000, help="symbols that are read at a time, about")
    given = options.parse_args()
    model = load(given.folder)
    symbols = model.encode(given.text.read_text(encoding="utf-8"))  # [symbols]
    segment = model.model.segment_length or 1  # a piece ends where a segment of the model does
    piece = max(1, given.piece // segment) * segment
    state = None
    with torch.no_grad():
        for start in range(0, len(symbols) - 1, piece):
            read = symbols[start : start + piece + 1]
            logits, state = model(read[None, :-1], state)  # [1, piece, symbols of the vocabulary]
            bits = functional.cross_entropy(logits[0], read[1:]) / math.log(2)
            print(f"{start + len(read) - 1:,} symbols read: {bits:.3f} bits for each")


if __name__ == "__main__":
    main()
