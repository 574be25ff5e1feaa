"""RMT on a pretrained model: tiny ones made here, where the transformers library is installed."""

import json

import pytest
import torch

from rmem_cli.data.pretrained import open_pretrained, open_tokenizer
from rmem_cli.errors import DataError, InterruptedRunError, UsageError
from rmem_cli.models.config import PretrainedEmbeddingSettings
from rmem_cli.models.cores.transformer_config import PretrainedRMTSettings
from rmem_cli.models.sequence import build_model
from rmem_cli.recipe import load_recipe
from rmem_cli.recipe.schema import ModelSettings
from rmem_cli.tasks.document_classification import DocumentClassification
from rmem_cli.tasks.text_config import DocumentClassificationSettings

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "calm", "report", "outrage", "lies"]
SIZE, SEGMENT, MEMORY = 16, 6, 3


RECIPE = """\
name: toy
title: A toy
paper: null
task: {{kind: document_classification, segment_length: 6, segments: 3, backbone: {folder}{task}}}
model:
  encoder: {{kind: pretrained, backbone: {folder}}}
  core:
    {{kind: pretrained_rmt, backbone: {folder}, hidden_size: 16, memory_tokens: 3, segment_length: 6{core}}}
optimizer: {{kind: adamw, lr: 1.0e-2}}
train: {{steps: 6, batch_size: 4, eval_every: 3, log_every: 1, validation: {{metric: accuracy, examples: 4}}}}
eval: [{{name: test, split: test, batch_size: 4, checkpoint: best, metrics: [f1, accuracy]}}]
seeds: [1]
rows: [{{id: one, title: One}}]
scales: {{smoke: {{train.steps: 2}}}}
"""


def save_tokenizer(folder, words=WORDS, **marks):
    """Words, and marks at both ends, as a tokenizer of any model."""
    tokenizers, transformers = pytest.importorskip("tokenizers"), pytest.importorskip("transformers")
    model = tokenizers.models.WordLevel({word: number for number, word in enumerate(words)}, "[UNK]")
    tokenizer = tokenizers.Tokenizer(model)
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer.normalizer = tokenizers.normalizers.Lowercase()
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="[UNK]", **marks
    ).save_pretrained(folder)


