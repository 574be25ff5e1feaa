"""Native libraries are built once, by whoever comes first; where they cannot be, everything still runs."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rmem_cli.ops.native import build

SCRIPT = """
import torch
from rmem_cli import URLSTM
from rmem_cli.ops.native import build
torch.manual_seed(1)
lstm = URLSTM(3, 5)
y, _ = lstm(torch.ones(4, 2, 3))
y.sum().backward()
print(build.status("gates").available, round(y.sum().item(), 4))
"""
FAMILY = "gates"

needs_compiler = pytest.mark.skipif(
    not build.status(FAMILY).available, reason=f"nothing can be built here: {build.status(FAMILY).reason}"
)


def start(cache, **environment):
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT],
        env=os.environ | {"RMEM_NATIVE_CACHE": str(cache)} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(cache, **environment):
    process = start(cache, **environment)
    out, err = process.communicate(timeout=600)
    assert process.returncode == 0, err
    return *out.split(), err


@pytest.fixture
def built(tmp_path):
    """A cache with what this machine has built already: a build takes too long to repeat it for each test."""
    library = Path(build.status(FAMILY).reason)
    shutil.copytree(library.parent, tmp_path / "cache" / library.parent.name)
    return tmp_path / "cache"


DAMAGES = {
    "cut short": lambda content: content[: len(content) // 2],
    "empty": lambda content: b"",
    "bits flipped": lambda content: bytes(
        byte ^ (255 * (place % 4096 == 0)) for place, byte in enumerate(content)
    ),
    "zeros at its end": lambda content: content[:-4096] + bytes(4096),
}


@pytest.fixture
def compiler(tmp_path, monkeypatch):
    """A compiler that takes its time and then produces the library that is there already."""
    library = Path(build.status(FAMILY).reason)
    folder = tmp_path / "compiler"
    folder.mkdir()
    script = folder / "slow-c++"
    script.write_text(
        "#!/bin/sh\n"
        f"echo run >> {folder}/runs\n"
        f"sleep ${{SLOW:-0}}\n"
        'while [ $# -gt 0 ]; do [ "$1" = -o ] && out=$2; shift; done\n'
        f'case "$out" in *.so) cp {library} "$out";; "") echo "g++ (GCC) 12.2.0";; *) : > "$out";; esac\n',
        encoding="ascii",
    )
    script.chmod(0o755)
    monkeypatch.setenv("CXX", str(script))
    return folder


@needs_compiler
def test_what_was_built_is_used_again_without_a_compiler(built):
    available, _, err = run(built, CXX="no-such-compiler")
    assert (available, err) == ("True", "")


def test_without_a_compiler_one_line_says_so_and_the_numbers_are_the_same(tmp_path):
    available, number, err = run(tmp_path / "cache", CXX="no-such-compiler")
    assert available == "False"
    assert err.count("\n") == 1
    assert "native gates not used: no C++ compiler (no-such-compiler) was found" in err
    assert number == run(tmp_path / "cache", RMEM_NATIVE="off")[1]


def test_a_cache_that_cannot_be_made_is_named_with_the_variable_that_moves_it(tmp_path):
    (tmp_path / "file").touch()
    available, _, err = run(tmp_path / "file" / "cache")
    assert available == "False"
    assert f"RMEM_NATIVE_CACHE is '{tmp_path / 'file' / 'cache'}', but a part of it is not a folder" in err
    assert "name a folder in RMEM_NATIVE_CACHE" in err


@pytest.mark.parametrize("capability", ["SVE256", "VSX", "DEFAULT"])
def test_processors_without_flags_of_their_own_get_what_every_compiler_builds(capability, monkeypatch):
    monkeypatch.setattr("torch.backends.cpu.get_cpu_capability", lambda: capability)
    assert {"-DCPU_CAPABILITY=DEFAULT", "-DCPU_CAPABILITY_DEFAULT"} < set(build._flags())
    assert not any(flag.startswith("-m") for flag in build._flags())


def test_off_builds_nothing_and_says_nothing(tmp_path):
    available, _, err = run(tmp_path / "cache", RMEM_NATIVE="off")
    assert (available, err) == ("False", "")
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize(
    ("mode", "complaint"), [("on", "cannot be had"), ("yes", "must be one of auto, on, off")]
)
def test_who_insists_is_told_why_it_cannot_be(tmp_path, mode, complaint, process_timeout):
    process = start(tmp_path / "cache", RMEM_NATIVE=mode, CXX="no-such-compiler")
    _, err = process.communicate(timeout=process_timeout)
    assert process.returncode != 0
    assert complaint in err


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="the superuser may write everywhere")
def test_a_cache_that_cannot_be_written_stops_nothing(tmp_path):
    cache = tmp_path / "cache"
    cache.mkdir(mode=0o500)
    available, _, err = run(cache)
    assert available == "False"
    assert "not used" in err


def test_a_file_in_the_place_of_the_cache_stops_nothing(tmp_path):
    cache = tmp_path / "cache"
    cache.write_text("", encoding="ascii")
    available, _, err = run(cache)
    assert available == "False"
    assert "native gates not used" in err


@needs_compiler
@pytest.mark.slow
def test_processes_that_start_at_once_build_once(tmp_path, compiler, process_timeout):
    processes = [start(tmp_path / "cache", SLOW="1") for _ in range(3)]
    for process in processes:
        out, err = process.communicate(timeout=process_timeout)
        assert out.startswith("True"), err
    compilations = (compiler / "runs").read_text(encoding="ascii").count("run")
    folders = [each for each in (tmp_path / "cache").iterdir() if each.is_dir()]
    assert len(folders) == 1
    assert compilations <= 4  # its version, the object, the library; not three times


@needs_compiler
@pytest.mark.parametrize("damage", DAMAGES.values(), ids=list(DAMAGES))
@pytest.mark.slow
def test_a_library_that_was_damaged_is_built_again(built, compiler, damage):
    (library,) = built.glob("*/*.so")
    whole = library.read_bytes()
    library.write_bytes(damage(whole))
    available, _, err = run(built)
    assert (available, err.count("building the native gates")) == ("True", 1)
    assert library.read_bytes() == whole


@needs_compiler
def test_a_damaged_library_without_a_compiler_leaves_the_same_numbers_and_one_line(built):
    (library,) = built.glob("*/*.so")
    library.write_bytes(library.read_bytes()[:1000])
    available, number, err = run(built, CXX="no-such-compiler")
    assert (available, err.count("\n")) == ("False", 1)
    assert f"native gates not used: {library} is not as it was built, and no C++ compiler" in err
    assert number == run(built, RMEM_NATIVE="off")[1]


@needs_compiler
@pytest.mark.parametrize("name", ["*.so.sha256", "*.so", "."])
def test_what_is_gone_or_has_something_else_in_its_place_is_built_again(built, compiler, name):
    (folder,) = (path for path in built.iterdir() if path.is_dir())
    place = folder if name == "." else next(folder.glob(name))
    shutil.rmtree(place) if place.is_dir() else place.unlink()
    place.write_text("something else") if name == "." else place.mkdir()
    available, _, err = run(built)
    assert available == "True", err


@needs_compiler
@pytest.mark.slow
def test_processes_that_meet_a_damaged_library_build_it_once(built, compiler, process_timeout):
    (library,) = built.glob("*/*.so")
    library.write_bytes(library.read_bytes()[:-5000])
    for process in [start(built, SLOW="1") for _ in range(3)]:
        out, err = process.communicate(timeout=process_timeout)
        assert out.startswith("True"), err
    assert (compiler / "runs").read_text(encoding="ascii").count("run") <= 6


@pytest.mark.parametrize("script", ["exit 1", "kill -9 $$", "echo no; exit 3"])
def test_a_compiler_that_fails_is_one_line(tmp_path, script):
    broken = tmp_path / "broken-c++"
    broken.write_text(f"#!/bin/sh\n{script}\n", encoding="ascii")
    broken.chmod(0o755)
    available, _, err = run(tmp_path / "cache", CXX=str(broken))
    assert (available, err.count("\n")) == ("False", 1)
    assert f"native gates not used: the C++ compiler ({broken}) does not run" in err


@needs_compiler
def test_a_compiler_that_makes_something_else_is_one_line_more(tmp_path):
    script = tmp_path / "c++"
    script.write_text(
        '#!/bin/sh\nwhile [ $# -gt 0 ]; do [ "$1" = -o ] && out=$2; shift; done\n'
        '[ -n "$out" ] && echo junk > "$out"; echo "g++ (GCC) 12.2.0"\n',
        encoding="ascii",
    )
    script.chmod(0o755)
    available, _, err = run(tmp_path / "cache", CXX=str(script))
    assert available == "False"
    assert err.splitlines()[-1].startswith("native gates not used: what was built cannot be loaded")


@needs_compiler
def test_a_build_that_was_killed_is_done_again(tmp_path, compiler):
    process = start(tmp_path / "cache", SLOW="60")
    deadline = time.monotonic() + 60
    while not list((tmp_path / "cache").glob("*.building-*/*.o.d")) and not (
        (compiler / "runs").exists() and list((tmp_path / "cache").glob("*.building-*"))
    ):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.kill()
    process.communicate()
    available, _, err = run(tmp_path / "cache")
    assert available == "True", err
    assert not list((tmp_path / "cache").glob("*.building-*"))


@needs_compiler
def test_a_source_that_does_not_compile_is_reported_in_one_line(tmp_path):
    script = tmp_path / "c++"
    script.write_text(
        '#!/bin/sh\n[ "$1" = -v ] && exit 0\necho "gates.cpp:1:2: error: no such thing" >&2\nexit 1\n',
        "ascii",
    )
    script.chmod(0o755)
    available, _, err = run(tmp_path / "cache", CXX=str(script))
    assert available == "False"
    complaint = "native gates not used: it does not compile (gates.cpp:1:2: error: no such thing)"
    assert err.splitlines()[-1].startswith(complaint)
    assert "Traceback" not in err


def test_10_000_steps_leak_no_memory():
    script = """
import torch
from rmem_cli import URLSTM
from rmem_cli.runs.peak_memory import peak_memory_mb
lstm = URLSTM(3, 5)
x = torch.ones(6, 2, 3)
def steps(count):
    for _ in range(count):
        lstm.zero_grad()
        lstm(x)[0].sum().backward()
    return peak_memory_mb(torch.device("cpu"))
before = steps(500)
print(steps(10_000) - before)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=300
    )
    assert float(done.stdout) < 4


def test_what_identifies_a_library_is_every_source_that_is_compiled_into_it():
    folder = Path(build.__file__).parent
    found = {family: build._sources(build._source(family)) for family in build.FAMILIES}
    assert set().union(*found.values()) == {path for end in ("cpp", "h") for path in folder.rglob(f"*.{end}")}
    assert folder / "common" / "cores.h" in found["gates"]  # by way of another header
    assert folder / "gates" / "team.h" not in found["attention"]
