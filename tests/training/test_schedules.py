import math
from typing import Any, Literal

import pytest
import torch

from rmem_cli.training import config
from rmem_cli.training.schedules import Schedule, build_schedule

BASE, TOTAL, WARMUP = 0.5, 110, 10


def schedule_of(settings: config.ScheduleSettings, total: int = TOTAL) -> Schedule:
    return build_schedule(settings, BASE, total)


WITH_WARMUP = [
    config.ConstantSettings(warmup_steps=WARMUP),
    config.LinearSettings(warmup_steps=WARMUP),
    config.CosineSettings(warmup_steps=WARMUP),
    config.InverseSqrtSettings(warmup_steps=WARMUP),
    config.StepSettings(warmup_steps=WARMUP, at=[50]),
    config.PlateauSettings(warmup_steps=WARMUP),
]


@pytest.mark.parametrize("settings", WITH_WARMUP, ids=lambda settings: settings.kind)
def test_the_warm_up_rises_linearly_to_the_learning_rate(settings: config.ScheduleSettings) -> None:
    schedule = schedule_of(settings)
    rates = [schedule.lr(step) for step in range(WARMUP)]
    assert rates == pytest.approx([BASE * (step + 1) / WARMUP for step in range(WARMUP)])


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (config.ConstantSettings(), {0: BASE, 50: BASE, 109: BASE}),
        (config.LinearSettings(), {0: BASE, 55: BASE / 2, 109: BASE / 110, 110: 0.0, 200: 0.0}),
        (config.LinearSettings(min_lr=0.1), {0: BASE, 55: 0.3, 110: 0.1}),
        (config.LinearSettings(warmup_steps=10), {9: BASE, 10: BASE, 60: BASE / 2, 110: 0.0}),
        (config.CosineSettings(), {0: BASE, 55: BASE / 2, 110: 0.0, 200: 0.0}),
        (
            config.CosineSettings(min_lr=0.1, warmup_steps=10),
            {9: BASE, 10: BASE, 35: 0.3 + 0.2 * math.cos(math.pi / 4), 60: 0.3, 110: 0.1},
        ),
        (config.InverseSqrtSettings(warmup_steps=10), {9: BASE, 39: BASE / 2, 89: BASE / 3}),
        (config.StepSettings(at=[50, 20], factor=0.1), {0: BASE, 19: BASE, 20: 0.05, 49: 0.05, 50: 0.005}),
        (config.PlateauSettings(), {0: BASE, 109: BASE}),
    ],
    ids=str,
)
def test_a_schedule_has_the_value_of_its_formula(
    settings: config.ScheduleSettings, expected: dict[int, float]
) -> None:
    schedule = schedule_of(settings)
    assert {step: schedule.lr(step) for step in expected} == pytest.approx(expected)


def test_each_step_of_a_schedule_has_its_own_factor_where_they_are_listed() -> None:
    schedule = schedule_of(config.StepSettings(at=[20, 10], factors=[0.1, 0.05]))
    rates = [schedule.lr(step) / BASE for step in (0, 9, 10, 19, 20, 100)]
    assert rates == pytest.approx([1, 1, 0.05, 0.05, 0.005, 0.005])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"factors": [0.1]}, "factors lists 1, and at 2 steps; give one for each step"),
        (
            {"factors": [0.1, 0.1], "factor": 0.5},
            "factor and factors exclude each other; leave one of them out",
        ),
    ],
)
def test_factors_that_are_not_one_for_each_step_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        config.StepSettings(at=[10, 20], **fields)


@pytest.mark.parametrize("kind", [config.LinearSettings, config.CosineSettings])
def test_a_warm_up_longer_than_the_run_is_no_error(
    kind: type[config.LinearSettings | config.CosineSettings],
) -> None:
    schedule = schedule_of(kind(warmup_steps=10), total=5)
    assert [schedule.lr(step) for step in range(5)] == pytest.approx([0.05, 0.1, 0.15, 0.2, 0.25])


def observe_all(schedule: Schedule, values: list[float], higher_is_better: bool = False) -> list[float]:
    rates = []
    for value in values:
        schedule.observe(value, higher_is_better)
        rates.append(schedule.lr(0))
    return rates


def test_plateau_reduces_after_more_than_patience_observations_without_improvement() -> None:
    schedule = schedule_of(config.PlateauSettings(patience=2, factor=0.5))
    rates = observe_all(schedule, [3.0, 2.0, 2.0, 2.5, 2.0, 2.0, 2.0, 2.0])
    assert rates == [0.5, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25, 0.125]


