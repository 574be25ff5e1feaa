"""Associative retrieval, as the RMT paper defines it."""

from functools import partial

from rmem_cli.data.generated.associative_retrieval import VOCABULARY, retrieval_rows
from rmem_cli.data.prepared import open_prepared
from rmem_cli.tasks.algorithmic import AlgorithmicTask
from rmem_cli.tasks.algorithmic_config import AssociativeRetrievalSettings


class AssociativeRetrieval(AlgorithmicTask):
    """Read keys with their values, one of the keys and a separator; name its value.

    With the four pairs of the paper:

        inputs    q 4 c 1 x 7 h 0 x |
        targets                     7

    Only the last of the ten predictions counts. Keys are 26 letters, values ten digits; those of a row differ
    from each other. (`associative_recall` is the task of the RUM papers.)

    Args:
        settings: All options.
    """

    def __init__(self, settings: AssociativeRetrievalSettings) -> None:
        prepared = open_prepared("associative_retrieval", "pairs4") if settings.prepared else None
        super().__init__(partial(retrieval_rows, pairs=settings.pairs), len(VOCABULARY), 1, prepared)
