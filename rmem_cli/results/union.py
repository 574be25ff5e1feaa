"""What branches and versions left in one table is put together again, by pandas.

It is imported where there is something to put together: a table of one header, without a row written twice,
is read without it.
"""

from collections.abc import Sequence

from rmem_cli.results.row import COLUMNS


def with_all_columns(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[list[str]]:
    """Rows of an older header in the order of `COLUMNS`, those blank that it did not have.

    Args:
        header: Names of its columns.
        rows: Cells in their order.
    """
    import pandas as pd

    frame = pd.DataFrame(rows, columns=list(header), dtype=object)
    complete: list[list[str]] = frame.reindex(columns=list(COLUMNS), fill_value="").to_numpy().tolist()
    return complete


def latest(keys: Sequence[tuple[str | int, ...]], times: Sequence[str]) -> list[int]:
    """Which rows of equal keys stand: the latest one, of equal times the last, in the place of the first.

    Args:
        keys: What each row measures.
        times: When each was made.

    Returns:
        Their positions, one for each key.
    """
    import pandas as pd

    rows = pd.DataFrame(list(keys), dtype=object)
    place = rows.groupby(list(rows), sort=False).ngroup()
    newest = rows.assign(place=place, time=list(times)).sort_values("time", kind="stable")
    positions: list[int] = newest.drop_duplicates("place", keep="last").sort_values("place").index.tolist()
    return positions
