"""Base classes of everything a recipe can set."""

from collections.abc import Hashable, Iterator
from typing import TYPE_CHECKING, ClassVar, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, model_validator
from pydantic.fields import FieldInfo

if TYPE_CHECKING:
    from rmem_cli.recipe.registry import Registry

LARGEST = 3.4e38  # of numbers of 32 bits, which models compute in


def listed_once(noun: str) -> AfterValidator:
    """The rule of a list that nothing stands in it twice.

    Args:
        noun: What it lists, such as "a seed".
    """

    def check(values: list[Hashable]) -> list[Hashable]:
        if len(set(values)) < len(values):
            raise ValueError(f"lists {noun} twice; leave one of them out")
        return values

    return AfterValidator(check)


class Settings(BaseModel):
    """A group of recipe fields: immutable, without unknown keys, and without silent conversions.

    Whole numbers are accepted where a float is wanted; nothing else is converted.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, populate_by_name=True)

    def every_part(self) -> "Iterator[Settings]":
        """These settings, and all settings within."""
        yield self
        for name in type(self).model_fields:
            value = getattr(self, name)
            for part in value if isinstance(value, list) else [value]:
                if isinstance(part, Settings):
                    yield from part.every_part()

    @model_validator(mode="after")
    def _numbers_fit_into_32_bits(self) -> Self:
        for name, field in type(self).model_fields.items():
            value = getattr(self, name)
            if isinstance(value, float) and not abs(value) <= LARGEST:
                raise ValueError(f"{field.alias or name} is {value:g}; numbers here go up to {LARGEST:g}")
        return self


class Component(Settings):
    """A part of an experiment that is chosen by its `kind` (a core, a task, an optimizer, ...).

    Attributes:
        registry: The kinds of its sort; see `rmem_cli.recipe.kinds`.
        kind: The name in the recipe; a subclass fixes it with a `Literal`.
        implementation: Where the class behind these settings is, as "module:Class". It is imported only when
            the component is built, so that recipes are read without torch.
        common: Fields that keep their value when a recipe changes nothing but the kind.
    """

    registry: ClassVar["Registry"]
    kind: str
    implementation: ClassVar[str]
    common: ClassVar[frozenset[str]] = frozenset()


def fields_by_name(sort: type[BaseModel]) -> dict[str, FieldInfo]:
    """The fields of a class of settings, by their names in recipes."""
    return {field.alias or name: field for name, field in sort.model_fields.items()}
