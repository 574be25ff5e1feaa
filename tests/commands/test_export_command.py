"""`rmem export`, and what becomes of the folders that it writes."""

import hashlib
import json
import os
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from rmem_cli import load
from rmem_cli.errors import UsageError
from rmem_cli.models.cores.transformer_config import PretrainedRMTSettings
from rmem_cli.recipe import load_recipe, own_core
from rmem_cli.records.listing import found_runs
from rmem_cli.runs import export as export_module

HEAD = """\
name: exported
title: A small experiment
paper: rum2019
optimizer: {kind: adam, lr: 0.03}
seeds: [1]
rows: [{id: one, title: One}]
scales: {smoke: {train.steps: 2}}
"""
RNN = "model: {core: {kind: lstm, hidden_size: 8}}\n"
TEXT = """\
task: {kind: language_model, dataset: ptb, form: char, segment_length: 12}
model:
  encoder: {kind: embedding, size: 8}
  core: {kind: rmt, hidden_size: 8, layers: 1, heads: 2, memory_tokens: 2, segment_length: 6}
train: {steps: 6, batch_size: 4, eval_every: 2, validation: {metric: bpc}}
eval: [{name: test, split: test, checkpoint: best, metrics: [bpc, accuracy]}]
"""
KINDS = {
    "text": TEXT,
    "summaries": """\
task: {kind: summarization, dataset: cnn_dailymail, vocabulary: 20, source_length: 8, target_length: 6}
model: {architecture: pointer_generator, core: {kind: lstm, hidden_size: 6}, pointer_generator: {size: 4}}
train: {steps: 3, batch_size: 4}
eval:
  - {name: test, split: test, examples: 4, metrics: [loss]}
  - {name: said, split: test, examples: 4, metrics: [rouge_1], summaries: {beam: 2, shortest: 2, longest: 7}}
""",
    "stories": """\
task: {kind: babi, number: [1, 4]}
model: {architecture: memory_network, memory_network: {size: 4, linear_start_steps: 1}}
train: {steps: 3, batch_size: 2}
eval: [{name: test, split: test, metrics: [loss, accuracy]}]
""",
    "stories, word by word": """\
task: {kind: babi, number: 1, level: word}
model: {architecture: story_and_question, core: {kind: goru, hidden_size: 4}}
train: {steps: 3, batch_size: 2}
eval: [{name: test, split: test, metrics: [loss, accuracy]}]
""",
    "numbers": f"""\
task: {{kind: adding, length: 6}}
{RNN}train: {{steps: 3, batch_size: 4, dtype: float64}}
eval: [{{name: test, split: test, examples: 8, metrics: [mse]}}]
""",
    "images": f"""\
task: {{kind: image_sequence, dataset: mnist, pixels_per_step: 56, held_out: 8}}
{RNN}train: {{steps: 3, batch_size: 4}}
eval: [{{name: test, split: test, metrics: [loss]}}]
""",
    "documents": """\
task: {kind: document_classification, segment_length: 16, segments: 2}
model: {encoder: {kind: embedding, size: 8}, core: {kind: rum, hidden_size: 8, lambda: 1}}
train: {steps: 3, batch_size: 4}
eval: [{name: test, split: test, metrics: [f1, loss]}]
""",
    "facts": f"""\
task: {{kind: memorize, dataset: ptb, form: char, segments: 2, segment_length: 99}}
{RNN}train: {{steps: 2, batch_size: 4}}
eval: [{{name: test, split: test, examples: 4, metrics: [loss]}}]
""",
}


@pytest.fixture
def trained(tmp_path, monkeypatch, write_made_up, rmem):
    """Trains an experiment in the working folder, its data made up, and says what its run is called."""
    monkeypatch.chdir(tmp_path)

    def train(text=TEXT, head=HEAD):
        (tmp_path / "exported.yaml").write_text(head + text)
        for name, form in load_recipe("exported.yaml").runs()[0].settings.task.data_sets():
            write_made_up(name, form)
        assert rmem("train", "exported.yaml").code == 0
        (run,) = found_runs(Path(os.environ["RMEM_RUNS"]))
        return run.name

    return train


@pytest.fixture
def exported(trained, rmem):
    """A language model, exported to `model`."""
    assert rmem("export", trained(), "--out", "model", "--recipe", "exported.yaml").code == 0
    return Path("model")


