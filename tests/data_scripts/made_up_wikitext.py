"""A made-up text in the format of WikiText-103, of any size: for measuring time and memory.

    python tests/data_scripts/made_up_wikitext.py FOLDER [BYTES]

writes wiki.{train,valid,test}.tokens. Words follow Zipf's law, and every word of the vocabulary occurs.
"""

import sys
from pathlib import Path

import numpy as np

BYTES = 541_096_898
WORDS = 267_733
_LINE = 90  # words of a paragraph


def write_text(path, size, words=WORDS, seed=1):
    """Write a text of at least `size` bytes."""
    draw = np.random.default_rng(seed)
    vocabulary = np.array([f"w{number:x}" for number in range(words)], dtype=object)
    with path.open("w", encoding="utf-8", newline="\n") as handle:
        for start in range(0, words, _LINE):
            handle.write(" " + " ".join(vocabulary[start : start + _LINE]) + " \n")
        while handle.tell() < size:
            ranks = np.minimum(draw.zipf(1.15, size=_LINE * 1000) - 1, words - 1)
            for line in ranks.reshape(-1, _LINE):
                handle.write(" \n = Heading = \n \n " + " ".join(vocabulary[line]) + " \n")


def main():
    """Write the three files."""
    folder, size = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else BYTES
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "wiki.train.tokens", size)
    for split in ("valid", "test"):
        write_text(folder / f"wiki.{split}.tokens", 1_000_000, words=1000, seed=2)


if __name__ == "__main__":
    main()
