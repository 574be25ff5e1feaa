"""Threads of native products that have to share a core leave the work to one of them."""

import os
import subprocess
import sys

import pytest

from rmem_cli.ops.native import build

pytestmark = [
    pytest.mark.skipif(
        not build.status("product").available,
        reason=f"nothing can be built here: {build.status('product').reason}",
    ),
    pytest.mark.skipif(
        not hasattr(os, "sched_getaffinity") or len(os.sched_getaffinity(0)) < 2,
        reason="two cores are needed, and a system that binds threads to them",
    ),
]
# Prints the processor time of the other threads as a share of that of the first: with a core each, with one
# for all, and with a core each again. Other processes may keep a thread from its core too, but not for long.
_SHARES = """
import os, time, torch
from rmem_cli.ops.native import build
from rmem_cli.ops.product import native

build.status("product")
torch.set_num_threads(2)
left, right = torch.randn(64, 256), torch.randn(256, 512)
main = os.getpid()
one, other = sorted(os.sched_getaffinity(0))[:2]

def multiply(seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        native.product(left, right)

def others():
    return [int(thread) for thread in os.listdir("/proc/self/task") if int(thread) != main]

def nanoseconds(threads):
    return sum(int(open(f"/proc/self/task/{thread}/schedstat").read().split()[0]) for thread in threads)

def share(core_of_others):
    os.sched_setaffinity(main, {one})
    for thread in others():
        os.sched_setaffinity(thread, {core_of_others})
    multiply(0.7)
    before = nanoseconds([main]), nanoseconds(others())
    multiply(0.3)
    return (nanoseconds(others()) - before[1]) / (nanoseconds([main]) - before[0])

def share_with_a_core_each():
    end = time.monotonic() + 120
    while (found := share(other)) < 0.5 and time.monotonic() < end:
        pass
    return found

multiply(0.1)
print(share_with_a_core_each(), share(one), share_with_a_core_each())
"""


def test_threads_on_one_core_leave_the_work_to_one_until_they_have_a_core_each():
    command = [sys.executable, "-c", _SHARES]
    environment = {**os.environ, "OMP_WAIT_POLICY": "passive"}
    printed = subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout
    apart, together, apart_again = map(float, printed.split())
    assert together < 0.2
    assert min(apart, apart_again) > 0.5
