"""Recipes are read without torch, and without what they do not need of the other libraries."""

import subprocess
import sys

import pytest

CODE = """
import sys
from rmem_cli.recipe import list_recipes, load_recipe
from rmem_cli.recipe.explain import explain, render
for name in list_recipes():
    recipe = load_recipe(name)
    for spec in recipe.runs("smoke"):
        spec.train_hash("")
    render(explain(recipe, recipe.resolve()[0]))
for registry in vars(sys.modules["rmem_cli.recipe.registry"]).values():
    if hasattr(registry, "kinds") and hasattr(registry, "noun"):
        [registry.settings(kind) for kind in registry.kinds()]
sys.exit(any(name in sys.modules for name in ("torch", "torchtext", "pandas")))
"""

LIGHT = """
import sys
import rmem_cli.commands.list_recipes, rmem_cli.commands.show, rmem_cli.commands.validate
sys.exit(any(name in sys.modules for name in ("torch", "torchtext", "pydantic", "yaml", "pandas", "numpy")))
"""


def test_reading_resolving_and_explaining_recipes_never_imports_torch(process_timeout: float) -> None:
    subprocess.run([sys.executable, "-c", CODE], check=True, timeout=process_timeout)


def test_the_commands_import_nothing_heavy_before_they_run(process_timeout: float) -> None:
    subprocess.run([sys.executable, "-c", LIGHT], check=True, timeout=process_timeout)


COMMAND = """
import sys
from rmem_cli.__main__ import main
try:
    main()
except SystemExit as end:
    if end.code:
        raise
sys.exit(", ".join({"torch", "torchtext", "sentencepiece", "pandas"} & set(sys.modules)) or 0)
"""


@pytest.mark.parametrize("command", ["--help", "list", "validate quickstart", "show quickstart"])
def test_what_only_reads_recipes_loads_no_library_of_the_rest(process_timeout: float, command: str) -> None:
    arguments = [sys.executable, "-c", COMMAND, *command.split()]
    done = subprocess.run(arguments, check=False, timeout=process_timeout, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
