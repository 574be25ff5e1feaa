"""Modules of cores of one's own are found where Python finds them."""

import sys
from importlib.util import spec_from_file_location

from rmem_cli.recipe.own_core import module_file


def test_a_core_of_a_package_that_is_installed_in_place_is_found(tmp_path, monkeypatch):
    package = tmp_path / "leakypkg"
    package.mkdir()
    for name in ("__init__.py", "core.py"):
        (package / name).write_text("raise SystemExit('imported')")

    class Finder:
        """That of an editable installation."""

        @staticmethod
        def find_spec(name, path=None, target=None):
            return spec_from_file_location(name, package / "__init__.py") if name == "leakypkg" else None

    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, Finder])
    assert module_file("leakypkg.core:DeepLeaky") == package / "core.py"
    assert "leakypkg" not in sys.modules
