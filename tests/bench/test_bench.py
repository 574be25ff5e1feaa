"""What is measured is a training step of the form it is named after, and nothing else."""

import json
import os
import resource
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from typer.testing import CliRunner

from rmem_cli.app import app
from rmem_cli.bench import beside
from rmem_cli.bench.beside import busy_processes, measure_beside
from rmem_cli.bench.cases import CASES, Size, find_cases
from rmem_cli.bench.measure import measure
from rmem_cli.errors import UsageError
from rmem_cli.ops.native import build

SMALL = Size(hidden=6, batch=2, time=5, inputs=3)


def small(case):
    return replace(case, size=SMALL)


@pytest.mark.parametrize("case", [case for case in CASES if case.family], ids=lambda case: case.name)
def test_the_forms_of_an_operation_start_from_the_same_weights(case):
    gradients = {}
    for form in case.forms_here():
        if form in ("torch.nn.LSTM", "products alone"):
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


def test_the_products_of_a_network_of_cells_are_those_that_it_cannot_do_without():
    case = small(find_cases(["fs_lstm_2"])[0])
    with FlopCounterMode(display=False) as counter:
        case.make(case.size, "products alone")()
    assert counter.get_total_flops() == case.flops(case.size)
    with FlopCounterMode(display=False) as counter:
        case.make(case.size, "fast")()
    # But for the gradients of the first hidden states, of one fast cell and of the slow cell.
    unwanted = sum(2 * case.size.batch * 4 * units**2 for units in (6, 3))
    assert counter.get_total_flops() == case.flops(case.size) - unwanted


def test_the_products_of_an_eunn_are_counted_without_a_gradient_of_its_inputs():
    case = small(find_cases(["eunn"])[0])
    with FlopCounterMode(display=False) as counter:
        case.make(case.size, "reference")()
    steps, units = SMALL.time * SMALL.batch, SMALL.hidden
    assert counter.get_total_flops() == case.flops(case.size) - 2 * 12 * steps * units  # of its layers


def test_every_form_is_timed_equally_often():
    case = small(find_cases(["ur_lstm-h256-b10"])[0])
    measurements = measure(case, repeats=4, seconds=60, memory=False)
    assert [each.form for each in measurements] == case.forms_here()
    assert {each.repeats for each in measurements} == {4}
    assert all(0 < each.fastest <= each.milliseconds for each in measurements)
    assert all(0 < each.share_of_fastest <= each.share < 1 for each in measurements)


def test_make_check_gpu_times_the_steps_by_options_that_there_are():
    makefile = (Path(__file__).parents[2] / "Makefile").read_text(encoding="utf-8")
    (options,) = [
        line.split("rmem bench", 1)[1].split() for line in makefile.splitlines() if "rmem bench" in line
    ]
    assert options == ["--device", "cuda"]
    done = CliRunner().invoke(app, ["bench", *options, "--list"], catch_exceptions=False)
    assert done.stdout.splitlines() == [case.name for case in CASES]


@pytest.mark.parametrize("name", ["lstm-h256-b10", "rum-lambda1-h50", "goru-h100", "attention-h256-b4-t128"])
def test_steps_are_timed_on_the_device_that_is_named_in_all_forms_but_the_native(monkeypatch, name):
    case, seen = small(find_cases([name])[0]), set()

    def make(size, form):
        step = case.make(size, form)
        devices = (
            {each.device.type for each in step.args[0].parameters()} if hasattr(step, "args") else {"meta"}
        )
        seen.update((form, device) for device in devices)
        return step

    monkeypatch.setattr("rmem_cli.bench.measure.wait_for", lambda device: waited.append(device))
    waited = []
    measurements = measure(replace(case, make=make), repeats=1, seconds=0, memory=False, device="meta")
    assert seen == {(form, "meta") for form in case.forms if form != "native"}
    assert [each.form for each in measurements] == [form for form in case.forms if form != "native"]
    assert set(waited) == {"meta"}


