"""Base classes of everything a recipe can set."""

from typing import ClassVar

from pydantic import BaseModel, ConfigDict


class Settings(BaseModel):
    """A group of recipe fields: immutable, without unknown keys, and without silent conversions.

    Whole numbers are accepted where a float is wanted; nothing else is converted.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, populate_by_name=True)


class Component(Settings):
    """A part of an experiment that is chosen by its `kind` (a core, a task, an optimizer, ...).

    Attributes:
        kind: The name in the recipe; a subclass fixes it with a `Literal`.
        implementation: Where the class behind these settings is, as "module:Class". It is imported only when
            the component is built, so that recipes are read without torch.
        common: Fields that keep their value when a recipe changes nothing but the kind.
    """

    kind: str
    implementation: ClassVar[str]
    common: ClassVar[frozenset[str]] = frozenset()
