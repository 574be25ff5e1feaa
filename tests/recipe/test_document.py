"""The reader of YAML."""

import contextlib
import math
from pathlib import Path

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from rmem_cli.errors import UsageError
from rmem_cli.recipe.document import read_document, read_value
from rmem_cli.recipe.explain import flow
from rmem_cli.recipe.problems import Place, RecipeError
from rmem_cli.recipe.reader import read_recipe

PLACE = Place("--set x")


def value_of(text: str) -> object:
    return read_value(text, PLACE).plain()


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("1.0e-3", 0.001),
        ("1e5", 100000.0),
        ("+1.5", 1.5),
        (".5", 0.5),
        ("5.", 5.0),
        ("-7", -7),
        ("010", 10),
        ("on", "on"),
        ("off", "off"),
        ("yes", "yes"),
        ("No", "No"),
        ("True", "True"),
        ("true", True),
        ("false", False),
        ("null", None),
        ("~", None),
        ("1:30", "1:30"),
        ("2001-01-01", "2001-01-01"),
        ("1_000", "1_000"),
        (".inf", ".inf"),
        ("0x10", "0x10"),
        ("'5'", "5"),
        ('"null"', "null"),
        ("[1, a, 2.5]", [1, "a", 2.5]),
        ("{a: {b: [true]}}", {"a": {"b": [True]}}),
    ],
)
def test_scalars_mean_what_they_look_like(text: str, value: object) -> None:
    read = value_of(text)
    assert read == value
    assert type(read) is type(value)


def test_every_key_and_value_knows_its_place() -> None:
    root = read_document(b"# first\nname: x\nmodel:\n  core: {kind: lstm}\nrows:\n  - a\n", "f.yaml")
    core = root.fields["model"].fields["core"]
    assert str(root.keys["model"]) == "f.yaml:3:1"
    assert str(core.place) == "f.yaml:4:9"
    assert str(core.keys["kind"]) == "f.yaml:4:10"
    assert str(core.fields["kind"].place) == "f.yaml:4:16"
    assert str(root.fields["rows"].items[0].place) == "f.yaml:6:5"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "f.yaml:1:1: the file is empty"),
        (b"# only a comment\n", "f.yaml:1:1: the file is empty"),
        (b"- a\n", "f.yaml:1:1: the file holds a list"),
        (b"hello\n", "f.yaml:1:1: the file holds a single value"),
        (b"a: 1\n\tb: 2\n", "f.yaml:2:1: a tab; indent with spaces"),
        (b"a: 1\n---\nb: 2\n", "f.yaml:2:1: a second document"),
        (b"PK\x03\x04\0\0", "f.yaml:1:5: a binary file"),
        ("a: b".encode("utf-16"), "f.yaml:1:4: a binary file, or text that is not UTF-8"),
        (b"a: 1\nb: caf\xe9\n", "f.yaml:2:7: not UTF-8 text"),
        (b"a: 1\nb: \x07\n", "f.yaml:2:4: a control character"),
        (b"a: {b: 1, b: 2}\n", "f.yaml:1:11: a.b: the key stands twice, first at f.yaml:1:5"),
        (b"a: &x 1\nb: *x\n", "f.yaml:2:4: an alias (*)"),
        (b"<<: {a: 1}\n", "f.yaml:1:1: a merge key (<<)"),
        (b"a: !!python/object/apply:os.system [ls]\n", "f.yaml:1:4: a tag"),
        (b"a: !!int 5\n", "f.yaml:1:4: a tag"),
        (b"1: a\n", "f.yaml:1:1: a key that is not text"),
        (b"[a]: 1\n", "f.yaml:1:1: a key that is not text"),
        (b"true: 1\n", "f.yaml:1:1: a key that is not text"),
        (b"a: b: c\n", "f.yaml:1:5: a ':' where none can stand"),
        (b"a: [1, 2\n", "f.yaml:2:1: not valid YAML"),
        (b"a: 1e999\n", "f.yaml:1:4: a: the number is too large"),
        (b"a: 9999999999999999999\n", "f.yaml:1:4: a: a whole number may have"),
        (b'a: "\\ud800"\n', "f.yaml:1:4: a: half of a surrogate pair"),
        (b'a: "\\U00ffffff"\n', "f.yaml:1:1: an escape"),
        (b"a: " + b"[" * 100_000, "f.yaml:1:53: nested too deeply"),
        (b"#" * 1_000_001, "f.yaml:1:1: the file is too large"),
    ],
)
def test_what_is_not_a_recipe_is_refused_with_its_place(data: bytes, message: str) -> None:
    with pytest.raises(RecipeError) as caught:
        read_document(data, "f.yaml")
    assert str(caught.value).startswith(message)
    assert len(caught.value.problems) == 1


