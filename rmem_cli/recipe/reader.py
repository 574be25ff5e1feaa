"""From the text of a recipe to a `Recipe`, or to everything that is wrong with it."""

import re
from collections.abc import Callable, Iterable
from typing import Annotated

from pydantic import AfterValidator, Field, NonNegativeFloat

from rmem_cli.errors import UsageError, closest
from rmem_cli.published.store import find, find_table, load_paper
from rmem_cli.recipe.addresses import Address, read_addresses
from rmem_cli.recipe.document import Node, read_document
from rmem_cli.recipe.fields import all_paths
from rmem_cli.recipe.messages import describe
from rmem_cli.recipe.overrides import SECTIONS, Override, read_overrides
from rmem_cli.recipe.problems import MOST_TOLD, Place, Problem, RecipeError
from rmem_cli.recipe.recipe import Recipe
from rmem_cli.recipe.resolve import CUSTOM, PAPER, Resolved, Row, Scale, resolve_all
from rmem_cli.recipe.settings import Settings
from rmem_cli.recipe.solved import SolvedRule
from rmem_cli.recipe.validation import validate

MOST_ROWS = 500
MOST_SCALES = 20


def _identifier(text: str) -> str:
    if not re.fullmatch(r"[a-z0-9_]+", text):
        raise ValueError(f"must consist of a-z, 0-9 and _, not {text!r}")
    return text


Identifier = Annotated[str, AfterValidator(_identifier)]


class _Header(Settings):
    """What a recipe says about itself."""

    name: Identifier
    title: str
    paper: str | None = None
    summary: str = ""
    tolerance: NonNegativeFloat | None = None
    solved: SolvedRule | None = None
    notes: list[str] = Field(default_factory=list)
    origin: dict[str, str] = Field(default_factory=dict)


class _RowHeader(Settings):
    """What a row says about itself."""

    id: Identifier
    title: str
    notes: list[str] = Field(default_factory=list)


class _ScaleHeader(Settings):
    """Which rows a scale has, and which of them run where none is named."""

    rows: Annotated[list[str], Field(min_length=1)] | None = None
    default_rows: Annotated[list[str], Field(min_length=1)] | None = None


def read_recipe(data: bytes, source: str, stem: str) -> Recipe:
    """Read and validate a whole recipe: every row at every scale.

    Args:
        data: The bytes of the file.
        source: The file's name for messages.
        stem: The file's name without folder and suffix, which must be the recipe's name.

    Raises:
        RecipeError: With everything that is wrong.
    """
    return _Reader(read_document(data, source), stem).read()


