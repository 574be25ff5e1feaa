"""The vectors of the published TensorFlow code, and how its RUM names weights."""

import json
import os
from pathlib import Path

import numpy as np
import torch

# RMEM_GOLDEN names another folder of vectors of the same kinds.
GOLDEN = Path(os.environ.get("RMEM_GOLDEN", Path(__file__).parent.parent / "golden")) / "tf"
RUM = {
    "target_kernel": "gates/fully_connected/weights",
    "target_bias": "gates/fully_connected/biases",
    "gate_kernel": "gates/fully_connected_1/weights",
    "gate_bias": "gates/fully_connected_1/biases",
    "input_kernel": "candidate/fully_connected/weights",
}


def read(path):
    """What a file says of itself, and its arrays."""
    with np.load(path) as file:
        about = json.loads(str(file["meta"]))
        return about, {key: torch.from_numpy(np.array(file[key])) for key in file if key != "meta"}
