"""RMT on a pretrained encoder: a tiny one made here, where the transformers library is installed."""

import pytest
import torch

from rmem_cli.data.pretrained import open_pretrained, open_tokenizer
from rmem_cli.errors import DataError
from rmem_cli.models.config import PretrainedEmbeddingSettings
from rmem_cli.models.cores.transformer_config import PretrainedRMTSettings
from rmem_cli.models.sequence import build_model
from rmem_cli.recipe.schema import ModelSettings
from rmem_cli.tasks.document_classification import DocumentClassification
from rmem_cli.tasks.text_config import DocumentClassificationSettings

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "calm", "report", "outrage", "lies"]
SIZE, SEGMENT, MEMORY = 16, 6, 3


@pytest.fixture
def backbone(tmp_path):
    """The folder of a BERT that knows a few words and nothing else."""
    transformers = pytest.importorskip("transformers")
    (tmp_path / "vocab.txt").write_text("\n".join(WORDS))
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=len(WORDS),
        hidden_size=SIZE,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=SEGMENT + MEMORY + 3,
    )
    transformers.BertModel(config).save_pretrained(tmp_path)
    return str(tmp_path)


@pytest.fixture
def model(backbone):
    core = PretrainedRMTSettings(
        backbone=backbone, hidden_size=SIZE, memory_tokens=MEMORY, segment_length=SEGMENT
    )
    settings = ModelSettings(encoder=PretrainedEmbeddingSettings(backbone=backbone), core=core)
    return build_model(settings, len(WORDS), 2).eval()


def test_the_memory_of_one_segment_reaches_the_next_and_takes_a_gradient_back(model):
    first, second = model.encoder(torch.randint(5, 9, (2, 2, SEGMENT)))
    first.retain_grad()
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


def test_articles_are_read_in_the_symbols_of_the_backbone(backbone, write_articles):
    write_articles(form="articles")
    settings = DocumentClassificationSettings(segment_length=40, segments=1, backbone=backbone)
    task = DocumentClassification(settings)
    tokenizer = open_tokenizer(backbone)
    assert task.symbols == tokenizer.size == len(WORDS)
    assert task.documents[0].tolist() == [*tokenizer.encode("Title 0 calm report said word0"), tokenizer.end]


@pytest.mark.parametrize("part", ["AutoModel", "AutoTokenizer"])
def test_a_backbone_that_is_not_here_is_one_sentence(tmp_path, part):
    with pytest.raises(DataError, match=r"transformers library|is not on this machine") as error:
        open_pretrained(str(tmp_path / "nothing"), part)
    assert "\n" not in str(error.value)
