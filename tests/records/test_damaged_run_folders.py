"""A run folder that is not what was written is one sentence, and never a number."""

import hashlib
import io
import json
import shutil

import pytest
import torch
from safetensors import torch as safetensors
from small_cores import ALL, small_core

from rmem_cli.errors import DataError, InterruptedRunError, UsageError
from rmem_cli.models.state import detach
from rmem_cli.recipe.registry import OPTIMIZERS, build
from rmem_cli.records.curve import CurveFile
from rmem_cli.records.environment import read_environment
from rmem_cli.records.restoring import check_state
from rmem_cli.records.status import read_status

ENVIRONMENT = {
    "threads": 1,
    "device": "cpu",
    "dtype": "float32",
    "op_paths": "",
    "rmem_version": "0",
    "torch_version": "0",
    "git_commit": "",
    "git_dirty": "",
    "python": "3",
    "platform": "x",
}
STATUS = {"status": "ok", "step": 3, "message": ""}
DEEP = "[" * 100_000 + "]" * 100_000


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "3",
        "[]",
        "{}",
        DEEP,
        '{"a": ' * 100_000,
        "x" * (2 << 20),
        *(
            json.dumps(ENVIRONMENT | {"threads": value})
            for value in ("x", 0, -1, 10**9, 1.5, True, None, [1])
        ),
        *(json.dumps(ENVIRONMENT | {name: 3}) for name in ENVIRONMENT if name != "threads"),
        *(json.dumps({k: v for k, v in ENVIRONMENT.items() if k != name}) for name in ENVIRONMENT),
        json.dumps(ENVIRONMENT | {"more": 1}),
        json.dumps([ENVIRONMENT]),
    ],
    ids=lambda text: text[:40],
)
def test_an_environment_that_is_not_one_is_damaged(tmp_path, text):
    (tmp_path / "environment.json").write_text(text)
    with pytest.raises(DataError, match=r"environment\.json is damaged"):
        read_environment(tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        DEEP,
        *(json.dumps(STATUS | {"status": value}) for value in ("fine", 1, None, ["ok"])),
        *(json.dumps(STATUS | {"step": value}) for value in (-1, "3", 2.5, None, [3])),
        *(json.dumps(STATUS | {"message": value}) for value in (3, None, {})),
        json.dumps(STATUS | {"more": 1}),
        json.dumps({"status": "ok"}),
    ],
    ids=lambda text: text[:40],
)
def test_a_status_that_is_not_one_is_damaged(tmp_path, text):
    (tmp_path / "status.json").write_text(text)
    with pytest.raises(DataError, match=r"status\.json is damaged"):
        read_status(tmp_path)


@pytest.mark.parametrize(("read", "name"), [(read_environment, "environment"), (read_status, "status")])
def test_a_folder_in_the_place_of_a_file_is_damage(tmp_path, read, name):
    (tmp_path / f"{name}.json").mkdir()
    with pytest.raises(DataError, match=rf"{name}\.json is damaged"):
        read(tmp_path)


HEADER = "step,split,metric,value\n"


@pytest.mark.parametrize(
    "text",
    [
        "1,train,loss,0.5\n",
        f"{HEADER}1,train,loss,high\n",
        f"{HEADER}1,train,loss,\n",
        f"{HEADER}one,train,loss,0.5\n",
        f"{HEADER}-1,train,loss,0.5\n",
        f"{HEADER}{'9' * 5000},train,loss,0.5\n",
        f"{HEADER}1,train,loss,0.5,7\n",
        f"{HEADER}1,train,loss,0.5\n\x00\x01\n2,train,loss,0.5\n",
        f"{HEADER}\n1,train,loss,0.5\n",
        f"{HEADER}1,train,lo ss,0.5\n",
    ],
    ids=lambda text: text[:40],
)
def test_a_curve_with_a_row_that_is_none_is_damaged_and_not_shortened(tmp_path, text):
    path = tmp_path / "metrics.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=r"metrics\.csv is damaged"):
        CurveFile(path).truncate_after(5)
    assert path.read_text() == text


