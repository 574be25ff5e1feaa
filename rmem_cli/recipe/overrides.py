"""Changing fields of a recipe by their dotted paths: rows, scales and `--set` all work this way."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from rmem_cli.errors import closest
from rmem_cli.recipe.components import registry_at
from rmem_cli.recipe.document import Node, read_value
from rmem_cli.recipe.problems import Place, Problem, RecipeError

SECTIONS = ("task", "model", "optimizer", "schedule", "train", "eval", "seeds", "matrix", "search")
EVERY_PROTOCOL = ("eval", "*")


@dataclass(frozen=True)
class Override:
    """One field to change.

    Attributes:
        path: The parts of the dotted path; a protocol of `eval` is addressed by its name, every one by `*`.
        node: The new value.
        place: Where the path was written.
    """

    path: tuple[str, ...]
    node: Node
    place: Place

    @property
    def dotted(self) -> str:
        """The path as it is written."""
        return ".".join(self.path)

    def problem(self, message: str) -> RecipeError:
        """An error about this override."""
        return RecipeError([Problem(self.place, self.dotted, message)])


@dataclass(frozen=True)
class Dropped:
    """A field that was lost because the kind of its component changed."""

    path: str
    value: Any


def split_path(text: str, place: Place, sections: Iterable[str] = SECTIONS) -> tuple[str, ...]:
    """The parts of a dotted path; what follows `matrix.` is one part, itself a dotted path.

    Raises:
        RecipeError: The path is empty somewhere or starts with no section of a recipe.
    """
    section, dot, rest = text.partition(".")
    parts = (section, *([rest] if section == "matrix" else rest.split("."))) if dot else (section,)
    if section not in sections:
        raise RecipeError([Problem(place, text, f"unknown key {section!r}; {closest(section, sections)}")])
    if "" in parts:
        raise RecipeError([Problem(place, text, "a path with an empty part; write it like model.core.kind")])
    return parts


def read_overrides(
    node: Node,
    skip: Iterable[str],
    layer: str,
    problems: list[Problem],
    sections: Iterable[str] = SECTIONS,
) -> list[Override]:
    """The overrides that a row, a scale or a named value of the matrix holds.

    Args:
        node: The row, scale or value, a mapping.
        skip: Its keys that are not overrides.
        layer: What the values will be said to come from.
        problems: Receives what is wrong.
        sections: What the paths may start with.
    """
    overrides = []
    for key, value in node.fields.items():
        if key in skip:
            continue
        try:
            path = split_path(key, node.keys[key], (*sections, *skip))
            overrides.append(Override(path, value.labelled(layer), node.keys[key]))
        except RecipeError as error:
            problems += error.problems
    return overrides


def parse_set(text: str) -> Override:
    """One `--set` option, as `path=value`.

    Raises:
        RecipeError: It has no `=`, an unknown section, or a value that is not YAML.
    """
    place = Place(f"--set {text}")
    path, equals, value = text.partition("=")
    if not equals:
        raise RecipeError([Problem(place, "", "write it as path=value, like train.steps=100")])
    parts = split_path(path.strip(), place)
    value = "'-'" if value.strip() == "-" else value  # a gate's name; in YAML, the beginning of a list
    return Override(parts, read_value(value, place).labelled("--set"), place)


def apply_overrides(
    tree: Node, overrides: list[Override], problems: list[Problem]
) -> tuple[Node, list[Dropped]]:
    """Apply one layer of overrides; their order in the file does not matter.

    Whole replacements come before changes inside them, a kind before the fields of that kind, and every
    protocol (`eval.*`) before a named one.

    Args:
        tree: The experiment so far.
        overrides: The overrides of one layer.
        problems: Receives what is wrong; an override that cannot be applied is left out.

    Returns:
        The new tree, and the fields dropped by changes of a kind.
    """
    dropped: list[Dropped] = []
    for override in sorted(overrides, key=_precedence):
        try:
            tree = _assign(tree, (), override, dropped)
        except RecipeError as error:
            problems += error.problems
    return tree, dropped


def _precedence(override: Override) -> tuple[int, bool, bool]:
    path = override.path
    return len(path), path[-1] != "kind", path[:2] != EVERY_PROTOCOL


def _assign(node: Node, walked: tuple[str, ...], override: Override, dropped: list[Dropped]) -> Node:
    """The node at path `walked` with the override applied somewhere below it."""
    part, *rest = override.path[len(walked) :]
    if walked == ("eval",):
        return _assign_protocol(node, part, override, dropped)
    if isinstance(node.value, list):
        raise override.problem(f"{'.'.join(walked)} is a list; give the whole list")
    if not isinstance(node.value, dict | None):
        raise override.problem(f"{'.'.join(walked)} is a single value and has no fields")
    if rest:
        below = node.fields.get(part, Node(None, override.place, layer=override.node.layer))
        return node.with_field(part, _assign(below, (*walked, part), override, dropped), override.place)
    if part == "kind":
        node = _keep_common(node, walked, override.node.value, dropped)
    return node.with_field(part, override.node, override.place)


def _assign_protocol(node: Node, name: str, override: Override, dropped: list[Dropped]) -> Node:
    """The list of protocols with the one of this name changed, or all of them."""
    names = [item.fields["name"].value if "name" in item.fields else None for item in node.items]
    if override.path[:2] == EVERY_PROTOCOL:
        if len(override.path) == 2:
            raise override.problem("* stands for every protocol; name the field to change in each of them")
        items = [_assign(item, ("eval", name), override, dropped) for item in node.items]
        return Node(items, node.place, layer=node.layer)
    if name not in names:
        known = [known for known in names if isinstance(known, str) and known]
        raise override.problem(f"no evaluation protocol is called {name!r}; {closest(name, known)}")
    place = names.index(name)
    if len(override.path) == 2:
        changed = override.node
    else:
        changed = _assign(node.items[place], ("eval", name), override, dropped)
    return Node([*node.items[:place], changed, *node.items[place + 1 :]], node.place, layer=node.layer)


def _keep_common(node: Node, path: tuple[str, ...], kind: Any, dropped: list[Dropped]) -> Node:
    """A component without the fields that another kind does not share with it."""
    registry = registry_at(path)
    old = node.fields.get("kind")
    if registry is None or old is None or old.value == kind or kind not in registry.kinds():
        return node
    common = registry.settings(kind).common
    for name, lost in node.fields.items():
        if name not in common and name != "kind":
            dropped.append(Dropped(".".join((*path, name)), lost.plain()))
    return node.part(name for name in node.fields if name in common or name == "kind")
