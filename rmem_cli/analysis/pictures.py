"""What is found inside of models, as pictures."""

import math
from collections.abc import Sequence

import torch

from rmem_cli.analysis.angles import Angles, rotation_angles
from rmem_cli.analysis.landscape import LossLandscape
from rmem_cli.errors import UsageError
from rmem_cli.models.rotations import turning_parameters
from rmem_cli.recipe.resolve import RunSpec
from rmem_cli.report.figure import COLOURS, Figure, Landscape, Series, picture_name
from rmem_cli.runs.machine import Machine
from rmem_cli.runs.opened import open_run
from rmem_cli.runs.trained import open_trained
from rmem_cli.visible import one_line


def angles_over_time(spec: RunSpec, machine: Machine, checkpoint: str | None, steps: int) -> Figure:
    """The angles of a trained run while it reads the first batch of its first evaluation.

    Args:
        spec: The run.
        machine: Where to compute.
        checkpoint: "best" or "last"; None takes the best one if there is one.
        steps: How many steps of the batch, at most.

    Raises:
        UsageError: The run has not been trained, or has no rotational units.
        DataError: Its data or its checkpoint is missing or damaged.
    """
    model, run = open_trained(spec, machine, checkpoint)
    measured = run.measurements[0]
    protocol = measured.protocol
    batches = measured.task.evaluation_batches(
        protocol.split,
        protocol.examples,
        protocol.batch_size or spec.settings.train.batch_size,
        spec.seed,
        protocol.examples_drawn,
    )
    parameter = next(model.parameters())
    batch = next(iter(batches)).beginning(steps).to(parameter.device, parameter.dtype)
    layers = rotation_angles(model, batch)
    if not layers:
        raise UsageError(f"{spec.label} has no rotational units; choose a row of the core rum")
    rows = batch.inputs.shape[0]
    return Figure(
        picture_name(spec.experiment, "angles", spec.row, spec.cell, _scale_and_seed(spec)),
        one_line(
            f"{spec.experiment}: rotation at each step, {_title(spec)}, mean and middle 80 % of {rows} rows"
        ),
        f"steps of the {protocol.split} split",
        "angle (degrees)",
        [_of_layer(number, angles, len(layers)) for number, angles in enumerate(layers)],
    )


def landscapes(specs: Sequence[RunSpec], machine: Machine) -> list[Figure | Landscape]:
    """The loss of runs along a line, all in one chart, and over a plane, a picture for each.

    Args:
        specs: The runs.
        machine: Where to compute.

    Raises:
        UsageError: Nothing turns the state of one of them.
        DataError: Data is missing or damaged.
    """
    torch.set_num_threads(machine.threads)
    lines, planes = [], []
    loss = ""
    for number, spec in enumerate(specs):
        landscape, loss = _landscape(spec, machine)
        points = [(share, height) for share, height in landscape.line() if math.isfinite(height)]
        if not points:
            raise UsageError(f"the loss of {spec.label} is no number anywhere; choose another row or --seed")
        title = _title(spec)
        lines.append(Series(one_line(title), points, number % COLOURS))
        planes.append(_plane(spec, title, landscape, loss))
    first = specs[0]
    line = Figure(
        picture_name(first.experiment, "landscape", "line", _scale_and_seed(first)),
        f"{first.experiment}: untrained, along a line of parameters that turn the state, {first.scale}",
        "share of the way",
        loss,
        lines,
    )
    return [line, *planes]


def _landscape(spec: RunSpec, machine: Machine) -> tuple[LossLandscape, str]:
    """The landscape of a run, and what its loss is."""
    run = open_run(spec)
    model = run.seeded_model(torch.device(machine.device))
    if not turning_parameters(model):
        raise UsageError(f"{spec.label} turns its state by nothing; choose a row of rum, goru or eunn")
    batch = run.task.training_batch(0, spec.settings.train.batch_size, spec.seed)
    unit = "squared error" if run.task.classes == 1 else "nats per symbol"
    landscape = LossLandscape(model, batch.to(torch.device(machine.device), run.dtype), spec.seed)
    return landscape, f"loss of the first batch ({unit})"


def _plane(spec: RunSpec, title: str, landscape: LossLandscape, loss: str) -> Landscape:
    surface = landscape.plane()
    return Landscape(
        picture_name(spec.experiment, "landscape", "plane", spec.row, spec.cell, _scale_and_seed(spec)),
        one_line(f"{spec.experiment}: untrained, over a plane, {title}"),
        "share of the first direction",
        "share of the second direction",
        loss,
        surface.at,
        surface.at,
        surface.losses,
    )


def _of_layer(number: int, angles: Angles, layers: int) -> Series:
    points = [(float(step), value) for step, value in enumerate(angles.mean, 1)]
    name = f"layer {number + 1}" if layers > 1 else "mean"
    return Series(name, points, number % COLOURS, spread=list(zip(angles.low, angles.high, strict=True)))


def _title(spec: RunSpec) -> str:
    return ", ".join(filter(None, (spec.title, spec.cell, spec.scale, f"seed {spec.seed}")))


def _scale_and_seed(spec: RunSpec) -> str:
    return f"{spec.scale}-seed{spec.seed}"