def values(rmem, *arguments):
    """What an evaluation measures, and of what."""
    rows = json.loads(rmem("eval", *arguments, "--json").out)["results"]
    names = ("protocol", "split", "part", "metric", "value", "low", "high", "examples", "step", "eval_hash")
    return [{name: row[name] for name in (*names, "checkpoint", "parameters", "train_hash")} for row in rows]


@pytest.mark.parametrize("kind", KINDS)
def test_an_exported_model_of_any_kind_of_task_is_evaluated_to_the_values_of_its_run(kind, rmem, trained):
    run = trained(KINDS[kind])
    before = values(rmem, "exported.yaml")
    assert before
    table = Path(os.environ["RMEM_RESULTS"], "exported.csv")
    written = table.read_bytes()
    ended = rmem("export", run, "--out", "model")
    assert (ended.code, ended.out) == (0, "")
    shutil.rmtree(os.environ["RMEM_RUNS"])
    assert values(rmem, "model") == before
    assert table.read_bytes() == written
    shutil.rmtree(os.environ["RMEM_DATA"], ignore_errors=True)
    model = load("model")
    assert not model.training
    assert {path.name for path in Path("model").iterdir()} - {"tokenizer.json"} == {
        "README.md",
        "export.json",
        "settings.yaml",
        "weights.safetensors",
    }
    data_sets = model.settings.task.data_sets()
    ended = rmem("eval", "model")
    assert (ended.code, ended.err) == (0, "") if not data_sets else ended.code == 3
    assert not data_sets or "`rmem fetch" in ended.err


def test_a_text_goes_on_from_the_folder_as_from_the_run_without_its_data(rmem, exported):
    options = ("--prompt", "abc", "--tokens", 30)
    best, last = (
        rmem("sample", "exported.yaml", *options, "--checkpoint", each).out for each in ("best", "last")
    )
    beam = rmem("sample", "exported.yaml", *options, "--beam", 3).out
    assert rmem("export", "exported", "--out", "last", "--checkpoint", "last").code == 0
    for variable in ("RMEM_RUNS", "RMEM_DATA"):
        shutil.rmtree(os.environ[variable])
    assert rmem("sample", exported, *options).out == best
    assert rmem("sample", "last", *options).out == last
    assert rmem("sample", exported, *options, "--beam", 3).out == beam
    model = load(exported)
    assert "abc" + model.generate("abc", 30) + "\n" == best
    assert model.generate("abc", 30, seed=2) == rmem("sample", exported, *options, "--number", 2).out[3:-1]
    for options in ({"count": -1}, {"count": 3, "temperature": -1}, {"count": 3, "top_k": 0}):
        with pytest.raises(ValueError, match=f"^{list(options)[-1]} is {list(options.values())[-1]}; "):
            model.generate("abc", **options)
    assert (model.generate("abc", 0), len(model.generate("abc", 3, top_k=1))) == ("", 3)
    assert model.decode(model.encode("abc")) == "abc"
    assert "".join(model.vocabulary) == "_abcdefg"


def test_text_of_others_does_not_move_the_cursor(rmem, exported):
    tokenizer, description = exported / "tokenizer.json", exported / "export.json"
    data = tokenizer.read_bytes()
    changed = data.replace(b'"b"', b'"\\u001b"')
    tokenizer.write_bytes(changed)
    old, new = (hashlib.sha256(each).hexdigest() for each in (data, changed))
    description.write_text(description.read_text().replace(old, new))
    ended = rmem("sample", exported, "--tokens", 60)
    assert (ended.code, "\x1b" in ended.out, r"\x1b" in ended.out) == (0, False, True)


def test_the_card_of_a_folder_with_any_name_is_text_that_shows(rmem, trained):
    run = trained(TEXT)
    for name in ("m\udcff", "m\x1b[31m\nq"):
        assert rmem("export", run, "--out", name).code == 0
        card = Path(name, "README.md").read_text(encoding="utf-8")
        assert "\x1b" not in card
        assert rmem("sample", name, "--prompt", "a", "--tokens", 3).code == 0


