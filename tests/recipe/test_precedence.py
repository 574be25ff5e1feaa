"""base < row < matrix cell < scale < the row's own scale < --set."""

import contextlib
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmem_cli.errors import UsageError
from rmem_cli.recipe import Recipe, RunSpec
from rmem_cli.recipe.addresses import Address
from rmem_cli.recipe.problems import RecipeError

Read = Callable[[str], Recipe]


def one(recipe: Recipe, row: str, scale: str = "paper", *overrides: str) -> RunSpec:
    return recipe.runs(scale, rows=[row], seeds=[1], overrides=overrides)[0]


def core(spec: RunSpec) -> dict[str, Any]:
    return spec.settings.model.core.model_dump(by_alias=True)


def test_each_layer_wins_over_the_one_below_it(recipe: Recipe) -> None:
    assert one(recipe, "rum").settings.train.steps == 1000
    assert one(recipe, "rum", "cpu").settings.train.steps == 50
    assert one(recipe, "lstm", "cpu").settings.train.steps == 70
    assert one(recipe, "lstm", "cpu", "train.steps=9").settings.train.steps == 9


def test_a_dotted_key_changes_one_field_and_a_mapping_replaces_whole(recipe: Recipe) -> None:
    assert core(one(recipe, "rum", "paper", "model.core.hidden_size=8"))["zoneout"] == 0.1
    replaced = core(one(recipe, "rum", "paper", "model.core={kind: rum, hidden_size: 8}"))
    assert (replaced["hidden_size"], replaced["zoneout"], replaced["lambda"]) == (8, 0.0, 0)


def test_a_dash_alone_is_the_gate_of_that_name(recipe: Recipe) -> None:
    kind = "model.core={kind: gated_lstm, hidden_size: 8}"
    assert core(one(recipe, "rum", "paper", kind, "model.core.gate=-"))["gate"] == "-"


def test_a_list_replaces_whole(recipe: Recipe) -> None:
    spec = one(recipe, "rum", "paper", "eval=[{name: other, split: valid, examples: 1, metrics: [loss]}]")
    assert [protocol.name for protocol in spec.settings.eval] == ["other"]


def test_the_order_of_dotted_keys_does_not_matter(text: str, read: Read) -> None:
    one_way = "model.core.zoneout: 0.5, model.core.kind: rum, model.core: {kind: lstm, hidden_size: 7}"
    other_way = "model.core: {kind: lstm, hidden_size: 7}, model.core.kind: rum, model.core.zoneout: 0.5"
    cores = [
        core(one(read(text.replace("title: RUM", f"title: RUM, {keys}")), "rum"))
        for keys in (one_way, other_way)
    ]
    assert cores[0] == cores[1]
    assert (cores[0]["kind"], cores[0]["hidden_size"], cores[0]["zoneout"]) == ("rum", 7, 0.5)


def test_a_protocol_is_addressed_by_its_name(recipe: Recipe) -> None:
    spec = one(recipe, "rum", "cpu", "eval.long.task.length=60", "eval.test.batch_size=7")
    assert (spec.protocol("test").examples, spec.protocol("test").batch_size) == (200, 7)
    assert (spec.protocol("long").examples, spec.protocol("long").task) == (2000, {"length": 60})
    assert spec.protocol_task(spec.protocol("long")).model_dump()["length"] == 60
    assert spec.protocol_task(spec.protocol("test")) == spec.settings.task


def test_a_star_addresses_every_protocol_and_a_name_goes_before_it(recipe: Recipe) -> None:
    for sets in (
        ("eval.long.batch_size=7", "eval.*.batch_size=5"),
        ("eval.*.batch_size=5", "eval.long.batch_size=7"),
    ):
        spec = one(recipe, "rum", "cpu", *sets)
        assert [protocol.batch_size for protocol in spec.settings.eval] == [5, 7]
    spec = one(recipe, "rum", "cpu", "eval.*.task.length=60")
    assert [protocol.task for protocol in spec.settings.eval] == [{"length": 60}, {"length": 60}]


