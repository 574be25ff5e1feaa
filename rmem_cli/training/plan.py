"""What a run would cost, before it is done."""

from dataclasses import dataclass

import torch

from rmem_cli.recipe.resolve import RunSpec
from rmem_cli.training.loop import build_task, build_task_model, total_steps


@dataclass(frozen=True)
class Plan:
    """The size of a run.

    Attributes:
        parameters: Weights of the model.
        steps: Optimizer steps.
        batch_size: Examples (or text columns) of each.
    """

    parameters: int
    steps: int
    batch_size: int


def plan_of(spec: RunSpec) -> Plan:
    """The size of a run; its model is built without memory for its weights.

    Raises:
        DataError: Its data is missing, which the vocabulary comes from.
    """
    task = build_task(spec.settings)
    with torch.device("meta"):
        model = build_task_model(spec.settings, task)
    train = spec.settings.train
    return Plan(model.parameter_count(), total_steps(train, task), train.batch_size)
