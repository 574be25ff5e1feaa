"""What recurrent-memory-transformer-pytorch gave: `tests/golden/rmt_pytorch_*.npz`."""

import json
from pathlib import Path

import numpy as np
import torch

FILES = sorted((Path(__file__).parents[1] / "golden").glob("rmt_pytorch_*.npz"))
SIZES = ("num_tokens", "dim", "depth", "heads", "dim_head", "num_memory_tokens", "num_residual_streams")


def read(path):
    """Its options, its state dict, and everything else."""
    with np.load(path) as file:
        arrays = {key: np.array(file[key]) for key in file}
    options = json.loads(str(arrays.pop("options")))
    found = {key: torch.from_numpy(value) for key, value in arrays.items()}
    return options, of(found, "state."), found


def of(found, prefix):
    """The entries of a sort, without what stands in front of their names."""
    return {key.removeprefix(prefix): value for key, value in found.items() if key.startswith(prefix)}


def untold(options):
    """Those that no weight tells."""
    return {name: value for name, value in options.items() if name not in SIZES}


def assert_equal(actual, expected):
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-10)
