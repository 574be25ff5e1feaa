"""A core in one file outside of the package trains by its name, and only where its module is allowed."""

import importlib.metadata
import json
import sys
from pathlib import Path

import pytest

from rmem_cli.paths import runs_root
from rmem_cli.recipe import own_core

MODULE = """\
import torch
from torch import nn

from rmem_cli.models.cores.base import Core
from rmem_cli.models.cores.layered_config import LayeredSettings

{top}


class Leaky(Core):
    class Settings(LayeredSettings):
        kind: str
        leak: float = 0.5

    def __init__(self, input_size, settings):
        super().__init__()
        self.input_size, self.output_size, self.leak = input_size, settings.hidden_size, settings.leak
        self.read = nn.Linear(input_size, self.output_size)

    def initial_state(self, batch, *, device=None, dtype=None):
        device, dtype = self.parameter_options(device, dtype)
        return {{"hidden": torch.zeros(batch, self.output_size, device=device, dtype=dtype)}}

    def forward(self, x, state=None, lengths=None):
        if state is None:
            state = self.initial_state(len(x), device=x.device, dtype=x.dtype)
        hidden, outputs = state["hidden"], []
        for x_t in x.unbind(1):
            hidden = (1 - self.leak) * hidden + self.leak * self.read(x_t).tanh()
            outputs.append(hidden)
        return torch.stack(outputs, 1), {{"hidden": hidden}}


class NoCore:
    pass


class Plain(Leaky):
    Settings = None

    def __init__(self, input_size, settings):
        self.leak = 0.1
        super(Leaky, self).__init__()
        self.input_size, self.output_size = input_size, settings.options["units"]
        self.read = nn.Linear(input_size, self.output_size)
"""
RECIPE = """\
name: own
title: Own
paper: null
task: {{kind: associative_recall, length: 4}}
model: {{core: {{kind: "{kind}"{options}}}}}
optimizer: {{kind: adam, lr: 1.0e-2}}
train: {{steps: 3, batch_size: 4}}
eval: [{{name: test, split: test, examples: 8, examples_drawn: by_number, metrics: [accuracy]}}]
seeds: [1]
rows: [{{id: one, title: One}}]
"""


FIVE = ", hidden_size: 5"


