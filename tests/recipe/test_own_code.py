"""The hash of the code of a core of one's own covers what the code is made of."""

import hashlib
import sys
from pathlib import Path

import pytest

from rmem_cli.recipe.own_core import OwnCoreSettings


@pytest.fixture
def code(tmp_path, monkeypatch):
    """Writes files into the working folder, and gives the hash of the code of a module."""
    monkeypatch.chdir(tmp_path)

    def found(module, **files):
        for name, content in files.items():
            path = Path(*name.split("__in__")[::-1]).with_suffix(".py")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        return OwnCoreSettings(kind=f"{module}:Leaky").code

    return found


def test_a_file_that_imports_nothing_beside_it_has_its_own_hash(code):
    text = "import random, torch\nfrom rmem_cli.models.cores.base import Core\nimport missing\n"
    assert code("lone", lone=text, other="") == hashlib.sha256(text.encode()).hexdigest()
    assert code("lone", unlike__in__rmem_cli="", other="1") == hashlib.sha256(text.encode()).hexdigest()


def test_a_change_of_what_a_file_imports_from_beside_it_is_other_code(code):
    before = code("lone", lone="if 1:\n  import near.far", __init____in__near="import last", last="")
    assert code("lone", unnamed="changed") == before
    after = code("lone", last="changed")
    assert after != before
    assert code("lone", part__in__near="new") not in (before, after)


def test_files_that_import_each_other_are_covered_once(code):
    before = code("one", one="from two import a", two="from one import b")
    assert code("one", two="from one import c") != before


def test_a_change_of_any_file_of_a_package_is_other_code(code):
    before = code("pkg.core", __init____in__pkg="", core__in__pkg="from .parts import a", parts__in__pkg="")
    after = code("pkg.core", parts__in__pkg="changed")
    assert after != before
    assert code("pkg.core", beside="changed") == after
    Path("pkg/.#core.py").symlink_to("nowhere")  # the lock of an editor
    assert code("pkg.core") == after


def test_a_package_without_init_is_covered_as_well(code):
    before = code("cores.leaky", leaky__in__cores="", parts__in__cores="")
    assert code("cores.leaky", parts__in__cores="changed") != before


def test_what_is_installed_beside_a_module_is_not_its_code(code):
    Path("other-1.0.dist-info").mkdir()
    before = code("lone", lone="import other", other="")
    assert code("lone", other="changed") == before


def test_a_file_that_is_no_python_has_its_own_hash(code):
    for text in ("def (", "\0"):
        assert code("lone", lone=text) == hashlib.sha256(text.encode()).hexdigest()


def test_nothing_is_imported_for_it(code):
    code("lone_one", lone_one="import lone_two\nraise SystemExit", lone_two="raise SystemExit")
    assert not {"lone_one", "lone_two"} & set(sys.modules)