def test_plateau_starts_to_count_again_after_an_improvement() -> None:
    schedule = schedule_of(config.PlateauSettings(patience=1, factor=0.5))
    assert observe_all(schedule, [3.0, 3.0, 2.0, 2.0, 2.0]) == [0.5, 0.5, 0.5, 0.5, 0.25]


def test_plateau_knows_metrics_of_which_more_is_better() -> None:
    schedule = schedule_of(config.PlateauSettings(patience=0, factor=0.5))
    assert observe_all(schedule, [0.1, 0.2, 0.3, 0.2], higher_is_better=True) == [0.5, 0.5, 0.5, 0.25]


def test_plateau_counts_not_a_number_as_no_improvement() -> None:
    schedule = schedule_of(config.PlateauSettings(patience=0, factor=0.5))
    assert observe_all(schedule, [math.nan, 1.0, math.nan]) == [0.25, 0.25, 0.125]


def test_plateau_does_not_go_below_its_least_rate() -> None:
    schedule = schedule_of(config.PlateauSettings(patience=0, factor=0.1, min_lr=0.02))
    assert observe_all(schedule, [1.0, 1.0, 1.0, 1.0]) == pytest.approx([0.5, 0.05, 0.02, 0.02])


@pytest.mark.parametrize("settings", WITH_WARMUP, ids=lambda settings: settings.kind)
def test_a_resumed_schedule_goes_on_bit_for_bit(settings: config.ScheduleSettings) -> None:
    values = [math.sin(step) for step in range(100)]
    straight = schedule_of(settings)
    before = schedule_of(settings)
    expected, got = observe_all(straight, values), observe_all(before, values[:40])
    after = schedule_of(settings)
    after.load_state_dict(before.state_dict())
    got += observe_all(after, values[40:])
    assert got == expected
    assert [after.lr(step) for step in range(TOTAL)] == [straight.lr(step) for step in range(TOTAL)]


@pytest.mark.parametrize(("lr", "min_lr", "warmup", "total"), [(0.5, 0.0, 10, 110), (2.5e-4, 1e-5, 4, 20)])
def test_a_cosine_that_spans_the_warm_up_is_that_of_transformer_xl(
    lr: float, min_lr: float, warmup: int, total: int
) -> None:
    """Its training loop sets the rate of the next update after each one, by the number of those done."""
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.Adam([weight], lr=lr)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, total, eta_min=min_lr)
    theirs = [optimizer.param_groups[0]["lr"]]
    for done in range(1, total):
        if done < warmup:
            optimizer.param_groups[0]["lr"] = lr * done / warmup
        else:
            # Its closed form, as `scheduler.step(done)` takes it.
            scheduler.last_epoch = done
            optimizer.param_groups[0]["lr"] = scheduler._get_closed_form_lr()[0]
        theirs.append(optimizer.param_groups[0]["lr"])
    settings = config.CosineSettings(min_lr=min_lr, warmup_steps=warmup, spans_warmup=True)
    ours = build_schedule(settings, lr, total)
    assert [ours.lr(step) for step in range(total)] == pytest.approx(theirs)


@pytest.mark.parametrize("higher_is_better", [False, True])
@pytest.mark.parametrize("seed", range(20))
def test_a_plateau_with_a_threshold_is_that_of_torch(higher_is_better: bool, seed: int) -> None:
    source = torch.Generator().manual_seed(seed)
    # Improvements from a hundredth to a hundred times the threshold, and steps back.
    changes = 10.0 ** (torch.rand(60, generator=source, dtype=torch.float64) * 4 - 6)
    signs = (torch.rand(60, generator=source) < 0.7).double() * 2 - 1
    values = 2 * torch.exp((changes * signs).cumsum(0) * (1 if higher_is_better else -1))
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=BASE)
    mode: Literal["min", "max"] = "max" if higher_is_better else "min"
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, mode, 0.5, 2, min_lr=1e-3)
    expected = []
    for value in values.tolist():
        theirs.step(value)
        expected.append(optimizer.param_groups[0]["lr"])
    settings = config.PlateauSettings(factor=0.5, patience=2, min_lr=1e-3, threshold=1e-4)
    assert observe_all(schedule_of(settings), values.tolist(), higher_is_better) == pytest.approx(expected)


def test_a_threshold_counts_from_the_first_validation_on() -> None:
    settings = config.PlateauSettings(factor=0.5, patience=0, threshold=0.1)
    rates = observe_all(schedule_of(settings), [1.0, 0.95, 0.85, 0.8])
    assert rates == pytest.approx([BASE, BASE / 2, BASE / 2, BASE / 4])