@pytest.fixture
def own(tmp_path, monkeypatch):
    """Writes the module and the recipe into the working folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(own_core, "_allowed", set())

    def write(kind="my_cores:Leaky", options=", hidden_size: 5", top=""):
        sys.modules.pop("my_cores", None)
        (tmp_path / "my_cores.py").write_text(MODULE.format(top=top))
        (tmp_path / "own.yaml").write_text(RECIPE.format(kind=kind, options=options))
        return "own.yaml"

    yield write
    sys.modules.pop("my_cores", None)


def test_it_trains_resumes_and_is_evaluated_where_its_module_is_allowed(rmem, own):
    recipe = own(options=", hidden_size: 5, leak: 0.3")
    assert rmem("train", recipe, "--allow-module", "my_cores").code == 0
    again = rmem("train", recipe, "--allow-module", "my_cores")
    assert (again.code, "runs to do: 0 of 1" in again.err) == (0, True)
    assert rmem("eval", recipe, "--allow-module", "my_cores").code == 0
    assert "One" in rmem("report", recipe).out


@pytest.mark.parametrize(
    ("returned", "found"),
    [
        ('torch.stack(outputs, 1), {"hidden": hidden}', ""),
        ("torch.stack(outputs, 1), hidden", "something else"),
        ("torch.stack(outputs, 1)", "something else"),
        ('torch.stack(outputs), {"hidden": hidden}', "y [7, 4, 5]"),
        ('outputs, {"hidden": hidden}', "y as a list"),
    ],
)
def test_a_core_that_returns_something_else_is_told_what_it_must(rmem, own, returned, found):
    recipe = own()
    module = Path("my_cores.py")
    module.write_text(module.read_text().replace('torch.stack(outputs, 1), {"hidden": hidden}', returned))
    ended = rmem("train", recipe, "--allow-module", "my_cores")
    told = "forward must return y [4, 7, 5] (batch, time, output_size) and a dict of state tensors"
    assert (f"my_cores:Leaky.{told}; it returned {found}" in ended.err) == bool(found)
    assert ended.code == (2 if found else 0)


@pytest.mark.parametrize("carried", [False, True])
@pytest.mark.parametrize(
    ("returned", "found"),
    [
        ('{"hidden": hidden.T}', "it has hidden [5, 4]; it must have hidden [4, 5]"),
        ('{"other": hidden}', "it has other [4, 5]; it must have hidden [4, 5]"),
        ("{}", "it has nothing; it must have hidden [4, 5]"),
    ],
)
def test_a_state_that_is_not_like_the_initial_one_is_told_by_the_first_call(
    rmem, own, returned, found, carried
):
    recipe, module = own(), Path("my_cores.py")
    module.write_text(module.read_text().replace('{"hidden": hidden}', returned))
    segments = ["--set", "train.backprop={kind: truncated, segment_length: 2}"] if carried else []
    ended = rmem("train", recipe, "--allow-module", "my_cores", *segments)
    told = "my_cores:Leaky.forward must return a state like that of initial_state: the state is not one of"
    assert (ended.code, told in ended.err, found in ended.err) == (2, True, True)


@pytest.mark.parametrize(
    ("returned", "found"),
    [
        ("[torch.zeros(batch, 3, device=device)]", "must return a dict of tensors; it returned a list"),
        ('{"n": batch}', "must return a dict of tensors; it returned a dict of something else"),
        (
            '{"hidden": torch.zeros(5, batch, device=device)}',
            "must return tensors of 2 rows, batch first; it returned hidden [5, 2]",
        ),
        ('{"hidden": torch.zeros(2, 5, device=device)}', "must return tensors of 3 rows, batch first"),
        (
            '{"n": torch.zeros((), device=device)}',
            "must return tensors of 2 rows, batch first; it returned n []",
        ),
        ("1 / 0", "cannot be made (ZeroDivisionError: division by zero); mend it"),
    ],
)
def test_an_initial_state_that_is_none_is_told_as_the_core_is_made(rmem, own, returned, found):
    recipe, module = own(), Path("my_cores.py")
    before = '{"hidden": torch.zeros(batch, self.output_size, device=device, dtype=dtype)}'
    assert before in module.read_text()
    module.write_text(module.read_text().replace(before, returned))
    ended = rmem("train", recipe, "--allow-module", "my_cores")
    assert (ended.code, found in ended.err) == (2, True)
    assert "my_cores:Leaky.initial_state(" in ended.err
    assert "Traceback" not in ended.err


def test_a_class_without_settings_gets_what_the_recipe_gives(rmem, own):
    assert rmem("train", own("my_cores:Plain", ", units: 7"), "--allow-module", "my_cores").code == 0


def test_a_recipe_by_itself_imports_nothing(rmem, own):
    recipe = own(top="raise SystemExit('imported')")
    assert rmem("validate", recipe).code == 0
    assert rmem("show", recipe).code == 0
    assert rmem("report", recipe).code == 0
    refused = rmem("train", recipe)
    assert refused.code == 2
    assert "give --allow-module my_cores" in refused.err
    assert "my_cores" not in sys.modules


@pytest.mark.parametrize("command", ["train", "validate"])
def test_what_is_wrong_with_one_inside_of_another_core_is_told_by_both(rmem, own, command):
    cells = "fast: {kind: gru, hidden_size: 4}, slow: {kind: 'my_cores:Leaky'%s}"
    own()
    recipe = Path("own.yaml")
    written = recipe.read_text().replace(
        'kind: "my_cores:Leaky", hidden_size: 5', "kind: fast_slow, " + cells
    )
    recipe.write_text(written % ", hidden_size: big")
    ended = rmem(command, "own.yaml", "--allow-module", "my_cores")
    assert ended.code == 2
    assert "my_cores:Leaky.hidden_size: must be a whole number, not the text 'big'" in ended.err
    assert "UsageError" not in ended.err
    recipe.write_text(written % ", hidden_size: 3")
    assert rmem(command, "own.yaml", "--allow-module", "my_cores").code == 0


def of_two_rows(*rows):
    """The recipe, with these rows behind its own."""
    recipe = Path("own.yaml")
    recipe.write_text(recipe.read_text().replace("title: One}", ", ".join(["title: One}", *rows])))


@pytest.mark.parametrize("command", ["train", "submit"])
def test_a_core_that_may_not_be_imported_is_refused_before_any_row_is_trained(rmem, own, command):
    own("gru")
    of_two_rows('{id: leaky, title: Leaky, model.core: {kind: "my_cores:Leaky", hidden_size: 5}}')
    ended = rmem(command, "own.yaml")
    assert (ended.code, "own, row leaky: my_cores:Leaky is code of a module" in ended.err) == (2, True)
    assert not runs_root().exists()


@pytest.mark.parametrize("command", ["train", "validate"])
def test_all_that_is_wrong_with_all_rows_is_told(rmem, own, command):
    own(options=", hidden_size: 5, leek: 0.1")
    of_two_rows("{id: two, title: Two, model.core.hidden_size: 0}")
    ended = rmem(command, "own.yaml", "--allow-module", "my_cores")
    assert ended.code == 2
    assert "own, row one: my_cores:Leaky.leek: unknown key" in ended.err
    assert "own, row two: my_cores:Leaky.hidden_size: must be greater than 0, not 0" in ended.err


@pytest.mark.parametrize("name", ["", "../my_cores", "my-cores", "my_cores.py.."])
def test_what_is_no_name_of_a_module_is_refused(rmem, own, name):
    ended = rmem("train", own("gru"), "--allow-module", name)
    assert (ended.code, "names no module" in ended.err) == (2, True)


def test_an_entry_point_of_an_installed_package_allows_its_core(rmem, own, monkeypatch):
    point = importlib.metadata.EntryPoint("leaky", "my_cores:Leaky", own_core.ENTRY_POINTS)
    monkeypatch.setattr(own_core, "entry_points", lambda group: [point] if group == point.group else [])
    assert rmem("train", own()).code == 0
    assert rmem("train", own("my_cores:Plain", ", units: 7")).code == 2


def test_runs_of_other_code_are_other_runs(rmem, own):
    def train_hash(top):
        shown = json.loads(rmem("show", own(top=top), "--json").out)
        return shown[0]["train_hash"]

    assert train_hash("") == train_hash("")
    assert train_hash("") != train_hash("VERSION = 2")


@pytest.mark.parametrize(
    ("kind", "options", "top", "message"),
    [
        ("my_cores:Absent", "", "", "my_cores has no class Absent; derive a class Absent from"),
        ("my_cores:NoCore", "", "", "my_cores has something else than a Core as NoCore"),
        (
            "my_cores:Leaky",
            ", hidden_size: 5",
            "1 / 0",
            "cannot be imported (ZeroDivisionError: division by zero)",
        ),
        ("my_cores:Leaky", FIVE, "def (", "cannot be imported (SyntaxError"),
        (
            "my_cores:Leaky",
            ", hidden_size: 5, leek: 1",
            "",
            "my_cores:Leaky.leek: unknown key; did you mean 'leak'?",
        ),
        (
            "my_cores:Leaky",
            ", hidden_size: -1",
            "",
            "my_cores:Leaky.hidden_size: must be greater than 0, not -1",
        ),
        ("my_cores:Plain", ", hidden_size: 5", "", "cannot be made of its settings (KeyError"),
        ("my_cores:Leaky", FIVE, "raise SystemExit(3)", "my_cores.py cannot be imported (SystemExit: 3)"),
    ],
)
def test_what_is_wrong_with_it_is_a_sentence(rmem, own, kind, options, top, message):
    recipe = own(kind, options, top)
    ended = rmem("train", recipe, "--allow-module", "my_cores")
    assert ended.code == 2
    assert message in ended.err
    assert "Traceback" not in ended.err
    assert not list(runs_root().rglob("checkpoints"))


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (
            "nowhere:Leaky",
            "own.yaml:5:15: model.core: there is no module nowhere; write nowhere.py",
        ),
        (
            "my_cores:",
            "own.yaml:5:15: model.core: kind 'my_cores:' must be that of a core, or module:Class",
        ),
        ("../my_cores:Leaky", "must be that of a core, or module:Class"),
    ],
)
def test_a_module_that_is_not_there_is_told_with_the_recipe(rmem, own, kind, message):
    refused = rmem("validate", own(kind))
    assert refused.code == 2
    assert message in refused.err
