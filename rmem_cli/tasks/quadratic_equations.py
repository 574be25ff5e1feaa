"""Quadratic equations, solved step by step, as the RMT paper defines them."""

import torch

from rmem_cli.data.generated.quadratic import ANSWER_LENGTH, BLOCK, VOCABULARY, quadratic_rows
from rmem_cli.data.prepared import open_prepared
from rmem_cli.tasks.algorithmic import AlgorithmicTask
from rmem_cli.tasks.algorithmic_config import QuadraticEquationsSettings

PAD = 0


class QuadraticEquations(AlgorithmicTask):
    """Read an equation, then write its canonical form, the discriminant, both roots and the answer.

        -3*x^2+6*x+9=0 | x^2-2*x-3=0 | D=2^2-4*1*-3=16=4^2 | x=(2-4)/2=-1 | x=(2+4)/2=3 | -1,3

    Each of the six parts has 30 characters, filled up with a padding symbol that is to be predicted as well:
    180 steps, of which the last 150 count in the loss. Accuracy counts their characters, not the padding;
    exact match asks for the whole last part, padding and all. Its first character is predicted by the last
    step of the part before; the published code leaves that one out.

    Args:
        settings: All options.
    """

    def __init__(self, settings: QuadraticEquationsSettings) -> None:
        prepared = open_prepared("quadratic", "steps") if settings.prepared else None
        super().__init__(quadratic_rows, len(VOCABULARY), ANSWER_LENGTH, prepared)

    def counted(self, targets: torch.Tensor) -> torch.Tensor:
        """All but the padding."""
        return targets != PAD

    def exact_positions(self, published: bool) -> int:
        """The last part; by the published code without its first character."""
        return BLOCK if published else BLOCK + 1
