"""The command that is shown for a row is one that a shell takes, and that finds the recipe."""

import shlex

import pytest

from rmem_cli.recipe.commands import train_command


def test_the_command_names_recipe_row_cell_and_options():
    shown = train_command("rum_recall", "lstm", "length=30", "--scale", "cpu", "--seed", "2")
    assert shown == "rmem train rum_recall --row lstm --cell length=30 --scale cpu --seed 2"
    assert train_command("rum_recall", "lstm", "") == "rmem train rum_recall --row lstm"


@pytest.mark.parametrize("value", ["a b.txt", "c'd.txt", "$HOME.txt", "*", "`x`"])
def test_a_shell_reads_every_word_of_it_as_it_is(value):
    words = shlex.split(train_command("rum_recall", "lstm", f"file={value},lr=0.1"))
    assert words == [
        "rmem",
        "train",
        "rum_recall",
        "--row",
        "lstm",
        "--cell",
        f"file={value}",
        "--cell",
        "lr=0.1",
    ]


def test_a_recipe_of_ones_own_is_named_by_its_file():
    assert train_command("mine", "lstm", "") == "rmem train mine.yaml --row lstm"
