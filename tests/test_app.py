import os
import subprocess
import sys

import pytest

_RUN = """
import os, sys
from rmem_cli.app import main
sys.argv = ["rmem", "--version"]
try:
    main()
except SystemExit:
    pass
print(os.environ.get("GOMP_SPINCOUNT"), "torch" in sys.modules)
"""


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, "2000"),
        ({"GOMP_SPINCOUNT": "7"}, "7"),
        ({"OMP_WAIT_POLICY": "active"}, "None"),
    ],
    ids=["by default", "as the user says", "by the policy that the user chose"],
)
def test_how_long_threads_spin_is_settled_before_torch_is_loaded(given, expected):
    inherited = {name: value for name, value in os.environ.items() if "OMP_" not in name}
    command = [sys.executable, "-c", _RUN]
    run = subprocess.run(command, env=inherited | given, capture_output=True, text=True, check=True)
    assert run.stdout.splitlines()[-1] == f"{expected} False"
