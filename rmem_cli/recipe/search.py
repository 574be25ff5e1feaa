"""Values that a validation chooses, each row its own."""

from collections.abc import Iterator, Sequence
from typing import Annotated

from pydantic import Field

from rmem_cli.errors import closest
from rmem_cli.recipe.document import Node
from rmem_cli.recipe.problems import Problem
from rmem_cli.recipe.schema import EvalProtocol
from rmem_cli.recipe.seeds import SeedList
from rmem_cli.recipe.settings import Settings, listed_once
from rmem_cli.recipe.validation import validate


class SearchSettings(Settings):
    """Keys of the matrix whose values are candidates; each row is trained further with its best ones.

    The candidates are trained with the recipe's `seeds`, the best of them with the seeds that are named here;
    results hold this as a cell of its own. No hash covers it: it says which runs are compared, not what
    they do.

    Attributes:
        over: Keys of the matrix. For each value of its other keys there is a search of its own.
        protocol: Evaluation by which the best is found, by the mean of its first metric over the seeds: any
            but one of the test split.
        seeds: With which the best is trained.
    """

    over: Annotated[list[str], Field(min_length=1), listed_once("a key")]
    protocol: str
    seeds: SeedList


def chosen_label(names: Sequence[str], protocol: str) -> str:
    """What the part of a cell is called that stands for what a search chose, like `lr by valid`.

    Args:
        names: Of the keys of the matrix, as in labels.
        protocol: Of the search.
    """
    return f"{' and '.join(names)} by {protocol}"


def is_chosen(cell: str) -> bool:
    """Whether a part of a cell's label is one of `chosen_label`; others have a `=`, or are folds together."""
    return any("=" not in part and " by " in part for part in cell.split(","))


def read_search(tree: Node, protocols: list[EvalProtocol], problems: list[Problem]) -> SearchSettings | None:
    """The search of a resolved recipe, if it has one.

    Args:
        tree: Its sections.
        protocols: Its evaluations.
        problems: Receives what is wrong.
    """
    node = tree.fields.get("search")
    if node is None or node.value is None:
        return None
    search = validate(SearchSettings, node, problems, "search")
    wrong = [] if search is None else list(_wrong(search, node, tree, protocols))
    problems += wrong
    return None if wrong else search


def _wrong(
    search: SearchSettings, node: Node, tree: Node, protocols: list[EvalProtocol]
) -> Iterator[Problem]:
    matrix = tree.fields.get("matrix")
    keys = [] if matrix is None else list(matrix.fields)
    for key, written in zip(search.over, node.fields["over"].items, strict=True):
        if key not in keys:
            hint = closest(key, keys) if keys else "give the recipe a matrix"
            yield Problem(written.place, "search.over", f"the matrix has no key {key!r}; {hint}")
    named = {protocol.name: protocol for protocol in protocols}
    protocol = named.get(search.protocol)
    place = node.fields["protocol"].place
    if protocol is None:
        message = f"no evaluation protocol is called {search.protocol!r}; {closest(search.protocol, named)}"
        yield Problem(place, "search.protocol", message)
    elif protocol.split == "test":
        message = "is of the test split, on which nothing may be chosen; name one of another split"
        yield Problem(place, "search.protocol", message)
    else:
        earlier = protocols[: protocols.index(protocol)]
        same = [each.name for each in earlier if each.model_copy(update={"name": protocol.name}) == protocol]
        if same:
            message = f"is the same evaluation as {same[0]}, which has its results; name that one"
            yield Problem(place, "search.protocol", message)
