"""Numbers that a reader with the paper in hand fills in for published rows that have none.

A file of readings is a list:

    - {id: rum2019.ptb_char.rum_2000, number: 1.5, page: 130}
    - {id: rum2019.recall.lstm, number: [12.3, null], page: "127, Table 1", unit: percent, reader: A. Reader}
"""

from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from rmem_cli.errors import UsageError
from rmem_cli.published.schema import PublishedRow, PublishedTable
from rmem_cli.published.store import find, find_table
from rmem_cli.recipe.document import MAX_BYTES, Node, read_yaml
from rmem_cli.recipe.messages import describe
from rmem_cli.recipe.problems import Place, Problem, RecipeError
from rmem_cli.recipe.settings import Settings
from rmem_cli.recipe.validation import validate

Text = Annotated[str, Field(min_length=1)]

_FORM = (
    "a file of readings is a list of entries like - {id: rum2019.ptb_char.rum_2000, number: 1.5, page: 130}"
)


def _page(value: Any) -> Any:
    """A page by its number alone, in words."""
    return f"p. {value}" if isinstance(value, int) and not isinstance(value, bool) else value


class Reading(Settings):
    """What a reader read of one row.

    Attributes:
        id: The row, such as "rum2019.recall.lstm".
        number: The number; where the table has columns or a curve, a list with a number or null for each.
        page: Where in the paper it stands.
        unit: The unit of the number, to be safe; it must be the table's.
        reader: Who read it.
    """

    id: Text
    number: Any
    page: Annotated[Text, BeforeValidator(_page)]
    unit: Text | None = None
    reader: Text | None = None


def readings_of(folder: Path, path: Path | None = None) -> dict[str, PublishedRow]:
    """What a reader filled in: in the file named, else in the `published.yaml` beside results.

    Args:
        folder: Of the results.
        path: The file; None: none was named.

    Raises:
        UsageError: As of `load_readings`.
        RecipeError: As of `load_readings`.
    """
    beside = folder / "published.yaml"
    if path is None and not beside.is_file():
        return {}
    return load_readings(path or beside)


def load_readings(path: Path) -> dict[str, PublishedRow]:
    """The rows that a file of readings fills, by their ids.

    Args:
        path: A YAML file.

    Raises:
        UsageError: The file cannot be read.
        RecipeError: With everything that is wrong with it: an unknown or repeated row, one that has a value
            already, another unit than its table's, no number, or not one for each column.
    """
    return _Readings(path).read()


class _Readings:
    """Reads one file and keeps what is wrong with it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.problems: list[Problem] = []
        self.places: dict[str, Place] = {}

    def read(self) -> dict[str, PublishedRow]:
        filled = {}
        for index, entry in enumerate(self.entries()):
            path = f"[{index}]"
            reading = self.reading(entry, path)
            if reading is not None and self.fits(reading, entry, path):
                filled[reading.id] = self.row(reading)
        if self.problems:
            raise RecipeError(self.problems)
        return filled

    def entries(self) -> list[Node]:
        """The entries of the file, whatever is in them."""
        root = read_yaml(_content(self.path), str(self.path))
        if root is None or not root.items:
            self.add(Place(str(self.path)) if root is None else root.place, "", f"holds no list; {_FORM}")
            return []
        return root.items

    def reading(self, entry: Node, path: str) -> Reading | None:
        if not isinstance(entry.value, dict):
            self.add(entry.place, path, f"must be a mapping, not {describe(entry.plain())}; {_FORM}")
            return None
        return validate(Reading, entry, self.problems, path)

    def fits(self, reading: Reading, entry: Node, path: str) -> bool:
        """Whether there is a blank row for the reading, and its unit and value are those of the table."""
        before = len(self.problems)
        place = entry.fields["id"].place
        first = self.places.setdefault(reading.id, place)
        if first is not place:
            self.add(place, f"{path}.id", f"the row stands twice, first at {first}; keep one of them")
        try:
            row, table = find(reading.id), find_table(reading.id.rpartition(".")[0])
        except UsageError as error:
            self.add(place, f"{path}.id", str(error))
            return False
        if row.verified:
            message = f"{reading.id} has a value already, from {row.source}; remove the entry"
            self.add(place, f"{path}.id", message)
        if reading.unit not in (None, table.unit):
            message = f"must be {table.unit!r} like its table, not {reading.unit!r}; convert the number"
            self.add(entry.fields["unit"].place, f"{path}.unit", message)
        wrong = _wrong_number(reading.number, table)
        if wrong:
            self.add(entry.fields["number"].place, f"{path}.number", wrong)
        return len(self.problems) == before

    def row(self, reading: Reading) -> PublishedRow:
        source = f"read by {reading.reader or 'a reader'}: {self.path.name}, {reading.page}"
        known = find(reading.id).model_dump()
        return PublishedRow.model_validate(
            {**known, "value": reading.number, "verified": True, "source": source}
        )

    def add(self, place: Place, path: str, message: str) -> None:
        self.problems.append(Problem(place, path, message))


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error


def _wrong_number(value: Any, table: PublishedTable) -> str:
    """What is wrong with a number, and what it must be; empty if nothing is."""
    over = table.columns or tuple(f"{table.x_name} {x:g}" for x in table.x or ())
    if not over:
        return "" if _is_number(value) else f"must be a number, not {describe(value)}"
    if not isinstance(value, list) or len(value) != len(over):
        given = f"{len(value)}" if isinstance(value, list) else describe(value)
        return f"must be a list of {len(over)} numbers, not {given}: {', '.join(over)}"
    strange = next((part for part in value if part is not None and not _is_number(part)), None)
    if strange is not None:
        return f"must hold numbers, and null where the paper prints none, not {describe(strange)}"
    return "" if any(map(_is_number, value)) else "must hold at least one number"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