def test_a_curve_that_is_a_folder_or_too_large_is_damaged(tmp_path):
    (tmp_path / "folder").mkdir()
    with (tmp_path / "large").open("wb") as file:
        file.truncate(1 << 40)
    for name in ("folder", "large"):
        with pytest.raises(DataError, match=f"{name} is damaged"):
            CurveFile(tmp_path / name).truncate_after(5)


@pytest.fixture(params=["copying", "text"])
def stopped(request, make_spec, lab, write_text):
    """A run stopped in the middle, its folder and its checkpoint: (spec, folder, weights, state)."""
    write_text()
    spec = make_spec(*SLIDING[request.param], name=request.param)
    calls = iter(range(100))
    with pytest.raises(InterruptedRunError):
        lab.train(spec, stop=lambda: next(calls) == 6)
    return spec, lab.folder(spec)


SLIDING = {
    "copying": (),
    "text": ("train.backprop={kind: sliding, depth: 2}", "model.core={kind: lstm, hidden_size: 8}"),
}


def forge(folder, change, name="last"):
    """Change what a checkpoint holds, with the hashes that belong to it."""
    pointer_file = folder / "checkpoints" / f"{name}.json"
    pointer = json.loads(pointer_file.read_text())
    content = folder / "checkpoints" / pointer["folder"]
    weights = safetensors.load((content / "weights.safetensors").read_bytes())
    state = torch.load(content / "state.pt", weights_only=True)
    weights, state = change(weights, state) or (weights, state)
    buffer = io.BytesIO()
    torch.save(state, buffer)
    files = {"weights.safetensors": safetensors.save(weights), "state.pt": buffer.getvalue()}
    for file, data in files.items():
        (content / file).write_bytes(data)
        pointer["sha256"][file] = hashlib.sha256(data).hexdigest()
    pointer_file.write_text(json.dumps(pointer))


def first(mapping):
    return next(iter(mapping))


def put(*path):
    """A change of the state: the last of the arguments at the place that the others name."""
    *place, name, value = path

    def change(_weights, state):
        for each in place:
            state = state[each]
        state[name] = value

    return change


def change_entry(make):
    """A change of what the optimizer remembers of its first parameter."""

    def change(_weights, state):
        entries = state["optimizer"]["state"]
        entries[first(entries)] = make(entries[first(entries)])

    return change


def change_weight(make):
    def change(weights, state):
        name = first(weights)
        return make({**weights}, name, weights[name]), state

    return change


FORGED = {
    "a weight of another shape": change_weight(lambda all_, name, w: all_ | {name: w[:1].clone()}),
    "a weight of another type": change_weight(lambda all_, name, w: all_ | {name: w.double()}),
    "a weight of another name": change_weight(
        lambda all_, name, w: {**{k: v for k, v in all_.items() if k != name}, "nan": w}
    ),
    "a weight too few": change_weight(lambda all_, name, w: {k: v for k, v in all_.items() if k != name}),
    "a weight too many": change_weight(lambda all_, name, w: all_ | {"more": w.clone()}),
    "no weights": change_weight(lambda *_: {}),
    "no counters": put("counters", {}),
    "counters that are a list": put("counters", [1, 2]),
    "a step beyond the run": put("counters", "step", 10**9),
    "a step before the run": put("counters", "step", -1),
    "half a step": put("counters", "step", 2.5),
    "a step that is true": put("counters", "step", True),
    "a best value that is none": put("counters", "best", float("nan")),
    "a best step beyond the run": put("counters", "best_step", 10**9),
    "time that is text": put("counters", "wall_seconds", "1"),
    "time without end": put("counters", "wall_seconds", float("inf")),
    "more solved validations than steps": put("counters", "evaluations_solved", 10**9),
    "one counter more": put("counters", "more", 1),
    "no optimizer": put("optimizer", None),
    "an optimizer without groups": put("optimizer", "param_groups", []),
    "an optimizer with other settings": put("optimizer", "param_groups", 0, "weight_decay", 0.5),
    "an optimizer that remembers nothing": put("optimizer", "state", {}),
    "an optimizer of a parameter that is not there": put("optimizer", "state", 999, {}),
    "an optimizer with another shape": change_entry(lambda of: {k: torch.zeros(2, 7) for k in of}),
    "an optimizer with numbers for tensors": change_entry(lambda of: dict.fromkeys(of, 1.0)),
    "an optimizer with a tensor too few": change_entry(lambda of: dict(list(of.items())[1:])),
    "a schedule of another kind": put("schedule", {"more": 1.0}),
    "no schedule": put("schedule", None),
    "back-propagation of another kind": put("backprop", {"more": []}),
    "an average that is none": put("recent_loss", float("nan")),
    "an average that is text": put("recent_loss", "1"),
    "steps that are no number": put("recent_steps", 1.5),
    "more steps than are averaged": put("recent_steps", 1000),
    "an average that is a tensor": put("recent_loss", torch.zeros(2, 3)),
    "a state that is text": put("state", "state"),
    "a state of other names": put("state", {"x": torch.zeros(4, 8)}),
    "nothing": lambda weights, _state: (weights, {}),
    "a list": lambda weights, _state: (weights, [1]),
}


