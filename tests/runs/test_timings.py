"""What steps took is kept for later plans, and a file that is damaged is as good as none."""

import multiprocessing
import sqlite3
from contextlib import closing
from dataclasses import replace

import pytest
import torch

from rmem_cli.clock import clock
from rmem_cli.paths import rates_file
from rmem_cli.recipe import load_recipe
from rmem_cli.report.wording import duration
from rmem_cli.runs import plan, timing_keys
from rmem_cli.runs.cost import Cost
from rmem_cli.runs.machine import Machine
from rmem_cli.runs.opened import open_run
from rmem_cli.runs.pace import Pace, fitted, pace_of
from rmem_cli.runs.timing_keys import step_key
from rmem_cli.runs.timings import keep, keep_cost, known, known_costs

CPU = torch.device("cpu")


def test_what_is_kept_is_known():
    assert known("a") is None
    keep("a", [1.5, 2.0])
    keep("b", [3.0])
    assert (known("a"), known("b")) == ([1.5, 2.0], [3.0])


@pytest.mark.parametrize("content", [b"", b"no database" * 100, b"SQLite format 3\0" + b"\xff" * 5000])
def test_a_damaged_file_is_ignored_and_replaced(content):
    rates_file().parent.mkdir(parents=True)
    rates_file().write_bytes(content)
    assert known("a") is None
    keep("a", [1.0])
    assert known("a") == [1.0]


def test_a_cut_file_is_ignored_and_replaced():
    for number in range(200):
        keep(str(number), [float(number)])
    rates_file().write_bytes(rates_file().read_bytes()[:6000])
    assert known("150") in (None, [150.0])
    keep("a", [1.0])
    keep("a", [1.0])


def test_a_file_that_cannot_be_written_is_no_error():
    rates_file().mkdir(parents=True)
    keep("a", [1.0])
    assert known("a") is None


def test_processes_that_keep_at_once_lose_nothing():
    context = multiprocessing.get_context("spawn")
    with context.Pool(3) as pool:
        pool.starmap(keep, ((str(number), [float(number)]) for number in range(120)), chunksize=20)
    assert [known(str(number)) for number in range(120)] == [[float(number)] for number in range(120)]


def key_of(*overrides, seed=1, scale="paper"):
    (spec,) = load_recipe("quickstart").runs(scale, ["gru"], [seed], overrides)
    return step_key(spec.settings, "", {}, CPU)


def test_a_rate_is_that_of_all_runs_whose_steps_cost_the_same():
    same = [
        key_of(seed=2),
        key_of("train.steps=7"),
        key_of("optimizer.lr=0.5"),
        key_of("eval.test.examples=9"),
    ]
    assert set(same) == {key_of()}
    other = [
        "train.batch_size=5",
        "model.core.hidden_size=7",
        "task.length=20",
        "optimizer={kind: sgd, lr: 0.1}",
        "train.backprop={kind: truncated, segment_length: 3}",
        "train.backprop={kind: truncated, segment_length: 4}",
        "train.clip_norm=1.0",
        "train.dtype=float64",
    ]
    assert len({key_of(), *map(key_of, other)}) == 1 + len(other)


def test_a_rate_belongs_to_data_forms_of_operations_a_device_a_machine_and_a_torch(monkeypatch):
    settings = load_recipe("quickstart").runs("paper", ["gru"], [1])[0].settings
    keys = [
        step_key(settings, data, op_paths, torch.device(device))
        for data, op_paths, device in [
            ("", {}, "cpu"),
            ("abc", {}, "cpu"),
            ("", {"gates": "fast"}, "cpu"),
            ("", {"gates": "native"}, "cpu"),
            ("", {}, "mps"),
        ]
    ]
    monkeypatch.setattr(timing_keys, "_machine", lambda device: "another")
    keys.append(step_key(settings, "", {}, CPU))
    monkeypatch.setattr(torch, "__version__", "9.9")
    keys.append(step_key(settings, "", {}, CPU))
    assert len(set(keys)) == 7


def test_a_rate_belongs_to_a_number_of_threads():
    before, threads = key_of(), torch.get_num_threads()
    torch.set_num_threads(threads + 1)
    try:
        assert key_of() != before
    finally:
        torch.set_num_threads(threads)


def test_the_clock_stands_still_while_others_compute():
    import time

    started = clock(CPU)
    time.sleep(0.2)
    assert clock(CPU) - started < 0.1


def test_the_fit_finds_what_a_flop_a_call_and_a_byte_take_and_nothing_negative():
    costs = [
        Cost(f * 1e6, c * 10.0, 0.0, b * 1e3) for f, c, b in [(1, 2, 9), (5, 1, 2), (9, 9, 1), (2, 7, 5)]
    ]
    seconds = [1e-9 * cost.flops + 1e-6 * cost.calls + 2e-9 * cost.traffic for cost in costs]
    assert fitted(costs, seconds, 0.0) == pytest.approx([1e-9, 1e-6, 2e-9])
    assert fitted(costs, seconds, 4e-10) == pytest.approx([1e-9, 1e-6, 2e-9])
    assert min(fitted(costs, [1.0, 1e-3, 1e-2, 5.0], 0.0)) >= 0


