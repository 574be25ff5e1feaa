"""A folder that was exported gives the model back, or is refused with a sentence."""

import hashlib
import json
import pickle
import shutil
from dataclasses import replace
from functools import partial

import pytest
import torch
from small_cores import ALL, small_core

from rmem_cli import load
from rmem_cli.errors import DataError, RmemError, UsageError
from rmem_cli.models.sequence import build_model
from rmem_cli.recipe import load_recipe
from rmem_cli.recipe.settings_file import read_settings, settings_text
from rmem_cli.records import exported as exported_module
from rmem_cli.records.environment import Environment
from rmem_cli.records.exported import Description, read_exported, write_exported

ENVIRONMENT = Environment.current(threads=1, device="cpu", dtype="float32", op_paths="")
SYMBOLS = 16  # of quickstart


def write(folder, core=None):
    """Exports an untrained model of quickstart, and gives it."""
    spec = load_recipe("quickstart").runs("smoke")[0]
    if core is not None:
        model = spec.settings.model.model_copy(update={"core": core})
        spec = replace(spec, settings=spec.settings.model_copy(update={"model": model}))
    torch.manual_seed(1)
    model = build_model(spec.settings.model, SYMBOLS, 10)
    names = ("experiment", "row", "title", "cell", "scale", "seed", "footnotes")
    description = Description(
        **{name: getattr(spec, name) for name in names},
        checkpoint="last",
        step=3,
        wall_seconds=1.5,
        train_hash=spec.train_hash(""),
        data_hash="",
        symbols=SYMBOLS,
        classes=10,
        class_names=None,
        environment=ENVIRONMENT,
        sha256={},
    )
    write_exported(folder, description, spec, None, model.state_dict(), "# A model\n")
    return model.eval()


@pytest.mark.parametrize("name", ALL)
def test_every_core_comes_back_with_the_outputs_that_it_had(tmp_path, name):
    model = write(tmp_path / "model", small_core(name, segment_length=8))
    loaded = load(tmp_path / "model")
    x = torch.randint(SYMBOLS, (2, 8))
    state = None
    with torch.no_grad():
        for _ in range(2):
            logits, state = loaded(x, state)
        assert logits.shape == (2, 8, 10)
        loaded.model, first = model, (logits, state)
        state = None
        for _ in range(2):
            logits, state = loaded(x, state)
    torch.testing.assert_close((logits, state), first, rtol=0, atol=0)


def test_loading_draws_nothing_and_gradients_flow(tmp_path):
    write(tmp_path / "model")
    before = torch.random.get_rng_state()
    model = load(str(tmp_path / "model"))
    assert torch.equal(torch.random.get_rng_state(), before)
    logits, _ = model(torch.zeros(1, 3, dtype=torch.long))
    logits.sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    for text in (lambda: model.vocabulary, lambda: model.encode("a"), lambda: model.generate("a", 3)):
        with pytest.raises(UsageError, match="'associative_recall'"):
            text()


def test_it_is_there_as_a_whole_or_not_at_all(tmp_path, monkeypatch):
    original, written = exported_module.write_durably, []

    def full_disk(path, content):
        if written:
            raise OSError(28, "No space left on device")
        written.append(path)
        original(path, content)

    monkeypatch.setattr(exported_module, "write_durably", full_disk)
    with pytest.raises(UsageError, match=r"model cannot be written \(No space left on device\)"):
        write(tmp_path / "model")
    assert written
    assert not list(tmp_path.iterdir())
    monkeypatch.undo()
    (tmp_path / "model").mkdir()
    write(tmp_path / "model")
    with pytest.raises(UsageError, match="is there already, and not an empty folder"):
        write(tmp_path / "model")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def rewritten(folder, name, data):
    """Another content of a file, with its hash."""
    (folder / name).write_bytes(data)
    description = json.loads((folder / "export.json").read_text())
    description["sha256"][name] = hashlib.sha256(data).hexdigest()
    (folder / "export.json").write_text(json.dumps(description))


def described(folder, **changes):
    file = folder / "export.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def with_tokenizer(folder, changed):
    """A tokenizer of sixteen letters, but for what is changed."""
    letters = {"name": "made_up", "form": "char", "vocabulary": list("abcdefghijklmno\n"), "end_of_line": 15}
    rewritten(
        folder, "tokenizer.json", json.dumps({"kind": "text", "model": "", **letters, **changed}).encode()
    )