@pytest.mark.parametrize("change", FORGED.values(), ids=FORGED)
def test_a_forged_checkpoint_with_the_right_hash_is_refused(stopped, lab, change):
    spec, folder = stopped
    forge(folder, change)
    with pytest.raises(DataError, match=r"^the checkpoint 'last' in .* is damaged: .*$"):
        lab.train(spec)
    assert lab.rows(spec.experiment) == []


def test_a_checkpoint_that_is_written_anew_as_it_was_goes_on(stopped, lab):
    spec, folder = stopped
    forge(folder, lambda *_: None)
    assert lab.train(spec).status == "ok"


def change_segment(make):
    """A change of the first segment that back-propagation keeps."""

    def change(_weights, state):
        make(state["backprop"]["past"][0]["segment"])

    return change


FORGED_SEGMENTS = {
    "a schedule that was reduced less than never": put("schedule", "reductions", -1),
    "a schedule that was reduced more often than there were steps": put("schedule", "reductions", 1000),
    "a state of other shapes": put("state", "h", torch.zeros(3, 1, 8)),
    "no state where one is carried": put("state", None),
    "a segment fewer": lambda _, state: state["backprop"].update(past=state["backprop"]["past"][1:]),
    "more segments": lambda _, state: state["backprop"]["past"].extend(state["backprop"]["past"] * 2),
    "a segment without its targets": change_segment(lambda segment: segment.pop("targets")),
    "a segment of unknown symbols": change_segment(lambda segment: segment["inputs"].add_(99)),
    "a segment of negative classes": change_segment(lambda segment: segment["targets"].sub_(99)),
    "a segment of half a part": put("backprop", "past", 0, "segment", "part", torch.zeros(4)),
    "a segment of numbers": put("backprop", "past", 0, "segment", "inputs", torch.zeros(4, 6)),
    "a segment with a reset that is none": put("backprop", "past", 0, "segment", "reset", True),
    "a segment of one row": put("backprop", "past", 0, "segment", "inputs", torch.zeros(1, 6).long()),
    "a segment with another state": put("backprop", "past", 1, "state", {"x": torch.zeros(1)}),
}


@pytest.mark.parametrize("change", FORGED_SEGMENTS.values(), ids=FORGED_SEGMENTS)
@pytest.mark.parametrize("stopped", ["text"], indirect=True)
def test_forged_segments_of_a_text_are_refused(stopped, lab, change):
    spec, folder = stopped
    forge(folder, change)
    with pytest.raises(DataError, match=r"the checkpoint 'last' in .* is damaged: "):
        lab.train(spec)


