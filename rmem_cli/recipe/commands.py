"""The command that trains a row again."""

import shlex

from rmem_cli.recipe.library import list_recipes


def train_command(recipe: str, row: str, cell: str, *options: str) -> str:
    """The command, as a shell takes it.

    Args:
        recipe: Name of a recipe; one of one's own is named by its file, where that is.
        row: Its row.
        cell: Its matrix cell; "" if it has no matrix.
        options: Further ones, such as `--seed`, and their values.
    """
    named = recipe if recipe in list_recipes() else f"{recipe}.yaml"
    cells = [word for part in cell.split(",") if part for word in ("--cell", part)]
    return shlex.join(["rmem", "train", named, "--row", row, *cells, *options])