DAMAGE = {
    "none": (lambda folder: shutil.rmtree(folder), UsageError, "is no exported model: it has no export.json"),
    "no weights": (lambda folder: (folder / "weights.safetensors").unlink(), DataError, "is missing"),
    "a folder": (
        lambda folder: ((folder / "settings.yaml").unlink(), (folder / "settings.yaml").mkdir()),
        DataError,
        "settings.yaml cannot be read",
    ),
    "other weights": (
        lambda folder: (folder / "weights.safetensors").write_bytes(b"?"),
        DataError,
        "weights.safetensors is not what was written",
    ),
    "a pickle": (
        lambda folder: rewritten(folder, "weights.safetensors", pickle.dumps({"a": 1})),
        DataError,
        "not in the form of an export",
    ),
    "weights of another": (
        lambda folder: rewritten(
            folder, "weights.safetensors", exported_module.weights_to_bytes({"a": torch.zeros(99)})
        ),
        DataError,
        "its weights are not those of its settings",
    ),
    "another tokenizer": (
        lambda folder: rewritten(folder, "tokenizer.json", b'{"kind": "other"}'),
        DataError,
        "not in the form of an export",
    ),
    "other settings": (
        lambda folder: rewritten(
            folder,
            "settings.yaml",
            (folder / "settings.yaml").read_bytes().replace(b"steps: 3", b"steps: 4"),
        ),
        UsageError,
        "does not give the settings that were trained any more",
    ),
    "unknown settings": (
        lambda folder: rewritten(folder, "settings.yaml", b"task: {kind: nothing}\n"),
        UsageError,
        "settings.yaml:1:",
    ),
    "no json": (
        lambda folder: (folder / "export.json").write_text("{"),
        DataError,
        "is not what was written",
    ),
    "a list": (
        lambda folder: (folder / "export.json").write_text("[]"),
        DataError,
        "is not what was written",
    ),
    "another field": (lambda folder: described(folder, more=1), DataError, "is not what was written"),
    "a name that moves the cursor": (
        lambda folder: described(folder, row="\x1b[2J"),
        DataError,
        "is not what was written",
    ),
    "another type": (lambda folder: described(folder, step="3"), DataError, "is not what was written"),
    "fewer files": (lambda folder: described(folder, sha256={}), DataError, "does not name settings.yaml"),
    "a newer format": (
        lambda folder: described(folder, format=2, rmem_version="9.1", more=1),
        UsageError,
        "was exported by rmem 9.1, in format 2, and rmem .* reads formats up to 1; install that version",
    ),
    "a name that no file has": (
        lambda folder: described(folder, sha256={"a\0b": "x"}),
        DataError,
        r"no file can be called 'a.x00b'",
    ),
    "more symbols than weights": (
        lambda folder: described(folder, symbols=10**12),
        DataError,
        "fewer weights than symbols",
    ),
    "more classes than numbers": (
        lambda folder: described(folder, classes=10**19),
        DataError,
        "fewer weights than symbols or classes",
    ),
    **{
        f"a tokenizer with {name}": (
            partial(with_tokenizer, changed=changed),
            DataError,
            "weights or tokenizer are not in the form of an export",
        )
        for name, changed in {
            "few symbols": {"vocabulary": ["a"]},
            "an end beyond": {"end_of_line": 10**9},
            "no model": {"form": "sentencepiece-16"},
            "symbols that are no bytes": {"form": "bytes", "vocabulary": ["\u20ac"] * SYMBOLS},
        }.items()
    },
    "other symbols": (lambda folder: described(folder, symbols=17), DataError, "not those of its settings"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_what_was_damaged_is_a_sentence(tmp_path, damage):
    write(tmp_path / "model")
    change, error, message = DAMAGE[damage]
    change(tmp_path / "model")
    with pytest.raises(RmemError, match=message) as raised:
        load(tmp_path / "model")
    assert isinstance(raised.value, error)
    assert str(tmp_path / "model") in str(raised.value)


def test_no_file_outside_of_the_folder_is_read(tmp_path):
    write(tmp_path / "model")
    (tmp_path / "secret").write_bytes(b"secret")
    sha256 = json.loads((tmp_path / "model/export.json").read_text())["sha256"]
    described(tmp_path / "model", sha256={**sha256, "../secret": hashlib.sha256(b"secret").hexdigest()})
    with pytest.raises(DataError, match="secret is missing"):
        read_exported(tmp_path / "model")


@pytest.mark.parametrize("recipe", ["rmt_wt103", "memn2n_babi", "rum_cnn_dailymail", "ur_pmnist"])
def test_settings_come_back_from_their_file(recipe):
    for spec in load_recipe(recipe).runs()[:3]:
        assert read_settings(settings_text(spec.settings), "settings.yaml") == spec.settings
