"""How a run can end."""

from typing import Literal, get_args

Outcome = Literal["ok", "diverged", "out_of_memory", "failed"]

OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)
FAILURES = OUTCOMES[1:]
