"""From a tree of nodes to validated settings, with every problem at its place."""

import re
from collections.abc import Iterator
from typing import Any, TypeVar, cast

from pydantic import ValidationError

from rmem_cli.errors import UsageError
from rmem_cli.recipe.checks import Path, Sections, Unknown, check_evaluated, check_sections
from rmem_cli.recipe.components import components
from rmem_cli.recipe.document import LAYERS, Node
from rmem_cli.recipe.kinds import TaskSettings
from rmem_cli.recipe.messages import describe, sentence
from rmem_cli.recipe.problems import MOST_TOLD, Place, Problem
from rmem_cli.recipe.registry import Registry
from rmem_cli.recipe.schema import EvalProtocol, ModelSettings, RunSettings, TrainSettings
from rmem_cli.recipe.settings import Component, Settings

AnySettings = TypeVar("AnySettings", bound=Settings)
_OTHER_FILES = "reads other files than those that are learned, whose symbols may be others; leave it out"


def build_settings(tree: Node, problems: list[Problem]) -> RunSettings | None:
    """The settings of one run.

    Args:
        tree: The sections of a resolved recipe, `with_default_kinds`.
        problems: Receives everything that is wrong.

    Returns:
        The settings, or None if anything is wrong.
    """
    builder = _Builder(tree)
    settings = builder.build()
    problems += builder.problems
    return settings


def validate(
    model: type[AnySettings], node: Node, problems: list[Problem], prefix: str = ""
) -> AnySettings | None:
    """A node as an instance of a settings class, or None after adding what is wrong to `problems`.

    Args:
        model: The settings class.
        node: A mapping.
        problems: Receives everything that is wrong.
        prefix: Dotted path of the node itself, for messages.
    """
    builder = _Builder(node, prefix)
    result = builder.validate(model, node.plain(), ())
    problems += builder.problems
    return result


def with_default_kinds(tree: Node) -> Node:
    """The tree with the components that a recipe need not name: no schedule, full back-propagation."""
    tree = _with_kind(tree, "schedule", "constant")
    if "train" in tree.fields and isinstance(tree.fields["train"].value, dict):
        tree = tree.with_field(
            "train", _with_kind(tree.fields["train"], "backprop", "full"), tree.keys["train"]
        )
    return tree


def find(tree: Node, path: Path) -> Node | None:
    """The node at a path, or None if there is none."""
    node: Node | None = tree
    for part in path:
        if node is None:
            return None
        if isinstance(part, int):
            node = node.items[part] if part < len(node.items) else None
        else:
            node = node.fields.get(part)
    return node


def dotted(tree: Node, path: Path) -> str:
    """A path as a recipe writes it: an evaluation protocol by its name, other list entries by number."""
    text = ""
    for depth, part in enumerate(path):
        name = find(tree, (*path[: depth + 1], "name")) if path[0] == "eval" and depth == 1 else None
        if name is not None and isinstance(name.value, str):
            part = name.value
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