def test_a_device_that_is_not_here_and_busy_processes_beside_a_gpu_are_refused():
    for options, told in (
        (["--device", "cudo"], "no such kind of device"),
        (["--busy", "1", "--device", "cuda"], "leave one"),
    ):
        done = CliRunner().invoke(app, ["bench", "lstm-h256-b10", *options])
        with pytest.raises(UsageError, match=told):
            raise done.exception


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


def test_a_table_names_forms_and_columns_as_a_whole_however_narrow_the_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    options = ["bench", "fs_lstm_2", "--repeats", "1", "--seconds", "0", "--no-memory"]
    monkeypatch.setattr("rmem_cli.bench.cases.CASES", [small(find_cases(["fs_lstm_2"])[0])])
    title, head, *lines = CliRunner().invoke(app, options, catch_exceptions=False).stdout.splitlines()
    assert title.strip() == "fs_lstm_2-h700-b128-t150"
    assert head.split("  ")[-1].strip() == "of best"
    assert {"as it runs", "products alone"} <= {line[:16].strip() for line in lines}
    assert max(map(len, lines)) < 120


def processor_seconds_of_children():
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime


def test_the_command_times_steps_beside_busy_processes(monkeypatch):
    monkeypatch.setattr(beside, "_LEAST_BLOCK_SECONDS", 0.0)
    monkeypatch.setattr(beside, "_SETTLING_SECONDS", 0.0)
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
    monkeypatch.setattr(beside, "_SETTLING_SECONDS", 0.0)
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
        find_cases(["rum"], ["slow"])
    with pytest.raises(UsageError, match=r"no case has a form 'slow'; there are reference, fast, native"):
        find_cases([], ["slow"])


def test_a_form_alone_names_the_cases_that_have_it():
    forms = {case.name: case.forms for case in find_cases([], ["native", "torch.nn.LSTM"])}
    assert forms["lstm-h256-b10-t500"] == ("native", "torch.nn.LSTM")
    assert forms["rum-lambda1-h50-b32-t53"] == ("native",)
    assert "rmt" not in forms


@pytest.fixture
def nothing_native(monkeypatch):
    monkeypatch.setenv("RMEM_NATIVE", "off")
    build.status.cache_clear()
    yield
    build.status.cache_clear()


def test_a_form_that_does_not_run_here_is_refused_before_anything_is_measured(nothing_native):
    done = CliRunner().invoke(app, ["bench", "lstm-h256-b10", "rum-lambda1", "--form", "native"])
    assert done.stdout == ""
    with pytest.raises(
        UsageError, match="native form of lstm-h256-b10-t500 does not run here: RMEM_NATIVE=off"
    ):
        raise done.exception


def lines_by_name(printed):
    return {line.split()[0]: line for line in printed.splitlines() if line.strip()}


def test_doctor_says_which_form_of_each_operation_runs_and_why(nothing_native):
    lines = lines_by_name(CliRunner().invoke(app, ["doctor"], catch_exceptions=False).stdout)
    assert "fast" in lines["gates"]
    assert "RMEM_NATIVE=off" in lines["gates"]
    assert torch.__version__ in lines["torch"]


def test_doctor_says_all_it_finds_where_a_native_form_is_demanded_and_cannot_be_had(tmp_path):
    demanded = {"RMEM_NATIVE": "on", "RMEM_NATIVE_CACHE": str(tmp_path), "CXX": "no-such-compiler"}
    done = subprocess.run(
        [sys.executable, "-m", "rmem_cli", "doctor"],
        env={**os.environ, **demanded},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    lines = lines_by_name(done.stdout)
    assert torch.__version__ in lines["torch"]
    assert all("RMEM_NATIVE=on" in lines[family] for family in ("gates", "rotation", "attention"))
    assert "no-such-compiler" in done.stdout


def test_without_names_a_quick_case_of_each_operation_is_chosen_and_all_with_names():
    quick = find_cases([], quick=True)
    assert {case.family for case in quick} == {"gates", "rotation", "unitary", "attention"}
    assert len(quick) == 4
    assert find_cases([]) == CASES
    assert find_cases(["rmt"], quick=True) == find_cases(["rmt"])
