"""What a run is called: its folder among the runs, and its files among the results."""

import re
from typing import Protocol

from rmem_cli.results.row import ResultRow

_UNSAFE = re.compile(r"[^\w.=+,@-]", re.ASCII)
_LONGEST_PART = 120
_LONGEST_FILE = 200  # systems take 255, and a suffix follows
_BEGINNING = re.compile(r"[^./~\\][^/\\]*(/[^/\\]+)+/?")


class Named(Protocol):
    """What a run, and a result of it, are named after."""

    @property
    def experiment(self) -> str:
        """Name of the recipe."""

    @property
    def row(self) -> str:
        """Name of the row."""

    @property
    def cell(self) -> str:
        """Of a matrix; empty if there is none."""

    @property
    def scale(self) -> str:
        """Name of the scale."""

    @property
    def seed(self) -> int:
        """The seed."""


def folder_name(run: Named, train_hash: str) -> str:
    """The folder of a run below that of all runs: `<experiment>/<row>[/<cell>]/<scale>-seed<k>-<hash>`.

    Long texts are cut, and a character that file systems or shells may not take is `_`: the hash tells
    runs apart.
    """
    parts = [run.experiment, run.row, *([run.cell] if run.cell else [])]
    return "/".join(_as_name(part) for part in [*parts, f"{run.scale}-seed{run.seed}-{train_hash}"])


def file_name(run: Named, train_hash: str) -> str:
    """What the files of a run among the results are called, without suffix; cut as its folder's name is."""
    end = f"-{run.scale}-seed{run.seed}-{train_hash}"
    begin = "-".join(part for part in (run.experiment, run.row, run.cell) if part)
    return _UNSAFE.sub("_", begin[: _LONGEST_FILE - len(end)] + end)


def run_name(row: ResultRow) -> str:
    """The name of the run behind a result, which is that of its folder: `rmem runs list` has the same."""
    return folder_name(row, row.train_hash)


def is_named(run: str, name: str) -> bool:
    """Whether a text is the name of a run, or its beginning up to a slash."""
    return f"{run}/".startswith(f"{name.rstrip('/')}/")


def may_begin_run_name(text: str) -> bool:
    """Whether a text may be the beginning of a run's name, up to a slash, rather than a recipe's file."""
    return _BEGINNING.fullmatch(text) is not None and not text.endswith((".yaml", ".yml"))


def _as_name(text: str) -> str:
    """The text as the name of one folder, which cannot lead out of its parent."""
    return _UNSAFE.sub("_", text)[:_LONGEST_PART].lstrip(".") or "_"
