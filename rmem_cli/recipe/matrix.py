"""`matrix`: one run for every combination of values."""

import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod

from rmem_cli.recipe.document import Node
from rmem_cli.recipe.messages import describe
from rmem_cli.recipe.overrides import SECTIONS, Override, read_overrides, split_path
from rmem_cli.recipe.problems import Problem, RecipeError

MOST_CELLS = 500
_NO_VALUES = "must be a list of single values, or a mapping from names to fields, and not empty"
_OF_RUNS = tuple(section for section in SECTIONS if section not in ("seeds", "matrix", "search"))


@dataclass(frozen=True)
class Value:
    """One entry of one key.

    Attributes:
        key: The key of the matrix.
        text: The value as labels show it.
        overrides: The fields it sets: the one of its key, or those listed under its name.
        number: The value, if it is a number.
    """

    key: str
    text: str
    overrides: list[Override]
    number: float | None = None


@dataclass(frozen=True)
class Cell:
    """One combination; without values, what there is without a matrix.

    Attributes:
        values: One of each key.
        names: Key to its name in labels.
    """

    values: Sequence[Value]
    names: dict[str, str]

    @property
    def label(self) -> str:
        """As the result rows show it, like `number=1`; empty if there is no matrix."""
        return ",".join(self.labels())

    def labels(self, leave_out: Collection[str] = ()) -> list[str]:
        """The label's parts, but for some keys."""
        return [
            f"{self.names[value.key]}={value.text}" for value in self.values if value.key not in leave_out
        ]

    @property
    def overrides(self) -> list[Override]:
        """The fields it sets."""
        return [override for value in self.values for override in value.overrides]


def cells(matrix: Node | None, problems: list[Problem]) -> list[Cell]:
    """All combinations of the values of a matrix, the last key changing fastest.

    Args:
        matrix: A mapping from dotted paths to lists of values, and from names of one's own to mappings: of
            each value's name to the fields that it sets. Or nothing.
        problems: Receives what is wrong.

    Returns:
        A single cell without values if there is no matrix or something is wrong with it.
    """
    try:
        axes = _axes(matrix)
    except RecipeError as error:
        problems += error.problems
        axes = {}
    count = prod(map(len, axes.values()))
    if count > MOST_CELLS:
        assert matrix is not None  # noqa: S101  it has axes
        message = f"stands for {count:,} combinations; a recipe may have {MOST_CELLS:,}"
        problems.append(Problem(matrix.place, "matrix", message))
        axes = {}
    names = _names(list(axes))
    return [Cell(combination, names) for combination in product(*axes.values())]


def _names(keys: Sequence[str]) -> dict[str, str]:
    """Key to its last part, or to all of it where two keys end alike."""
    short = {key: key.rpartition(".")[2] for key in keys}
    count = Counter(short.values())
    return {key: name if count[name] == 1 else key for key, name in short.items()}


def _axes(matrix: Node | None) -> dict[str, list[Value]]:
    """The values of each key."""
    if matrix is None or matrix.value is None:
        return {}
    if not isinstance(matrix.value, dict):
        message = f"must be a mapping from paths to lists of values, not {describe(matrix.plain())}"
        raise RecipeError([Problem(matrix.place, "matrix", message)])
    axes = {
        key: (_named_values if isinstance(values.value, dict) else _values)(key, values, matrix)
        for key, values in matrix.fields.items()
    }
    problems = list(_overwritten(axes))
    if problems:
        raise RecipeError(problems)
    return axes


def _overwritten(axes: dict[str, list[Value]]) -> Iterator[Problem]:
    """Fields that an earlier key sets as well, whose labels would tell what is not so."""
    set_before: dict[tuple[str, ...], str] = {}
    for key, values in axes.items():
        own = [override for value in values for override in value.overrides]
        for override in own:
            lost = [path for path in set_before if path[: len(override.path)] == override.path]
            if lost:
                message = (
                    f"sets {'.'.join(lost[0])}, which {set_before[lost[0]]} sets; leave it to one of them"
                )
                yield Problem(override.place, f"matrix.{key}", message)
        set_before |= {override.path: key for override in own}


def _values(key: str, values: Node, matrix: Node) -> list[Value]:
    """Values of one field."""
    place = matrix.keys[key]
    path = split_path(key, place, _OF_RUNS)
    plain = values.plain()
    if not values.items or any(isinstance(value, dict | list) for value in plain):
        raise RecipeError([Problem(values.place, f"matrix.{key}", _NO_VALUES)])
    if len({repr(value) for value in plain}) < len(plain):
        raise RecipeError(
            [Problem(values.place, f"matrix.{key}", "lists a value twice; leave one of them out")]
        )
    return [
        Value(key, _text(one), [Override(path, one.labelled("matrix"), place)], _number(one))
        for one in values.items
    ]


def _named_values(key: str, values: Node, matrix: Node) -> list[Value]:
    """Values that set several fields each, all at once."""
    found, problems = [], []
    if not values.fields:
        raise RecipeError([Problem(values.place, f"matrix.{key}", _NO_VALUES)])
    for name, place in [(key, matrix.keys[key]), *values.keys.items()]:
        if not re.fullmatch("[a-z0-9_]+", name):
            problems.append(Problem(place, f"matrix.{key}", f"{name!r} is no name; use a-z, 0-9 and _"))
    for name, fields in values.fields.items():
        if not fields.fields:
            found_there = "an empty one" if isinstance(fields.value, dict) else describe(fields.plain())
            message = f"{name} must be a mapping from paths to values, not {found_there}"
            problems.append(Problem(fields.place, f"matrix.{key}", message))
        overrides = read_overrides(fields, (), "matrix", problems, _OF_RUNS)
        found.append(Value(key, name, overrides))
    if problems:
        raise RecipeError(problems)
    return found


def _text(node: Node) -> str:
    value = node.value
    return describe(value) if value is None or isinstance(value, bool) else str(value)


def _number(node: Node) -> float | None:
    value = node.value
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
