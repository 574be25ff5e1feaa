"""What is above the models knows no more of them than their contract says."""

import ast
import re
from pathlib import Path

import pytest

import rmem_cli

PACKAGE = Path(rmem_cli.__file__).parent
# Inside, parts are put together; recipe and report know settings alone, and never import torch.
BELOW = {"models", "modules", "ops", "recipe", "report"}
PARTS = {"encoder", "core", "readout", "head"}
# Settings have sections of the same names: what a recipe says of a part is for everyone to read.
SETTINGS = re.compile(r"(.*\.)?(settings(\.(model|task))?|protocol)")
CLASSES = {"Regression", "LinearHead", "AdaptiveSoftmax", "SequenceModel"}


def parts_named(tree):
    """Everything in a module that reaches for a part of a model, as (line, text)."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in PARTS:
            owner = ast.unparse(node.value)
            if not SETTINGS.fullmatch(owner):
                yield node.lineno, ast.unparse(node)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("getattr", "hasattr"):
            name = node.args[1]
            if isinstance(name, ast.Constant) and name.value in PARTS:
                yield node.lineno, ast.unparse(node)
        elif isinstance(node, ast.Name) and node.id in CLASSES:
            yield node.lineno, node.id


def modules():
    return [path for path in PACKAGE.rglob("*.py") if path.relative_to(PACKAGE).parts[0] not in BELOW]


def test_there_are_modules_above_the_models():
    assert {"training", "commands", "bench"} <= {path.parent.name for path in modules()}


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_nothing_above_the_models_reaches_for_their_parts(path):
    assert not list(parts_named(ast.parse(path.read_text(encoding="utf-8"))))


@pytest.mark.parametrize(
    "code",
    [
        "model.core.segment_length",
        "self.model.head.nll(y)",
        "training.model.core",
        "isinstance(head, Regression)",
        "from_somewhere.Model().readout",
        'getattr(model, "core")',
    ],
)
def test_the_search_finds_what_it_is_for(code):
    assert list(parts_named(ast.parse(code)))


@pytest.mark.parametrize(
    "code", ["spec.settings.model.core.kind", "self.settings.task.head", "protocol.core", "core.kind"]
)
def test_what_a_recipe_says_of_a_part_may_be_read(code):
    assert not list(parts_named(ast.parse(code)))
