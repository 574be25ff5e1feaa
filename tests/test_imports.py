"""Imports run one way, and torch stays out of what must start fast."""

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import rmem_cli

PACKAGE = Path(rmem_cli.__file__).parent
LEARNING = {"evaluation", "records", "training"}
# What each part may import beside itself.
ALLOWED = {
    "results": set(),
    "published": set(),
    "recipe": {"results", "published"},
    "data": {"results", "published", "recipe"},
    "ops": {"results", "published", "recipe", "data"},
    "models": {"results", "published", "recipe", "data", "ops"},
    "tasks": {"results", "published", "recipe", "data", "ops", "models"},
    "evaluation": {"results", "published", "recipe", "data", "ops", "models", "tasks"},
    "records": {"results", "published", "recipe", "data", "ops", "models"},
    "training": {"results", "published", "recipe", "data", "ops", "models", "tasks", "evaluation", "records"},
    "modules": {"ops", "models", "evaluation", "training"},
    "runs": {"results", "published", "recipe", "data", "ops", "models", "tasks", *LEARNING},
    "bench": {"recipe", "ops", "models", "training", "runs"},
    "report": {"recipe", "results", "published"},
}
# `config.py` files hold settings alone, and may be imported from anywhere above `recipe`.
SETTINGS = {"rmem_cli.models.config", "rmem_cli.models.cores.config", "rmem_cli.tasks.config"}
SETTINGS |= {"rmem_cli.training.config"}


def imports_of(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


@pytest.mark.parametrize("part", ALLOWED)
def test_a_part_imports_only_what_is_below_it(part):
    files = sorted((PACKAGE / part).rglob("*.py"))
    assert files
    for path in files:
        for module in imports_of(path):
            package, _, rest = module.partition(".")
            other = rest.split(".")[0]
            if package == "rmem_cli" and other in ALLOWED and module not in SETTINGS:
                assert other in ALLOWED[part] | {part}, f"{path} imports {module}"


def modules_after(code):
    """Names of the modules that a fresh process has loaded after running some code."""
    program = f"{code}\nimport sys\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


@pytest.mark.parametrize(
    "code",
    [
        "import rmem_cli, rmem_cli.app",
        "import rmem_cli.recipe as r; [r.load_recipe(name).runs('smoke') for name in r.list_recipes()]",
        "import rmem_cli.report.build",
        "from rmem_cli.commands.published import published; published(unaddressed=True)",
        "import rmem_cli.data.prepared, rmem_cli.data_scripts.ptb",
        "import rmem_cli.runs.identity, rmem_cli.records.listing",
    ],
)
def test_torch_is_not_imported_by(code):
    assert "torch" not in modules_after(code)


def test_the_command_line_starts_without_anything_heavy():
    heavy = {"torch", "numpy", "pandas", "pydantic", "yaml", "requests"}
    assert not heavy & modules_after("import rmem_cli.app")


def test_every_public_name_can_be_imported():
    for name in rmem_cli.__all__:
        assert getattr(rmem_cli, name).__name__ == name


def test_every_package_of_the_checkout_is_shipped():
    root = Path(rmem_cli.__file__).parents[1]
    with (root / "pyproject.toml").open("rb") as handle:
        shipped = set(tomllib.load(handle)["tool"]["setuptools"]["packages"])
    there = {".".join(path.parent.relative_to(root).parts) for path in root.glob("rmem_cli/**/__init__.py")}
    assert there <= shipped
