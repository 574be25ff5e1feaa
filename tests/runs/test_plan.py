"""A plan counts what a run needs, without its memory and without its data."""

import itertools
import sys
from importlib.resources import files
from types import SimpleNamespace

import pytest
import torch
from rmem_cli.data_scripts.dataset import unwritten
from torch.utils.flop_counter import FlopCounterMode

from rmem_cli.data.prepared import open_prepared, opened_instead
from rmem_cli.data.unwritten import UNPREPARED
from rmem_cli.errors import DataError
from rmem_cli.models.batch import Batch
from rmem_cli.models.sequence import SequenceModel
from rmem_cli.models.state import detach
from rmem_cli.ops.native import build
from rmem_cli.recipe import load_recipe
from rmem_cli.runs import cost, meta, plan
from rmem_cli.runs.opened import open_run
from rmem_cli.runs.pace import Pace
from rmem_cli.runs.plan import plan_of
from rmem_cli.tasks.copy_last_ten import CopyLastTen

CPU = torch.device("cpu")
NAMES = sorted(
    path.name.removesuffix(".yaml")
    for path in files("rmem_cli.recipes").iterdir()
    if path.name.endswith(".yaml")
)


@pytest.fixture(autouse=True)
def _known_machine(monkeypatch):
    """A machine of half a thousand million operations a second, and a microsecond a call."""
    monkeypatch.setattr(plan, "pace_of", lambda *_: Pace(2e-9, 1e-6, 0.0))
    monkeypatch.setattr(plan, "clock", lambda device: 0.0)
    monkeypatch.setattr(plan, "_WALKS", {})


def planned(name, row, *overrides, scale="paper"):
    (spec,) = load_recipe(name).runs(scale, [row], [1], list(overrides))
    with opened_instead(unwritten):
        return plan_of(open_run(spec), CPU)


def test_weights_are_counted_as_the_model_has_them():
    (spec,) = load_recipe("ur_copy").runs("paper", ["ur_lstm"], [1], [])
    model = open_run(spec).new_model()
    assert planned("ur_copy", "ur_lstm").parameters == model.parameter_count()


def test_shares_of_a_batch_hold_less_at_once_and_cost_what_the_batch_does():
    whole, split = (
        planned("ur_copy", "ur_lstm", "train.batch_size=64", f"train.accumulate={shares}")
        for shares in (1, 4)
    )
    weights = planned("ur_copy", "ur_lstm", "train.batch_size=1").memory_mb
    assert (split.memory_mb - weights) * 3.5 < whole.memory_mb - weights
    assert split.seconds == pytest.approx(whole.seconds, rel=0.3)


@pytest.mark.parametrize("form", ["native", "fast"])
def test_time_is_that_of_the_products_of_a_step_at_half_the_rate(form, monkeypatch):
    if form == "fast":
        monkeypatch.setattr(build, "available", lambda family: False)
    hidden, batch, steps, sequence = 256, 10, 10_000, 480 + 20
    # Forward and two gradients; one-hot inputs need none of their own.
    flops = sequence * batch * 4 * hidden * (6 * hidden + 4 * 10)
    seconds = planned("ur_copy", "ur_lstm").seconds
    assert seconds == pytest.approx(steps * flops / 0.5e9, rel=0.05)


@pytest.mark.skipif(not build.status("rotation").available, reason="PyTorch's operations count their own")
def test_time_of_a_rotation_is_that_of_its_products_and_of_its_memory():
    overrides = ["matrix=null", "task.length=20"]
    (spec,) = load_recipe("rum_recall").runs("paper", ["rum_lambda1"], [1], overrides)
    run, hidden = open_run(spec), spec.settings.model.core.hidden_size
    batch, time = run.task.training_batch(0, spec.settings.train.batch_size, seed=0).inputs.shape
    # Two products of the state and three of the one-hot input, and the rotations so far, forward and back.
    flops = batch * time * (2 * 6 * hidden**2 + 3 * 4 * hidden * run.task.symbols + 16 * hidden * time)
    seconds = planned("rum_recall", "rum_lambda1", *overrides).seconds
    assert seconds == pytest.approx(run.steps * flops / 0.5e9, rel=0.05)


def test_time_is_proportional_to_steps_and_memory_is_not():
    once = planned("ur_copy", "ur_lstm")
    twice = planned("ur_copy", "ur_lstm", "train.steps=20000")
    assert twice.seconds == pytest.approx(2 * once.seconds)
    assert twice.memory_mb == once.memory_mb


