"""One measured value of one run, and its text form in a results table."""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from functools import lru_cache
from types import UnionType
from typing import Any, Self

from rmem_cli.results.metrics import METRICS
from rmem_cli.results.outcomes import OUTCOMES

TIME = r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z"
"""What `timestamp` gives, as a pattern."""
STATUSES = (*OUTCOMES, "interrupted")


@dataclass(frozen=True, kw_only=True, slots=True)
class ResultRow:
    """One value of one metric, with everything needed to say where it came from.

    Training and evaluation may be commands of their own, on other machines and with other versions. What a
    row says of machine and versions is what evaluated: it computed the value from the checkpoint. The run's
    folder has those that training started with.

    Attributes:
        experiment: Name of the recipe, which is also the name of the results table.
        row: Row of the recipe.
        cell: Matrix cell as text ("" if the recipe has no matrix).
        scale: "paper", "cpu", "smoke" or "custom".
        seed: Seed of the run.
        protocol: Name of the evaluation protocol.
        split: Split of the data set that was evaluated.
        part: Part of the split, such as "qa3" or "segments=7" ("" for the whole).
        metric: Name of the metric, a key of `rmem_cli.results.metrics.METRICS`.
        value: The measured value; None if the run has none.
        unit: Unit of the value.
        examples: Number of examples (or predicted symbols) behind the value.
        step: Training step of the checkpoint.
        checkpoint: "best" or "last".
        parameters: Number of trainable parameters.
        wall_seconds: Training time, resumed parts included; that of the evaluation does not count.
        peak_memory_mb: Peak memory in megabytes of what made the row: training (the last session, if there
            were more) and its evaluation, or an evaluation alone.
        device: Device that evaluated, such as "cpu" or "cuda:0".
        threads: Number of CPU threads that evaluated.
        op_paths: Implementation of each op that a training step would have where it was evaluated, such as
            "rotation=fast". Evaluation takes the same, but for attention of which training drops something:
            that is "fast" here, and evaluated natively where it can be.
        dtype: Floating point type of the parameters.
        torch_version: Version of PyTorch that evaluated.
        rmem_version: Version of rmem that evaluated.
        git_commit: Commit of the checkout that evaluated ("" if there is none); behind those of the training,
            as "training+evaluation", if others ran before.
        git_dirty: "true" if one of these had uncommitted changes, "false" if not, "" if there is none.
        train_hash: Hash of all that the training depends on.
        eval_hash: Hash of the evaluation protocol.
        data_hash: Hash of the data ("" for generated tasks).
        status: One of `STATUSES`.
        time: When the row was made, as given by `timestamp`.
        low: Lower end of the 95 % interval of the value over examples; None where none was found.
        high: Its upper end.
        settings: What measured it, where that has options, such as "rouge-score 0.1.2, Porter stems".
        processes: How many evaluated it together; in a row of a training, they trained it, too.
        compiled: "true" if `torch.compile` had translated the model, "false" if not.
    """

    experiment: str
    row: str
    cell: str
    scale: str
    seed: int
    protocol: str
    split: str
    part: str
    metric: str
    value: float | None
    unit: str
    examples: int | None
    step: int | None
    checkpoint: str
    parameters: int | None
    wall_seconds: float | None
    peak_memory_mb: float | None
    device: str
    threads: int | None
    op_paths: str
    dtype: str
    torch_version: str
    rmem_version: str
    git_commit: str
    git_dirty: str
    train_hash: str
    eval_hash: str
    data_hash: str
    status: str
    time: str
    low: float | None = None
    high: float | None = None
    settings: str = ""
    processes: int | None = None
    compiled: str = ""

    def __post_init__(self) -> None:
        if self.status not in STATUSES:
            raise ValueError(f"status is {self.status!r}, not one of {', '.join(STATUSES)}")

    @property
    def key(self) -> tuple[str | int, ...]:
        """What the row measures: a later row with the same key replaces it."""
        return (
            self.experiment,
            self.row,
            self.cell,
            self.scale,
            self.seed,
            self.protocol,
            self.split,
            self.part,
            self.metric,
            self.train_hash,
            self.eval_hash,
        )

    def to_text(self) -> list[str]:
        """The cells of the row as text, in the order of `COLUMNS`; floats keep every digit."""
        return [_to_text(field.type, getattr(self, field.name)) for field in fields(self)]

    @classmethod
    def from_text(cls, cells: Sequence[str]) -> Self:
        """Read the cells that `to_text` wrote.

        Raises:
            ValueError: A cell is missing or does not hold what its column wants; the message is a sentence.
        """
        if len(cells) != len(COLUMNS):
            raise ValueError(f"the row has {len(cells)} cells, not {len(COLUMNS)}")
        row = cls(**{name: _from_text(name, text) for name, text in zip(COLUMNS, cells, strict=True)})
        unit = METRICS[row.metric].unit
        if row.unit not in ("", unit):
            raise ValueError(f"column 'unit' holds {row.unit!r}, and values of {row.metric} are in {unit!r}")
        return row


