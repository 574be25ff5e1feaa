"""A state that is zero for many steps, as at the blank beginning of an image, leaves gradients finite."""

import pytest
import torch

from rmem_cli.models.cores.recurrent_config import RUMSettings
from rmem_cli.models.cores.rum import RUM


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize(
    "options", [{"lambda": 0}, {"lambda": 1}, {"lambda": 0, "update_gate": False}], ids=str
)
def test_a_state_of_zeros_passes_no_gradient_through_its_norm(op_form, options, dtype):
    torch.manual_seed(1)
    rum = RUM(3, RUMSettings(hidden_size=20, eta=1.0, **options)).to(dtype)
    x = torch.zeros(2, 45, 3, dtype=dtype)
    x[:, 40:] = torch.randn(2, 5, 3, dtype=dtype)
    outputs, _ = rum(x)
    assert (outputs[:, :40] == 0).all()
    outputs[:, -1].sum().backward()
    found = {name: weight.grad.clone() for name, weight in rum.named_parameters()}
    assert all(gradient.isfinite().all() for gradient in found.values())
    # What comes before a state of zeros changes nothing: the gradient is that of the last steps alone.
    rum.zero_grad()
    rum(x[:, 40:])[0][:, -1].sum().backward()
    close = {torch.float32: 1e-4, torch.float64: 1e-10}[dtype]
    for name, weight in rum.named_parameters():
        torch.testing.assert_close(found[name], weight.grad, rtol=close, atol=close)


@pytest.mark.parametrize("options", [{"lambda": 0}, {"lambda": 1}], ids=str)
def test_an_eta_below_the_smallest_number_of_its_type_makes_states_and_gradients_zero(op_form, options):
    rum = RUM(3, RUMSettings(hidden_size=5, eta=1e-60, **options))
    x = torch.randn(2, 4, 3, requires_grad=True)
    assert rum.op_paths()["rotation"] in (op_form, "fast")
    outputs, _ = rum(x)
    outputs.sum().backward()
    assert (outputs == 0).all()
    assert all((each.grad == 0).all() for each in (x, *rum.parameters()))
