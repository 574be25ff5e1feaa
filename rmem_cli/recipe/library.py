"""Finding recipes: a path, ./recipes, or those that come with rmem."""

import stat
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from rmem_cli.errors import UsageError, closest
from rmem_cli.files import EXPORT
from rmem_cli.recipe.document import MAX_BYTES
from rmem_cli.recipe.reader import read_recipe
from rmem_cli.recipe.recipe import Recipe

SUFFIXES = (".yaml", ".yml")


def load_recipe(name_or_path: str | Path) -> Recipe:
    """Read and validate a recipe.

    Args:
        name_or_path: The path of a file, or the bare name of a recipe: ./recipes/<name>.yaml if there is one,
            else the one that comes with rmem.

    Raises:
        UsageError: There is no such recipe, or it cannot be read.
        RecipeError: It is not valid; the message lists everything that is wrong.
    """
    text = str(name_or_path)
    if text.endswith(SUFFIXES) or Path(text).name != text:
        return _load_file(Path(text))
    found = _named(text)
    if found is None:
        there = _what_it_is(Path(text)) if text else ""
        raise UsageError(there or f"no recipe is called {text!r}; {closest(text, list_recipes())}")
    return found


def list_recipes() -> list[str]:
    """The names of all recipes that can be named without a path, sorted."""
    folders: list[Path | Traversable] = [Path("recipes"), files("rmem_cli.recipes")]
    names = {
        entry.name.removesuffix(".yaml")
        for folder in folders
        if folder.is_dir()
        for entry in folder.iterdir()
        if entry.name.endswith(".yaml")
    }
    return sorted(names)


def _named(name: str) -> Recipe | None:
    local = Path("recipes", f"{name}.yaml")
    if _is_file(local):
        return _load_file(local)
    packaged = files("rmem_cli.recipes") / f"{name}.yaml"
    return read_recipe(packaged.read_bytes(), str(packaged), name) if _is_file(packaged) else None


def _load_file(path: Path) -> Recipe:
    if not _is_file(path):
        raise UsageError(_what_it_is(path) or f"{path}: there is no such file; {_hint(path)}")
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error
    return read_recipe(data, str(path), path.stem)


def _what_it_is(path: Path) -> str:
    """What lies where no recipe is, and what to name instead; empty where nothing does."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):  # as in `_is_file`
        return ""
    if stat.S_ISREG(mode):
        return f"{path} is a file whose name does not end in .yaml; rename it, or name it as ./{path}"
    if not stat.S_ISDIR(mode):
        return f"{path} is neither a file nor a folder; write the recipe into a file whose name ends in .yaml"
    if _is_file(path / EXPORT):
        return f"{path} is an exported model, which `rmem eval` and `rmem sample` take; name a recipe"
    return (
        f"{path} is a folder; name one recipe file in it, or, for `rmem eval` and `rmem sample`, the folder "
        f"of an exported model, which has an {EXPORT}"
    )


def _hint(path: Path) -> str:
    """A recipe with nearly the name of a file that does not exist, or how to find one."""
    near = closest(path.stem, list_recipes())
    return near if near.startswith("did you mean") else "`rmem list` shows the recipes there are"


def _is_file(path: Path | Traversable) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name too long for the system, or with a character it does not take
        return False
