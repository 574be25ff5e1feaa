"""YAML text into a tree in which every key and value knows where it was written.

Only the plain part of YAML is read: mappings with text keys, lists, and scalars. Unlike YAML 1.1, `1e-3` is a
number, `on`, `yes` and `1:30` are text, and `010` is ten. Nothing in a recipe builds an object.
"""

import contextlib
import math
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, cast

import yaml
from yaml.nodes import MappingNode, ScalarNode, SequenceNode

from rmem_cli.recipe.problems import Place, Problem, RecipeError

Scalar = str | int | float | bool | None

LAYERS = ("", "default", "base", "row", "matrix", "scale", "row scale", "--set")
"""What can set a value; each goes before those ahead of it."""

MAX_BYTES = 1_000_000
MAX_DEPTH = 50
MAX_NODES = 50_000  # keys and values: thirty times what the longest recipe has

_INTEGER = re.compile(r"[-+]?[0-9]+")
_FLOAT = re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")
# What the parser in C takes and PyYAML's own refuses, or counts among the columns in another way.
_READ_OTHERWISE = re.compile(r"[\t\r\x85\u2028\u2029\ufeff?]|[|>][-+0-9]*#|:\s*[],}]")
_CONSTANTS: dict[str, Scalar] = {"": None, "~": None, "null": None, "true": True, "false": False}


@dataclass(frozen=True)
class Node:
    """A value of the document with its place.

    Attributes:
        value: A scalar, a list of nodes, or a mapping from text to nodes.
        place: Where the value starts.
        keys: For a mapping, where each key was written.
        layer: What set the value, one of `LAYERS`.
    """

    value: "Scalar | list[Node] | dict[str, Node]"
    place: Place
    keys: dict[str, Place] = field(default_factory=dict)
    layer: str = ""

    @property
    def fields(self) -> "dict[str, Node]":
        """The entries of a mapping; nothing for any other value."""
        return self.value if isinstance(self.value, dict) else {}

    @property
    def items(self) -> "list[Node]":
        """The entries of a list; nothing for any other value."""
        return self.value if isinstance(self.value, list) else []

    def plain(self) -> Any:
        """The value without places, as ordinary Python objects."""
        if isinstance(self.value, dict):
            return {key: node.plain() for key, node in self.value.items()}
        if isinstance(self.value, list):
            return [node.plain() for node in self.value]
        return self.value

    def labelled(self, layer: str) -> "Node":
        """The same tree with another layer on every node."""
        value = self.value
        if isinstance(value, dict):
            value = {key: node.labelled(layer) for key, node in value.items()}
        elif isinstance(value, list):
            value = [node.labelled(layer) for node in value]
        return replace(self, value=value, layer=layer)

    def part(self, names: Iterable[str]) -> "Node":
        """The same mapping with only the fields of these names that it has."""
        fields = {name: self.fields[name] for name in names if name in self.fields}
        return replace(self, value=fields, keys={name: self.keys[name] for name in fields})

    def with_field(self, key: str, node: "Node", place: Place) -> "Node":
        """The same mapping with one field added or replaced."""
        return Node({**self.fields, key: node}, self.place, {**self.keys, key: place}, self.layer)


def read_document(data: bytes, source: str) -> Node:
    """Read a recipe's content: YAML whose top level is a mapping.

    Args:
        data: The bytes of the file.
        source: The file's name for messages.

    Raises:
        RecipeError: It is not text, not YAML, empty, or uses a part of YAML that recipes leave out.
    """
    root = read_yaml(data, source)
    if root is None:
        raise RecipeError(
            [Problem(Place(source, 1, 1), "", "the file is empty; a recipe starts with 'name:'")]
        )
    if not isinstance(root.value, dict):
        what = "a list" if isinstance(root.value, list) else "a single value"
        message = f"the file holds {what}; a recipe is a mapping (lines like 'name: value')"
        raise RecipeError([Problem(root.place, "", message)])
    return root


