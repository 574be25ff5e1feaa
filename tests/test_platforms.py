"""Where rmem does not run, it says so in a sentence, as soon as what needs Linux or macOS is imported."""

import importlib
import subprocess
import sys

import pytest

from rmem_cli.errors import UsageError

SENTENCE = "training runs on Linux and macOS, and this is win32; on Windows, run rmem in the"


@pytest.mark.parametrize("name", ["rmem_cli.runs.peak_memory", "rmem_cli.runs.signals"])
def test_what_needs_linux_or_macos_says_so_elsewhere(name, monkeypatch):
    importlib.import_module(name)  # once as things are: torch asks for the system, too
    monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(UsageError, match=SENTENCE):
        importlib.import_module(name)


@pytest.mark.parametrize("system", ["linux", "darwin"])
def test_linux_and_macos_are_supported(system, monkeypatch):
    monkeypatch.delitem(sys.modules, "rmem_cli.runs.signals", raising=False)
    monkeypatch.setattr(sys, "platform", system)
    importlib.import_module("rmem_cli.runs.signals")


def test_a_command_that_trains_ends_with_the_sentence_and_the_modules_work():
    """The platform changes after torch is there, which asks for it as well."""
    program = (
        "import sys, torch, rmem_cli, rmem_cli.app\n"
        "from rmem_cli import RUM\n"
        "sys.platform = 'win32'\n"
        "RUM(2, 3)(torch.ones(1, 2, 2))\n"
        "sys.argv = ['rmem', 'train', 'quickstart', '--scale', 'smoke']\n"
        "rmem_cli.app.main()\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert SENTENCE in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
