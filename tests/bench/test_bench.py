"""What is measured is a training step of the form it is named after, and nothing else."""

import json
import resource
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
from typer.testing import CliRunner

from rmem_cli.app import app
from rmem_cli.bench import beside
from rmem_cli.bench.beside import busy_processes, measure_beside
from rmem_cli.bench.cases import CASES, Size, find_cases
from rmem_cli.bench.measure import measure
from rmem_cli.errors import UsageError

SMALL = Size(hidden=6, batch=2, time=5, inputs=3)


def small(case):
    return replace(case, size=SMALL)


@pytest.mark.parametrize("case", [case for case in CASES if case.family], ids=lambda case: case.name)
def test_the_forms_of_an_operation_start_from_the_same_weights(case):
    gradients = {}
    for form in case.forms_here():
        if form == "torch.nn.LSTM":
            continue
        torch.manual_seed(0)
        step = case.make(SMALL, form)
        step()
        module = step.args[0]
        gradients[form] = [weight.grad for weight in module.parameters()]
    for each in gradients.values():
        torch.testing.assert_close(each, gradients[case.forms[0]], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("prefix", ["lstm-h256-b10", "rum-lambda1-h50"])
def test_operations_grow_as_the_recurrence_does(prefix):
    case = find_cases([prefix])[0]
    longer, wider = case.grown()
    flops = case.flops(case.size)
    assert case.flops(longer.size) >= 2 * flops
    assert 2 < case.flops(wider.size) / flops <= 4


def test_every_form_is_timed_equally_often():
    case = small(find_cases(["ur_lstm-h256-b10"])[0])
    measurements = measure(case, repeats=4, seconds=60, memory=False)
    assert [each.form for each in measurements] == case.forms_here()
    assert {each.repeats for each in measurements} == {4}
    assert all(0 < each.fastest <= each.milliseconds for each in measurements)
    assert all(0 < each.share_of_fastest <= each.share < 1 for each in measurements)


def test_memory_is_that_of_one_step_in_a_fresh_process():
    case = find_cases(["ur_lstm-h256-b10"])[0].only(["fast"])
    (measurement,) = measure(case, repeats=1, seconds=0, memory=True)
    # Four gates, the cell and the hidden state of every step, in four bytes each.
    assert measurement.memory_mb > 6 * 256 * 10 * 500 * 4 / 1e6


def test_the_command_prints_one_object_for_each_form_of_each_case():
    options = ["bench", "lstm-h256-b10", "--form", "fast", "--repeats", "1", "--no-memory", "--json"]
    done = CliRunner().invoke(app, options, catch_exceptions=False)
    (line,) = done.stdout.splitlines()
    assert json.loads(line)["form"] == "fast"


def processor_seconds_of_children():
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime


def test_the_command_times_steps_beside_busy_processes(monkeypatch):
    monkeypatch.setattr(beside, "_LEAST_BLOCK_SECONDS", 0.0)
    options = ["bench", "lstm-h256-b10", "--form", "fast", "--busy", "1", "--repeats", "1", "--seconds", "0"]
    done = CliRunner().invoke(app, [*options, "--json"], catch_exceptions=False)
    (line,) = done.stdout.splitlines()
    assert json.loads(line)["busy"] == 1
    table = CliRunner().invoke(app, options, catch_exceptions=False).stdout
    assert "beside busy" in table


def test_busy_processes_compute_and_have_ended_at_the_end():
    before = processor_seconds_of_children()
    with busy_processes(2):
        time.sleep(1)
    # Only children that have ended are counted.
    assert processor_seconds_of_children() - before > 0.2


def test_a_busy_process_does_not_outlive_one_that_is_killed():
    source = """
import time
from rmem_cli.bench import beside
from rmem_cli.bench.beside import busy_processes
with busy_processes(1):
    print("begun", flush=True)
    time.sleep(60)
"""
    # Whoever holds the other end of the pipe has not ended.
    parent = subprocess.Popen([sys.executable, "-c", source], stdout=subprocess.PIPE)
    assert parent.stdout.readline() == b"begun\n"
    parent.kill()
    assert parent.communicate(timeout=30)[0] == b""


def test_steps_are_timed_alone_on_one_thread_and_beside_busy_processes(monkeypatch):
    case = small(find_cases(["rum-lambda1-h50"])[0]).only(["fast"])
    seen, running = set(), [0]

    @contextmanager
    def counted(count):
        with busy_processes(count):
            running.append(count)
            yield
            running.pop()

    def make(size, form):
        step = case.make(size, form)

        def noted():
            seen.add((torch.get_num_threads(), running[-1]))
            step()

        return noted

    monkeypatch.setattr(beside, "busy_processes", counted)
    monkeypatch.setattr(beside, "_LEAST_BLOCK_SECONDS", 0.0)
    threads = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        (measured,) = measure_beside(replace(case, make=make), busy=2, repeats=5, seconds=60)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(threads)
    assert seen == {(3, 0), (1, 0), (3, 2)}
    assert measured.repeats >= 5
    assert min(measured.milliseconds, measured.one_thread, measured.beside) > 0


def test_an_unknown_case_or_form_is_refused_with_those_there_are():
    with pytest.raises(UsageError, match=r"no case 'gpt'.*ur_lstm-h256-b10-t500"):
        find_cases(["gpt"])
    with pytest.raises(UsageError, match=r"no form 'slow'; it has reference, fast, native"):
        find_cases(["rum"])[0].only(["slow"])


def test_doctor_says_which_form_of_each_operation_runs_and_why(monkeypatch):
    monkeypatch.setenv("RMEM_NATIVE", "off")
    from rmem_cli.ops.native import build

    build.status.cache_clear()
    try:
        done = CliRunner().invoke(app, ["doctor"], catch_exceptions=False)
    finally:
        build.status.cache_clear()
    lines = {line.split()[0]: line for line in done.stdout.splitlines() if line.strip()}
    assert "fast" in lines["gates"]
    assert "RMEM_NATIVE=off" in lines["gates"]
    assert torch.__version__ in lines["torch"]