_KINDS: dict[str, Any] = {field.name: field.type for field in fields(ResultRow)}
COLUMNS: tuple[str, ...] = tuple(_KINDS)
OLDER = [COLUMNS[: COLUMNS.index(first)] for first in ("low", "processes")]
"""The columns of older versions: their rows stay as they are below the header that names all columns."""
_NUMERIC = [index for index, kind in enumerate(_KINDS.values()) if kind is not str]
_REPEATED = 10_000
"""Texts of cells that are kept with their values: most columns hold the same few over and over."""
REQUIRED = (
    *("experiment", "row", "cell", "scale", "seed", "protocol", "split", "metric", "value"),
    *("checkpoint", "train_hash", "eval_hash", "data_hash", "status"),
)
"""The columns without which nobody knows what a row is of, or what it says; a table may lack others."""


def with_decimal_points(cells: Sequence[str]) -> list[str]:
    """The cells of a row with decimal points in its numbers, where a spreadsheet wrote decimal commas.

    Where a number has a point, it could be one of thousands, and all cells stay as they are; so does a comma
    that could be one.

    Args:
        cells: Texts in the order of `COLUMNS`.
    """
    if any("." in cells[index] for index in _NUMERIC):
        return list(cells)
    return [
        cell.replace(",", ".") if index in _NUMERIC and _DECIMAL_COMMA.fullmatch(cell.strip()) else cell
        for index, cell in enumerate(cells)
    ]


def timestamp() -> str:
    """The present moment as ISO-8601 text in UTC with whole seconds, so that later times sort last."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


_CONVERSIONS: dict[Any, tuple[Callable[[Any], Any], str]] = {
    str: (str, "text"),
    int: (int, "a whole number"),
    int | None: (int, "a count"),
    float | None: (float, "a number"),
}
_NUMBERS = {
    "a whole number": re.compile(r"(-?[0-9]+)(?:\.0+)?"),
    "a count": re.compile(r"([0-9]+)(?:\.0+)?"),
    "a number": re.compile(r"([^_]+)"),
}
"""Of which text the first group is the number: tools that know no missing whole numbers write 3 as 3.0."""
_AMOUNTS = ("wall_seconds", "peak_memory_mb")
_DECIMAL_COMMA = re.compile(r"(?!-?[1-9][0-9]{0,2},[0-9]{3}$)-?[0-9]+,[0-9]+(E[+-]?[0-9]+)?", re.IGNORECASE)
"""A number with a decimal comma, and not what could be thousands, such as 1,234."""
_TRUTHS = {
    **dict.fromkeys(("wahr", "vrai", "vero", "verdadero", "verdadeiro", "waar"), "true"),
    **dict.fromkeys(("falsch", "faux", "falso", "onwaar"), "false"),
}
"""What spreadsheets write for true and false where decimal commas are usual."""
_PLAIN = ("device", "op_paths", "dtype", "torch_version", "rmem_version", "git_commit", "settings")
_FORMATS = {
    **dict.fromkeys(("train_hash", "eval_hash"), (re.compile(r"([0-9a-f]{12})?"), "12 hex digits")),
    **dict.fromkeys(_PLAIN, (re.compile("[ -~]*"), "plain ASCII")),
    "data_hash": (re.compile(r"[\w-]*"), "a hash"),
    **dict.fromkeys(("git_dirty", "compiled"), (re.compile(r"(true|false)?"), "true or false")),
    "metric": (re.compile("|".join(METRICS)), f"one of {', '.join(METRICS)}"),
    "checkpoint": (re.compile("best|last"), "best or last"),
    "time": (re.compile(f"({TIME})?"), "a time like 2026-01-02T03:04:05Z"),
}
"""Of texts that are not free: one that was rewritten would belong to no run, and be missed without a word."""


def _to_text(kind: Any, value: Any) -> str:
    if value is None:
        return ""
    convert, _ = _CONVERSIONS[kind]
    plain = convert(value)  # a NumPy number becomes Python's own, which prints without its type
    return repr(plain) if isinstance(plain, float) else str(plain)


@lru_cache(maxsize=_REPEATED)
def _from_text(column: str, text: str) -> Any:
    kind = _KINDS[column]
    if text == "" and isinstance(kind, UnionType):
        return None
    convert, description = _CONVERSIONS[kind]
    if convert is str:
        return _formatted(column, text)
    number = _NUMBERS[description].fullmatch(text.strip())
    try:
        found = convert(number[1] if number else "")
    except ValueError as error:
        raise ValueError(f"column {column!r} holds {text!r}, not {description}") from error
    if column in _AMOUNTS and not 0 <= found < math.inf:
        raise ValueError(f"column {column!r} holds {text!r}, not an amount")
    return found


def _formatted(column: str, text: str) -> str:
    if column in ("git_dirty", "compiled"):
        text = _TRUTHS.get(text.lower(), text.lower())  # spreadsheets write TRUE
    form, description = _FORMATS.get(column, (None, ""))
    if form is not None and not form.fullmatch(text):
        raise ValueError(f"column {column!r} holds {text!r}, not {description}")
    return text
