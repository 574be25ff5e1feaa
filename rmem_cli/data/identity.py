"""The identity of the data that a run reads."""

from rmem_cli.data.own_documents import open_own_documents
from rmem_cli.data.own_pairs import open_own_pairs
from rmem_cli.data.own_text import open_own_text
from rmem_cli.data.prepared import PARTIAL, Prepared, open_prepared
from rmem_cli.recipe.kinds import TaskSettings
from rmem_cli.recipe.own_files import OwnDocuments, OwnFiles, OwnPairs, OwnText


def data_hash(task: TaskSettings) -> str:
    """One text for all the data that a task reads; empty for none.

    Args:
        task: Its settings.

    Raises:
        DataError: Some of the data is missing or damaged.
    """
    opened = [open_prepared(name, form) for name, form in task.data_sets()]
    own = task.own_files()
    if own is not None:
        opened.append(open_own(own))
    # Those of partial data, put last, make the whole end like them.
    return "-".join(sorted((each.data_hash for each in opened), key=lambda each: each.endswith(PARTIAL)))


def open_own(own: OwnFiles) -> Prepared:
    """Files of one's own as a prepared data set.

    Raises:
        DataError: A file is missing, or is not what it should be.
    """
    match own:
        case OwnText():
            return open_own_text(own)
        case OwnDocuments():
            return open_own_documents(own)
        case OwnPairs():
            return open_own_pairs(own)
    raise TypeError(f"nothing is made of {type(own).__name__}")
