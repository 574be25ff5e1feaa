"""The angles of a model's rotations: those of the equations as written, of all layers, and of any cells."""

import math

import pytest
import torch

from rmem_cli.analysis.angles import rotation_angles
from rmem_cli.models.rotations import cosines_of_rotations
from rmem_cli.ops.rotation import reference


@pytest.fixture
def opened(make_spec):
    def make(*sets):
        from rmem_cli.runs.opened import open_run

        run = open_run(make_spec("train.dtype=float64", *sets))
        return run.seeded_model(torch.device("cpu")).eval(), run.task.training_batch(0, 4, 1).to(
            torch.device("cpu"), torch.double
        )

    return make


@pytest.mark.parametrize("lambda_", [0, 1])
def test_they_are_those_of_the_equations_as_written(opened, lambda_):
    model, batch = opened(f"model.core={{kind: rum, hidden_size: 6, lambda: {lambda_}}}")
    (angles,) = rotation_angles(model, batch)
    layer = model.core.layers[0]
    memory = torch.eye(6, dtype=torch.double).expand(4, 6, 6) if lambda_ else None
    with torch.no_grad():
        x = model.encoder(batch.inputs)
        expected = reference.rum(
            x, torch.zeros(4, 6, dtype=torch.double), memory, layer.weights(), layer.options
        )
    degrees = torch.rad2deg(torch.acos(expected.cosines))
    assert angles.mean == pytest.approx(degrees.mean(0).tolist(), abs=1e-6)
    assert all(
        low <= mean <= high for low, mean, high in zip(angles.low, angles.mean, angles.high, strict=True)
    )


def test_each_layer_has_its_own_and_each_cell_of_a_network_of_cells(opened):
    two, batch = opened("model.core={kind: rum, hidden_size: 6, layers: 2}")
    assert len(rotation_angles(two, batch)) == 2
    cell = "{kind: rum, hidden_size: 6}"
    cells, batch = opened(f"model.core={{kind: fast_slow, fast: {cell}, slow: {cell}}}")
    found = rotation_angles(cells, batch)
    assert [len(each.mean) for each in found] == [batch.inputs.shape[1]] * 3


def test_a_model_without_rotations_has_none(opened):
    model, batch = opened("model.core={kind: gru, hidden_size: 6}")
    assert rotation_angles(model, batch) == []


def test_what_is_behind_the_end_of_a_row_does_not_count(opened):
    from dataclasses import replace

    model, batch = opened("model.core={kind: rum, hidden_size: 6}")
    steps = batch.inputs.shape[1]
    short = replace(batch, lengths=torch.tensor([2, 2, 2, steps]))
    (angles,) = rotation_angles(model, short)
    (alone,) = rotation_angles(model, batch.rows(slice(3, 4)))
    assert angles.mean[2:] == pytest.approx(alone.mean[2:])
    assert not any(map(math.isnan, angles.mean))


def test_looking_changes_nothing_and_leaves_nothing_behind(opened):
    model, batch = opened("model.core={kind: rum, hidden_size: 6}")
    with torch.no_grad():
        before = model.step(batch, None).losses
        with cosines_of_rotations(model) as cosines:
            assert torch.equal(model.step(batch, None).losses, before)
        model.step(batch, None)
    assert [len(layer) for layer in cosines] == [1]