class _Reader:
    """Reads one document and keeps what is wrong with it."""

    def __init__(self, document: Node, stem: str) -> None:
        self.document = document
        self.stem = stem
        self.problems: list[Problem] = []

    def read(self) -> Recipe:
        header = self.header()
        tables = self.published(self.document, "published", find_table)
        base = self.document.part(SECTIONS).labelled("base")
        rows = self.rows()
        scales = self.scales([row.id for row in rows])
        nameless = Row("", "", (), [], [], {})  # so that a recipe without rows is checked for all else
        pairs = [
            (row, scale) for scale in scales.values() for row in rows or [nameless] if scale.includes(row)
        ]
        resolved = resolve_all(base, pairs, (), self.problems)
        if header is not None and not self.problems:
            self.origins(header.origin, resolved)
            self.published_cells(rows, resolved)
            self.solved_metric(header.solved, resolved)
        if header is None or self.problems:
            raise RecipeError(self.problems)
        return Recipe(
            name=header.name,
            title=header.title,
            paper=header.paper,
            published_tables=[table.id for table in tables],
            summary=header.summary,
            tolerance=header.tolerance,
            solved=header.solved,
            notes=header.notes,
            origin=header.origin,
            rows=rows,
            scales=scales,
            base=base,
            resolved=resolved,
        )

    def header(self) -> _Header | None:
        known = [*_Header.model_fields, *SECTIONS, "published", "rows", "scales"]
        unknown = [key for key in self.document.keys if key not in known]
        for number, key in enumerate(unknown):
            self.add(self.document.keys[key], key, f"unknown key{_hint(number, key, known)}")
        header = validate(_Header, self.document.part(_Header.model_fields), self.problems)
        name = self.document.fields.get("name")
        if header is not None and name is not None and name.value != self.stem:
            message = f"must be {self.stem!r} like the file, not {name.value!r}; rename one of them"
            self.add(name.place, "name", message)
        paper = self.document.fields.get("paper")
        if paper is not None and isinstance(paper.value, str):
            self.look_up(load_paper, paper.value, paper.place, "paper")
        return header

    def published(self, node: Node, path: str, find: Callable[[str], object]) -> tuple[Address, ...]:
        """The published tables or rows that a mapping names; those that are unknown are problems."""
        addresses = read_addresses(node.fields.get("published"), path, self.problems)
        for address in addresses:
            self.look_up(find, address.id, address.place, path)
        return addresses

    def rows(self) -> list[Row]:
        node = self.document.fields.get("rows")
        if node is None or not node.items:
            message = "is missing" if node is None else "must be a list of rows with at least one entry"
            self.add((node or self.document).place, "rows", message)
            return []
        if len(node.items) > MOST_ROWS:
            self.add(node.place, "rows", f"lists {len(node.items):,} rows; a recipe may have {MOST_ROWS:,}")
            return []
        rows: list[Row] = []
        ids: set[str] = set()
        for index, item in enumerate(node.items):
            if not self.is_mapping(item, f"rows[{index}]"):
                continue
            row = self.row(item, index)
            if row.id in ids:
                self.add(
                    item.fields["id"].place, f"rows.{row.id}.id", f"a second row {row.id!r}; ids must differ"
                )
            ids.add(row.id)
            rows.append(row)
        return rows

    def row(self, node: Node, index: int) -> Row:
        identifier = node.fields.get("id")
        named = identifier is not None and isinstance(identifier.value, str)
        name = f"rows.{identifier.value}" if identifier is not None and named else f"rows[{index}]"
        skip = (*_RowHeader.model_fields, "published", "scales")
        header = validate(_RowHeader, node.part(_RowHeader.model_fields), self.problems, name)
        overrides = read_overrides(node, skip, "row", self.problems)
        scales = self.row_scales(node, name)
        published = self.published(node, f"{name}.published", find)
        if header is None:
            return Row(name.removeprefix("rows."), "", (), [], overrides, scales)
        return Row(header.id, header.title, published, header.notes, overrides, scales)

    def row_scales(self, row: Node, name: str) -> dict[str, list[Override]]:
        """What a row changes at some scales."""
        own = row.fields.get("scales")
        if own is None or not self.is_mapping(own, f"{name}.scales"):
            return {}
        known = list(self.document.fields["scales"].fields) if "scales" in self.document.fields else []
        scales = {}
        for scale, changes in own.fields.items():
            path = f"{name}.scales.{scale}"
            if scale not in known:
                self.add(own.keys[scale], path, f"unknown scale {scale!r}; {closest(scale, known)}")
            elif self.is_mapping(changes, path):
                scales[scale] = read_overrides(changes, (), "row scale", self.problems)
        return scales

    def scales(self, row_ids: list[str]) -> dict[str, Scale]:
        scales = {PAPER: Scale(PAPER, None, [])}
        node = self.document.fields.get("scales")
        if node is None or not self.is_mapping(node, "scales"):
            return scales
        if len(node.fields) > MOST_SCALES:
            message = f"has {len(node.fields):,} scales; a recipe may have {MOST_SCALES}"
            self.add(node.place, "scales", message)
            return scales
        return scales | {name: self.scale(name, scale, row_ids) for name, scale in node.fields.items()}

    def scale(self, name: str, node: Node, row_ids: list[str]) -> Scale:
        path = f"scales.{name}"
        place = self.document.fields["scales"].keys[name]
        if name in (PAPER, CUSTOM) or not re.fullmatch(r"[a-z0-9_]+", name):
            message = (
                f"{name!r} cannot be the name of a scale; use a-z, 0-9 and _, and neither paper nor custom"
            )
            self.add(place, path, message)
        if not self.is_mapping(node, path):
            return Scale(name, None, [])
        header = validate(_ScaleHeader, node.part(_ScaleHeader.model_fields), self.problems, path)
        overrides = read_overrides(node, list(_ScaleHeader.model_fields), "scale", self.problems)
        if header is None:
            return Scale(name, None, overrides)
        rows = self.known_rows(node, f"{path}.rows", header.rows, row_ids)
        default_rows = self.known_rows(node, f"{path}.default_rows", header.default_rows, rows or row_ids)
        return Scale(name, rows, overrides, default_rows)

    def known_rows(
        self, scale: Node, path: str, listed: list[str] | None, there: list[str]
    ) -> list[str] | None:
        """Those rows of a scale's list that are there; None if it has no such list, or none of them is."""
        items = scale.fields[path.rpartition(".")[2]].items if listed else []
        unknown = [
            (row_id, item) for row_id, item in zip(listed or [], items, strict=True) if row_id not in there
        ]
        for number, (row_id, item) in enumerate(unknown):
            self.add(item.place, path, f"unknown row {row_id!r}{_hint(number, row_id, there)}")
        return [row_id for row_id in listed or [] if row_id in there] or None

    def origins(self, origin: dict[str, str], resolved: list[Resolved]) -> None:
        """The paths whose origin is told must be fields of some row."""
        if not origin:
            return
        known = {"seeds", "search"}
        for one in resolved:
            if not known.issuperset(origin):
                known |= all_paths(one.settings)
        node = self.document.fields["origin"]
        unknown = [path for path in origin if path not in known]
        for path in unknown[:MOST_TOLD]:
            message = f"no row has such a field; {closest(path, sorted(known))}"
            self.add(node.keys[path], f"origin.{path}", message)
        if len(unknown) > MOST_TOLD:
            self.add(node.place, "origin", f"has {len(unknown) - MOST_TOLD:,} more such fields")

    def solved_metric(self, rule: SolvedRule | None, resolved: list[Resolved]) -> None:
        """What a task is solved by must be measured in some protocol."""
        measured = {name for one in resolved for protocol in one.settings.eval for name in protocol.metrics}
        if rule is not None and rule.metric not in measured:
            message = f"no protocol measures {rule.metric!r}; {closest(rule.metric, sorted(measured))}"
            self.add(self.document.fields["solved"].fields["metric"].place, "solved.metric", message)

    def published_cells(self, rows: list[Row], resolved: list[Resolved]) -> None:
        """The matrix cells that published rows are for must be there, at some scale."""
        for row in rows:
            own = [one for one in resolved if one.row.id == row.id]
            searched = [one.searched_cell for one in own if one.search is not None]
            cells = list(dict.fromkeys([*(one.cell for one in own), *searched]))
            for address in row.published:
                if address.cell is not None and address.cell not in cells:
                    hint = (
                        closest(address.cell, cells)
                        if any(cells)
                        else "the row has no matrix: name the id alone"
                    )
                    message = f"no scale has a cell {address.cell!r}; {hint}"
                    self.add(address.place, f"rows.{row.id}.published", message)

    def look_up(self, find: Callable[[str], object], identifier: str, place: Place, path: str) -> None:
        """Add a problem if the published numbers have no entry of an id."""
        try:
            find(identifier)
        except UsageError as error:
            self.add(place, path, str(error))

    def is_mapping(self, node: Node, path: str) -> bool:
        if not isinstance(node.value, dict):
            self.add(
                node.place, path, f"must be a mapping, like {{field: value}}, not {describe(node.plain())}"
            )
        return isinstance(node.value, dict)

    def add(self, place: Place, path: str, message: str) -> None:
        self.problems.append(Problem(place, path, message))


def _hint(number: int, word: str, words: Iterable[str]) -> str:
    """`closest` for the unknown words of a list that can be told at all: the first ones."""
    return f"; {closest(word, words)}" if number < MOST_TOLD else ""
