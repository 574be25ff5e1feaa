"""Finding recipes by name or path."""

import os
from pathlib import Path

import pytest

from rmem_cli.errors import UsageError
from rmem_cli.recipe import list_recipes, load_recipe


@pytest.fixture
def folder(tmp_path: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "made_up.yaml").write_text(text)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_recipe_is_found_by_name_in_the_working_folder_and_by_path(folder: Path) -> None:
    assert load_recipe("made_up").name == "made_up"
    assert load_recipe("recipes/made_up.yaml").name == "made_up"
    assert load_recipe(folder / "recipes" / "made_up.yaml").name == "made_up"
    assert "made_up" in list_recipes()


def test_a_recipe_of_the_working_folder_hides_the_packaged_one(folder: Path, text: str) -> None:
    (folder / "recipes" / "quickstart.yaml").write_text(text.replace("name: made_up", "name: quickstart"))
    assert load_recipe("quickstart").title == "A made-up experiment"


def test_packaged_recipes_are_found_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert list_recipes()
    for name in list_recipes():
        assert load_recipe(name).name == name


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("made_upp", "no recipe is called 'made_upp'; did you mean 'made_up'?"),
        ("", "no recipe is called ''"),
        ("x" * 5000, "no recipe is called"),
        (
            "elsewhere/made_upp.yaml",
            "elsewhere/made_upp.yaml: there is no such file; did you mean 'made_up'?",
        ),
        ("zzzzzz.yaml", "zzzzzz.yaml: there is no such file; `rmem list` shows"),
        ("./recipes", "recipes is a folder; name one recipe file in it"),
        ("recipes/", "recipes is a folder; name one recipe file in it"),
        ("..", ".. is a folder; name one recipe file in it"),
        ("recipes", "recipes is a folder; name one recipe file in it, or, for `rmem eval` and `rmem sample`"),
        ("model", "model is an exported model, which `rmem eval` and `rmem sample` take; name a recipe"),
        (
            "made_up.txt",
            "made_up.txt is a file whose name does not end in .yaml; rename it, or name it as ./",
        ),
        ("/dev/null", "/dev/null is neither a file nor a folder; write the recipe into a file"),
        ("x" * 5000 + ".yaml", "x" * 5000 + ".yaml: there is no such file"),
    ],
)
def test_what_cannot_be_found_is_told_with_a_cure(folder: Path, name: str, message: str) -> None:
    (folder / "made_up.txt").write_text("name: made_up")
    (folder / "model").mkdir()
    (folder / "model" / "export.json").write_text("{}")
    with pytest.raises(UsageError) as caught:
        load_recipe(name)
    assert str(caught.value).startswith(message)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="needs a user whom permissions bind")
def test_an_unreadable_file_is_told(folder: Path) -> None:
    (folder / "recipes" / "made_up.yaml").chmod(0)
    with pytest.raises(UsageError, match="cannot be read"):
        load_recipe("made_up")


def test_a_file_of_another_name_than_its_recipe_is_refused(folder: Path, text: str) -> None:
    (folder / "other.yaml").write_text(text)
    with pytest.raises(UsageError, match=r"other\.yaml:1:7: name: must be 'other' like the file"):
        load_recipe("other.yaml")