def test_a_text_of_ones_own_is_named_without_its_folder(rmem, trained, tmp_path):
    Path("mine.txt").write_text("the cat sat on the mat\na dog and a cat sat\n" * 40)
    text = "text: {file: mine.txt, tokens: sentencepiece, size: 16}"
    run = trained(TEXT.replace("dataset: ptb, form: char", text).replace("bpc", "loss"))
    before = values(rmem, "exported.yaml")
    options = ("--prompt", "the cat", "--tokens", 9)
    said = rmem("sample", "exported.yaml", *options)
    assert (said.code, said.out[:7]) == (0, "the cat")
    assert rmem("export", run, "--out", "model").code == 0
    assert not any(str(tmp_path).encode() in path.read_bytes() for path in Path("model").iterdir())
    assert values(rmem, "model") == before
    Path("mine.txt").rename("moved.txt")
    shutil.rmtree(os.environ["RMEM_DATA"])
    assert rmem("sample", "model", *options).out == said.out
    assert rmem("eval", "model").code == 3
    moved = f"task.text.file={tmp_path}/moved.txt"
    assert values(rmem, "model", "--set", moved) == before


def test_a_long_text_is_read_in_parts_with_the_state_between_them(exported):
    model = load(exported)
    x = model.encode("abcdefg_" * 3)[None]  # [1, 24], four segments
    whole, _ = model(x)
    first, state = model(x[:, :12])
    rest, _ = model(x[:, 12:], state)
    torch.testing.assert_close(torch.cat([first, rest], 1), whole, rtol=0, atol=0)
    assert whole.shape == (1, 24, 8)
    assert not torch.equal(model(x[:, 12:])[0], rest)


def test_articles_are_summarized_from_the_folder_as_from_the_run(rmem, trained):
    run = trained(KINDS["summaries"])
    Path("article.txt").write_text("W0 W1 TEST0\nW3 W4\n")
    options = ("--source", "article.txt")
    from_run = rmem("sample", "exported.yaml", *options)
    assert rmem("export", run, "-o", "model").code == 0
    by_id = rmem("sample", "model", "--article", "test 0")
    assert (by_id.code, by_id.err) == (0, "")
    shutil.rmtree(os.environ["RMEM_DATA"])
    assert rmem("sample", "model", *options).out == from_run.out
    assert rmem("sample", "model", "--article", "test 0").code == 3
    model = load("model")
    assert model.summarize("w0 w1 test0\nw3 w4").split() == from_run.out.split()
    with pytest.raises(UsageError, match="call summarize"):
        model(torch.zeros(1, 2, dtype=torch.long))
    short = rmem("sample", "model", *options, "--tokens", 2, "--beam", 1).out
    assert model.summarize("w0 w1 test0\nw3 w4", longest=2, beam=1).split() == short.split()
    for search, kind, said in WRONG_SEARCHES:
        with pytest.raises(kind, match=said):
            model.summarize("w0 w1", **search)


WRONG_SEARCHES = [
    ({"bean": 2}, TypeError, "^bean unknown key; did you mean 'beam'"),
    ({"beam": 0}, ValueError, "^beam must be greater than 0, not 0$"),
    ({"beam": -1}, ValueError, "^beam must be greater than 0, not -1$"),
    ({"beam": 2.5}, ValueError, "^beam must be a whole number, not 2.5$"),
    ({"beam": "4"}, ValueError, "^beam must be a whole number, not the text '4'$"),
    ({"longest": 0}, ValueError, "^longest must be greater than 0, not 0$"),
    ({"shortest": 7, "longest": 7}, ValueError, "^shortest is 7 and longest 7, which leaves no room to stop"),
]


def test_a_question_is_answered_by_a_memory_network_that_was_loaded(rmem, trained):
    assert rmem("export", trained(KINDS["stories"]), "--out", "model").code == 0
    model = load("model")
    told = ["Mary moved to the bathroom.", "John went back to the hallway.", "Where is Mary?"]
    steps = [model.encode(sentence) for sentence in told]
    inputs = torch.nn.utils.rnn.pad_sequence(steps, batch_first=True, padding_value=-1)[None]
    logits, _ = model(inputs, question=torch.tensor([2]))
    assert logits.shape == (1, 3, len(model.class_names))
    assert model.class_names[int(logits[0, -1].argmax())] in model.vocabulary
    assert not torch.equal(logits, model(inputs[:, 1:], question=torch.tensor([1]))[0][:, -1:])