def test_changing_only_the_kind_keeps_what_is_common_and_records_what_is_dropped(recipe: Recipe) -> None:
    resolved = recipe.resolve(rows=["lstm"])[0]
    assert core(resolved.specs("x")[0]) == {
        "kind": "lstm",
        "hidden_size": 50,
        "layers": 1,
        "dropout": 0.0,
        "forget_bias": None,
        "initial_bound": None,
    }
    assert {lost.path: lost.value for lost in resolved.dropped} == {
        "model.core.lambda": 1,
        "model.core.zoneout": 0.1,
    }


@pytest.mark.parametrize(
    ("override", "dropped"),
    [
        ("optimizer.kind=sgd", {"optimizer.beta1": 0.8}),
        ("task.kind=copying_memory", {}),
        ("schedule.kind=cosine", {}),
        ("optimizer.kind=adam", {}),
    ],
)
def test_every_component_changes_its_kind_in_the_same_way(
    recipe: Recipe, override: str, dropped: dict[str, object]
) -> None:
    resolved = recipe.resolve(rows=["rum"], overrides=[override])[0]
    section = override.partition(".")[0]
    assert getattr(resolved.settings, section).kind == override.partition("=")[2]
    assert {lost.path: lost.value for lost in resolved.dropped} == dropped


def test_a_field_of_the_new_kind_can_be_set_beside_the_kind(recipe: Recipe) -> None:
    spec = one(recipe, "rum", "paper", "model.core.forget_bias=1", "model.core.kind=lstm")
    assert core(spec)["forget_bias"] == 1.0


def test_schedule_and_back_propagation_need_not_be_named(recipe: Recipe) -> None:
    settings = one(recipe, "rum").settings
    assert (settings.schedule.kind, settings.train.backprop.kind) == ("constant", "full")
    settings = one(
        recipe,
        "rum",
        "paper",
        "schedule.warmup_steps=5",
        "train.backprop={kind: truncated, segment_length: 5}",
    ).settings
    assert (settings.schedule.kind, settings.train.backprop.kind) == ("constant", "truncated")


def test_a_scale_restricts_rows_and_seeds(recipe: Recipe) -> None:
    assert [(spec.row, spec.seed) for spec in recipe.runs("smoke")] == [("rum", 1)]
    assert [(spec.row, spec.seed) for spec in recipe.runs("cpu")] == [
        ("rum", 1),
        ("rum", 2),
        ("rum", 3),
        ("lstm", 1),
        ("lstm", 2),
        ("lstm", 3),
    ]


def test_seeds_can_be_chosen_and_set(recipe: Recipe) -> None:
    assert [spec.seed for spec in recipe.runs(rows=["rum"], seeds=[7, 2, 7])] == [7, 2]
    assert [spec.seed for spec in recipe.runs(rows=["rum"], overrides=["seeds=[4,5]"])] == [4, 5]
    with pytest.raises(UsageError, match="at least 0"):
        recipe.runs(seeds=[-1])


def test_set_makes_the_scale_custom_unless_it_only_changes_an_evaluation(recipe: Recipe) -> None:
    assert one(recipe, "rum", "cpu").scale == "cpu"
    assert one(recipe, "rum", "cpu", "train.steps=4").scale == "custom"
    assert one(recipe, "rum", "paper", "eval.test.examples=4").scale == "paper"


def test_runs_carry_the_facts_of_their_row(recipe: Recipe) -> None:
    spec = one(recipe, "lstm")
    assert (spec.experiment, spec.row, spec.title, spec.cell, spec.seed) == ("made_up", "lstm", "LSTM", "", 1)
    assert spec.footnotes == ["ours"]


def test_a_row_may_stand_for_several_published_rows_and_for_others_in_each_cell(
    text: str, read: Read
) -> None:
    matrix = "matrix: {task.length: [10, 20]}\n"
    named = (
        "published: {length=10: rum2019.recall.lstm, length=20: [rum2019.recall.goru, rum2019.recall.fw_ln]}"
    )
    recipe = read(text.replace("title: LSTM", f"title: LSTM, {named}") + matrix)
    assert recipe.row("lstm").published == (
        Address("rum2019.recall.lstm", "length=10"),
        Address("rum2019.recall.goru", "length=20"),
        Address("rum2019.recall.fw_ln", "length=20"),
    )


