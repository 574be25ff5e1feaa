"""What can be known of GPUs without one; see the helper for what cannot."""

import json
import os
import subprocess
import sys

import pretended_gpu
import pytest

from rmem_cli.recipe import list_recipes

# Where the sizes of results depend on numbers, and where torch wants numbers on the CPU.
WAITING = {
    "models/adaptive.py: aten.nonzero.default",  # which classes a batch has, of each cluster
    "models/pointer_generator.py: aten.nonzero.default",  # which steps of a summary count
    "models/cores/torch_rnn.py: copy to the CPU",  # rows of different lengths are packed
    "models/cores/torch_rnn.py: copy from the CPU",
}


# On three ones: what is refused, or waited for.
TRIED = {
    "x + torch.ones(3)": "RuntimeError",
    "torch.stack([x, torch.ones(3)])": "RuntimeError",
    "x.double()": "TypeError",
    "torch.zeros(2, dtype=torch.float64, device=x.device)": "TypeError",
    "x.sum().item()": "aten._local_scalar_dense.default",
    "bool((x > 0).all())": "aten._local_scalar_dense.default",
    "x.tolist()": "copy to the CPU",
    "x.nonzero()": "aten.nonzero.default",
    "x[x > 0]": "aten.index.Tensor",
    "torch.ones(3).to(x.device)": "copy from the CPU",
    "torch.tensor(3, device=x.device)": "copy from the CPU",
    "x[torch.arange(2)]": "copy from the CPU",
    "x + torch.tensor(1.0)": "",
    "torch.arange(3, device=x.device) + x @ x": "",
    "x.mul_(2).view(1, 3)[:, :2].half()": "",
}


def told_by(*arguments, **variables):
    """What the device says in a process of its own."""
    ran = subprocess.run(
        [sys.executable, pretended_gpu.__file__, *arguments],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


def test_the_device_refuses_what_gpus_refuse_and_notes_what_they_are_waited_for():
    assert told_by("tried", *TRIED) == TRIED


@pytest.mark.slow
def test_every_kind_of_row_trains_and_is_evaluated_on_another_device_as_on_the_cpu_and_hardly_waits(tmp_path):
    told = told_by(*list_recipes(), RMEM_DATA=str(tmp_path))
    assert {row: each["error"] for row, each in told.items() if "error" in each} == {}
    trained = {row: (each["on_gpu"], each["on_cpu"]) for row, each in told.items() if "on_gpu" in each}
    refused = {row.split()[0] for row in told.keys() - trained.keys()}
    assert refused <= {"babilong", "dancer_arxiv", "dancer_pubmed"}  # nothing can stand for their data
    assert len(trained) > 60
    for row, (on_gpu, on_cpu) in trained.items():
        for numbers in ("losses", "metrics"):
            assert on_gpu[numbers] == pytest.approx(on_cpu[numbers], rel=1e-5), row
        assert set(on_gpu["waits"]) <= WAITING, row