def test_a_question_is_answered_by_networks_of_story_and_question_that_were_loaded(rmem, trained):
    assert rmem("export", trained(KINDS["stories, word by word"]), "--out", "model").code == 0
    model = load("model")
    told, asked = model.encode("Mary moved to the bathroom."), model.encode("Where is Mary?")
    logits, _ = model(torch.cat([told, asked])[None], question=torch.tensor([len(told)]))
    assert logits.shape == (1, len(told) + len(asked), len(model.class_names))
    # Where the question begins matters, and what stands behind a row does not.
    assert not torch.equal(logits, model(torch.cat([told, asked])[None], question=torch.tensor([2]))[0])
    padded = torch.cat([told, asked, told])[None]
    lengths = torch.tensor([len(told) + len(asked)])
    again, _ = model(padded, lengths=lengths, question=torch.tensor([len(told)]))
    torch.testing.assert_close(again[:, lengths[0] - 1], logits[:, -1])


def test_the_card_names_a_data_set_of_several_forms_once(rmem, trained):
    text = KINDS["stories"].replace("number: [1, 4]", "number: [1, 4], if_missing: smaller")
    assert rmem("export", trained(text), "--out", "model").code == 0
    data = Path("model/README.md").read_text().partition("## Data")[2].partition("##")[0]
    assert data.count("- babi: ") == 1


def test_the_card_says_what_was_measured_published_and_how_to_load_it(rmem, trained, capfd):
    run = trained(head=HEAD.replace("title: One", "title: One, published: rum2019.ptb_char.rum_1000"))
    assert rmem("export", run, "--out", "model", "--recipe", "exported.yaml").code == 0
    card = Path("model/README.md").read_text()
    (bpc, accuracy) = values(rmem, "model")
    assert f"| bpc (bits per character) | test | {bpc['value']:.6g} | " in card
    assert f"| accuracy (fraction) | test | {accuracy['value']:.6g} | - | 1 | paper | " in card
    published = rmem("published", "rum2019.ptb_char").out
    number = re.search(r"\| test \| \S+ \| (\S+) \| 1 \|", card)[1]
    assert number in published
    assert "@article{dangovski2019rotational" in card
    code = re.search(r"```python\n(.*?)```", card, re.DOTALL)[1]
    exec(code, {})
    odd = 'a "b" [red] ü'
    assert rmem("export", run, "--out", odd, "--recipe", "exported.yaml").code == 0
    card = Path(odd, "README.md").read_text()
    exec(re.search(r"```python\n(.*?)```", card, re.DOTALL)[1], {})
    assert f"\nrmem eval '{odd}'\n" in card
    assert len(capfd.readouterr().out) == 101


def test_what_cannot_be_exported_is_refused_with_a_sentence(rmem, trained):
    run = trained()
    Path("full").mkdir()
    Path("full/notes.txt").write_text("mine")
    Path("file").write_text("mine")
    checkpoints = Path(os.environ["RMEM_RUNS"], run, "checkpoints")
    for arguments, code, message in [
        (("nothing", "--out", "model"), 2, f"there is no run 'nothing' in {os.environ['RMEM_RUNS']}"),
        ((run, "--out", "full"), 2, "full is there already, and not an empty folder"),
        ((run, "--out", "file"), 2, "file is there already"),
        ((run,), 2, "--out"),
        ((run, "--out", " "), 2, "it is empty"),
    ]:
        ended = rmem("export", *arguments)
        assert (ended.code, ended.out) == (code, "")
        assert message in " ".join(ended.err.split())
    assert {path.name for path in Path("full").iterdir()} == {"notes.txt"}
    (checkpoints / "best.json").unlink()
    ended = rmem("export", run, "--out", "model")
    assert (ended.code, "has no checkpoint 'best'" in ended.err) == (2, True)
    (checkpoints / "last.json").unlink()
    ended = rmem("export", run, "--out", "model")
    assert (ended.code, "has not come to its end" in ended.err) == (2, True)
    assert not Path("model").exists()


def test_of_several_runs_one_must_be_named(rmem, recipe):
    assert rmem("train", recipe).code == 0
    ended = rmem("export", "small", "--out", "model")
    assert ended.code == 2
    assert "'small' is 2 runs: small/gru/" in ended.err
    assert rmem("export", "small/gru/", "--out", "model").code == 0


def test_a_pretrained_model_is_not_exported(recipe, tmp_path):
    (spec, *_) = load_recipe(recipe).runs()
    core = PretrainedRMTSettings(backbone="bert-base-cased", hidden_size=4, memory_tokens=1, segment_length=4)
    model = spec.settings.model.model_copy(update={"core": core})
    spec = replace(spec, settings=spec.settings.model_copy(update={"model": model}))
    with pytest.raises(UsageError, match=r"made of a pretrained model \(bert-base-cased\)"):
        export_module.exportable(type("Run", (), {"name": "a", "path": tmp_path}), spec)