def save_model(folder, kind):
    """A model that knows a few words, with random weights."""
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    positions = SEGMENT + 2 * MEMORY
    layers = {"num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    if kind in ("bert", "roberta"):
        unused = 2 if kind == "roberta" else 0  # positions up to that of the symbol that fills up
        sort = transformers.RobertaConfig if unused else transformers.BertConfig
        config = sort(
            vocab_size=len(WORDS), hidden_size=SIZE, max_position_embeddings=positions + unused, **layers
        )
    elif kind == "t5":
        config = transformers.T5Config(
            vocab_size=len(WORDS), d_model=SIZE, d_kv=8, d_ff=32, num_layers=2, num_heads=2
        )
    else:
        config = transformers.GPT2Config(
            vocab_size=len(WORDS), n_embd=SIZE, n_layer=2, n_head=2, n_positions=positions
        )
    transformers.AutoModel.from_config(config).save_pretrained(folder)


MARKS = {
    "bert": {"cls_token": "[CLS]", "sep_token": "[SEP]"},
    "roberta": {"cls_token": "[CLS]", "sep_token": "[SEP]"},
    "t5": {"eos_token": "[SEP]"},
    "gpt2": {"eos_token": "[SEP]"},
}


@pytest.fixture(params=["bert", "gpt2"])
def kind(request):
    return request.param


@pytest.fixture
def make_backbone(tmp_path):
    """Makes the folder of a model of a kind."""

    def make(kind):
        folder = tmp_path / kind
        save_model(folder, kind)
        save_tokenizer(folder, **MARKS[kind])
        return str(folder)

    return make


@pytest.fixture
def backbone(make_backbone, kind):
    return make_backbone(kind)


def core_of(backbone, **fields):
    fields = {"hidden_size": SIZE, "memory_tokens": MEMORY, "segment_length": SEGMENT, **fields}
    return PretrainedRMTSettings(backbone=backbone, **fields)


def built(backbone, **fields):
    torch.manual_seed(1)
    core = core_of(backbone, **fields)
    settings = ModelSettings(encoder=PretrainedEmbeddingSettings(backbone=backbone), core=core)
    return build_model(settings, len(WORDS), 2).eval()


@pytest.fixture
def model(backbone, kind):
    return built(backbone, decoder=kind == "gpt2")


def test_the_memory_of_one_segment_reaches_the_next_and_takes_a_gradient_back(model):
    first, second = model.encoder(torch.randint(5, 9, (2, 2, SEGMENT)))
    first.retain_grad()
    assert not torch.equal(model.core(first)[1]["memory"], model.core(second)[1]["memory"])
    y, state = model.core(second, model.core(first)[1])
    assert y.shape == (2, SEGMENT, SIZE)
    assert state["memory"].shape == (2, MEMORY, SIZE)
    y.sum().backward()
    assert first.grad.abs().sum() > 0
    assert not torch.equal(y, model.core(second)[0])


def test_symbols_that_do_not_count_change_nothing(model):
    symbols = torch.randint(5, 9, (2, SEGMENT))
    others = torch.cat([symbols[:, :4], torch.full((2, 2), 1)], dim=1)
    lengths = torch.tensor([4, 4])
    (y, state), (y2, state2) = (model.core(model.encoder(each), None, lengths) for each in (symbols, others))
    torch.testing.assert_close(y[:, :4], y2[:, :4])
    torch.testing.assert_close(state["memory"], state2["memory"])
    after = model.core(model.encoder(symbols), state, torch.tensor([4, 0]))[1]
    assert torch.equal(after["memory"][1], state["memory"][1])
    assert not torch.equal(after["memory"][0], state["memory"][0])


@pytest.mark.parametrize("other", ["bert", "roberta", "t5", "gpt2"])
def test_a_row_is_read_alone_as_beside_a_longer_one_and_learned_from_alike(make_backbone, other):
    model = built(make_backbone(other), decoder=other == "gpt2").double()
    symbols = torch.randint(5, 9, (2, SEGMENT))
    found = []
    for rows, time in ((1, 4), (2, SEGMENT)):
        model.zero_grad()
        x = model.encoder(symbols[:rows, :time])
        y, state = model.core(x, None, torch.tensor([4, SEGMENT])[:rows])
        outputs = (y[0, :4], state["memory"][0])
        sum(each.sin().sum() for each in outputs).backward()
        found.append((*outputs, *(each.grad for each in model.core.parameters() if each.grad is not None)))
    assert len(found[0]) > 10
    for alone, beside in zip(*found, strict=True):
        torch.testing.assert_close(alone, beside, rtol=0, atol=1e-9)


def test_an_encoder_is_read_as_its_equations_say(make_backbone):
    """The second separator comes right behind what counts, and nothing sees what comes after it."""
    model = built(make_backbone("bert")).double()
    x = model.encoder(torch.randint(5, 9, (1, SEGMENT)))
    y, state = model.core(x, None, torch.tensor([4]))
    start, separator = model.core.marks[:1], model.core.marks[1:]
    sequence = torch.cat([start, model.core.memory, separator, x[0, :4], separator])
    hidden = model.core.backbone(inputs_embeds=sequence[None]).last_hidden_state[0]
    torch.testing.assert_close(y[0, :4], hidden[MEMORY + 2 : -1])
    torch.testing.assert_close(state["memory"][0], hidden[1 : MEMORY + 1])


def test_articles_are_read_in_the_symbols_of_the_backbone(backbone, write_articles):
    write_articles(form="articles")
    settings = DocumentClassificationSettings(segment_length=40, segments=1, backbone=backbone)
    task = DocumentClassification(settings)
    tokenizer = open_tokenizer(backbone)
    assert task.symbols == tokenizer.size == len(WORDS)
    assert task.documents[0].tolist() == [*tokenizer.encode("Title 0 calm report said word0"), tokenizer.end]


def test_a_decoder_is_read_as_its_equations_say(make_backbone):
    """Memory in front and, the same vectors, behind; what becomes of the latter is the next memory."""
    folder = make_backbone("gpt2")
    model = built(folder, decoder=True).double()
    x = model.encoder(torch.randint(5, 9, (2, SEGMENT)))
    y, state = model.core(x)
    memory = model.core.memory.expand(2, -1, -1)
    sequence = torch.cat([memory, x, memory], 1)
    hidden = model.core.backbone(inputs_embeds=sequence).last_hidden_state
    torch.testing.assert_close(y, hidden[:, MEMORY:-MEMORY])
    torch.testing.assert_close(state["memory"], hidden[:, -MEMORY:])


def test_no_output_of_a_decoder_depends_on_later_inputs_and_of_an_encoder_some_do(model, kind):
    symbols = torch.randint(5, 9, (1, SEGMENT))
    others = symbols.clone()
    others[0, -1] = 5 + (symbols[0, -1] - 4) % 4
    first, second = (model.core(model.encoder(each))[0][:, :-1] for each in (symbols, others))
    assert torch.equal(first, second) == model.core.causal == (kind == "gpt2")


def test_with_lora_the_backbone_stays_as_it_is_and_what_is_beside_it_learns(backbone, kind):
    pytest.importorskip("peft")
    model = built(backbone, decoder=kind == "gpt2", lora_rank=2)
    learned = [name for name, each in model.core.backbone.named_parameters() if each.requires_grad]
    assert learned
    assert all("lora" in name for name in learned)
    plain = built(backbone, decoder=kind == "gpt2")
    assert model.core.memory.requires_grad
    x = model.encoder(torch.randint(5, 9, (2, SEGMENT)))
    model.core.memory.data, plain.core.memory.data = (torch.ones_like(plain.core.memory) for _ in range(2))
    torch.testing.assert_close(model.core(x)[0], plain.core(x)[0])  # at first, nothing is added
    model.core(x)[0].square().sum().backward()
    assert any(each.grad.abs().sum() > 0 for name, each in model.named_parameters() if "lora_B" in name)


def test_a_plan_needs_no_memory_for_numbers_of_the_backbone(model):
    segment = model.to("meta")
    x = torch.zeros(2, SEGMENT, SIZE, device="meta")
    for lengths in (None, torch.tensor([2, SEGMENT], device="meta")):
        y, state = segment.core(x, None, lengths)
        assert (y.device.type, state["memory"].shape) == ("meta", (2, MEMORY, SIZE))


@pytest.mark.parametrize("fields", ["", "lora"], ids=["all weights", "lora"])
def test_a_toy_backbone_trains_goes_on_and_is_evaluated(
    backbone, kind, fields, write_articles, tmp_path, lab, same
):
    if fields:
        pytest.importorskip("peft")
    write_articles(form="articles")
    core = f", decoder: {str(kind == 'gpt2').lower()}" + (", lora_rank: 2" if fields else "")
    task = ", alignment: right, vary_segments: true"
    path = tmp_path / "toy.yaml"
    path.write_text(RECIPE.format(folder=backbone, core=core, task=task))
    (spec,) = load_recipe(str(path)).runs()
    asked = []

    def stop():
        asked.append(1)
        return len(asked) > 4

    with pytest.raises(InterruptedRunError):
        lab.train(spec, stop)
    assert lab.train(spec).status == "ok"
    resumed = same(lab.rows("toy"))
    assert lab.train(spec, repeat=True).status == "ok"
    assert same(lab.rows("toy")) == resumed
    assert {row.metric for row in lab.evaluate(spec)} == {"f1", "accuracy"}


@pytest.mark.parametrize("part", ["AutoModel", "AutoTokenizer"])
def test_a_backbone_that_is_not_here_is_one_sentence(tmp_path, part):
    with pytest.raises(DataError, match=r"transformers library|is not on this machine") as error:
        open_pretrained(str(tmp_path / "nothing"), part)
    assert "\n" not in str(error.value)


def refusal(make):
    """The one sentence of an error."""
    with pytest.raises((DataError, UsageError)) as error:
        make()
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_backbone_of_the_other_direction_is_refused(make_backbone):
    bert, gpt2 = make_backbone("bert"), make_backbone("gpt2")
    assert "bert is an encoder; set model.core.decoder to false" in refusal(lambda: built(bert, decoder=True))
    assert "gpt2 is a decoder; set model.core.decoder to true" in refusal(lambda: built(gpt2))


def test_a_model_that_reads_no_text_is_refused(tmp_path):
    transformers = pytest.importorskip("transformers")
    config = transformers.ViTConfig(
        hidden_size=SIZE,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=8,
        image_size=8,
        patch_size=4,
    )
    transformers.ViTModel(config).save_pretrained(tmp_path / "vit")
    save_tokenizer(tmp_path / "vit", **MARKS["bert"])
    said = refusal(lambda: built(str(tmp_path / "vit")))
    assert "is a ViTModel, which reads no symbols of a text: name a language model" in said


def test_a_folder_without_a_model_or_with_one_that_nobody_knows_is_refused(make_backbone, tmp_path):
    unknown = make_backbone("bert")
    folder = tmp_path / "empty"
    folder.mkdir()
    assert "empty holds no model that transformers" in refusal(lambda: built(str(folder)))
    config = json.loads((tmp_path / "bert" / "config.json").read_text())
    (tmp_path / "bert" / "config.json").write_text(json.dumps(config | {"model_type": "made-up"}))
    assert "bert holds no model that transformers" in refusal(lambda: built(unknown))


def test_weights_of_another_architecture_are_refused(make_backbone, tmp_path):
    folder = make_backbone("bert")
    make_backbone("gpt2")
    for name in ("model.safetensors",):
        (tmp_path / "bert" / name).write_bytes((tmp_path / "gpt2" / name).read_bytes())
    assert "bert has no weights of a BertModel" in refusal(lambda: built(folder))


def test_damaged_weights_are_refused(make_backbone, tmp_path):
    folder = make_backbone("bert")
    (tmp_path / "bert" / "model.safetensors").write_bytes(b"nothing")
    assert "bert holds no model that transformers" in refusal(lambda: built(folder))


def test_a_tokenizer_that_does_not_fit_is_refused(make_backbone, tmp_path, write_articles):
    write_articles(form="articles")
    folder = make_backbone("bert")
    (tmp_path / "bert" / "tokenizer.json").unlink()
    settings = DocumentClassificationSettings(segment_length=6, segments=1, backbone=folder)
    said = refusal(lambda: DocumentClassification(settings))
    assert "bert holds no tokenizer that transformers" in said
    save_tokenizer(folder, [*WORDS, "more"], **MARKS["bert"])
    task = DocumentClassification(settings)
    encoder = PretrainedEmbeddingSettings(backbone=folder)
    said = refusal(lambda: build_model(ModelSettings(encoder=encoder, core=core_of(folder)), task.symbols, 2))
    assert said.endswith("bert knows 9 symbols, and the task has 10")
    save_tokenizer(folder)
    assert "has no symbol that ends a text" in refusal(lambda: DocumentClassification(settings))


def test_more_places_than_the_backbone_knows_are_refused(backbone, kind):
    said = refusal(lambda: built(backbone, decoder=kind == "gpt2", segment_length=20))
    assert "knows 12 positions" in said
    assert "set model.core.segment_length to 6 or less" in said


def test_positions_that_roberta_keeps_for_what_fills_up_are_not_counted(make_backbone):
    folder = make_backbone("roberta")
    said = refusal(lambda: built(folder, segment_length=SEGMENT + 1))
    assert "knows 12 positions, and a segment of 7 with 6 places around it takes 13" in said
    assert "set model.core.segment_length to 6 or less" in said
    model = built(folder)
    assert model.core(model.encoder(torch.randint(5, 9, (1, SEGMENT))))[0].shape == (1, SEGMENT, SIZE)
