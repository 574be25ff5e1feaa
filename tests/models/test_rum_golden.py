"""The RUM core, its weights taken from the published cell, gives the published numbers."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from rmem_cli import RUM

GOLDEN = Path(os.environ.get("RMEM_GOLDEN", Path(__file__).parent.parent / "golden"))
PUBLISHED_NAMES = {
    "target_kernel": "r_kernel",
    "target_bias": "r_bias",
    "gate_kernel": "u_kernel",
    "gate_bias": "u_bias",
    "input_kernel": "inp_emb_kernel",
    "input_bias": "inp_emb_bias",
}


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("rum_lam*.npz")), ids=lambda path: path.stem)
def test_the_core_gives_the_published_numbers(path):
    with np.load(path) as file:
        golden = {key: torch.from_numpy(np.array(file[key])) for key in file}
    eta = float(golden["eta"])
    inputs, size = golden["param.rum_cell.inp_emb_kernel"].shape
    core = RUM(inputs, size, lambda_=int(golden["lam"]), eta=None if np.isnan(eta) else eta).double()
    core.load_state_dict(
        {f"layers.0.{ours}": golden[f"param.rum_cell.{theirs}"] for ours, theirs in PUBLISHED_NAMES.items()}
    )
    y, state = core(golden["x"])
    torch.testing.assert_close(y, golden["y"], rtol=0, atol=1e-9)
    torch.testing.assert_close(state["hidden.0"], golden["h_T"], rtol=0, atol=1e-9)
    (y * golden["g_y"]).sum().backward()
    for ours, theirs in PUBLISHED_NAMES.items():
        gradient = core.get_parameter(f"layers.0.{ours}").grad
        torch.testing.assert_close(gradient, golden[f"grad.rum_cell.{theirs}"], rtol=0, atol=1e-9)