def test_an_exported_model_is_one_run_and_is_trained_already(rmem, exported):
    for arguments, message in [
        (("sample", exported, "--row", "one"), "model is one trained model; leave out --row"),
        (("sample", exported, "--set", "train.steps=1"), "leave out --set"),
        (("eval", exported, "--scale", "paper", "--seed", 1), "leave out --seed, --scale"),
        (("eval", exported, "--checkpoint", "last"), "has the checkpoint 'best' of its run"),
        (("sample", exported, "--checkpoint", "last"), "has the checkpoint 'best' of its run"),
        (("eval", exported, "--set", "model.core.hidden_size=16"), "--set changes its evaluations alone"),
        (("eval", exported, "--set", "eval.best.examples=3"), "no evaluation protocol is called 'best'"),
        (("sample", exported, "--article", "1"), "says nothing about articles"),
    ]:
        ended = rmem(*arguments)
        assert (ended.code, ended.out) == (2, "")
        assert message in " ".join(ended.err.split())
    assert [row["examples"] for row in values(rmem, exported, "--set", "eval.test.examples=9")] == [9, 9]


def test_data_that_is_another_is_refused(rmem, exported, write_text):
    write_text(test=44)
    ended = rmem("eval", exported)
    assert ended.code == 2
    assert "model learned data of hash" in ended.err


def test_a_text_of_ones_own_that_is_another_or_missing_is_told_with_where_it_belongs(rmem, trained):
    Path("mine.txt").write_text("abc def\n" * 90)
    run = trained(TEXT.replace("dataset: ptb, form: char", "text: {file: mine.txt}"))
    assert rmem("export", run, "--out", "model").code == 0
    Path("mine.txt").write_text("abc dfe\n" * 90)
    ended = rmem("eval", "model")
    assert (ended.code, "; bring back mine.txt as it was" in " ".join(ended.err.split())) == (2, True)
    Path("mine.txt").unlink()
    ended = rmem("eval", "model")
    where = (
        "There is no file mine.txt; a recipe names files as from its own folder, --set and exported models"
    )
    assert (ended.code, where in " ".join(ended.err.split())) == (3, True)


def test_a_run_whose_data_has_changed_is_not_exported(rmem, trained, write_text):
    run = trained()
    write_text(test=44)
    ended = rmem("export", run, "--out", "model")
    assert ended.code == 2
    assert "was trained on other data than is here" in ended.err


def test_a_core_of_ones_own_comes_with_its_module_alone(rmem, tmp_path, monkeypatch):
    module = """\
from torch import nn
from rmem_cli.models.cores.base import Core

class Plain(Core):
    def __init__(self, input_size, settings):
        super().__init__()
        self.input_size, self.output_size = input_size, settings.options["units"]
        self.read = nn.Linear(input_size, self.output_size)

    def initial_state(self, batch, *, device=None, dtype=None):
        return {}

    def forward(self, x, state=None, lengths=None):
        return self.read(x), {}
"""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(own_core, "_allowed", set())
    (tmp_path / "exported_core.py").write_text(module)
    (tmp_path / "exported.yaml").write_text(
        HEAD
        + "task: {kind: associative_recall, length: 4}\n"
        + 'model: {core: {kind: "exported_core:Plain", units: 5}}\n'
        + "train: {steps: 2, batch_size: 4}\n"
        + "eval: [{name: test, split: test, examples: 8, metrics: [accuracy]}]\n"
    )
    allowed = ("--allow-module", "exported_core")
    assert rmem("train", "exported.yaml", *allowed).code == 0
    assert rmem("export", "exported/one", "--out", "model", *allowed).code == 0
    monkeypatch.setattr(own_core, "_allowed", set())
    ended = rmem("eval", "model")
    assert (ended.code, "--allow-module exported_core" in ended.err) == (2, True)
    assert rmem("eval", "model", *allowed).code == 0
    assert (
        load("model", allow_modules=["exported_core"])(torch.zeros(1, 4, dtype=torch.long))[0].shape[1] == 4
    )
    assert "allow_modules=['exported_core']" in Path("model/README.md").read_text()
    (tmp_path / "exported_core.py").write_text(module + "\n")
    ended = rmem("eval", "model", *allowed)
    assert (ended.code, "bring back the module of the core as it was" in ended.err) == (2, True)