def test_a_flop_takes_at_least_the_time_of_one_in_a_large_product():
    """Small steps whose flops are hidden by their traffic say nothing of large ones."""
    costs = [Cost(n**3, n, 0.0, 100 * n**2) for n in (10.0, 20.0, 40.0)]
    seconds = [1e-9 * cost.traffic for cost in costs]
    assert fitted(costs, seconds, 0.0) == pytest.approx([0, 0, 1e-9])
    assert fitted(costs, seconds, 1e-10)[0] >= 1e-10


def test_a_pace_counts_flops_calls_and_traffic_but_no_memory():
    cost = Cost(flops=7.0, calls=11.0, bytes=13.0, traffic=17.0)
    assert Pace(per_flop=2.0, per_call=3.0, per_byte=5.0).seconds(cost) == 2 * 7 + 3 * 11 + 5 * 17


def test_the_pace_of_a_kind_of_core_is_measured_once(monkeypatch):
    from rmem_cli.runs import pace

    core = load_recipe("quickstart").runs("paper", ["gru"])[0].settings.model.core
    pace._pace.cache_clear()
    first = pace_of(core, {}, torch.float32, CPU)
    pace._pace.cache_clear()
    monkeypatch.setattr(pace, "_measured", pytest.fail)
    assert pace_of(core, {}, torch.float32, CPU) == first
    assert first.seconds(Cost(1e9, 1000, 0, 1e6)) > 0
    pace._pace.cache_clear()


def test_of_repeated_small_steps_the_fastest_counts(monkeypatch):
    from rmem_cli.runs import pace

    taken = iter([9.0, 3.0, 1.0, 2.0])
    monkeypatch.setattr(pace, "_taken", lambda *_: next(taken))
    core = load_recipe("quickstart").runs("paper", ["gru"])[0].settings.model.core
    assert pace._small_step(core, 2, 3, torch.float32, CPU)[1] == 1.0


@pytest.fixture
def run(make_spec):
    return open_run(make_spec())


STAGES = "train.stages=[{steps: 3, task: {length: 2}}]"


def rate_of(run):
    op_paths = run.new_model().op_paths()
    return known(step_key(run.settings, run.identity.data_hash, op_paths, CPU))


def test_of_the_steps_of_a_run_the_median_without_the_first_is_kept(run):
    plan.keep_rate(run, run.new_model(), CPU, [900.0, 1.0, 4.0, 2.0, 70.0])
    assert rate_of(run) == [3.0]


def test_of_few_steps_or_of_steps_in_stages_nothing_is_kept(run, make_spec):
    plan.keep_rate(run, run.new_model(), CPU, [1.0, 1.0, 1.0])
    assert rate_of(run) is None
    in_stages = open_run(make_spec(STAGES))
    plan.keep_rate(in_stages, run.new_model(), CPU, [1.0] * 5)
    assert rate_of(in_stages) is None


def test_a_plan_takes_the_rate_that_is_kept_as_it_is_but_for_stages(run, make_spec):
    assert not plan.plan_of(run, CPU).is_measured
    keep(step_key(run.settings, run.identity.data_hash, run.new_model().op_paths(), CPU), [0.25])
    planned = plan.plan_of(run, CPU)
    assert (planned.seconds_per_step, planned.seconds, planned.is_measured) == (0.25, 12 * 0.25, True)
    assert not plan.plan_of(open_run(make_spec(STAGES)), CPU).is_measured


def test_neither_long_steps_nor_those_of_stages_are_timed(run, make_spec, monkeypatch):
    planned = plan.plan_of(run, CPU)
    assert not plan.measure_steps(open_run(make_spec(STAGES)), CPU)
    monkeypatch.setattr(plan, "plan_of", lambda *_: replace(planned, seconds_per_step=5.1))
    monkeypatch.setattr(plan, "Share", pytest.fail)
    assert not plan.measure_steps(run, CPU)


def test_a_run_whose_core_is_translated_says_nothing_of_the_others(make_spec, lab, monkeypatch):
    monkeypatch.setattr(torch.nn.Module, "compile", lambda model: None)
    lab.machine = Machine("cpu", 1, compile=True)
    lab.train(make_spec())
    assert rate_of(open_run(make_spec())) is None
    lab.machine = Machine("cpu", 1)
    lab.train(make_spec(row="rum"))
    assert rate_of(open_run(make_spec(row="rum"))) is not None


@pytest.mark.parametrize(
    ("seconds", "words"), [(59, "59.0 s"), (3600, "60 min"), (6 * 86400, "144.0 h"), (30 * 86400, "30 days")]
)
def test_what_takes_longer_than_a_week_is_told_in_days(seconds, words):
    assert duration(seconds) == words


def test_what_a_run_takes_is_known_whatever_its_seed_and_a_damaged_number_is_not():
    first, second, *_, other = load_recipe("rum_recall").runs("cpu", ["lstm", "gru"])
    assert known_costs()(first) is None
    keep_cost(first, 12.5)
    assert [known_costs()(one) for one in (first, second, other)] == [12.5, 12.5, None]
    with closing(sqlite3.connect(rates_file())) as connection, connection:
        connection.execute("UPDATE rates SET numbers = 'x'")
    assert known_costs()(first) is None
    rates_file().write_bytes(b"no database")
    assert known_costs()(first) is None