class _Builder:
    """Validates the parts of one tree and keeps what is wrong with them."""

    def __init__(self, tree: Node, prefix: str = "") -> None:
        self.tree = tree
        self.prefix = prefix
        self.problems: list[Problem] = []
        self.kinds: dict[Path, type[Component]] = {}

    def build(self) -> RunSettings | None:
        missing = [name for name in RunSettings.model_fields if name not in self.tree.fields]
        for name in missing:
            self.add((name,), "is missing")
        found = {path: self.component(path, sort.registry) for path, sort in components().items()}
        task, core = found[("task",)], found[("model", "core")]
        sections = Sections(
            task=task if isinstance(task, TaskSettings) else None,
            schedule=found[("schedule",)],
            model=self.section(ModelSettings, "model", found),
            optimizer=found[("optimizer",)],
            train=self.section(TrainSettings, "train", found),
            eval=self.protocols(),
        )
        kind_of_task = self.kinds.get(("task",))
        for path, message in check_sections(sections, cast("type[TaskSettings] | None", kind_of_task)):
            self.add(path, message)
        for index, protocol in enumerate(sections.eval):
            if protocol is not None:
                at = ("eval", index)
                changed_task = self.changes(task, (*at, "task"), protocol.task)
                changed_core = self.changes(core, (*at, "core"), protocol.core)
                for path, message in check_evaluated(sections, protocol, changed_task, changed_core):
                    self.add((*at, *path), message)
        for index, stage in enumerate(sections.train.stages if sections.train is not None else ()):
            self.changes(task, ("train", "stages", index, "task"), stage.task)
        return None if self.problems else RunSettings(**vars(sections))

    def component(self, path: Path, registry: Registry) -> Component | None:
        node = find(self.tree, path)
        if node is None or (node.value is None and path[0] == "model"):  # missing, or left to the task
            return None
        kind = node.fields.get("kind")
        if kind is None:
            wrong = "its kind is missing"
            if not isinstance(node.value, dict):
                wrong = f"must be a mapping with a kind, not {describe(node.value)}"
            self.add(path, f"{wrong}; there are: {', '.join(registry.kinds())}")
            return None
        if not isinstance(kind.value, str):
            self.add((*path, "kind"), f"must be text, not {describe(kind.value)}")
            return None
        try:
            self.kinds[path] = registry.settings(kind.value)
        except UsageError as error:
            self.add((*path, "kind"), str(error))
            return None
        return self.validate(self.kinds[path], node.plain(), path)

    def section(
        self, model: type[AnySettings], name: str, found: dict[Path, Component | None]
    ) -> AnySettings | None:
        """A section that holds components: they are validated already, or `Unknown` if they are wrong."""
        node = self.tree.fields.get(name)
        if node is None:
            return None
        values = node.plain()
        wrong: dict[str, Any] = {}
        for path, component in found.items():
            below = find(self.tree, path)
            if path[0] == name and below is not None and below.value is not None:
                values[path[1]] = component or components()[path].model_construct(kind="wrong")
                wrong |= {} if component else {str(path[1]): Unknown()}
        section = self.validate(model, values, (name,))
        return section and section.model_copy(update=wrong)

    def protocols(self) -> list[EvalProtocol | None]:
        node = self.tree.fields.get("eval")
        if node is None:
            return []
        if not isinstance(node.value, list):
            self.add(("eval",), f"must be a list of protocols, not {describe(node.plain())}")
        elif not node.value:
            self.add(("eval",), "must list at least one protocol, or nothing is measured")
        return [
            self.validate(EvalProtocol, item.plain(), ("eval", index))
            for index, item in enumerate(node.items)
        ]

    def changes(self, component: Component | None, path: Path, fields: dict[str, Any]) -> Component | None:
        """The task or the core with the fields that a protocol or a stage changes; None if it is wrong."""
        if component is None or not fields:
            return component
        if "kind" in fields:
            where = "an evaluation" if path[0] == "eval" else "a stage"
            self.add((*path, "kind"), f"the kind of the {path[-1]} cannot differ in {where}; remove it")
            return None
        if isinstance(component, TaskSettings) and component.own in fields:
            self.add((*path, component.own), _OTHER_FILES)
            return None
        values = {**component.model_dump(by_alias=True), **fields}
        return self.validate(type(component), values, path)

    def validate(self, model: type[AnySettings], values: Any, path: Path) -> AnySettings | None:
        try:
            return model.model_validate(values, by_alias=True, by_name=False)
        except ValidationError as errors:
            found = errors.errors(include_url=False)
            for error in found[:MOST_TOLD]:
                self.add((*path, *error["loc"]), sentence(error, model))
            if len(found) > MOST_TOLD:
                self.add(path, f"has {len(found) - MOST_TOLD:,} more problems")
            return None

    def add(self, path: Path, message: str) -> None:
        name = ".".join(part for part in (self.prefix, dotted(self.tree, path)) if part)
        self.problems.append(Problem(self.place(path, message), name, message))

    def place(self, path: Path, message: str) -> Place:
        """Where the field is written: the key if it is unknown, the kind or the parent if it is missing.

        Of a mapping, what was set in it last: it is that, or does not go with that, which was right before;
        of several, the one that the message names first.
        """
        parent, node = find(self.tree, path[:-1]), find(self.tree, path)
        if parent is not None and message.startswith("unknown key"):
            return parent.keys[str(path[-1])]
        if node is not None:
            words = re.findall(r"\w+", message)

            def rank(named: tuple[str, Node]) -> tuple[int, int]:
                name, each = named
                first = words.index(name) if name in words else len(words)
                return LAYERS.index(each.layer), 1 if each is node else -first

            return max(_nodes("", node), key=rank)[1].place
        for depth in range(len(path) - 1, -1, -1):
            above = find(self.tree, path[:depth])
            if above is not None:
                return above.fields["kind"].place if "kind" in above.fields else above.place
        return self.tree.place


def _nodes(name: str, node: Node) -> Iterator[tuple[str, Node]]:
    """A node and all below it, by their names, the kind of a component before its other fields."""
    yield name, node
    fields = sorted(node.fields.items(), key=lambda field: field[0] != "kind")
    for key, below in [*fields, *(("", item) for item in node.items)]:
        yield from _nodes(key, below)


def _with_kind(node: Node, name: str, kind: str) -> Node:
    """The mapping with a kind for the component of this name, if it has none yet."""
    below = node.fields.get(name, Node(None, node.place, layer="default"))
    if not isinstance(below.value, dict | None) or "kind" in below.fields:
        return node
    component = below.with_field("kind", Node(kind, below.place, layer="default"), below.place)
    return node.with_field(name, component, node.keys.get(name, below.place))
