"""Which published rows a row of a recipe stands for."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from rmem_cli.recipe.document import Node
from rmem_cli.recipe.messages import describe
from rmem_cli.recipe.problems import Place, Problem

_FORMS = "must be an id like rum2017.recall.lstm, a list of ids, or a mapping from matrix cells to ids"


@dataclass(frozen=True)
class Address:
    """A published row that a row of a recipe, or one matrix cell of it, stands for.

    Attributes:
        id: Such as "rum2017.recall.lstm".
        cell: The only matrix cell that it is for, such as "length=30"; None for all.
        place: Where the recipe names it.
    """

    id: str
    cell: str | None = None
    place: Place = field(default=Place(""), compare=False, repr=False)


def read_addresses(node: Node | None, path: str, problems: list[Problem]) -> tuple[Address, ...]:
    """The published rows that a recipe names, in its order.

    Args:
        node: An id, a list of ids, a mapping from labels of matrix cells to either, or nothing.
        path: Where that stands, for messages.
        problems: Receives what is none of these.
    """
    return tuple(_addresses(node, None, path, problems))


def _addresses(node: Node | None, cell: str | None, path: str, problems: list[Problem]) -> Iterator[Address]:
    if node is None or node.value is None:
        return
    if isinstance(node.value, str):
        yield Address(node.value, cell, node.place)
    elif node.items:
        for item in node.items:
            yield from _addresses(_only_text(item, path, problems), cell, path, problems)
    elif node.fields and cell is None:
        for label, value in node.fields.items():
            yield from _addresses(value, label, f"{path}.{label}", problems)
    else:
        problems.append(Problem(node.place, path, f"{_FORMS}, not {describe(node.plain())}"))


def _only_text(node: Node, path: str, problems: list[Problem]) -> Node | None:
    if isinstance(node.value, str):
        return node
    problems.append(Problem(node.place, path, f"{_FORMS}, not {describe(node.plain())}"))
    return None
