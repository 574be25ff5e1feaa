"""From YAML to validated, hashed runs; never imports torch."""

from rmem_cli.recipe.library import list_recipes, load_recipe
from rmem_cli.recipe.recipe import Recipe
from rmem_cli.recipe.resolve import RunSpec

__all__ = ["Recipe", "RunSpec", "list_recipes", "load_recipe"]
