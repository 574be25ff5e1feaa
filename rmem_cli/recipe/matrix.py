"""`matrix`: one run for every combination of values."""

from collections import Counter
from dataclasses import dataclass
from itertools import product
from math import prod

from rmem_cli.recipe.document import Node
from rmem_cli.recipe.messages import describe
from rmem_cli.recipe.overrides import SECTIONS, Override, split_path
from rmem_cli.recipe.problems import Problem, RecipeError

MOST_CELLS = 500


@dataclass(frozen=True)
class Cell:
    """One combination.

    Attributes:
        label: As the result rows show it, like `number=1`; empty if there is no matrix.
        overrides: The fields it sets.
    """

    label: str
    overrides: list[Override]


def cells(matrix: Node | None, problems: list[Problem]) -> list[Cell]:
    """All combinations of the values of a matrix, the last key changing fastest.

    Args:
        matrix: A mapping from dotted paths to lists of values, or nothing.
        problems: Receives what is wrong.

    Returns:
        A single cell without overrides if there is no matrix or something is wrong with it.
    """
    try:
        axes = _axes(matrix)
    except RecipeError as error:
        problems += error.problems
        axes = []
    count = prod(map(len, axes))
    if count > MOST_CELLS:
        assert matrix is not None  # noqa: S101  it has axes
        message = f"stands for {count:,} combinations; a recipe may have {MOST_CELLS:,}"
        problems.append(Problem(matrix.place, "matrix", message))
        axes = []
    short = Counter(axis[0].path[-1] for axis in axes)
    combinations = []
    for combination in product(*axes):
        names = [o.path[-1] if short[o.path[-1]] == 1 else o.dotted for o in combination]
        label = ",".join(
            f"{name}={_text(override.node)}" for name, override in zip(names, combination, strict=True)
        )
        combinations.append(Cell(label, list(combination)))
    return combinations


def _axes(matrix: Node | None) -> list[list[Override]]:
    """For each key, one override for each of its values."""
    if matrix is None or matrix.value is None:
        return []
    if not isinstance(matrix.value, dict):
        message = f"must be a mapping from paths to lists of values, not {describe(matrix.plain())}"
        raise RecipeError([Problem(matrix.place, "matrix", message)])
    return [_axis(key, values, matrix) for key, values in matrix.fields.items()]


def _axis(key: str, values: Node, matrix: Node) -> list[Override]:
    place = matrix.keys[key]
    path = split_path(key, place, [section for section in SECTIONS if section not in ("seeds", "matrix")])
    plain = values.plain()
    if not values.items or any(isinstance(value, dict | list) for value in plain):
        message = "must be a list of single values with at least one entry"
        raise RecipeError([Problem(values.place, f"matrix.{key}", message)])
    if len({repr(value) for value in plain}) < len(plain):
        raise RecipeError([Problem(values.place, f"matrix.{key}", "lists a value twice")])
    return [Override(path, value.labelled("matrix"), place) for value in values.items]


def _text(node: Node) -> str:
    value = node.value
    return describe(value) if value is None or isinstance(value, bool) else str(value)