def test_back_propagation_through_more_steps_keeps_more():
    assert (
        planned("ur_copy", "lstm", "task.length=960").memory_mb > 1.8 * planned("ur_copy", "lstm").memory_mb
    )


def test_a_batch_of_a_text_is_planned_with_the_cache_that_earlier_ones_have_filled(monkeypatch):
    monkeypatch.setattr(plan, "pace_of", lambda *_: Pace(2e-9, 0.0, 0.0))
    overrides = ["train.batch_size=2", "train.steps=100"]
    (spec,) = load_recipe("txl_enwik8").runs("cpu", ["base"], [1], overrides)
    assert spec.settings.model.core.cache_length == spec.settings.task.segment_length
    with opened_instead(unwritten):
        run = open_run(spec)
    model, task = run.new_model(), run.task
    model.op_paths()  # loads what counts its own products
    first, second = (task.training_batch(step, 2, seed=1) for step in (0, 1))
    state = detach(model.step(first, None).state)
    with FlopCounterMode(display=False) as flops:
        model.step(second, state).nll_sum.backward()
    seconds = planned("txl_enwik8", "base", *overrides, scale="cpu").seconds
    assert seconds == pytest.approx(100 * flops.get_total_flops() / 0.5e9)


def test_only_the_cache_of_earlier_batches_makes_a_text_dearer():
    def afresh_and_carried(name, row):
        return [planned(name, row, f"task.carried={carried}") for carried in ("false", "true")]

    afresh, carried = afresh_and_carried("txl_enwik8", "base")
    assert carried.seconds > 1.2 * afresh.seconds
    assert carried.memory_mb > 1.2 * afresh.memory_mb
    afresh, carried = afresh_and_carried("rum_ptb_char", "lstm_1000")
    assert carried.seconds == pytest.approx(afresh.seconds, rel=1e-3)
    assert carried.memory_mb == pytest.approx(afresh.memory_mb, rel=1e-3)


def test_a_set_that_is_not_here_opens_in_its_size_for_a_plan_alone():
    with pytest.raises(DataError):
        open_prepared("wikitext103", "word")
    with opened_instead(unwritten):
        text = open_prepared("wikitext103", "word")
    assert len(text.vocabulary) == 267_735
    assert len(text.tokens("train")) == 103_227_021
    assert text.data_hash == UNPREPARED


# How many sections papers have is in no text.
UNKNOWN = ("dancer_arxiv", "dancer_pubmed")


@pytest.mark.parametrize("name", UNKNOWN)
def test_a_recipe_whose_data_is_of_unknown_size_is_not_planned_without_it(name):
    spec = load_recipe(name).runs("paper", seeds=[1])[-1]
    with opened_instead(unwritten), pytest.raises(DataError, match=r"_sections \(words\) is not in"):
        plan_of(open_run(spec), CPU)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in UNKNOWN])
@pytest.mark.slow
def test_every_recipe_is_planned_at_paper_scale_without_any_data(name):
    """Its last row, for the sake of time; the data of the others is looked at below."""
    spec = load_recipe(name).runs("paper", seeds=[1])[-1]
    with opened_instead(unwritten):
        planned = plan_of(open_run(spec), CPU)
    assert planned.parameters > 1000
    assert planned.seconds > 0
    assert planned.memory_mb > 12 * planned.parameters / 1e6


@pytest.mark.parametrize("name", [name for name in NAMES if name not in UNKNOWN])
def test_all_data_of_every_recipe_is_of_known_size(name):
    recipe = load_recipe(name)
    specs = [spec for scale in ("paper", "cpu") if scale in recipe.scales for spec in recipe.runs(scale)]
    with opened_instead(unwritten):
        for data_set in {each for spec in specs for each in spec.settings.task.data_sets()}:
            assert open_prepared(*data_set).data_hash == UNPREPARED


@pytest.mark.parametrize("kind", ["memorize", "reasoning"])
def test_stories_that_are_not_here_ask_for_the_six_places(kind):
    (spec,) = load_recipe(f"rmt_1m_{kind.removesuffix('ing')}").runs("paper", seeds=[1])[:1]
    with opened_instead(unwritten):
        task = open_run(spec).task
    assert task.classes == 6
    assert 33_278 < task.symbols < 33_300


