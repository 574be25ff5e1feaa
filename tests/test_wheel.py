"""The source archive and the wheel that is built of it hold the program, all of it and nothing else."""

import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path, PurePosixPath

import pytest

CHECKOUT = Path(__file__).parents[1]
# Where a wheel has what a checkout has.
SHIPPED = {"rmem_cli": "rmem_cli", "data_scripts": "rmem_cli/data_scripts", "recipes": "rmem_cli/recipes"}
NOT_SHIPPED = ("tests", "results")


def build(what, folder, built):
    """The archive that setuptools builds of a folder, as pip has it do."""
    program = f"import sys; from setuptools import build_meta; build_meta.build_{what}(sys.argv[1])"
    subprocess.run([sys.executable, "-c", program, built], cwd=folder, capture_output=True, check=True)
    (archive,) = built.iterdir()
    return archive


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """What the source archive of a copy of this checkout holds, unpacked."""
    copy = tmp_path_factory.mktemp("checkout")
    for name in (*SHIPPED, *NOT_SHIPPED):
        shutil.copytree(CHECKOUT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE"):
        shutil.copy(CHECKOUT / name, copy)
    unpacked = tmp_path_factory.mktemp("source")
    with tarfile.open(build("sdist", copy, tmp_path_factory.mktemp("sdist"))) as archive:
        archive.extractall(unpacked, filter="data")
    (folder,) = unpacked.iterdir()
    return folder


@pytest.fixture(scope="module")
def wheel(source, tmp_path_factory):
    """What the wheel of the source archive holds, unpacked."""
    unpacked = tmp_path_factory.mktemp("unpacked")
    with zipfile.ZipFile(build("wheel", source, tmp_path_factory.mktemp("wheel"))) as archive:
        archive.extractall(unpacked)
    return unpacked


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


def test_a_source_archive_has_neither_tests_nor_results(source):
    assert not any((source / name).exists() for name in NOT_SHIPPED)
    assert (source / "LICENSE").is_file()


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
