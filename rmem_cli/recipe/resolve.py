"""From a row and a scale to settings: base < row < matrix cell < scale < the row's own scale < `--set`."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from rmem_cli.errors import UsageError, closest
from rmem_cli.recipe.addresses import Address
from rmem_cli.recipe.document import Node
from rmem_cli.recipe.hashing import canonical, digest
from rmem_cli.recipe.kinds import CoreSettings, TaskSettings
from rmem_cli.recipe.matrix import Cell, cells
from rmem_cli.recipe.overrides import Dropped, Override, apply_overrides
from rmem_cli.recipe.own_files import with_whole_paths
from rmem_cli.recipe.problems import Problem
from rmem_cli.recipe.schema import EvalProtocol, RunSettings
from rmem_cli.recipe.search import SearchSettings, chosen_label, read_search
from rmem_cli.recipe.seeds import Seeds
from rmem_cli.recipe.settings import Component
from rmem_cli.recipe.validation import build_settings, validate, with_default_kinds
from rmem_cli.visible import one_line

AnyComponent = TypeVar("AnyComponent", bound=Component)
PAPER = "paper"
CUSTOM = "custom"


@dataclass(frozen=True)
class RunSpec:
    """One run: a row of an experiment at one scale, with one seed.

    Attributes:
        experiment: Name of the recipe.
        row: Id of the row.
        title: Title of the row.
        cell: The matrix cell, like `number=1`; empty if the recipe has no matrix.
        scale: `paper`, another scale of the recipe, or `custom`.
        seed: What all random numbers of the run are derived from.
        footnotes: Where the row deviates from what was published.
        settings: Everything else that decides its numbers.
    """

    experiment: str
    row: str
    title: str
    cell: str
    scale: str
    seed: int
    footnotes: list[str]
    settings: RunSettings

    @property
    def label(self) -> str:
        """What messages call the run."""
        return f"{self._row} seed {self.seed} ({self.scale})"

    @property
    def row_label(self) -> str:
        """What messages call it and the runs of other seeds together."""
        return f"{self._row} ({self.scale})"

    @property
    def _row(self) -> str:
        return " ".join(filter(None, (self.experiment, self.row, one_line(self.cell))))

    def train_hash(self, data_hash: str) -> str:
        """12 hexadecimal digits that change with everything that changes the training, but the seed.

        Args:
            data_hash: Hash of the data the task reads; empty for generated tasks.
        """
        settings = self.settings
        sections = {name: getattr(settings, name) for name in RunSettings.model_fields if name != "eval"}
        return digest({**sections, "data_hash": data_hash})

    def eval_hash(self, protocol: EvalProtocol) -> str:
        """12 hexadecimal digits that change with everything in a protocol but its name, which is a label.

        Of the fields of task and core, those count that differ from the run's own.
        """
        own = canonical(protocol)
        fields = {name: value for name, value in own.items() if name not in ("name", "task", "core")}
        fields["task"] = _differing(self.protocol_task(protocol), self.settings.task)
        own_core, core_there = self.settings.model.core, self.protocol_core(protocol)
        core = {} if own_core is None or core_there is None else _differing(core_there, own_core)
        return digest({**fields, "core": core} if core else fields)

    def protocol(self, name: str) -> EvalProtocol:
        """The evaluation protocol of this name.

        Raises:
            UsageError: There is none.
        """
        protocols = {protocol.name: protocol for protocol in self.settings.eval}
        if name not in protocols:
            raise UsageError(
                f"{self.experiment} has no evaluation protocol {name!r}; {closest(name, protocols)}"
            )
        return protocols[name]

    def protocol_task(self, protocol: EvalProtocol) -> TaskSettings:
        """The task's settings with the changes of one protocol."""
        return changed(self.settings.task, protocol.task)

    def protocol_core(self, protocol: EvalProtocol) -> CoreSettings | None:
        """The core's settings with the changes of one protocol; None if the model has no core."""
        core = self.settings.model.core
        return None if core is None else changed(core, protocol.core)


