"""What was kept of a run is checked before it is gone on with."""

import pytest
import torch

from rmem_cli.models.batch import Batch
from rmem_cli.records.restoring import check_segment


def bags(symbols, question):
    """Two steps of one row, each of several symbols; -1 where it has fewer."""
    ones = torch.ones(1, 2)
    return Batch(
        torch.tensor([symbols]), ones.long(), ones, torch.tensor([True]), question=torch.tensor(question)
    )


def test_a_step_of_several_symbols_may_have_fewer_and_a_question():
    check_segment(bags([[3, -1], [0, 4]], [1]), bags([[0, 0], [0, 0]], [0]), symbols=5, classes=2)


@pytest.mark.parametrize(
    ("symbols", "question"),
    [
        ([[3, -2], [0, 4]], [1]),
        ([[3, 5], [0, 4]], [1]),
        ([[3, -1], [0, 4]], [1, 1]),
        ([[3, -1], [0, 4]], [1.0]),
    ],
)
def test_symbols_that_are_none_and_questions_of_other_rows_are_refused(symbols, question):
    with pytest.raises(ValueError, match=r"inputs are not symbols|question"):
        check_segment(bags(symbols, question), bags([[0, 0], [0, 0]], [0]), symbols=5, classes=2)
