"""The identity of the data that a run reads."""

from collections.abc import Iterable

from rmem_cli.data.prepared import open_prepared


def data_hash(data_sets: Iterable[tuple[str, str]]) -> str:
    """One text for several prepared data sets; empty for none.

    Args:
        data_sets: Their names and forms, as `TaskSettings.data_sets` gives them.

    Raises:
        DataError: One of them is missing or damaged.
    """
    hashes = [open_prepared(name, form).data_hash for name, form in data_sets]
    # Those of partial data end in "-partial"; put last, they make the whole end so.
    return "-".join(sorted(hashes, key=lambda each: each.endswith("-partial")))
