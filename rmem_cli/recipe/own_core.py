"""Cores of modules outside of the package: found, and identified, without being imported.

A recipe names one as `kind: my_module:MyCore`. What it names is code of somebody's own, so a recipe alone
never causes it to run: `--allow-module my_module` does, or that an installed package declares it as an entry
point of the group `rmem.cores`.
"""

import re
import sys
from collections.abc import Iterable
from importlib.machinery import BuiltinImporter, FrozenImporter, ModuleSpec, PathFinder
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, ClassVar

from pydantic import ConfigDict, model_validator

from rmem_cli.recipe.kinds import CoreSettings
from rmem_cli.recipe.own_code import code_hash

ENTRY_POINTS = "rmem.cores"
_PLACE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")
_allowed: set[str] = set()


class OwnCoreSettings(CoreSettings):
    """The settings of such a core, as a recipe gives them; its module checks them once it is imported.

    Attributes:
        kind: `module:Class`.
        code: SHA-256 of the module's code, which makes runs of other code other runs; found, never given.
    """

    model_config = ConfigDict(extra="allow")

    implementation: ClassVar[str] = "rmem_cli.models.own_core:own_core"
    common: ClassVar[frozenset[str]] = frozenset({"hidden_size", "layers", "dropout"})

    kind: str
    code: str

    @model_validator(mode="before")
    @classmethod
    def _identified(cls, values: Any) -> Any:
        if not isinstance(values, dict) or not isinstance(values.get("kind"), str):
            return values
        return {**values, "code": _code(values["kind"])}

    @property
    def options(self) -> dict[str, Any]:
        """The fields that the recipe gives, but the kind."""
        return dict(self.model_extra or {})

    def free_in_evaluation(self) -> frozenset[str]:
        """See `CoreSettings.free_in_evaluation`: whether a weight depends on them shows when it is built."""
        return frozenset(self.options)


def module_of(kind: str) -> str:
    """The module that a kind names."""
    return kind.partition(":")[0]


def module_file(kind: str) -> Path:
    """The file of the module that a kind names, in the working folder or where Python looks; not imported.

    Raises:
        ValueError: The kind is not `module:Class`, or there is no such file.
    """
    if not _PLACE.fullmatch(kind):
        raise ValueError(f"kind {kind!r} must be that of a core, or module:Class for one of your own")
    first, *others = module_of(kind).split(".")
    found = _top_level(first)
    for part in others:
        places = _folders(found)
        found = PathFinder.find_spec(part, places) if places else None
    if found is None or found.origin is None or not Path(found.origin).is_file():
        raise ValueError(
            f"there is no module {module_of(kind)}; write {module_of(kind).replace('.', '/')}.py into the "
            "folder where rmem is started, or install the package that has it"
        )
    return Path(found.origin)


def _code(kind: str) -> str:
    """The hash of the code of the module that a kind names."""
    file = module_file(kind)
    package = _folders(_top_level(module_of(kind).partition(".")[0]))
    return code_hash(file, [Path(folder) for folder in package])


def _top_level(name: str) -> ModuleSpec | None:
    """Where a top-level module or package is; None: there is none."""
    found = PathFinder.find_spec(name, search_path())
    # Those of packages that are installed in place, as by `pip install -e`.
    others = (each for each in sys.meta_path if each not in (BuiltinImporter, FrozenImporter, PathFinder))
    return found or next(filter(None, (each.find_spec(name, None) for each in others)), None)


def _folders(found: ModuleSpec | None) -> list[str]:
    """The folders that a package's modules are in; none where there is no package."""
    return [] if found is None else list(found.submodule_search_locations or [])


def search_path() -> list[str]:
    """Where modules are looked for: the working folder first."""
    return [str(Path.cwd()), *sys.path]


def allow_modules(names: Iterable[str]) -> None:
    """From now on, these modules may be imported for the cores that they have."""
    _allowed.update(names)


def allowed_modules() -> frozenset[str]:
    """The modules that may be imported by name."""
    return frozenset(_allowed)


def is_allowed(kind: str) -> bool:
    """Whether the module of a kind may be imported."""
    declared = {entry.value for entry in entry_points(group=ENTRY_POINTS)}
    return module_of(kind) in _allowed or kind in declared