def test_all_problems_of_a_document_are_told_at_once_in_their_order() -> None:
    with pytest.raises(RecipeError) as caught:
        read_document(b"a: 1\na: 2\n1: 3\nb: {<<: 4}\n", "f.yaml")
    assert [str(problem.place) for problem in caught.value.problems] == [
        "f.yaml:2:1",
        "f.yaml:3:1",
        "f.yaml:4:5",
    ]


def test_a_byte_order_mark_is_no_part_of_the_text() -> None:
    assert read_document("\ufeffname: x\n".encode(), "f.yaml").plain() == {"name": "x"}


@given(st.integers(min_value=-(10**17), max_value=10**17) | st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_survive_writing_and_reading(number: float) -> None:
    read = value_of(repr(number))
    assert type(read) is type(number)
    assert read == number


PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**9), 10**9)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8")),
    lambda children: st.lists(children),
)


@given(PLAIN)
@example("0" * 19)
def test_what_show_writes_is_read_as_the_same_value(value: object) -> None:
    assert value_of(flow(value)) == value


@given(st.text() | st.text(alphabet="ab:- \n\t[]{}#&*!|>'\"%@`<~,?01.eE\\xuU"))
def test_any_value_text_is_read_or_refused_but_never_fails_otherwise(text: str) -> None:
    with contextlib.suppress(UsageError):
        value = value_of(text)
        assert not isinstance(value, float) or math.isfinite(value)


@given(st.binary() | st.text().map(lambda text: text.encode("utf-8", "replace")))
def test_any_file_is_read_or_refused_but_never_fails_otherwise(data: bytes) -> None:
    with pytest.raises(RecipeError) as caught:
        read_recipe(data, "f.yaml", "f")
    assert all(problem.place.line and problem.place.column for problem in caught.value.problems)


def in_full(node):
    """Values, and where each of them and its key stands."""
    value = node.value
    if isinstance(value, dict):
        value = {key: (str(node.keys[key]), in_full(each)) for key, each in value.items()}
    elif isinstance(value, list):
        value = [in_full(each) for each in value]
    return value, str(node.place)


@pytest.mark.skipif(not yaml.__with_libyaml__, reason="PyYAML was built without its parser in C")
@pytest.mark.parametrize("path", sorted(Path("recipes").glob("*.yaml")), ids=lambda path: path.stem)
def test_both_parsers_read_each_recipe_alike(path, monkeypatch):
    data = path.read_bytes()
    quick = in_full(read_document(data, path.name))
    monkeypatch.setattr(yaml, "__with_libyaml__", False)
    assert in_full(read_document(data, path.name)) == quick


@pytest.mark.parametrize("text", ["a: {b:\t1}", "n\ufeffame: 1", "a: |# x\n", "a: {? b, c}", "? a : b\nc: 1"])
def test_what_the_parsers_take_differently_is_read_by_the_stricter(text, monkeypatch):
    def told():
        try:
            return in_full(read_document(text.encode(), "f.yaml"))
        except RecipeError as error:
            return str(error)

    quick = told()
    monkeypatch.setattr(yaml, "__with_libyaml__", False)
    assert told() == quick
