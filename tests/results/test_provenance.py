import base64
import hashlib
import re
import subprocess
from importlib.metadata import version
from pathlib import Path

import pytest

from rmem_cli.results import provenance
from rmem_cli.results.provenance import Provenance, git_state, release_state


def git(folder: Path, *arguments: str) -> str:
    identity = [
        "-c",
        "user.name=somebody",
        "-c",
        "user.email=somebody@example.org",
        "-c",
        "commit.gpgsign=false",
    ]
    command = ["git", "-C", str(folder), *identity, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def checkout(tmp_path):
    folder = tmp_path / "checkout"
    for name in ("rmem_cli/__init__.py", "recipes/a.yaml", "results/a.csv", "README.md", "pyproject.toml"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("first\n")
    git(folder, "init", "--quiet")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--message", "first")
    return folder


def test_a_committed_checkout_is_clean_and_names_its_commit(checkout):
    assert git_state(checkout) == (git(checkout, "rev-parse", "HEAD"), "false")


@pytest.mark.parametrize("name", ["rmem_cli/__init__.py", "recipes/a.yaml", "pyproject.toml"])
def test_changed_code_is_dirty(checkout, name):
    (checkout / name).write_text("second\n")
    assert git_state(checkout)[1] == "true"


@pytest.mark.parametrize("name", ["rmem_cli/new.py", "data_scripts/new.py"])
def test_new_code_that_git_does_not_know_is_dirty(checkout, name):
    (checkout / name).parent.mkdir(exist_ok=True)
    (checkout / name).write_text("new\n")
    assert git_state(checkout)[1] == "true"


def test_changed_results_and_notes_leave_the_checkout_clean(checkout):
    (checkout / "results/a.csv").write_text("second\n")
    (checkout / "results/b.csv").write_text("new\n")
    (checkout / "README.md").write_text("second\n")
    assert git_state(checkout)[1] == "false"


def test_an_installation_inside_another_checkout_has_no_commit(checkout):
    site_packages = checkout / ".venv" / "site-packages"
    (site_packages / "rmem_cli").mkdir(parents=True)
    (site_packages / "rmem_cli/__init__.py").write_text("")
    assert git_state(site_packages) == ("", "")


def test_a_folder_outside_version_control_has_no_commit(tmp_path):
    assert git_state(tmp_path) == ("", "")
    assert git_state(tmp_path / "missing") == ("", "")


def test_a_checkout_without_commits_has_no_commit(checkout, tmp_path):
    git(checkout, "update-ref", "-d", "HEAD")
    assert git_state(checkout) == ("", "")


def test_without_git_there_is_no_commit(checkout, monkeypatch):
    monkeypatch.setattr(provenance.shutil, "which", lambda name: None)
    assert git_state(checkout) == ("", "")


def test_a_surrounding_git_hook_does_not_redirect_to_its_repository(checkout, tmp_path, monkeypatch):
    commit = git(checkout, "rev-parse", "HEAD")
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    assert git_state(checkout) == (commit, "false")


def test_the_current_provenance_names_the_installed_versions():
    current = Provenance.current()
    assert (current.rmem_version, current.torch_version) == (version("rmem"), version("torch"))
    assert current.git_dirty in {"true", "false", ""}


@pytest.fixture
def release(tmp_path, monkeypatch):
    """An installed distribution of one module, as an installer records it."""
    module = tmp_path / "rmem_cli" / "__init__.py"
    module.parent.mkdir()
    module.write_text("x = 1\n")
    digest = base64.urlsafe_b64encode(hashlib.sha256(module.read_bytes()).digest()).rstrip(b"=").decode()
    info = tmp_path / "made_up_rmem-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: made-up-rmem\nVersion: 1.2\n")
    (info / "RECORD").write_text(f"rmem_cli/__init__.py,sha256={digest},6\n")
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def test_an_installed_release_is_named_by_version_and_hash(release):
    commit, dirty = release_state(release, "made-up-rmem")
    assert re.fullmatch(r"1\.2\+[0-9a-f]{12}", commit)
    assert dirty == "false"


def test_a_release_whose_files_were_changed_is_dirty(release):
    (release / "rmem_cli" / "__init__.py").write_text("x = 2\n")
    assert release_state(release, "made-up-rmem")[1] == "true"


def test_a_copy_of_a_release_somewhere_else_is_no_release(release, tmp_path):
    assert release_state(tmp_path / "elsewhere", "made-up-rmem") == ("", "")
    assert release_state(tmp_path, "no-such-distribution") == ("", "")
