"""Recipes are read without torch."""

import subprocess
import sys

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
sys.exit("torch" in sys.modules)
"""

LIGHT = """
import sys
import rmem_cli.commands.list_recipes, rmem_cli.commands.show, rmem_cli.commands.validate
sys.exit(any(name in sys.modules for name in ("torch", "pydantic", "yaml", "pandas", "numpy")))
"""


def test_reading_resolving_and_explaining_recipes_never_imports_torch(process_timeout: float) -> None:
    subprocess.run([sys.executable, "-c", CODE], check=True, timeout=process_timeout)


def test_the_commands_import_nothing_heavy_before_they_run(process_timeout: float) -> None:
    subprocess.run([sys.executable, "-c", LIGHT], check=True, timeout=process_timeout)