@pytest.mark.parametrize("row", ["gru", "lstm"])
def test_steps_that_cost_the_same_are_not_all_counted_and_the_plan_is_the_same(row, monkeypatch):
    read = []
    step = SequenceModel.step

    def recorded(model, segment, state):
        read.append(segment.inputs.shape[1])
        return step(model, segment, state)

    monkeypatch.setattr(SequenceModel, "step", recorded)
    estimated = planned("rum_copying", row, "task.length=60", "matrix=null")
    assert max(read) < 40
    monkeypatch.setattr(cost, "_COUNTED_STEPS", 1000)
    plan._WALKS.clear()
    counted = planned("rum_copying", row, "task.length=60", "matrix=null")
    assert max(read) > 60
    assert estimated.seconds == pytest.approx(counted.seconds, rel=1e-3)
    assert estimated.memory_mb == pytest.approx(counted.memory_mb, rel=1e-3)


@pytest.mark.parametrize(
    ("name", "row", "overrides"),
    [
        ("rum_recall", "rum_lambda1", ["matrix=null"]),
        ("ur_copy", "ur_lstm", ["task.length=40"]),
        ("ur_adding", "ur_lstm", ["task.length=40"]),
        ("rmt_long_copy", None, []),
        ("ur_smnist", "lstm", ["task.pixels_per_step=28"]),
        ("rum_ptb_char", "lstm_1000", []),
        ("txl_enwik8", "base", ["model.core.layers=2"]),
    ],
)
@pytest.mark.parametrize("most", [("_MOST_ROWS", 7), ("_MOST_SYMBOLS", 500)], ids=["rows", "symbols"])
def test_some_rows_of_a_batch_stand_for_all(name, row, overrides, most, monkeypatch):
    row = row or load_recipe(name).rows[-1].id
    whole = planned(name, row, *overrides, "train.batch_size=300")
    plan._WALKS.clear()
    monkeypatch.setattr(plan, *most)
    assert planned(name, row, *overrides, "train.batch_size=300") == whole


@pytest.mark.parametrize("rows", [1000, 7])
@pytest.mark.parametrize(("symbols", "carried"), [(300 * 8 * 4, True), (300 * 8, False)])
def test_a_text_of_one_batch_starts_afresh_in_each_however_many_rows_are_drawn(
    write_text, monkeypatch, rows, symbols, carried
):
    write_text(train=symbols)
    monkeypatch.setattr(plan, "_MOST_ROWS", rows)
    overrides = ["task.segment_length=8", "train.batch_size=300"]
    (spec,) = load_recipe("rum_ptb_char").runs("paper", ["lstm_1000"], [1], overrides)
    (batch, _), task = plan._drawn(open_run(spec).task, spec.settings), open_run(spec).task
    assert cost.carries(batch, task) == carried
    assert batch.inputs.shape == (300, 8)


@pytest.mark.parametrize("length", [10_000, 100_000])
def test_a_huge_batch_draws_few_symbols(length, monkeypatch):
    drawn = []
    original = CopyLastTen.draw

    def draw(task, count, *rest):
        drawn.append(count * (length + 20))
        return original(task, count, *rest)

    monkeypatch.setattr(CopyLastTen, "draw", draw)
    huge = planned("ur_copy", "lstm", f"task.length={length}", "train.batch_size=1000000")
    assert max(drawn) < 1.1e6
    some = planned("ur_copy", "lstm", f"task.length={length}", "train.batch_size=1")
    assert huge.parameters == some.parameters
    assert huge.seconds == pytest.approx(1e6 * some.seconds, rel=0.5)


def test_a_long_row_is_not_cut_where_a_few_steps_are_counted(monkeypatch):
    pieces = []
    original = Batch._segment

    def segment(batch, *rest):
        pieces.append(None)
        return original(batch, *rest)

    monkeypatch.setattr(Batch, "_segment", segment)
    planned("ur_copy", "lstm", "task.length=20000", "train.batch_size=1")
    assert len(pieces) < 10


def test_what_is_said_about_longer_sources_costs_more():
    settings = ["task.target_length=5", "task.vocabulary=50", "model.pointer_generator.size=4"]
    settings += ["model.core.hidden_size=4", "model.source_core.hidden_size=4", "train.steps=100"]
    short, long = (
        planned("rum_cnn_dailymail", "lstm", *settings, f"task.source_length={length}")
        for length in (20, 200)
    )
    assert long.seconds > 3 * short.seconds
    assert long.memory_mb > 2 * short.memory_mb


