"""Where each value of a resolved recipe comes from, as YAML with comments."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from rmem_cli.json_text import json_text
from rmem_cli.recipe.checks import Path
from rmem_cli.recipe.document import Node, parse_scalar
from rmem_cli.recipe.fields import fields_of
from rmem_cli.recipe.recipe import Recipe
from rmem_cli.recipe.resolve import Resolved
from rmem_cli.recipe.settings import Settings
from rmem_cli.recipe.validation import dotted, find
from rmem_cli.visible import one_line, visible

NOTED = ("base", "row", "matrix")  # a note about published numbers is not about what a scale made of them


@dataclass(frozen=True)
class Line:
    """One line of the explained settings.

    Attributes:
        text: The line of YAML, indented.
        path: Dotted path of the field.
        layer: What set it; empty for a group of fields.
        note: Where the recipe says that its value comes from; may be empty.
    """

    text: str
    path: str
    layer: str = ""
    note: str = ""

    @property
    def comment(self) -> str:
        """The layer and the note."""
        return "; ".join(part for part in (self.layer, self.note) if part)


def explain(recipe: Recipe, resolved: Resolved) -> list[Line]:
    """The resolved settings, seeds and search, field by field, each with its origin."""
    explainer = _Explainer(recipe, resolved.tree)
    search = {} if resolved.search is None else {"search": resolved.search}
    return [
        *explainer.group(fields_of(resolved.settings), (), ""),
        explainer.leaf("seeds", resolved.seeds, ("seeds",), ""),
        *explainer.group(search, (), ""),
    ]


def render(lines: list[Line]) -> str:
    """The lines as YAML, the comments one below the other."""
    width = max(len(line.text) for line in lines if len(line.text) < 50)
    return "\n".join(
        f"{line.text:<{width}}  # {line.comment}" if line.comment else line.text for line in lines
    )


class _Explainer:
    """Walks the settings beside the tree they were read from."""

    def __init__(self, recipe: Recipe, tree: Node) -> None:
        self.origin = recipe.origin
        self.tree = tree

    def group(self, fields: dict[str, Any], path: Path, indent: str) -> Iterator[Line]:
        for name, value in fields.items():
            below = (*path, name)
            if isinstance(value, Settings):
                yield Line(f"{indent}{name}:", dotted(self.tree, below))
                yield from self.group(fields_of(value), below, indent + "  ")
            elif isinstance(value, dict) and value:
                yield Line(f"{indent}{name}:", dotted(self.tree, below))
                yield from self.group(value, below, indent + "  ")
            elif isinstance(value, list) and any(isinstance(item, Settings) for item in value):
                yield Line(f"{indent}{name}:", dotted(self.tree, below))
                for index, item in enumerate(value):
                    yield from self.item(fields_of(item), (*below, index), indent)
            else:
                yield self.leaf(name, value, below, indent)

    def item(self, fields: dict[str, Any], path: Path, indent: str) -> Iterator[Line]:
        """The fields of a list entry, the first behind a dash."""
        first, *others = self.group(fields, path, indent + "  ")
        yield Line(f"{indent}- {first.text.lstrip()}", first.path, first.layer, first.note)
        yield from others

    def leaf(self, name: str, value: Any, path: Path, indent: str) -> Line:
        layer, path_text = self.layer(path), dotted(self.tree, path)
        return Line(f"{indent}{name}: {flow(value)}", path_text, layer, self.note(path_text, layer))

    def layer(self, path: Path) -> str:
        node = find(self.tree, path)
        return node.layer if node is not None else "default"

    def note(self, path: str, layer: str) -> str:
        """The note of the recipe about this field, or else about the group of fields it is in."""
        groups = path.split(".") if layer in NOTED else []
        candidates = [path, *(".".join(groups[:length]) for length in range(len(groups) - 1, 0, -1))]
        notes = (self.origin[candidate] for candidate in candidates if candidate in self.origin)
        return "" if layer not in (*NOTED, "default") else one_line(next(notes, ""))


def flow(value: Any) -> str:
    """A value on one line, so that reading it gives the same value again."""
    if isinstance(value, list):
        return f"[{', '.join(map(flow, value))}]"
    if isinstance(value, str):
        plain = value.replace("_", "a").replace("-", "a").isalnum() and value.isascii() and value[0] != "-"
        return value if plain and _reads_as_text(value) else _quoted(value)
    return json_text(value, indent=None)


def _reads_as_text(value: str) -> bool:
    try:
        return isinstance(parse_scalar(value), str)
    except ValueError:  # digits, too many for a number
        return False


def _quoted(text: str) -> str:
    """Text in double quotes, with YAML's escapes."""
    text = yaml.safe_dump(text, default_style='"', allow_unicode=True, width=2**31).rstrip("\n")
    return visible(text)  # whose escapes are YAML's, too
