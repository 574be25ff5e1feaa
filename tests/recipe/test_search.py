"""Values that a validation chooses, and named values of a matrix."""

from collections.abc import Callable

import pytest
from marked import without_mark

from rmem_cli.recipe import Recipe
from rmem_cli.recipe.problems import RecipeError
from rmem_cli.recipe.search import chosen_label, is_chosen

Read = Callable[[str], Recipe]
RATES = "matrix: {task.length: [10, 20], optimizer.lr: [1e-3, 1e-2]}\n"
SEARCH = "search: {over: [optimizer.lr], protocol: valid, seeds: [1, 2, 5]}\n"
NAMED = """\
matrix:
  setting:
    short: {task.length: 10, train.steps: 7}
    other: {task: {kind: copying_memory, length: 3}, eval.long.task: {length: 4}}
  optimizer.lr: [1e-3, 1e-2]
"""


@pytest.fixture
def with_valid(text: str) -> str:
    """The text of a recipe that is validated by a protocol of its own."""
    return text.replace(
        "eval:\n", "eval:\n  - {name: valid, split: valid, examples: 20, metrics: [accuracy, loss]}\n"
    )


def test_there_is_a_search_for_each_row_and_value_of_the_other_keys(with_valid: str, read: Read) -> None:
    recipe = read(with_valid + RATES + SEARCH)
    found = [
        (one[0].row.id, one[0].searched_cell, [candidate.cell for candidate in one])
        for one in recipe.searches("paper")
    ]
    assert found == [
        (row, f"length={length},lr by valid", [f"length={length},lr={lr}" for lr in (0.001, 0.01)])
        for row in ("rum", "lstm")
        for length in (10, 20)
    ]
    assert [(one.row.id, one.searched_cell) for (one, *_) in recipe.searches("smoke")] == [
        ("rum", f"length={length},lr by valid") for length in (10, 20)
    ]


def test_several_keys_are_searched_together_and_a_scale_may_search_nothing(
    with_valid: str, read: Read
) -> None:
    both = SEARCH.replace("[optimizer.lr]", "[optimizer.lr, train.clip_norm]")
    rates = RATES.replace("task.length: [10, 20]", "train.clip_norm: [1, 2]")
    recipe = read(with_valid.replace("cpu: {", "cpu: {search: null, ") + rates + both)
    first, second = recipe.searches("paper")
    assert [len(first), len(second), first[0].searched_cell] == [4, 4, "lr and clip_norm by valid"]
    assert recipe.searches("cpu") == []


def test_a_search_moves_no_hash_and_asks_for_no_runs_of_its_own(with_valid: str, read: Read) -> None:
    without, searched = read(with_valid + RATES), read(with_valid + RATES + SEARCH)
    assert [one.train_hash("") for one in without.runs()] == [one.train_hash("") for one in searched.runs()]
    assert [(one.cell, one.seed) for one in without.runs()] == [
        (one.cell, one.seed) for one in searched.runs()
    ]


def test_the_label_of_what_was_chosen_is_known_from_all_others() -> None:
    label = chosen_label(["lr", "hidden_size"], "valid")
    assert label == "lr and hidden_size by valid"
    assert is_chosen(label)
    assert is_chosen(f"length=50,{label}")
    assert not any(
        map(is_chosen, ["", "length=50", "5 folds together", "length=50,5 folds together", "text=a by b"])
    )


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "over: [optimizer.lr]",
            "over: [‸optimizer.rl]",
            "search.over: the matrix has no key 'optimizer.rl'",
        ),
        ("over: [optimizer.lr]", "over: ‸[]", "search.over: must not be empty"),
        (
            "protocol: valid",
            "protocol: ‸vali",
            "search.protocol: no evaluation protocol is called 'vali'; did",
        ),
        (
            "protocol: valid",
            "protocol: ‸test",
            "search.protocol: is of the test split, on which nothing may be",
        ),
        ("over: [optimizer.lr]", "over: ‸[optimizer.lr, optimizer.lr]", "search.over: lists a key twice"),
        (
            SEARCH,
            SEARCH.replace("{", "‸{").replace("[optimizer.lr]", "[task.length]"),
            "search: compares what is not alike: 'valid' has another task or other settings for",
        ),
        ("protocol: valid", "protocol: valid, ‸metric: loss", "search.metric: unknown key"),
        ("seeds: [1, 2, 5]", "seeds: ‸[1, 1]", "search.seeds: lists a seed twice"),
        (SEARCH, SEARCH.replace(", seeds: [1, 2, 5]", "").replace("{", "‸{"), "search.seeds: is missing"),
        (SEARCH, "search: ‸[optimizer.lr]\n", "search: must be a mapping"),
    ],
)
def test_a_wrong_search_is_refused_with_place_and_cure(
    with_valid: str, read: Read, old: str, new: str, message: str
) -> None:
    wrong, place = without_mark((with_valid + RATES + SEARCH).replace(old, new))
    with pytest.raises(RecipeError) as caught:
        read(wrong)
    assert str(caught.value).startswith(f"{place}: {message}")
    assert len(caught.value.problems) == 1


