"""Peak memory of evaluations of BABILong, by length: each in a process of its own, on a made-up text.

    python tests/trials/long_evaluation.py --seed 1 --count 3

One example of 10^4, 10^5 and 10^6 symbols each is evaluated by an RMT and an ARMT that are not trained. Held
is a peak no higher than that of the shortest, but for what allocators leave.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

from rmem_cli.data.writer import Content, write_prepared
from rmem_cli.evaluation.evaluate import evaluate
from rmem_cli.models.config import EmbeddingSettings
from rmem_cli.models.cores.transformer_config import RMTSettings
from rmem_cli.models.sequence import build_model
from rmem_cli.recipe.schema import ModelSettings
from rmem_cli.tasks.babilong import Babilong
from rmem_cli.tasks.facts_config import BabilongSettings

SEGMENT = 64
NOISE_MB = 8.0  # of allocators


def write_text(seed: int) -> None:
    """A text of 200,000 words in sentences, and a story with two questions."""
    random = np.random.default_rng(seed)
    words = random.integers(2, 500, 200_000).astype(np.uint16)
    words[random.random(len(words)) < 0.05] = 1
    vocabulary = ["<eos>", ".", *(f"word{number}" for number in range(498))]
    content = Content({split: [words] for split in ("train", "valid", "test")}, vocabulary, end_of_line=0)
    write_prepared("ptb", "word", content, sources=[], licence="", citation="")


def write_stories(folder: Path) -> None:
    """A prepared task of bAbI."""
    from rmem_cli.data_scripts.babi import prepare_task

    path = folder / "stories.txt"
    lines = ["1 Mary moved to the bathroom.", "2 John went to the hallway.", "3 Where is Mary? \tbathroom\t1"]
    path.write_text("\n".join([*lines, *lines]) + "\n")
    content = prepare_task({f"en-10k-qa1_{split}.txt": path for split in ("train", "test")})
    write_prepared("babi", "en-10k-qa1", content, sources=[], licence="", citation="")


def peak_mb() -> float:
    """Of this process, in megabytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def evaluate_one(tokens: int, memory: str, seed: int) -> None:
    """Evaluate one example, and print the peaks after one segment and at the end."""
    torch.manual_seed(seed)

    def task(length: int) -> Babilong:
        fields = {"babi_task": 1, "dataset": "ptb", "form": "word", "segment_length": SEGMENT}
        return Babilong(BabilongSettings(tokens=length, **fields))

    core = RMTSettings(
        hidden_size=32, layers=2, heads=2, memory_tokens=4, segment_length=SEGMENT, memory_kind=memory
    )
    long = task(tokens)
    settings = ModelSettings(core=core, encoder=EmbeddingSettings(size=32))
    model = build_model(settings, long.symbols, long.classes)
    evaluate(model, task(2 * SEGMENT), "test", 1, 1, seed)
    before = peak_mb()
    totals = evaluate(model, long, "test", 1, 1, seed)
    print(totals.examples, before, peak_mb())


def main() -> int:
    """Try all lengths; the exit code says whether any took more memory than the shortest."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--seed", type=int, default=1)
    arguments.add_argument("--count", type=int, default=3, help="lengths: 10^4, 10^5, ...")
    arguments.add_argument("--one", nargs=2, metavar=("TOKENS", "MEMORY"), help="in this process")
    given = arguments.parse_args()
    if given.one:
        evaluate_one(int(given.one[0]), given.one[1], given.seed)
        return 0
    held = tried = 0
    with tempfile.TemporaryDirectory() as folder:
        os.environ["RMEM_DATA"] = folder
        write_text(given.seed)
        write_stories(Path(folder))
        for memory in ("recurrent", "associative"):
            peaks = []
            for tokens in (10 ** (4 + step) for step in range(given.count)):
                command = [sys.executable, __file__, "--seed", str(given.seed), "--one", str(tokens), memory]
                done = subprocess.run(command, check=True, capture_output=True, text=True)
                _, before, peak = map(float, done.stdout.split())
                peaks.append(peak)
                tried += 1
                held += peak <= peaks[0] + NOISE_MB
                print(
                    f"{memory}: {tokens:,} symbols, peak {peak:.1f} MB, {peak - before:.1f} since the start"
                )
    print(f"{held} of {tried} evaluations took no more memory than the shortest (within {NOISE_MB:g} MB)")
    return 0 if held == tried else 1


if __name__ == "__main__":
    sys.exit(main())