def test_a_matrix_multiplies_the_runs(text: str, read: Read) -> None:
    recipe = read(text + "matrix: {task.length: [10, 20], model.core.layers: [1, 2]}\n")
    specs = recipe.runs(rows=["rum"], seeds=[1])
    assert [spec.cell for spec in specs] == [
        "length=10,layers=1",
        "length=10,layers=2",
        "length=20,layers=1",
        "length=20,layers=2",
    ]
    assert [spec.settings.task.model_dump()["length"] for spec in specs] == [10, 10, 20, 20]
    assert [spec.settings.model.core.model_dump()["layers"] for spec in specs] == [1, 2, 1, 2]


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["length=20"], ["length=20,layers=1", "length=20,layers=2"]),
        (["layers=2", "length=20"], ["length=20,layers=2"]),
        (["layers=1", "length=20", "length=10"], ["length=10,layers=1", "length=20,layers=1"]),
    ],
)
def test_cells_choose_among_the_values_of_a_matrix(
    text: str, read: Read, cells: list[str], expected: list[str]
) -> None:
    recipe = read(text + "matrix: {task.length: [10, 20], model.core.layers: [1, 2]}\n")
    chosen = recipe.runs(rows=["rum"], seeds=[1], cells=cells)
    assert [spec.cell for spec in chosen] == expected
    assert {spec.scale for spec in chosen} == {"paper"}


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (
            "matrix: {task.length: [10, 20]}\n",
            "has no cell 'length=1' at scale 'paper'; did you mean 'length=10'?",
        ),
        ("", "has no cell 'length=1' at scale 'paper'; there are none"),
    ],
)
def test_unknown_cells_are_refused(text: str, read: Read, matrix: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        read(text + matrix).runs(cells=["length=1"])
    assert message in str(caught.value)


def test_a_matrix_over_two_kinds_names_them_in_full(text: str, read: Read) -> None:
    recipe = read(text + "matrix: {model.core.kind: [gru], optimizer.kind: [sgd]}\n")
    assert one(recipe, "rum").cell == "model.core.kind=gru,optimizer.kind=sgd"


def test_a_scale_and_set_can_restrict_a_matrix(text: str, read: Read) -> None:
    text = text.replace("smoke: {", "smoke: {matrix.task.length: [10], ")
    recipe = read(text + "matrix: {task.length: [10, 20]}\n")
    assert [spec.cell for spec in recipe.runs("smoke")] == ["length=10"]
    cells = [
        spec.cell for spec in recipe.runs(rows=["rum"], seeds=[1], overrides=["matrix.task.length=[30, 40]"])
    ]
    assert cells == ["length=30", "length=40"]


@pytest.mark.parametrize("override", ["task.length=30", "task={kind: associative_recall, length: 30}"])
def test_a_field_of_the_matrix_cannot_be_set_to_one_value(text: str, read: Read, override: str) -> None:
    recipe = read(text + "matrix: {task.length: [10, 20]}\n")
    with pytest.raises(
        RecipeError, match=r"^--set .*the matrix sets task\.length; change matrix\.task\.length"
    ):
        recipe.runs(overrides=[override])


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.steps", "--set train.steps: write it as path=value, like train.steps=100"),
        ("train.steps=", "--set train.steps=: the value is missing; write null for none"),
        ("train.steps=[1", "--set train.steps=[1: not valid YAML"),
        ("=4", "--set =4: unknown key ''"),
        ("trian.steps=4", "--set trian.steps=4: unknown key 'trian'; did you mean 'train'?"),
        ("name=4", "--set name=4: unknown key 'name'"),
        ("train..steps=4", "--set train..steps=4: a path with an empty part"),
        ("train.stps=4", "--set train.stps=4: unknown key; did you mean 'steps'?"),
        ("train.steps.x=4", "--set train.steps.x=4: train.steps is a single value and has no fields"),
        ("seeds.x=4", "--set seeds.x=4: seeds is a list; give the whole list"),
        ("seeds=[]", "--set seeds=[]: must not be empty"),
        ("seeds=[1, 1]", "--set seeds=[1, 1]: lists a seed twice"),
        (
            "eval.tset.examples=4",
            "--set eval.tset.examples=4: no evaluation protocol is called 'tset'; did you mean 'test'?",
        ),
        ("eval.*=4", "--set eval.*=4: * stands for every protocol; name the field to change in each of them"),
        ("eval.*.exmples=4", "--set eval.*.exmples=4: unknown key; did you mean 'examples'?"),
        ("eval.long.task.length=5", "--set eval.long.task.length=5: must be a multiple of 2, not 5"),
        ("model.core.hidden_size=-5", "--set model.core.hidden_size=-5: must be greater than 0, not -5"),
        (
            "model.core.hidden_size=1e2",
            "--set model.core.hidden_size=1e2: must be a whole number, not 100.0; write 100",
        ),
        ("model.core.kind=grru", "--set model.core.kind=grru: unknown core 'grru'; did you mean 'gru'?"),
        ("model.core.kind=rmt", "--set model.core.kind=rmt: model.core.memory_tokens: is missing"),
        (
            "model.core={kind: fast_slow, fast: {kind: gru, hidden_size: 3}, slow: {kind: gruu}}",
            "--set model.core={kind: fast_slow, fast: {kind: gru, hidden_size: 3}, slow: {kind: gruu}}: "
            "model.core.slow: unknown core 'gruu'; did you mean 'gru'?",
        ),
        ("model.core.lambda=2", "--set model.core.lambda=2: must be 0 or 1, not 2 (row rum)"),
        ("model.core.lambda=true", "--set model.core.lambda=true: must be 0 or 1, not true (row rum)"),
        ("model.core.lambda=1.0", "--set model.core.lambda=1.0: must be 0 or 1, not 1.0 (row rum)"),
        ("model=null", "--set model=null: must be a mapping"),
        ("optimizer=null", "--set optimizer=null: must be a mapping with a kind, not null"),
        ("matrix=4", "--set matrix=4: must be a mapping from paths to lists"),
        ("matrix.task.length=4", "--set matrix.task.length=4: must be a list of single values"),
        ("matrix.task.length=[2, 2]", "--set matrix.task.length=[2, 2]: lists a value twice"),
    ],
)
def test_a_wrong_set_is_named_in_its_message(recipe: Recipe, override: str, message: str) -> None:
    with pytest.raises(RecipeError) as caught:
        recipe.runs(overrides=[override])
    assert str(caught.value).splitlines()[0].startswith(message)


