"""Runs that are equal but for their names are trained once.

A run is what its train hash and its seed say, in whatever table it stands and by whatever name. Where a table
has all that a run of another name would measure, the rows are copied under this name: value, machine, commit
and time are those of the run that was made, so that a reader of either table sees the same run.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace

from rmem_cli.errors import UsageError
from rmem_cli.recipe.resolve import RunSpec
from rmem_cli.results.row import ResultRow
from rmem_cli.results.store import ResultStore
from rmem_cli.results.summaries import samples_name
from rmem_cli.results.withdrawn import Withdrawals
from rmem_cli.runs.identity import identity_of


class EqualRuns:
    """The results of all tables, by the run that they are of.

    Args:
        store: The tables; those that cannot be read have nothing to say.
    """

    def __init__(self, store: ResultStore) -> None:
        self._store, self._withdrawn = store, Withdrawals(store.folder)
        self._rows: dict[tuple[str, int], list[ResultRow]] = defaultdict(list)
        for experiment in store.experiments():
            with suppress(UsageError):
                for row in store.read(experiment):
                    if row.status == "ok":
                        self._rows[row.train_hash, row.seed].append(row)

    def results(self, spec: RunSpec) -> list[ResultRow]:
        """All that a run would measure, as equal runs have, the latest last; nothing if something is missing.

        Raises:
            DataError: The data of the run is missing.
        """
        rows: dict[tuple[str, str], list[ResultRow]] = defaultdict(list)
        made = self._rows[identity_of(spec).train_hash, spec.seed]
        counting = [row for row in made if self._withdrawn.of(_named(row, spec)) is None]
        for row in sorted(counting, key=lambda row: row.time):
            rows[row.eval_hash, row.metric].append(row)
        found = []
        for name, eval_hash, metric in _measured(spec):
            equal = rows[eval_hash, metric]
            if all(row.part for row in equal):
                return []
            found += [replace(row, protocol=name) for row in equal]
        return found

    def take_over(self, spec: RunSpec) -> bool:
        """Write the results that equal runs have under the names of this one; false if they are not complete.

        Raises:
            DataError: The data of the run is missing.
            UsageError: The results cannot be written.
        """
        rows = self.results(spec)
        if not rows:
            return False
        for row in {samples_name(row): row for row in rows}.values():
            self._store.copy_beside(row, _named(row, spec))
        self._store.write([_named(row, spec) for row in rows])
        return True


def _measured(spec: RunSpec) -> Iterator[tuple[str, str, str]]:
    """All that a run measures: name and hash of the protocol, and the metric."""
    for protocol in spec.settings.eval:
        for metric in protocol.metrics:
            yield protocol.name, spec.eval_hash(protocol), metric


def _named(row: ResultRow, spec: RunSpec) -> ResultRow:
    return replace(row, experiment=spec.experiment, row=spec.row, cell=spec.cell, scale=spec.scale)


def each_once(specs: Sequence[RunSpec]) -> tuple[list[RunSpec], list[RunSpec]]:
    """The first of runs that train and measure the same, and the others.

    Raises:
        DataError: The data of a run is missing.
    """
    first: dict[tuple[object, ...], RunSpec] = {}
    others = []
    for spec in specs:
        measured = frozenset((eval_hash, metric) for _, eval_hash, metric in _measured(spec))
        if first.setdefault((identity_of(spec).train_hash, spec.seed, measured), spec) is not spec:
            others.append(spec)
    return list(first.values()), others