def read_yaml(data: bytes, source: str) -> Node | None:
    """Read a YAML file's content, whatever its top level is; None if there is nothing in it.

    Raises:
        RecipeError: It is not text, not YAML, or uses a part of YAML that recipes leave out.
    """
    text = _decode(data, source)

    def place(mark: yaml.Mark | None) -> Place:
        return Place(source, mark.line + 1, mark.column + 1) if mark else Place(source, 1, 1)

    return _read(text, place)


def read_value(text: str, place: Place) -> Node:
    """Read one value, such as `0.1` or `[1, 2]`, by the same rules; every node gets the same place.

    Raises:
        RecipeError: The text is not a value.
    """
    root = _read(text, lambda _: place)
    if root is None:
        raise RecipeError([Problem(place, "", "the value is missing; write null for none")])
    return root


def parse_scalar(text: str) -> Scalar:
    """The value of an unquoted scalar.

    Raises:
        ValueError: It is a number too large to be stored.
    """
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if _INTEGER.fullmatch(text):
        if len(text.lstrip("+-")) > 18:
            raise ValueError("a whole number may have up to 18 digits")
        return int(text)
    if _FLOAT.fullmatch(text):
        number = float(text)
        if not math.isfinite(number):
            raise ValueError("the number is too large")
        return number
    return text


def _decode(data: bytes, source: str) -> str:
    """UTF-8 text, or an error at the first byte that is not."""
    if len(data) > MAX_BYTES:
        raise RecipeError([Problem(Place(source, 1, 1), "", "the file is too large to be a recipe")])
    zero = data.find(b"\0")
    try:
        if zero < 0:
            return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before, message = data[: error.start], "not UTF-8 text; save the file with the encoding UTF-8"
    else:
        before, message = (
            data[:zero],
            "a binary file, or text that is not UTF-8; a recipe is a YAML text file",
        )
    raise RecipeError([Problem(_place_after(before.decode("utf-8", "replace"), source), "", message)])


def _place_after(text: str, source: str) -> Place:
    return Place(source, text.count("\n") + 1, len(text) - (text.rfind("\n") + 1) + 1)


def _read(text: str, place: Callable[[yaml.Mark | None], Place]) -> Node | None:
    problems: list[Problem] = []
    try:
        composed = _composed(text)
        root = None if composed is None else _Converter(place, problems).node(composed)
    except yaml.reader.ReaderError as error:
        at = _place_after(text[: error.position], place(None).source)
        at = at if place(None).line else place(None)
        problems.append(Problem(at, "", "a control character; a recipe holds only printable text"))
    except yaml.MarkedYAMLError as error:
        problems.append(Problem(place(error.problem_mark or error.context_mark), "", _explain(error)))
    except (ValueError, OverflowError):
        problems.append(Problem(place(None), "", "an escape such as \\U or a %YAML line that means nothing"))
    if problems:
        raise RecipeError(problems)
    return root


def _explain(error: yaml.MarkedYAMLError) -> str:
    """PyYAML's message in the words of someone who writes recipes."""
    problem = error.problem or error.context or "not YAML"
    if isinstance(error, _RefusedError):
        return problem
    if "'\\t'" in problem:
        return "a tab; indent with spaces"
    if "mapping values are not allowed" in problem:
        return "a ':' where none can stand; put text that holds ': ' in quotes, and check the indentation"
    if "expected a single document" in (error.context or ""):
        return "a second document ('---'); a recipe is one document"
    return f"not valid YAML: {problem}" + (f" ({error.context})" if error.context else "")


class _RefusedError(yaml.MarkedYAMLError):
    """A part of YAML that recipes leave out; the problem is a sentence of ours."""


