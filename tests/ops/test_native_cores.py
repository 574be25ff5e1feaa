"""Threads of native products that have to share a core leave the work to one of them, and do not spin."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.utils import cpp_extension

from rmem_cli.ops.native import build

pytestmark = [
    pytest.mark.skipif(
        not build.status("product").available,
        reason=f"nothing can be built here: {build.status('product').reason}",
    ),
    pytest.mark.skipif(
        not Path("/proc/self/schedstat").exists() or len(os.sched_getaffinity(0)) < 2,
        reason="two cores are needed, and a system that binds threads to them and counts their time",
    ),
]
# On two cores, two threads: prints what `figure` says of them with one core for both, then with one each.
# Another process may keep a thread from its core then: they are tried until `well` holds; where it does not
# after a while, and a thread has waited for its core, nothing is printed of that.
_PROGRAM = """
import os, sys, time

main = os.getpid()
one, other = sorted(os.sched_getaffinity(0))[:2]
os.sched_setaffinity(0, {{one, other}})

import torch
from rmem_cli.ops.native import build
from rmem_cli.ops.product import native

build.status("product")
torch.set_num_threads(2)
left, right, many = torch.randn(256, 512), torch.randn(512, 1024), torch.randn(200_000)

def multiply(seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        native.product(left, right)

def ran_and_waited(threads):
    stats = [open(f"/proc/self/task/{{thread}}/schedstat").read().split() for thread in threads]
    return [sum(int(each[part]) for each in stats) for part in (0, 1)]

def nanoseconds(threads):
    return ran_and_waited(threads)[0]

def place(core_of_others):
    os.sched_setaffinity(main, {{one}})
    for thread in others:
        os.sched_setaffinity(thread, {{core_of_others}})
    multiply(1.0)

{figure}

def with_a_core_each():
    end = time.monotonic() + 30
    while True:
        before = ran_and_waited(others)
        found = figure(other)
        if well(found):
            return found
        ran, waited = (after - already for after, already in zip(ran_and_waited(others), before))
        if time.monotonic() > end:
            busy = waited > 0.1 * (ran + waited)
            sys.exit(0 if busy else f"{{found}}, though threads ran {{ran}} ns and waited {{waited}} ns")

many.sum()
others = [int(thread) for thread in os.listdir("/proc/self/task") if int(thread) != main]
print(figure(one), flush=True)
print(with_a_core_each())
"""
# The processor time of the other threads as a share of that of the first.
_SHARE = """
def figure(core_of_others):
    place(core_of_others)
    before = nanoseconds([main]), nanoseconds(others)
    multiply(0.3)
    return (nanoseconds(others) - before[1]) / (nanoseconds([main]) - before[0])

def well(share):
    return share > 0.5
"""
# The milliseconds of processor time that others take for a sum of torch's and a while after it.
_MILLISECONDS_OF_A_SUM = """
def figure(core_of_others):
    place(core_of_others)
    before = nanoseconds(others)
    for _ in range(5):
        many.sum()
        time.sleep(0.02)
    return (nanoseconds(others) - before) / 5e6

def well(milliseconds):
    return milliseconds > 2
"""


def _figures(figure, **environment):
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_"))}
    command = [sys.executable, "-c", _PROGRAM.format(figure=figure)]
    environment = {**kept, **environment}
    printed = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment).stdout
    return [float(line) for line in printed.splitlines()]


def _skip_if_busy(apart):
    if not apart:
        pytest.skip("other processes keep the cores busy")


def test_threads_on_one_core_leave_the_work_to_one_until_they_have_a_core_each():
    together, *apart = _figures(_SHARE, OMP_WAIT_POLICY="passive")
    assert together < 0.2
    _skip_if_busy(apart)
    assert apart[0] > 0.5


def test_threads_that_wait_spin_only_while_they_have_a_core_each():
    together, *apart = _figures(_MILLISECONDS_OF_A_SUM)
    assert together < 0.5
    _skip_if_busy(apart)
    assert apart[0] > 2


# Two threads share five blocks of units and meet after each of twenty steps, in which each sleeps for as long
# as it has blocks, and that time is taken for its processor's: neither ever lacks a core. Prints how many of
# thirty sequences began with one thread.
_TEAM = """
#include <ATen/Parallel.h>
#include <chrono>
#include <cstdio>
#include <ctime>
#include <thread>

thread_local long worked = 0;

static int time_worked(int, timespec* time) {
  *time = {worked / 1000000000, worked % 1000000000};
  return 0;
}

#define clock_gettime(clock, time) time_worked(clock, time)
#include "gates/team.h"

int main() {
  constexpr int64_t block = 64;
  int with_one = 0;
  at::set_num_threads(2);
  for (int sequence = 0; sequence < 30; ++sequence) {
    with_one += rmem::Cores::here().threads() < 2;
    rmem::Team team(32, 5 * block, true, block);
    team.run([&](const rmem::Part& part) {
      for (int step = 0; step < 20; ++step) {
        const int64_t begin = rmem::nanoseconds_now();
        std::this_thread::sleep_for(std::chrono::microseconds(400) * (part.units / block));
        worked += rmem::nanoseconds_now() - begin;
        team.meet(part);
      }
    });
  }
  std::printf("%d", with_one);
}
"""


def test_a_thread_that_waits_for_others_of_its_team_has_a_core(tmp_path):
    source, program = tmp_path / "team.cpp", tmp_path / "team"
    source.write_text(_TEAM)
    libraries = Path(torch.__file__).parent / "lib"
    command = [cpp_extension.get_cxx_compiler(), "-std=c++20", "-O2", "-fopenmp", source, "-o", program]
    command += [f"-I{folder}" for folder in (Path(build.__file__).parent, *cpp_extension.include_paths())]
    command += [f"-L{libraries}", f"-Wl,-rpath,{libraries}", "-ltorch_cpu", "-lc10"]
    subprocess.run(command, check=True)
    printed = [
        subprocess.run([program], stdout=subprocess.PIPE, text=True, check=True).stdout for _ in range(3)
    ]
    # Other processes may keep a thread from its core now and then.
    assert min(map(int, printed)) < 8
