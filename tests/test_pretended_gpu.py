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


@pytest.mark.slow
def test_every_kind_of_row_trains_on_another_device_as_on_the_cpu_and_waits_where_it_must_alone(tmp_path):
    ran = subprocess.run(
        [sys.executable, pretended_gpu.__file__, *list_recipes()],
        env={**os.environ, "RMEM_DATA": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    told = json.loads(ran.stdout)
    assert {row: each["error"] for row, each in told.items() if "error" in each} == {}
    trained = {row: each for row, each in told.items() if "losses" in each}
    refused = {row.split()[0] for row in told.keys() - trained.keys()}
    assert refused <= {"babilong", "dancer_arxiv", "dancer_pubmed"}  # nothing can stand for their data
    assert len(trained) > 60
    for row, each in trained.items():
        assert each["losses"] == pytest.approx(each["on_cpu"], rel=1e-9), row
        assert set(each["waits"]) <= WAITING, row