def changed(component: AnyComponent, fields: dict[str, Any]) -> AnyComponent:
    """A component with some of its fields changed, as an evaluation or a stage says."""
    values = {**component.model_dump(by_alias=True), **fields}
    return type(component).model_validate(values, by_alias=True, by_name=False)


def _differing(changed: Component, own: Component) -> dict[str, Any]:
    """The fields of one component that differ from those of another of its kind."""
    return {
        field.alias or name: getattr(changed, name)
        for name, field in type(changed).model_fields.items()
        if getattr(changed, name) != getattr(own, name)
    }


@dataclass(frozen=True)
class Row:
    """One row of the experiment's table.

    Attributes:
        id: Its name in commands and result rows.
        title: Its name in tables.
        published: The published rows it stands for.
        notes: Footnotes about deviations.
        overrides: What it changes.
        scales: What it changes further at some scales.
    """

    id: str
    title: str
    published: tuple[Address, ...]
    notes: list[str]
    overrides: list[Override] = field(repr=False)
    scales: dict[str, list[Override]] = field(repr=False)


@dataclass(frozen=True)
class Scale:
    """A size at which the experiment can be run.

    Attributes:
        name: Its name in commands and result rows.
        rows: Ids of the rows that can be run; None for all.
        overrides: What it changes.
        default_rows: Ids of those that are run where none is named; None for all.
    """

    name: str
    rows: list[str] | None
    overrides: list[Override] = field(repr=False)
    default_rows: list[str] | None = None

    def includes(self, row: Row) -> bool:
        """Whether the row is run at this scale."""
        return self.rows is None or row.id in self.rows


@dataclass(frozen=True)
class Resolved:
    """One row, or one matrix cell of it, at one scale, with all overrides applied.

    Attributes:
        row: The row.
        matrix_cell: The matrix cell.
        scale: The label of the runs: the scale asked for, or `custom`.
        seeds: One run for each.
        search: What the matrix is searched for, if it is.
        settings: The validated settings.
        tree: The same as written, for the layer and place of each value.
        dropped: What was lost by changes of a kind.
    """

    row: Row
    matrix_cell: Cell
    scale: str
    seeds: list[int]
    search: SearchSettings | None
    settings: RunSettings
    tree: Node = field(repr=False)
    dropped: list[Dropped]

    @property
    def cell(self) -> str:
        """Label of the matrix cell, like `number=1`; empty if there is none."""
        return self.matrix_cell.label

    @property
    def searched_cell(self) -> str:
        """Label of what the search chooses of this cell and others, like `lr by valid`.

        Raises:
            ValueError: There is no search.
        """
        if self.search is None:
            raise ValueError(f"{self.row.id} at {self.scale} scale searches nothing")
        names = [self.matrix_cell.names[key] for key in self.search.over]
        others = self.matrix_cell.labels(leave_out=self.search.over)
        return ",".join([*others, chosen_label(names, self.search.protocol)])

    def specs(self, experiment: str, seeds: Sequence[int] | None = None) -> list[RunSpec]:
        """One run for each seed; without `seeds`, for each seed of the recipe."""
        return [
            RunSpec(
                experiment=experiment,
                row=self.row.id,
                title=self.row.title,
                cell=self.cell,
                scale=self.scale,
                seed=seed,
                footnotes=self.row.notes,
                settings=self.settings,
            )
            for seed in (self.seeds if seeds is None else dict.fromkeys(seeds))
        ]


def resolve_all(
    base: Node, pairs: Sequence[tuple[Row, Scale]], sets: Sequence[Override], problems: list[Problem]
) -> list[Resolved]:
    """Rows at scales: an entry for each matrix cell, or none where something is wrong.

    Args:
        base: The sections that all rows start from.
        pairs: Each row with the scale at which it is wanted.
        sets: The overrides of the command line.
        problems: Receives everything that is wrong; what is wrong in some places only says where.
    """
    resolved: list[Resolved] = []
    found: dict[Problem, list[tuple[str, str]]] = defaultdict(list)
    for row, scale in pairs:
        wrong: list[Problem] = []
        resolved += _resolve(base, row, scale, sets, wrong)
        for problem in dict.fromkeys(wrong):
            found[problem].append((row.id, scale.name))
    everywhere = [(row.id, scale.name) for row, scale in pairs]
    for problem, where in found.items():
        problems.append(replace(problem, message=problem.message + _where(where, everywhere)))
    return resolved


