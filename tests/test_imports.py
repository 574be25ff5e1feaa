"""Imports run one way, and torch stays out of what must start fast."""

import ast
import os
import subprocess
import sys
import sysconfig
from importlib import import_module
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
    "data_scripts": {"data"},
    "ops": {"results", "published", "recipe", "data"},
    "models": {"results", "published", "recipe", "data", "ops"},
    "tasks": {"results", "published", "recipe", "data", "ops", "models"},
    "evaluation": {"results", "published", "recipe", "data", "ops", "models", "tasks"},
    "records": {"results", "published", "recipe", "data", "ops", "models"},
    "training": {"results", "published", "recipe", "data", "ops", "models", "tasks", "evaluation", "records"},
    "modules": {"recipe", "ops", "models", "evaluation", "records", "training"},
    "runs": {"results", "published", "recipe", "data", "ops", "models", "tasks", *LEARNING},
    "bench": {"recipe", "ops", "models", "training", "runs"},
    "report": {"recipe", "results", "published"},
    "analysis": {"recipe", "ops", "models", "tasks", "evaluation", "runs", "report"},
}


def imports_of(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def sources(part=""):
    """Each module of the package, or of a part of it, by its name; two parts lie beside it in a checkout."""
    for name in ("", "data_scripts", "recipes"):
        package = f"rmem_cli.{name}".rstrip(".")
        root = Path(import_module(package).__file__).parent
        for path in sorted(root.rglob("*.py")):
            module = ".".join([package, *path.relative_to(root).with_suffix("").parts])
            if module.startswith(f"rmem_cli.{part}"):
                yield module.removesuffix(".__init__"), path


@pytest.mark.parametrize("part", ALLOWED)
def test_a_part_imports_only_what_is_below_it(part):
    files = [path for _, path in sources(f"{part}.")]
    assert files
    for path in files:
        for module in imports_of(path):
            package, _, rest = module.partition(".")
            other = rest.split(".")[0]
            if package == "rmem_cli" and other in ALLOWED:
                assert other in ALLOWED[part] | {part}, f"{path} imports {module}"


def names_in(module, path):
    """What a module imports, but for type checkers alone; with the names, of which some are modules."""
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for_checkers = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if node in for_checkers:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) + 1 - node.level] if node.level else []
            origin = ".".join([*above, *filter(None, [node.module])])
            yield origin
            yield from (f"{origin}.{alias.name}" for alias in node.names)


def test_no_module_imports_itself_by_way_of_others():
    """Imports within functions count, too: what hides a circle from Python does not hide it from a reader."""
    modules = dict(sources())
    below = {
        module: set(names_in(module, path)) & modules.keys() - {module} for module, path in modules.items()
    }
    # Without circles, what imports nothing that is left can be taken away until nothing is left.
    while free := [module for module, others in below.items() if not others & below.keys()]:
        for module in free:
            del below[module]
    assert not below


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
    heavy = {"torch", "numpy", "pandas", "pydantic", "yaml", "requests", "matplotlib"}
    assert not heavy & modules_after("import rmem_cli.app")


@pytest.mark.parametrize(
    "arguments", [["--help"], ["list"], ["validate", "quickstart"], ["show", "quickstart"], ["published"]]
)
def test_pandas_is_loaded_by_reports_alone(arguments):
    code = f"""
import sys
from rmem_cli.app import main
sys.argv = ["rmem", *{arguments}]
try:
    main()
except SystemExit as ended:
    assert not ended.code
"""
    assert not {"pandas", "torch"} & modules_after(code)


def test_a_checkout_that_is_not_installed_can_be_imported(tmp_path):
    """All modules of `rmem_cli`, among packages of which rmem is none."""
    others, checkout = tmp_path / "others", tmp_path / "checkout"
    others.mkdir()
    for path in Path(sysconfig.get_path("purelib")).iterdir():
        if "rmem" not in path.name:
            (others / path.name).symlink_to(path)
    checkout.mkdir()
    (checkout / "rmem_cli").symlink_to(PACKAGE)
    program = """
import pkgutil, sys, rmem_cli
names = [each.name for each in pkgutil.walk_packages(rmem_cli.__path__, "rmem_cli.")]
for name in names:
    if name != "rmem_cli.__main__":
        __import__(name)
print(rmem_cli.__file__, rmem_cli.__version__, len(names) > 100)
"""
    environment = os.environ | {"PYTHONPATH": str(others)}
    done = subprocess.run(
        [sys.executable, "-S", "-c", program],
        cwd=checkout,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.stderr == ""
    assert done.stdout.split() == [str(checkout / "rmem_cli/__init__.py"), "0+checkout", "True"]


def test_every_public_name_can_be_imported():
    for name in rmem_cli.__all__:
        assert getattr(rmem_cli, name).__name__ == name
