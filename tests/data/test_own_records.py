"""Documents and pairs of one's own, from CSV and JSON lines."""

import json
from types import SimpleNamespace

import pytest

from rmem_cli.data.articles import WordSet
from rmem_cli.data.own_documents import LabelledDocuments, open_own_documents
from rmem_cli.data.own_pairs import open_own_pairs
from rmem_cli.data.task_tokenizers import tokenizer_from_json, tokenizer_to_json
from rmem_cli.data.tokenizers import SentencePieceTokenizer
from rmem_cli.errors import DataError
from rmem_cli.recipe.own_files import OwnDocuments, OwnPairs
from rmem_cli.tasks.document_classification import DocumentClassification
from rmem_cli.tasks.text_config import DocumentClassificationSettings

ROWS = [("good", "what a film"), ("bad", "what a bore"), ("so so", "a film")] * 10


def csv(folder, rows=ROWS, name="my.csv", header="label,text"):
    path = folder / name
    path.write_text("".join(f"{line}\n" for line in (header, *(",".join(row) for row in rows))))
    return str(path)


def jsonl(folder, records, name="my.jsonl"):
    path = folder / name
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return str(path)


def test_documents_have_symbols_a_label_and_their_text(tmp_path):
    documents = LabelledDocuments(
        open_own_documents(OwnDocuments(file=csv(tmp_path), shares=[0.8, 0.1, 0.1], tokens="words"))
    )
    assert documents.classes == ["bad", "good", "so so"]
    assert documents.labels("test").tolist() == [1, 0, 2]
    assert list(documents.texts("valid")) == [text for _, text in ROWS[24:27]]
    words = documents.prepared.vocabulary
    read = [" ".join(words[symbol] for symbol in each) for each in documents.documents("test")]
    assert read == [f"{text} </s>" for _, text in ROWS[27:]]


@pytest.mark.parametrize(("tokens", "size"), [("characters", None), ("sentencepiece", 16)])
def test_every_way_of_making_symbols_ends_a_document(tmp_path, tokens, size):
    own = OwnDocuments(file=csv(tmp_path), shares=[0.8, 0.1, 0.1], tokens=tokens, size=size)
    documents = LabelledDocuments(open_own_documents(own))
    end = documents.prepared.vocabulary.index("</s>")
    assert all(each[-1] == end and end not in each[:-1] for each in documents.documents("train"))


@pytest.mark.parametrize(
    ("tokens", "size"), [("characters", None), ("words", None), ("words", 5), ("sentencepiece", 20)]
)
def test_a_document_of_several_lines_is_encoded_as_it_was_read(tmp_path, tokens, size):
    texts = ["what a film\nfor  one\n\nand all", "what a bore", "a film\nfor all"] * 10
    records = [{"text": text, "label": number % 2} for number, text in enumerate(texts)]
    documents = {"train": jsonl(tmp_path, records), "tokens": tokens, "size": size}
    settings = DocumentClassificationSettings(documents=documents, segment_length=4, segments=9)
    task = DocumentClassification(settings)
    tokenizer = tokenizer_from_json(tokenizer_to_json(task.tokenizer))
    tokenizer.check(task.symbols)
    end = tokenizer.vocabulary.index("</s>")
    read = [document.tolist() for document in task.documents]
    assert [[*tokenizer.encode(text), end] for text in texts] == read


def test_pieces_that_cannot_be_found_again_are_told(tmp_path, monkeypatch):
    own = OwnDocuments(file=csv(tmp_path), shares=[0.8, 0.1, 0.1], tokens="sentencepiece", size=16)
    documents = LabelledDocuments(open_own_documents(own))
    assert documents.pieces().vocabulary == documents.prepared.vocabulary
    monkeypatch.setattr(SentencePieceTokenizer, "train", lambda *_: SimpleNamespace(vocabulary=["<unknown>"]))
    with pytest.raises(DataError, match=r"finds other pieces than those of .*; install the release"):
        documents.pieces()


def test_fields_may_have_any_name_and_labels_may_be_numbers(tmp_path):
    records = [{"stars": number % 2, "review": f"text {number}"} for number in range(8)]
    own = OwnDocuments(train=jsonl(tmp_path, records), text="review", label="stars")
    assert LabelledDocuments(open_own_documents(own)).classes == ["0", "1"]


