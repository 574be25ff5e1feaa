"""Which fields of a run are components, and what their kinds are."""

from rmem_cli.recipe.registry import (
    BACKPROP,
    CORES,
    ENCODERS,
    HEADS,
    OPTIMIZERS,
    SCHEDULES,
    TASKS,
    Registry,
)

Path = tuple[str | int, ...]

COMPONENTS: dict[Path, Registry] = {
    ("task",): TASKS,
    ("model", "encoder"): ENCODERS,
    ("model", "core"): CORES,
    ("model", "head"): HEADS,
    ("optimizer",): OPTIMIZERS,
    ("schedule",): SCHEDULES,
    ("train", "backprop"): BACKPROP,
}
