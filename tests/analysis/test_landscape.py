"""The energy landscape: a line and a plane of the parameters that turn the state, all else at its start."""

import math

import pytest
import torch

from rmem_cli.analysis.landscape import BOUND, POINTS, SIDE, LossLandscape
from rmem_cli.models.rotations import turning_parameters
from rmem_cli.seeding import generator

CORES = {
    "rum": (
        "model.core={kind: rum, hidden_size: 6, input_bias: false}",
        ["target_kernel", "target_bias", "input_kernel"],
    ),
    "goru": ("model.core={kind: goru, hidden_size: 6}", ["matrix.angles"]),
    "eunn": (
        "model.core={kind: eunn, hidden_size: 6, complex: true}",
        ["matrix.angles", "matrix.phases", "matrix.last_phases"],
    ),
}


@pytest.fixture
def opened(make_spec):
    def make(*sets):
        from rmem_cli.runs.opened import open_run

        run = open_run(make_spec(*sets))
        return run.seeded_model(torch.device("cpu")), run.task.training_batch(0, 4, 1)

    return make


@pytest.mark.parametrize("core", CORES)
def test_what_turns_the_state_is_what_the_published_code_varies(opened, core):
    sets, names = CORES[core]
    model, _ = opened(sets)
    named = {id(parameter): name for name, parameter in model.named_parameters()}
    found = [named[id(parameter)].partition("layers.0.")[2] for parameter in turning_parameters(model)]
    assert found == names


@pytest.mark.parametrize(
    "sets", ["model.core={kind: gru, hidden_size: 6}", "model.core={kind: lstm, hidden_size: 6}"]
)
def test_other_cores_turn_nothing(opened, sets):
    assert turning_parameters(opened(sets)[0]) == []


def test_the_cells_of_a_network_of_cells_are_looked_into(opened):
    cell = "{kind: rum, hidden_size: 6}"
    model, _ = opened(f"model.core={{kind: fast_slow, fast: {cell}, slow: {cell}}}")
    assert len(turning_parameters(model)) == 3 * 4


@pytest.mark.parametrize("core", CORES)
def test_a_point_of_the_line_is_the_loss_with_those_parameters_and_all_else_as_it_was(opened, core):
    model, batch = opened(CORES[core][0])
    before = {name: value.clone() for name, value in model.state_dict().items()}
    line = LossLandscape(model, batch, seed=3).line()
    assert [share for share, _ in line] == [index / POINTS for index in range(POINTS)]
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())

    parameters = turning_parameters(model)
    count = sum(parameter.numel() for parameter in parameters)
    start, end = (
        BOUND
        * (2 * torch.rand(count, generator=generator(3, "landscape", "line", name), dtype=torch.double) - 1)
        for name in ("start", "end")
    )
    assert start.abs().max() <= BOUND
    with torch.no_grad():
        values = (0.75 * start + 0.25 * end).split([parameter.numel() for parameter in parameters])
        for parameter, value in zip(parameters, values, strict=True):
            parameter.copy_(value.view_as(parameter))
        result = model.eval().step(batch, None)
    assert line[POINTS // 4][1] == pytest.approx(float(result.nll_sum / result.weights.sum()), rel=1e-5)


@pytest.mark.parametrize("core", CORES)
def test_the_plane_is_twenty_by_twenty_and_that_of_its_seed(opened, core):
    model, batch = opened(CORES[core][0])
    surface = LossLandscape(model, batch, seed=3).plane()
    assert len(surface.at) == len(surface.losses) == SIDE
    assert all(len(row) == SIDE for row in surface.losses)
    assert all(loss > 0 for row in surface.losses for loss in row)
    assert surface == LossLandscape(model, batch, seed=3).plane()
    assert surface != LossLandscape(model, batch, seed=4).plane()
    # Along the first direction, the columns of the first row; along the second, the rows.
    assert surface.losses[0][1] != surface.losses[1][0]


def test_a_loss_that_is_no_number_is_infinite(opened):
    model, batch = opened("model.core={kind: rum, hidden_size: 6}")
    head = next(value for name, value in model.named_parameters() if name.startswith("head"))
    with torch.no_grad():
        head.fill_(math.nan)
    assert {loss for _, loss in LossLandscape(model, batch, seed=3).line()} == {math.inf}
