"""The code that a module of one's own is made of: its files, and their hash; nothing is imported."""

import ast
import hashlib
import warnings
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

from rmem_cli.files import sha256_of

_RMEM = __name__.partition(".")[0]


def code_hash(file: Path, package: Sequence[Path]) -> str:
    """SHA-256 of a module's code: of its file, or of names and hashes where there are several files.

    They are its file, or all of the package that it is in, and whatever these import from beside it.

    Args:
        file: Of the module.
        package: The folders of the top-level package that it is in; none: it is in none.
    """
    files: dict[str, Path] = {}
    for folder in package:
        files |= _with_imports(folder.parent, _of_package(folder))
    files = files or _with_imports(file.parent, [file])
    if len(files) == 1:
        return sha256_of(file)
    lines = (f"{sha256_of(files[name])}  {name}\n" for name in sorted(files))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _with_imports(folder: Path, files: Iterable[Path]) -> dict[str, Path]:
    """Files, what they import from a folder, and so on, by their names in it.

    Where packages are installed, the others beside one are not of its code.
    """
    found: dict[str, Path] = {}
    alone, waiting = any(folder.glob("*.dist-info")), list(files)
    while waiting:
        file = waiting.pop()
        name = file.relative_to(folder).as_posix()
        if name not in found:
            found[name] = file
            waiting += [] if alone else _beside(folder, _imported(file.read_bytes()))
    return found


def _beside(folder: Path, modules: Iterable[str]) -> list[Path]:
    """The files in a folder that modules of these names are made of."""
    found: list[Path] = []
    for module in modules:
        file, package = folder / f"{module}.py", folder / module
        is_file = file.is_file() and not (package / "__init__.py").is_file()  # as Python decides
        found += [file] if is_file else _of_package(package)
    return found


def _of_package(folder: Path) -> list[Path]:
    """All modules in the folder of a package, but not what editors keep in hidden files."""
    return [
        file
        for file in folder.rglob("*.py")
        if file.is_file() and not any(part.startswith(".") for part in file.relative_to(folder).parts)
    ]


@cache
def _imported(source: bytes) -> frozenset[str]:
    """The top-level names of the modules that a source imports, but for rmem's own."""
    try:
        with warnings.catch_warnings(action="ignore"):
            tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError):  # whoever imports it is told
        return frozenset()
    names: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [each.name for each in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module is not None and node.level == 0:
            names.append(node.module)
    return frozenset(name.partition(".")[0] for name in names) - {_RMEM}
