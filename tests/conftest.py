"""What all tests share."""

import os
from pathlib import Path

import pytest

# Small tensors are faster on one thread, here and in the processes that tests start.
os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_collection_modifyitems(items):
    """Tests on real data run only where RMEM_TEST_DATA names it."""
    if os.environ.get("RMEM_TEST_DATA"):
        return
    reason = pytest.mark.skip(reason="RMEM_TEST_DATA names no folder of real data sets")
    for item in items:
        if item.get_closest_marker("data"):
            item.add_marker(reason)


@pytest.fixture(autouse=True)
def _own_folders(tmp_path, monkeypatch):
    """No test reads or writes the user's own data, runs or results."""
    monkeypatch.setenv("RMEM_DATA", str(tmp_path / "rmem-data"))
    monkeypatch.setenv("RMEM_RUNS", str(tmp_path / "rmem-runs"))
    monkeypatch.setenv("RMEM_RESULTS", str(tmp_path / "rmem-results"))


@pytest.fixture
def real_data():
    """The folder of real data sets, for tests marked `data`."""
    return Path(os.environ["RMEM_TEST_DATA"])
