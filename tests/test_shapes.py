"""Where model code changes the shape of a tensor, the new shape is written beside it."""

import re
from pathlib import Path

import pytest

import rmem_cli

ROOMS = ("models", "ops", "modules")
RESHAPES = re.compile(r"\.(view|reshape|permute|transpose|unflatten|flatten|movedim)\(")
SHAPE = re.compile(r"#.*\[[^\]]+\]")
PACKAGE = Path(rmem_cli.__file__).parent
FILES = [path for room in ROOMS for path in sorted((PACKAGE / room).rglob("*.py"))]


def without_shape(lines):
    """The lines that change a shape and have none beside them or above."""
    return [
        line.strip()
        for above, line in zip(["", *lines], lines, strict=False)
        if RESHAPES.search(line.partition("#")[0]) and not (SHAPE.search(line) or SHAPE.search(above))
    ]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_each_change_of_shape_says_the_shape(path):
    assert without_shape(path.read_text(encoding="utf-8").splitlines()) == []


def test_a_change_of_shape_without_one_is_found():
    lines = ["# [batch, time]", "y = x.view(2, 3)", "z = y.transpose(0, 1)", "z.flatten()  # [n]"]
    assert without_shape(lines) == ["z = y.transpose(0, 1)"]