@pytest.mark.parametrize("row", ["lead_3", "lstm"])
def test_what_is_said_costs_what_its_steps_do_though_they_are_scored_in_several_pieces(row, monkeypatch):
    settings = ["task.source_length=20", "model.core.hidden_size=4", "model.source_core.hidden_size=4"]
    found = planned("rum_cnn_dailymail", row, *settings)
    plan._WALKS.clear()
    monkeypatch.setattr(cost, "_COUNTED_STEPS", 100)  # all of them
    whole = planned("rum_cnn_dailymail", row, *settings)
    assert found.memory_mb == whole.memory_mb > 0
    assert found.seconds == pytest.approx(whole.seconds)


def test_decoding_takes_the_time_of_reading_once_and_of_a_step_for_each_word():
    def seconds(*sets):
        small = ["task.vocabulary=50", "task.source_length=20", "model.pointer_generator.size=4"]
        sizes = ["model.core.hidden_size=4", "model.source_core.hidden_size=4"]
        sets = [f"eval.summaries.{each}" for each in sets]
        return planned("rum_cnn_dailymail", "lstm", *small, *sizes, *sets).decoding_seconds

    whole = seconds()  # all 11,490 articles of the test, though what stands for them has fewer
    assert seconds("examples=1149") == pytest.approx(whole / 10)
    shorter, longer = (seconds(f"summaries.longest={longest}") for longest in (60, 180))
    assert longer - shorter == pytest.approx(whole - (2 * shorter - whole))
    assert 0 < 2 * shorter - whole < 0.3 * whole  # reading
    assert seconds("summaries.beam=16") > 1.5 * whole
    assert planned("rum_cnn_dailymail", "lead_3").decoding_seconds == 0
    assert planned("ur_copy", "ur_lstm").decoding_seconds == 0


def test_stages_take_the_time_of_their_own_tasks():
    easy, hard = planned("ur_copy", "ur_lstm", "task.length=50"), planned("ur_copy", "ur_lstm")
    both = planned("ur_copy", "ur_lstm", "train.stages=[{steps: 2500, task: {length: 50}}]")
    assert both.seconds == pytest.approx(0.25 * easy.seconds + 0.75 * hard.seconds)
    assert both.memory_mb == hard.memory_mb


def test_memory_is_that_of_the_largest_stage():
    whole = planned("ur_copy", "ur_lstm")
    stages = "train.stages=[{steps: 10, task: {length: 20}}, {steps: 10, task: {length: 480}}]"
    assert planned("ur_copy", "ur_lstm", "task.length=30", stages).memory_mb == whole.memory_mb


def test_drawing_a_batch_takes_its_time(monkeypatch):
    ticks = itertools.count()
    without = planned("ur_copy", "ur_lstm")
    monkeypatch.setattr(plan, "clock", lambda device: 0.01 * next(ticks))
    assert planned("ur_copy", "ur_lstm").seconds_per_step == pytest.approx(without.seconds_per_step + 0.01)
    monkeypatch.setattr(plan, "_MOST_ROWS", 5)  # of ten: the others take as long again
    assert planned("ur_copy", "ur_lstm").seconds_per_step == pytest.approx(without.seconds_per_step + 0.02)


@pytest.mark.parametrize(
    ("backprop", "kept", "passes"),
    [
        ("{kind: full}", 7, 1),
        ("{kind: truncated, segment_length: 10, segments: 3}", 3, 1),
        ("{kind: sliding, depth: 2}", 3, 3),
        ("{kind: replay}", 1, 1 + 6 / 21),
    ],
)
def test_segments_cost_what_the_first_two_do_and_back_propagation_keeps_and_repeats_some(
    backprop, kept, passes, monkeypatch
):
    first, second = cost.Cost(100.0, 10.0, 9e9, 0.0), cost.Cost(30.0, 3.0, 2e9, 0.0)
    monkeypatch.setattr(
        cost.Walks, "costs", lambda walks, segments, carried: [first, second][: len(segments)]
    )
    monkeypatch.setattr(cost, "update_cost", lambda *_: cost.Cost(0.0, 1.0, 0.0, 0.0))
    monkeypatch.setattr(plan, "weight_bytes", lambda *_: 0)
    monkeypatch.setattr(plan, "pace_of", lambda *_: Pace(1.0, 1000.0, 0.0))
    core = "model.core={kind: rmt, hidden_size: 8, heads: 2, memory_tokens: 2, segment_length: 10}"
    length = "task={kind: copying_memory, length: 46, symbols: 10}"  # 66 steps: seven segments
    row = load_recipe("rum_copying").rows[0].id
    found = planned("rum_copying", row, core, length, "matrix=null", f"train.backprop={backprop}")
    assert found.memory_mb == pytest.approx((9e9 + (kept - 1) * 2e9) / 1e6)
    seconds = passes * (100 + 6 * 30) + 1000 * (passes * (10 + 6 * 3) + 1)
    assert found.seconds_per_step == pytest.approx(seconds)