class _Composer(yaml.composer.Composer):
    """Refuses aliases, tags and deep nesting before a tree is built."""

    depth = 0
    nodes = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = cast(Any, self).peek_event()
        mark = event.start_mark
        if isinstance(event, yaml.AliasEvent):
            raise _RefusedError(problem="an alias (*); write the value out", problem_mark=mark)
        if getattr(event, "tag", None) is not None:
            problem = f"a tag ({event.tag}); write the value without it"
            raise _RefusedError(problem=problem, problem_mark=mark)
        self.nodes += 1
        if self.nodes > MAX_NODES:
            problem = f"more than {MAX_NODES:,} keys and values; no recipe is as long"
            raise _RefusedError(problem=problem, problem_mark=mark)
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise _RefusedError(problem="nested too deeply", problem_mark=mark)
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


class _Loader(_Composer, yaml.SafeLoader):
    """On PyYAML's own parser, which says best what is wrong."""


def _composed(text: str) -> yaml.Node | None:
    """The tree of a text, by the parser in C where there is one, and the text is right."""
    if yaml.__with_libyaml__ and not _READ_OTHERWISE.search(text):
        with contextlib.suppress(yaml.YAMLError, ValueError, OverflowError):
            return cast("yaml.Node | None", _quick_loader()(text).get_single_node())
    return _Loader(text).get_single_node()


@cache
def _quick_loader() -> type[Any]:
    """The same on the parser in C, several times as fast."""
    from yaml.cyaml import CParser  # type: ignore[attr-defined]  # it has no types

    class QuickLoader(_Composer, CParser, yaml.resolver.Resolver):
        def __init__(self, text: str) -> None:
            CParser.__init__(self, text)
            yaml.composer.Composer.__init__(self)
            yaml.resolver.Resolver.__init__(self)

    return QuickLoader


class _Converter:
    """From PyYAML's nodes to ours, collecting every problem instead of stopping at the first."""

    def __init__(self, place: Callable[[yaml.Mark | None], Place], problems: list[Problem]) -> None:
        self.place = place
        self.problems = problems

    def node(self, node: yaml.Node, path: str = "") -> Node:
        place = self.place(node.start_mark)
        if isinstance(node, MappingNode):
            return self.mapping(node, path)
        if isinstance(node, SequenceNode):
            return Node([self.node(item, f"{path}[{i}]") for i, item in enumerate(node.value)], place)
        return Node(self.scalar(cast(ScalarNode, node), path), place)

    def mapping(self, node: MappingNode, path: str) -> Node:
        fields: dict[str, Node] = {}
        keys: dict[str, Place] = {}
        for key, place, value in self.entries(node, path):
            below = f"{path}.{key}" if path else key
            if key in fields:
                self.problem(place, below, f"the key stands twice, first at {keys[key]}; keep one of them")
            else:
                keys[key] = place
            fields[key] = self.node(value, below)
        return Node(fields, self.place(node.start_mark), keys)

    def entries(self, node: MappingNode, path: str) -> Iterator[tuple[str, Place, yaml.Node]]:
        for key_node, value in node.value:
            place = self.place(key_node.start_mark)
            key = self.scalar(key_node, path) if isinstance(key_node, ScalarNode) else None
            if key == "<<" and not key_node.style:
                self.problem(place, path, "a merge key (<<); write the fields out")
            elif isinstance(key, str):
                yield key, place, value
            else:
                self.problem(place, path, "a key that is not text; put it in quotes")

    def scalar(self, node: ScalarNode, path: str) -> Scalar:
        text = str(node.value)
        if any("\ud800" <= character <= "\udfff" for character in text):
            self.problem(
                self.place(node.start_mark), path, "half of a surrogate pair; write the character itself"
            )
        if node.style:
            return text
        try:
            return parse_scalar(text)
        except ValueError as error:
            self.problem(self.place(node.start_mark), path, f"{error}; put it in quotes if it is text")
            return 0

    def problem(self, place: Place, path: str, message: str) -> None:
        self.problems.append(Problem(place, path, message))