def test_a_protocol_whose_results_stand_under_another_name_chooses_nothing(
    with_valid: str, read: Read
) -> None:
    first = "eval:\n  - {name: first, split: valid, examples: 20, metrics: [accuracy, loss]}\n"
    with pytest.raises(RecipeError, match=r"search\.protocol: is the same evaluation as first, .* name that"):
        read(with_valid.replace("eval:\n", first) + RATES + SEARCH)


def test_a_wrong_matrix_is_told_once_whatever_is_searched_in_it(with_valid: str, read: Read) -> None:
    twice = RATES.replace("optimizer.lr: [", "setting: {a: {task.length: 4}}, optimizer.lr: [")
    with pytest.raises(RecipeError) as caught:
        read(with_valid + twice + SEARCH)
    assert [problem.path for problem in caught.value.problems] == ["matrix.setting"]


def test_what_is_trained_on_another_task_may_be_compared_on_the_same(with_valid: str, read: Read) -> None:
    same = with_valid.replace("split: valid, ", "split: valid, task: {length: 6}, ")
    recipe = read(same + RATES + SEARCH.replace("[optimizer.lr]", "[task.length]"))
    assert [len(candidates) for candidates in recipe.searches("paper")] == [2, 2, 2, 2]


def test_a_published_number_may_be_named_for_what_a_search_chooses(with_valid: str, read: Read) -> None:
    cell = "published: {'length=10,lr by valid': rum2019.recall.rum_lambda1}"
    named = with_valid.replace("title: RUM}", f"title: RUM, {cell}}}")
    (address,) = read(named + RATES + SEARCH).row("rum").published
    assert address.cell == "length=10,lr by valid"
    with pytest.raises(RecipeError, match="no scale has a cell 'length=10,lr by valid'"):
        read(named + RATES)


def test_a_search_without_a_matrix_is_told_to_have_one(with_valid: str, read: Read) -> None:
    with pytest.raises(RecipeError, match=r"the matrix has no key 'optimizer\.lr'; give the recipe a matrix"):
        read(with_valid + SEARCH)


def test_a_named_value_sets_all_its_fields_at_once(text: str, read: Read) -> None:
    recipe = read(text + NAMED)
    found = {
        spec.cell: (spec.settings.task.kind, spec.settings.train.steps, spec.settings.optimizer.lr)
        for spec in recipe.runs(rows=["rum"], seeds=[1])
    }
    assert found == {
        "setting=short,lr=0.001": ("associative_recall", 7, 0.001),
        "setting=short,lr=0.01": ("associative_recall", 7, 0.01),
        "setting=other,lr=0.001": ("copying_memory", 1000, 0.001),
        "setting=other,lr=0.01": ("copying_memory", 1000, 0.01),
    }
    chosen = recipe.runs("smoke", cells=["setting=other"], overrides=["matrix.optimizer.lr=[0.5]"])
    assert [(spec.cell, spec.settings.train.steps) for spec in chosen] == [("setting=other,lr=0.5", 3)]


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        ("{setting: {a: {tsk.length: 3}}}", "tsk.length: unknown key 'tsk'; did you mean 'task'?"),
        ("{setting: {a: {seeds: [1]}}}", "seeds: unknown key 'seeds'"),
        ("{setting: {}}", "matrix.setting: must be a list of single values, or a mapping from names to"),
        ("{setting: {a: {}}}", "a must be a mapping from paths to values, not an empty one"),
        (
            "{optimizer.lr: [1e-3], setting: {a: {optimizer.lr: 0.5}}}",
            "matrix.setting: sets optimizer.lr, which optimizer.lr sets; leave it to one of them",
        ),
        (
            "{setting: {a: {task.length: 4}}, other: {b: {task: {kind: associative_recall, length: 8}}}}",
            "matrix.other: sets task.length, which setting sets; leave it to one of them",
        ),
        ("{setting: {a: 3}}", "matrix.setting: a must be a mapping from paths to values, not 3"),
        ("{setting: {'a,b=1': {task.length: 4}}}", "matrix.setting: 'a,b=1' is no name; use a-z, 0-9 and _"),
        ("{task.length: {a: {task.length: 4}}}", "matrix.task.length: 'task.length' is no name"),
        ("{setting: {a: {task.length: 3}}}", "must be a multiple of 2, not 3"),
    ],
)
def test_a_wrong_named_value_is_refused(text: str, read: Read, matrix: str, message: str) -> None:
    with pytest.raises(RecipeError) as caught:
        read(f"{text}matrix: {matrix}\n")
    assert message in str(caught.value).splitlines()[0]


def test_what_a_named_value_sets_cannot_be_set_by_a_scale(text: str, read: Read) -> None:
    recipe = read(text + "matrix: {setting: {short: {task.length: 10}}}\n")
    with pytest.raises(RecipeError, match=r"the matrix sets task\.length; change matrix\.setting instead"):
        recipe.runs(overrides=["task.length=30"])