@given(
    path=st.lists(
        st.sampled_from(
            ["task", "model", "core", "kind", "train", "eval", "test", "seeds", "matrix", "x", ""]
        ),
        min_size=1,
        max_size=4,
    ),
    value=st.text() | st.sampled_from(["null", "[]", "{}", "[{}]", "gru", "1", "{kind: gru}", "[[1]]"]),
)
def test_any_set_is_applied_or_refused_but_never_fails_otherwise(
    recipe: Recipe, path: list[str], value: str
) -> None:
    with contextlib.suppress(RecipeError):
        recipe.runs(overrides=[f"{'.'.join(path)}={value}"])


def test_all_wrong_sets_are_told_at_once(recipe: Recipe) -> None:
    with pytest.raises(RecipeError) as caught:
        recipe.runs(overrides=["a=1", "train.steps=-1", "task.length=3"])
    assert len(caught.value.problems) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"scale": "papr"}, "made_up has no scale 'papr'; did you mean 'paper'?"),
        ({"rows": ["lstn"]}, "made_up has no row 'lstn'; did you mean 'lstm'?"),
        ({"scale": "smoke", "rows": ["lstm"]}, "made_up leaves row 'lstm' out at scale smoke; its rows: rum"),
    ],
)
def test_unknown_rows_and_scales_are_refused(recipe: Recipe, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        recipe.runs(**arguments)
    assert str(caught.value) == message


def test_an_unknown_protocol_is_refused(recipe: Recipe) -> None:
    with pytest.raises(UsageError, match="did you mean 'test'"):
        one(recipe, "rum").protocol("tests")


def test_a_scale_can_run_some_rows_by_default_and_the_others_by_name(
    read: Callable[[str], Recipe], text: str
) -> None:
    recipe = read(text.replace("  cpu: {", "  cpu: {default_rows: [lstm], "))
    assert {spec.row for spec in recipe.runs("cpu")} == {"lstm"}
    assert {spec.row for spec in recipe.runs("cpu", rows=["rum"])} == {"rum"}
    assert {spec.row for spec in recipe.runs("cpu", rows=["lstm", "rum"])} == {"lstm", "rum"}
    assert [row.id for row in recipe.rows_at("cpu")] == ["rum", "lstm"]
