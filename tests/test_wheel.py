"""The wheel holds the program, all of it and nothing else."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path, PurePosixPath

import pytest

CHECKOUT = Path(__file__).parents[1]
# Where a wheel has what a checkout has.
SHIPPED = {"rmem_cli": "rmem_cli", "data_scripts": "rmem_cli/data_scripts", "recipes": "rmem_cli/recipes"}
NOT_SHIPPED = ("tests", "results")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """What is built of a copy of this checkout, unpacked."""
    copy, built = tmp_path_factory.mktemp("checkout"), tmp_path_factory.mktemp("built")
    for name in (*SHIPPED, *NOT_SHIPPED):
        shutil.copytree(CHECKOUT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(CHECKOUT / name, copy)
    program = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"
    subprocess.run([sys.executable, "-c", program, built], cwd=copy, capture_output=True, check=True)
    (packed,) = built.glob("*.whl")
    with zipfile.ZipFile(packed) as archive:
        archive.extractall(built / "unpacked")
    return built / "unpacked"


def files_in(folder):
    return {
        PurePosixPath(path.relative_to(folder).as_posix())
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_a_wheel_has_every_file_of_the_program_and_no_other(wheel):
    expected = {
        PurePosixPath(place) / file for name, place in SHIPPED.items() for file in files_in(CHECKOUT / name)
    }
    assert expected
    assert {file for file in files_in(wheel) if not file.parts[0].endswith(".dist-info")} == expected


def test_a_wheel_reads_its_data_files(wheel, tmp_path):
    program = """
import rmem_cli
from rmem_cli.data_scripts.babi import BABI
from rmem_cli.published.store import load_paper
from rmem_cli.recipe import list_recipes, load_recipe
recipes = [load_recipe(name) for name in list_recipes()]
print(rmem_cli.__file__, len(BABI.files), len(recipes) > 20, len(load_paper("rum2019").tables) > 3)
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={"PYTHONPATH": str(wheel)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == [str(wheel / "rmem_cli/__init__.py"), "60", "True", "True"]