def _where(some: list[tuple[str, str]], everywhere: list[tuple[str, str]]) -> str:
    """The rows and scales at which a problem appears, if they are not all."""
    words = []
    for noun, position in (("row", 0), ("scale", 1)):
        here = list(dict.fromkeys(pair[position] for pair in some))
        if len(here) < len({pair[position] for pair in everywhere}):
            words.append(f"{noun} {', '.join(here)}")
    return f" ({'; '.join(words)})" if words else ""


def _resolve(
    base: Node, row: Row, scale: Scale, sets: Sequence[Override], problems: list[Problem]
) -> list[Resolved]:
    above = [scale.overrides, row.scales.get(scale.name, []), list(sets)]
    whole = _apply(base, [row.overrides, *above], [])[0]
    label = CUSTOM if any(override.path[0] != "eval" for override in sets) else scale.name
    resolved = []
    for cell in cells(whole.fields.get("matrix"), problems):
        _refuse_conflicts(cell, above, problems)
        tree, dropped = _apply(base, [row.overrides, cell.overrides, *above], problems)
        tree = with_whole_paths(with_default_kinds(tree))
        settings = build_settings(tree, problems)
        seeds = validate(Seeds, tree.part(["seeds"]), problems)
        if settings is None or seeds is None:
            continue
        search = read_search(tree, settings.eval, problems)
        resolved.append(Resolved(row, cell, label, seeds.seeds, search, settings, tree, dropped))
    if not problems:
        problems += _uneven_searches(resolved)
    return resolved


def _uneven_searches(resolved: Iterable[Resolved]) -> Iterator[Problem]:
    """Searches of a row whose candidates are not compared by the same validation of the same task."""
    first: dict[str, Resolved] = {}
    for one in resolved:
        if one.search is None:
            continue
        other = first.setdefault(one.searched_cell, one)
        if _validated(one) != _validated(other):
            message = (
                f"compares what is not alike: {one.search.protocol!r} has another task or other settings for "
                f"{one.cell} than for {other.cell}; give it the same, or leave a key out of `over`"
            )
            yield Problem(one.tree.fields["search"].place, "search", message)
            return


def _validated(one: Resolved) -> tuple[TaskSettings, EvalProtocol]:
    """By what a candidate of a search is compared: the task as it is there, and all else of the protocol."""
    assert one.search is not None  # noqa: S101  it is a candidate
    protocol = next(each for each in one.settings.eval if each.name == one.search.protocol)
    return changed(one.settings.task, protocol.task), protocol.model_copy(update={"task": {}})


def _apply(
    tree: Node, layers: Iterable[list[Override]], problems: list[Problem]
) -> tuple[Node, list[Dropped]]:
    dropped = []
    for overrides in layers:
        tree, lost = apply_overrides(tree, overrides, problems)
        dropped += lost
    return tree, dropped


def _refuse_conflicts(cell: Cell, above: Iterable[list[Override]], problems: list[Problem]) -> None:
    """What the matrix multiplies cannot be set to one value by the layers above it.

    Of a named value, which sets several fields, some can.
    """
    given = [override for layer in above for override in layer]
    for value in cell.values:
        hidden = {
            multiplied: override
            for multiplied in (one.path for one in value.overrides)
            for override in given
            if multiplied[: len(override.path)] == override.path
        }
        if len(hidden) == len(value.overrides):
            for multiplied, override in hidden.items():
                message = f"the matrix sets {'.'.join(multiplied)}; change matrix.{value.key} instead"
                problems += override.problem(message).problems