def test_labels_with_decimals_are_those_of_the_same_table_as_csv(tmp_path):
    records = [{"label": number % 2 / 2, "text": f"text {number}"} for number in range(8)]
    rows = [(str(record["label"]), record["text"]) for record in records]
    for file in (jsonl(tmp_path, records), csv(tmp_path, rows)):
        assert LabelledDocuments(open_own_documents(OwnDocuments(train=file))).classes == ["0.0", "0.5"]


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        ('{"text": "a", "label": NaN}\n', r"my\.jsonl:1: label is neither text nor a number\. Write it"),
        ('{"text": "a", "label": {}}\n', r"my\.jsonl:1: label is neither text nor a number\. Write it"),
        ('{"text": "a"}\n', r"my\.jsonl:1: there is no 'label' here, but text; name the field by task\."),
        ('{"text": "a", "label": 1}\n{"text": "a", "lab', r"my\.jsonl:2: this is not a line of JSON: "),
        ('{"text": "a", "label": 1}\n\n{"text": 1, "label": 1}\n', r"my\.jsonl:3: text is not text"),
        (
            '[{"text": "a", "label": 1' + "0" * 4300 + "}]",
            r"my\.jsonl:1: this is not JSON: Exceeds the limit",
        ),
        ('{"text": "a", "label": 1' + "0" * 4300 + "}", r"my\.jsonl:1: this is not a line of JSON: Exceeds"),
        ('{"text": " ", "label": 1}\n', r"my\.jsonl:1: 'text' is empty; fill it in, or leave"),
        ('{"text": "a", "label": null}\n', r"my\.jsonl:1: 'label' is empty; fill it in, or leave"),
        ("label,words\n1,a\n", r"my\.jsonl:2: there is no 'text' here, but label, words; name the field"),
        ("label,text\n1,a\n1\n", r"my\.jsonl:3: this row has 1 cells, and the header has 2"),
        ("label,text\n1,a\n", r"All documents for training have the label '1'; give some of another"),
        ("label,text\n", r"my\.jsonl has no document for train; give more of them"),
    ],
)
def test_a_file_that_is_wrong_is_told_with_its_line(tmp_path, lines, sentence):
    path = tmp_path / "my.jsonl"
    path.write_text(lines)
    with pytest.raises(DataError, match=sentence):
        open_own_documents(OwnDocuments(train=str(path)))


def test_another_encoding_is_told_with_line_and_byte(tmp_path):
    path = tmp_path / "my.csv"
    path.write_bytes('[\n\n{"label": 1, "text": "é"}]'.encode("latin-1"))
    with pytest.raises(DataError, match=r"my\.csv:3: this is not text in UTF-8 \(byte 25\); save it as such"):
        open_own_documents(OwnDocuments(train=str(path)))
    path.write_bytes("label,text\n1,a\n2,é\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"my\.csv:3: this is not text in UTF-8 \(byte 17\); save it as such"):
        open_own_documents(OwnDocuments(train=str(path)))


def test_a_label_of_the_test_alone_cannot_be_learned(tmp_path):
    path = csv(tmp_path, [*ROWS[:-1], ("new", "what a film")])
    with pytest.raises(
        DataError, match=r"my\.csv:31: the label 'new' is in the split test and in no document for training"
    ):
        open_own_documents(OwnDocuments(file=path))


def test_too_few_documents_for_their_shares_are_told(tmp_path):
    with pytest.raises(DataError, match=r"my\.csv has no document for test; give more of them, or other"):
        open_own_documents(OwnDocuments(file=csv(tmp_path, ROWS[:9])))


def test_pairs_are_divided_in_order_and_keep_their_fields(tmp_path):
    records = [{"id": n, "body": f"Article {n} says a word.", "short": f"Word {n}."} for n in range(20)]
    own = OwnPairs(file=jsonl(tmp_path, records), shares=[0.8, 0.1, 0.1], article="body", summary="short")
    splits = WordSet(open_own_pairs(own)).published()
    assert [len(splits[split]) for split in ("train", "valid", "test")] == [16, 2, 2]
    assert splits["test"][0].id == "18"
    assert splits["test"][0].source == ["article", "18", "says", "a", "word", "."]
    assert splits["test"][0].reference == [["word", "18", "."]]


def test_a_pair_without_a_field_is_told_with_its_line(tmp_path):
    path = jsonl(tmp_path, [{"article": "a", "summary": "b"}, {"article": "a"}])
    with pytest.raises(DataError, match=r"my\.jsonl:2: there is no 'summary' here, but article; name"):
        open_own_pairs(OwnPairs(train=path, valid=path, test=path))


def test_a_pair_with_null_for_a_field_is_told_as_empty(tmp_path):
    path = jsonl(tmp_path, [{"article": "a", "summary": "b"}, {"article": "a", "summary": None}])
    with pytest.raises(DataError, match=r"my\.jsonl:2: 'summary' is empty; fill it in, or leave the record"):
        open_own_pairs(OwnPairs(train=path, valid=path, test=path))


@pytest.mark.parametrize(("place", "split"), [(0, "train"), (8, "valid"), (9, "test")])
def test_a_split_without_a_summary_is_told_before_anything_is_trained(tmp_path, place, split):
    records = [{"article": f"Article {n}.", "summary": f"Word {n}."} for n in range(10)]
    for record in records[place : place + (8 if split == "train" else 1)]:
        record["summary"] = " "
    own = OwnPairs(file=jsonl(tmp_path, records), shares=[0.8, 0.1, 0.1])
    with pytest.raises(
        DataError, match=rf"no article of {split} is left: 0 have no text and \d no summary\."
    ):
        open_own_pairs(own)