@pytest.mark.parametrize("stopped", ["copying"], indirect=True)
@pytest.mark.parametrize("what", ["checkpoints", "last.json", "weights.safetensors", "state.pt"])
@pytest.mark.parametrize("kind", ["file for folder", "folder for file"])
def test_a_folder_where_a_file_belongs_and_the_reverse_are_refused(stopped, lab, what, kind):
    spec, folder = stopped
    pointer = json.loads((folder / "checkpoints" / "last.json").read_text())
    place = {
        "checkpoints": folder / "checkpoints",
        "last.json": folder / "checkpoints" / "last.json",
    }.get(what, folder / "checkpoints" / pointer["folder"] / what)
    place = place.parent if kind == "file for folder" and what not in ("checkpoints", "last.json") else place
    shutil.rmtree(place) if place.is_dir() else place.unlink()
    if kind == "file for folder":
        place.write_text("x")
    else:
        place.mkdir()
    if (what, kind) == ("checkpoints", "folder for file"):
        lab.train(spec)  # an empty folder of checkpoints: the run starts again
        return
    with pytest.raises((DataError, UsageError)):
        lab.train(spec)
    assert lab.rows() == []


@pytest.mark.parametrize("stopped", ["copying"], indirect=True)
@pytest.mark.parametrize(
    "folder_of",
    [DEEP, '"../../elsewhere"', '"a\\u0000b"', f'"{"x" * 5000}"', "3", "[]", "null", '""'],
    ids=lambda text: text[:20],
)
def test_a_pointer_to_what_is_no_checkpoint_is_refused(stopped, lab, folder_of):
    spec, folder = stopped
    pointer = folder / "checkpoints" / "last.json"
    sums = json.dumps(json.loads(pointer.read_text())["sha256"])
    pointer.write_text(f'{{"folder": {folder_of}, "sha256": {sums}}}')
    with pytest.raises(DataError, match=r"the checkpoint 'last' in .* is damaged: "):
        lab.train(spec)


EVALUATED = ("weight", "counter", "a step", "half a step", "best", "time")


@pytest.mark.parametrize("name", [name for name in FORGED if any(word in name for word in EVALUATED)])
def test_a_forged_checkpoint_is_not_evaluated(make_spec, lab, name):
    spec = make_spec()
    lab.train(spec)
    rows = lab.rows()
    forge(lab.folder(spec), FORGED[name])
    with pytest.raises(DataError, match=r"the checkpoint 'last' in .* is damaged: "):
        lab.evaluate(spec)
    assert lab.rows() == rows


@pytest.mark.parametrize("name", ["checkpoints", "metrics.csv", "environment.json"])
def test_a_run_starts_all_over_again_whatever_is_in_the_place_of_its_files(make_spec, lab, same, name):
    spec = make_spec()
    lab.train(spec)
    expected = same(lab.rows())
    place = lab.folder(spec) / name
    if place.is_dir():
        shutil.rmtree(place)
        place.write_text("x")
    else:
        place.unlink()
        (place / "deeper").mkdir(parents=True)
    assert lab.train(spec, repeat=True).status == "ok"
    assert same(lab.rows()) == expected


@pytest.mark.parametrize("kind", OPTIMIZERS.kinds())
@pytest.mark.parametrize("momentum", [0.0, 0.5])
def test_the_state_of_every_optimizer_is_that_of_its_run(make_spec, lab, same, kind, momentum):
    fields = "" if "momentum" not in OPTIMIZERS.settings(kind).model_fields else f", momentum: {momentum}"
    spec = make_spec(f"optimizer={{kind: {kind}, lr: 0.01{fields}}}")
    calls = iter(range(100))
    with pytest.raises(InterruptedRunError):
        lab.train(spec, stop=lambda: next(calls) == 6)
    assert lab.train(spec).status == "ok"


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("cache", [0, 5])
def test_the_state_of_every_core_is_one_of_its_model(kind, cache):
    settings = small_core(kind, segment_length=4)
    chosen = {"cache_length": cache, "layers": 2}
    known = type(settings).model_fields
    settings = settings.model_copy(update={name: chosen[name] for name in chosen if name in known})
    core = build(settings, 8)
    state = None
    for _ in range(3):
        state = detach(core(torch.randn(3, 4, 8), state)[1])
        check_state(state, core.initial_state(3))
        if state:
            with pytest.raises(ValueError, match="the state"):
                check_state({name: value[:2] for name, value in state.items()}, core.initial_state(3))
