from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import Parameter
from torch.optim import Optimizer

from rmem_cli.training import config
from rmem_cli.training.optimizers import TFRMSprop, build_optimizer

ALL_SETTINGS = [
    config.SGDSettings(lr=0.1),
    config.SGDSettings(lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01),
    config.RMSpropSettings(lr=0.01),
    config.RMSpropSettings(lr=0.01, alpha=0.9, momentum=0.5, eps=1e-6, weight_decay=0.01),
    config.TFRMSpropSettings(lr=0.01),
    config.TFRMSpropSettings(lr=0.01, alpha=0.8, momentum=0.5, eps=1e-3, weight_decay=0.01),
    config.AdamSettings(lr=0.01),
    config.AdamSettings(lr=0.01, beta1=0.8, beta2=0.9, eps=1e-6, weight_decay=0.01),
    config.AdamWSettings(lr=0.01),
    config.AdagradSettings(lr=0.01),
    config.AdagradSettings(lr=0.01, initial_accumulator=0.1, eps=1e-6, weight_decay=0.01),
]


def make_parameters(dtype: torch.dtype = torch.float32) -> list[Parameter]:
    source = torch.Generator().manual_seed(1)
    return [Parameter(torch.randn(shape, generator=source, dtype=dtype)) for shape in [(7, 5), (5,), (1,)]]


def take_steps(optimizer: Optimizer, parameters: list[Parameter], first: int, last: int) -> None:
    """Update with gradients that depend on the step and on the parameters."""
    for step in range(first, last):
        source = torch.Generator().manual_seed(step)
        for parameter in parameters:
            noise = torch.randn(parameter.shape, generator=source, dtype=parameter.dtype)
            parameter.grad = noise + 0.1 * parameter.detach()
        optimizer.step()


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_tf_rmsprop_follows_the_formulas_of_tensorflow(momentum: float, weight_decay: float) -> None:
    lr, alpha, eps = 0.01, 0.9, 1e-3
    random = np.random.default_rng(1)
    expected = random.standard_normal((4, 3))
    parameter = Parameter(torch.tensor(expected))
    optimizer = TFRMSprop([parameter], lr, alpha, momentum, eps, weight_decay)
    mean_square, update = np.ones_like(expected), np.zeros_like(expected)
    for _ in range(20):
        gradient = random.standard_normal((4, 3))
        parameter.grad = torch.tensor(gradient)
        optimizer.step()
        gradient = gradient + weight_decay * expected
        mean_square = alpha * mean_square + (1 - alpha) * gradient**2
        update = momentum * update + lr * gradient / np.sqrt(mean_square + eps)
        expected = expected - update
        np.testing.assert_allclose(parameter.detach().numpy(), expected, rtol=1e-12)


def test_tf_rmsprop_leaves_parameters_without_a_gradient_alone() -> None:
    with_gradient, without = Parameter(torch.ones(2)), Parameter(torch.ones(2))
    with_gradient.grad = torch.ones(2)
    TFRMSprop([with_gradient, without], lr=0.1).step()
    assert torch.equal(without, torch.ones(2))
    assert not torch.equal(with_gradient, torch.ones(2))


def test_tf_rmsprop_evaluates_a_closure_with_gradients() -> None:
    parameter = Parameter(torch.ones(2))
    optimizer = TFRMSprop([parameter], lr=0.1)

    def closure() -> float:
        loss = parameter.square().sum()
        torch.autograd.backward(loss)
        return loss.item()

    assert optimizer.step(closure) == 2.0
    assert (parameter < 1).all()


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (
            config.SGDSettings(lr=0.5, momentum=0.9, nesterov=True, weight_decay=0.1),
            {"lr": 0.5, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1},
        ),
        (
            config.RMSpropSettings(lr=0.5, alpha=0.8, momentum=0.7, eps=1e-3, weight_decay=0.1),
            {"lr": 0.5, "alpha": 0.8, "momentum": 0.7, "eps": 1e-3, "weight_decay": 0.1, "centered": False},
        ),
        (
            config.TFRMSpropSettings(lr=0.5, alpha=0.8, momentum=0.7, eps=1e-3, weight_decay=0.1),
            {"lr": 0.5, "alpha": 0.8, "momentum": 0.7, "eps": 1e-3, "weight_decay": 0.1},
        ),
        (
            config.AdamSettings(lr=0.5, beta1=0.6, beta2=0.7, eps=1e-3, weight_decay=0.1),
            {"lr": 0.5, "betas": (0.6, 0.7), "eps": 1e-3, "weight_decay": 0.1, "amsgrad": False},
        ),
        (
            config.AdamWSettings(lr=0.5, beta1=0.6, beta2=0.7, eps=1e-3, weight_decay=0.1),
            {
                "lr": 0.5,
                "betas": (0.6, 0.7),
                "eps": 1e-3,
                "weight_decay": 0.1,
                "decoupled_weight_decay": True,
            },
        ),
        (
            config.AdagradSettings(lr=0.5, initial_accumulator=0.2, eps=1e-3, weight_decay=0.1),
            {"lr": 0.5, "initial_accumulator_value": 0.2, "eps": 1e-3, "weight_decay": 0.1, "lr_decay": 0},
        ),
    ],
    ids=lambda value: value.kind if isinstance(value, config.OptimizerSettings) else "",
)
def test_every_setting_reaches_the_optimizer(
    settings: config.OptimizerSettings, expected: dict[str, Any]
) -> None:
    optimizer = build_optimizer(settings, make_parameters())
    assert {name: optimizer.param_groups[0][name] for name in expected} == expected


def test_adam_agrees_with_the_plain_implementation_of_torch() -> None:
    ours, plain = make_parameters(torch.float64), make_parameters(torch.float64)
    take_steps(build_optimizer(config.AdamSettings(lr=0.01), ours), ours, 0, 30)
    take_steps(torch.optim.Adam(plain, lr=0.01, foreach=False), plain, 0, 30)
    for one, other in zip(ours, plain, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("settings", ALL_SETTINGS, ids=str)
def test_a_resumed_optimizer_goes_on_bit_for_bit(settings: config.OptimizerSettings) -> None:
    straight = make_parameters()
    take_steps(build_optimizer(settings, straight), straight, 0, 10)

    stopped = make_parameters()
    before = build_optimizer(settings, stopped)
    take_steps(before, stopped, 0, 4)
    resumed = [Parameter(parameter.detach().clone()) for parameter in stopped]
    after = build_optimizer(settings, resumed)
    after.load_state_dict(before.state_dict())
    take_steps(after, resumed, 4, 10)

    for one, other in zip(straight, resumed, strict=True):
        assert torch.equal(one, other)
