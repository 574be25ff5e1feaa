"""The hashes of every recipe are those that were locked, and every committed result stays what it was.

`pytest tests/recipe/test_locked_hashes.py --lock-hashes "why"` adds what is new, and writes the reason beside
what moved.
"""

import csv
from collections.abc import Iterator
from pathlib import Path

import pytest

from rmem_cli.recipe import Recipe, list_recipes, load_recipe
from rmem_cli.report.selection import entries, select
from rmem_cli.results.store import ResultStore

ROOT = Path(__file__).parents[2]
HASHES = ROOT / "tests" / "golden" / "hashes.csv"
RESULTS = ROOT / "tests" / "golden" / "results.csv"
MADE_UP_DATA = "made-up-data"

Line = dict[str, str]
RESULT_KEY = (
    "experiment",
    "row",
    "cell",
    "scale",
    "seed",
    "protocol",
    "split",
    "part",
    "metric",
    "train_hash",
    "eval_hash",
)


def place(line: Line) -> tuple[str, ...]:
    return line["experiment"], line["scale"], line["row"], line["cell"], line["protocol"]


def hash_lines(recipe: Recipe) -> Iterator[Line]:
    """One line for each scale, row, matrix cell and protocol of a recipe."""
    for scale in recipe.scales:
        for resolved in recipe.resolve(scale, [row.id for row in recipe.rows_at(scale)]):
            spec = resolved.specs(recipe.name)[0]
            for protocol in spec.settings.eval:
                yield {
                    "experiment": recipe.name,
                    "scale": scale,
                    "row": spec.row,
                    "cell": spec.cell,
                    "protocol": protocol.name,
                    "train_hash": spec.train_hash(MADE_UP_DATA),
                    "eval_hash": spec.eval_hash(protocol),
                }


def up_to_date_keys(recipe: Recipe, store: ResultStore) -> set[tuple[str, ...]]:
    """The results that the recipe would give now."""
    plan = {
        scale: entries(recipe.runs(scale, [row.id for row in recipe.rows_at(scale)]))
        for scale in recipe.scales
    }
    selected = select(plan, store.read(recipe.name), recipe.scales).results["result"]
    return {tuple(map(str, row.key)) for row in selected}


@pytest.fixture(scope="module")
def recipes() -> list[Recipe]:
    return [load_recipe(name) for name in list_recipes()]


@pytest.fixture(scope="module")
def store() -> ResultStore:
    return ResultStore(ROOT / "results")


@pytest.fixture
def reason(request: pytest.FixtureRequest) -> str | None:
    return request.config.getoption("--lock-hashes")


def test_no_hash_of_a_recipe_moves_without_a_reason(recipes: list[Recipe], reason: str | None) -> None:
    locked = {place(line): line for line in _read(HASHES)}
    now = {place(line): line for recipe in recipes for line in hash_lines(recipe)}
    if reason is not None:
        locked = {key: _relocked(locked.get(key), line, reason) for key, line in now.items()}
        _write(HASHES, list(locked.values()))
    assert now.keys() - locked.keys() == set(), "not locked yet: lock them with --lock-hashes REASON"
    assert locked.keys() - now.keys() == set(), "no recipe has these any more"
    moved = [key for key, line in now.items() if any(locked[key][name] != line[name] for name in line)]
    assert moved == [], "these hashes moved: their results no longer count"


def test_a_hash_that_moved_names_what_it_was_and_why() -> None:
    for line in _read(HASHES):
        assert bool(line["was"]) == bool(line["reason"]), line


def test_every_committed_result_keeps_its_key(
    store: ResultStore, reason: str | None, recipes: list[Recipe]
) -> None:
    there = {tuple(map(str, row.key)) for name in store.experiments() for row in store.read(name)}
    if reason is not None and not RESULTS.exists():
        current = {key for recipe in recipes for key in up_to_date_keys(recipe, store)}
        _write(
            RESULTS,
            [
                dict(zip(RESULT_KEY, key, strict=True)) | {"up_to_date": str(key in current).lower()}
                for key in sorted(there)
            ],
        )
    assert {_key(line) for line in _read(RESULTS)} - there == set()


def test_every_result_that_was_up_to_date_still_is(store: ResultStore, recipes: list[Recipe]) -> None:
    locked = {_key(line) for line in _read(RESULTS) if line["up_to_date"] == "true"}
    assert len(locked) == 317
    assert locked - {key for recipe in recipes for key in up_to_date_keys(recipe, store)} == set()


def test_what_has_no_result_draws_its_generated_examples_by_number(
    store: ResultStore, recipes: list[Recipe]
) -> None:
    with_results = {(row.experiment, row.row) for name in store.experiments() for row in store.read(name)}
    by_batch = [
        (spec.experiment, spec.scale, spec.row)
        for recipe in recipes
        for scale in recipe.scales
        for resolved in recipe.resolve(scale, [row.id for row in recipe.rows_at(scale)])
        for spec in resolved.specs(recipe.name)[:1]
        if spec.settings.task.generated and not getattr(spec.settings.task, "prepared", False)
        if (recipe.name, spec.row) not in with_results
        for draws in (*spec.settings.eval, spec.settings.train.validation)
        if draws is not None and draws.examples_drawn != "by_number"
    ]
    assert by_batch == []


def _key(line: Line) -> tuple[str, ...]:
    return tuple(line[name] for name in RESULT_KEY)


def _relocked(old: Line | None, new: Line, reason: str) -> Line:
    """The line to lock: what it was and why, if it moved."""
    if old is None:
        return {**new, "was": "", "reason": ""}
    if all(old[name] == value for name, value in new.items()):
        return old
    return {**new, "was": f"{old['train_hash']} {old['eval_hash']}", "reason": reason}


def _read(path: Path) -> list[Line]:
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _write(path: Path, lines: list[Line]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(lines[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)


# They had results when examples could first be drawn by number; rows without any may change over.
DRAWN_BY_BATCH = {
    "quickstart",
    "rmt_1m_memorize",
    "rmt_copy",
    "rmt_retrieval",
    "rmt_reverse",
    "rum_copying",
    "rum_recall",
    "ur_adding",
    "ur_copy",
}


def test_new_recipes_evaluate_examples_that_no_batch_size_changes(recipes: list[Recipe]) -> None:
    for recipe in recipes:
        for scale in recipe.scales:
            for spec in recipe.runs(scale, [row.id for row in recipe.rows_at(scale)]):
                validation = spec.settings.train.validation
                evaluated = [*spec.settings.eval, *([] if validation is None else [validation])]
                if spec.settings.task.generated and recipe.name not in DRAWN_BY_BATCH:  # type: ignore[attr-defined]
                    assert {each.examples_drawn for each in evaluated} == {"by_number"}, recipe.name