class Backbone(torch.nn.Module):
    """A pretrained encoder that knows a hundred symbols."""

    config = SimpleNamespace(is_encoder_decoder=False)

    def __init__(self):
        super().__init__()
        self.embeddings = torch.nn.Embedding(100, 768)
        self.layer = torch.nn.Linear(768, 768)

    @classmethod
    def from_pretrained(cls, name, local_files_only, output_loading_info):
        assert torch.empty(0).device == CPU, "files are not read into a model without memory"
        return cls(), {"missing_keys": []}

    def get_input_embeddings(self):
        return self.embeddings

    def set_input_embeddings(self, embeddings):
        self.embeddings = embeddings

    def forward(self, inputs_embeds, attention_mask=None):
        read = inputs_embeds + inputs_embeds.mean(1, keepdim=True)
        return SimpleNamespace(last_hidden_state=self.layer(read))


class Tokenizer:
    """One symbol for every word."""

    sep_token_id, eos_token_id, cls_token_id, bos_token_id = 3, None, 2, None

    @classmethod
    def from_pretrained(cls, name, local_files_only):
        return cls()

    def __len__(self):
        return 100

    def encode(self, text, add_special_tokens, verbose):
        return [5] * len(text.split())


def test_a_pretrained_model_that_is_here_is_planned_and_one_that_is_not_is_named(monkeypatch):
    monkeypatch.setitem(
        sys.modules, "transformers", SimpleNamespace(AutoModel=Backbone, AutoTokenizer=Tokenizer)
    )
    one, two = (planned("rmt_hyperpartisan", f"t5_base_{count}seg", "train.batch_size=2") for count in (1, 2))
    # Table, layer, marks, memory, what stands for the encoder's own table, classes.
    assert one.parameters == 100 * 768 + 768 * 769 + (2 + 10 + 1) * 768 + 2 * 769
    assert two.seconds == pytest.approx(2 * one.seconds, rel=0.05)
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(DataError, match="t5-base needs the transformers library"):
        planned("rmt_hyperpartisan", "t5_base_1seg")


@pytest.mark.parametrize(
    ("name", "row"), [("txl_enwik8", "base"), ("rmt_prenorm_enwik8", None), ("rmt_wt103", None)]
)
def test_what_few_layers_cost_gives_what_all_do(name, row, monkeypatch):
    row = row or load_recipe(name).rows[-1].id

    def plan_now():
        return planned(name, row, "model.core.layers=7", "train.batch_size=2")

    few = plan_now()
    plan._WALKS.clear()
    monkeypatch.setattr(plan, "_MANY_LAYERS", 1000)
    whole = plan_now()
    assert few.seconds == pytest.approx(whole.seconds, rel=1e-3)
    assert few.memory_mb == pytest.approx(whole.memory_mb, rel=1e-3)
    assert few.parameters == whole.parameters


def test_rows_of_equal_models_and_batches_are_counted_once(monkeypatch):
    counted = []
    step = SequenceModel.step

    def recorded(model, segment, state):
        counted.append(segment)
        return step(model, segment, state)

    monkeypatch.setattr(SequenceModel, "step", recorded)
    specs = load_recipe("rmt_wt103").runs("smoke", seeds=[1])
    kinds = {
        (spec.settings.model.model_dump_json(), spec.settings.task, spec.settings.train.batch_size)
        for spec in specs
    }
    assert len(kinds) < len(specs) / 1.5
    with opened_instead(unwritten):
        for spec in specs:
            plan_of(open_run(spec), CPU)
    assert len(counted) <= 2 * len(kinds)


@pytest.mark.parametrize(
    ("name", "row"), [("rum_recall", "rum_lambda1"), ("ur_copy", "ur_lstm"), ("rmt_copy", None)]
)
def test_what_is_known_of_operations_changes_no_plan(name, row, monkeypatch):
    row = row or load_recipe(name).rows[-1].id
    afresh, again = (planned(name, row, scale="smoke") for _ in range(2))
    plan._WALKS.clear()
    known = planned(name, row, scale="smoke")
    plan._WALKS.clear()
    monkeypatch.setattr(meta.KnownShapes, "__torch_dispatch__", _ask_torch)
    assert afresh == again == known == planned(name, row, scale="smoke")


def _ask_torch(mode, func, types, args=(), kwargs=None):
    return func(*args, **(kwargs or {}))
