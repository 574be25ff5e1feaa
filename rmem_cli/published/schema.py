"""What a file of published numbers may hold; anything else is refused when the file is read."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Id = Annotated[str, Field(pattern=r"^[a-z][a-z0-9]*(_[a-z0-9]+)*$")]
Text = Annotated[str, Field(min_length=1)]
Curve = Annotated[tuple[float, ...], Field(strict=False, min_length=1)]
Values = Annotated[tuple[float | None, ...], Field(strict=False, min_length=1)]
Names = Annotated[tuple[Text, ...], Field(strict=False, min_length=1)]
Fact = int | float | str | Annotated[tuple[int | float, ...], Field(strict=False)]
Unit = Literal[
    "fraction",
    "percent",
    "bits per character",
    "nats per symbol",
    "perplexity",
    "squared error",
    "return",
    "mixed",  # rows of several units; each says its own in its facts
    "none",
]
Kind = Literal[
    "printed_table",
    "printed_table_via_note",  # a printed table, read in somebody's transcript of it
    "recomputed_from_raw_runs",  # mean and sample deviation over the runs that the authors released
    "figure_digitized",
    "figure_only",  # the curves could not be read
    "text_claim",
    "repo_readme",
    "secondary_listing",  # numbers quoted by later papers or leaderboards
    "baselines_only",  # the paper's own rows are missing
    "partly_memory",  # only the verified rows were found in a source
    "memory_only",  # no row was found in a source
    "missing",
]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class PublishedRow(_Strict):
    """One row of a published table.

    Attributes:
        model: The model in the paper's words; "this paper" stands where the paper says "ours".
        unit: Unit of the value, where that of the table is "mixed" and we measure the same.
        value: A number; one number, or none, for each of the table's `x` or `columns`; or text, compared
            only where it makes a claim. None if the value was not verified.
        std: Standard deviation of the value, or of each of its numbers.
        n: Number of runs behind the value.
        verified: Whether the value was read in the named source. Only verified rows carry numbers.
        secondary: Whether the value is known from another text that quotes the paper.
        quoted: Whether the paper itself quotes the value from somebody else's.
        claim: What a text says of the task: the model solves it, or does not.
        source: Where the value was read.
        params: Number of parameters as the source prints it.
        not_run: Why no recipe runs this row; None if one is to.
        notes: What a reader of the value must know.
        facts: Whatever else the source says about the row.
    """

    model: Text
    unit: Unit | None = None
    value: float | Values | Text | None
    std: float | Values | None = None
    n: int | None = Field(default=None, ge=1)
    verified: bool
    secondary: bool = False
    quoted: bool = False
    claim: Literal["solved", "not solved"] | None = None
    source: Text
    params: Text | None = None
    not_run: Text | None = None
    notes: Text | None = None
    facts: dict[Id, Fact] = {}

    @model_validator(mode="after")
    def _numbers_are_verified(self) -> Self:
        if self.verified and self.value is None:
            raise ValueError("a verified row needs a value")
        if not self.verified and (self.value, self.std, self.n, self.params) != (None, None, None, None):
            raise ValueError("a row that is not verified may carry no value, std, n or params")
        return self

    @model_validator(mode="after")
    def _deviations_belong_to_numbers(self) -> Self:
        if isinstance(self.std, float) and not isinstance(self.value, float):
            raise ValueError("only a number has a standard deviation")
        if isinstance(self.std, tuple) and not (
            isinstance(self.value, tuple) and len(self.std) == len(self.value)
        ):
            raise ValueError("a list of standard deviations needs a value for each of them")
        return self

    @model_validator(mode="after")
    def _claims_are_text(self) -> Self:
        if self.claim is not None and not isinstance(self.value, str):
            raise ValueError("only a text claims something; a number is compared as it is")
        return self


class PublishedTable(_Strict):
    """One published table, figure or claim.

    Attributes:
        title: What the table shows.
        where: Where it stands in the paper.
        dataset: Data set, and the part of it that was evaluated.
        split: The split of the data set that was evaluated.
        metric: The metric in words.
        unit: Unit of the numbers.
        direction: Whether higher or lower values are better; "none" if that differs from row to row.
        kind: How the numbers were obtained.
        x_name: Meaning of `x`, for curves.
        x: Where the curves of the rows were measured.
        steps_per_x: Training steps that one unit of `x` stands for, for learning curves.
        columns: What the values of a row stand for, in place of `x`: the cell of a recipe's matrix
            (`length=30`), the part of its test (`qa3`) or one of our metrics (`rouge-1`).
        cell: The cell of a recipe's matrix that all values stand for, if they stand for one.
        not_run: Why no recipe runs any of its rows; None if some are to be.
        notes: What a reader of the table must know.
        tolerance: Largest difference from a published number that counts as reproduced, in `unit`.
        rows: The rows by their ids, in the order of the paper.
    """

    title: Text
    where: Text
    dataset: Text
    split: Literal["valid", "test"] = "test"
    metric: Text
    unit: Unit
    direction: Literal["higher", "lower", "none"]
    kind: Kind
    x_name: Text | None = None
    x: Curve | None = None
    steps_per_x: float | None = Field(default=None, gt=0)
    columns: Names | None = None
    cell: Text | None = None
    not_run: Text | None = None
    notes: Text | None = None
    tolerance: float | None = Field(default=None, gt=0)
    rows: dict[Id, PublishedRow] = Field(min_length=1)

    @model_validator(mode="after")
    def _values_follow_x_or_columns(self) -> Self:
        if (self.x is None) != (self.x_name is None):
            raise ValueError("x and x_name go together")
        if self.steps_per_x is not None and self.x is None:
            raise ValueError("steps_per_x needs an x")
        if self.columns is not None and (self.x is not None or self.cell is not None):
            raise ValueError("columns stand in place of x and of a cell")
        over = self.x if self.columns is None else self.columns
        for name, row in self.rows.items():
            if row.unit is not None and self.unit != "mixed":
                raise ValueError(f"row {name!r} has a unit of its own, but that of the table is not mixed")
            if isinstance(row.value, tuple) and (over is None or len(row.value) != len(over)):
                raise ValueError(f"the values of row {name!r} are not one for each x or column")
        return self


class Paper(_Strict):
    """A paper and its tables.

    Attributes:
        paper: Id of the paper, the name of its file.
        title: Title of the paper.
        authors: All authors.
        venue: Where it was published.
        year: Year of that publication.
        arxiv: arXiv number, with the version if one certain version was read.
        bibtex: Key of its entry in `references.bib`.
        tables: The tables by their ids.
    """

    paper: Id
    title: Text
    authors: Names
    venue: Text
    year: int
    arxiv: Text
    bibtex: Text
    tables: dict[Id, PublishedTable] = Field(min_length=1)
