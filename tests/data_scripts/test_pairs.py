import hashlib
import io
import json
import re
import tarfile
from dataclasses import replace

import pytest
from rich.console import Console
from rmem_cli.data_scripts.cnn_dailymail import CNN_DAILYMAIL, parse_story
from rmem_cli.data_scripts.fetch import fetch
from rmem_cli.data_scripts.science_daily import SCIENCE_DAILY
from rmem_cli.data_scripts.scientific_papers import ARXIV, ARXIV_SECTIONS, PUBMED, PUBMED_SECTIONS

from rmem_cli.data.pair_records import read_pairs
from rmem_cli.data.pairs import FORM, Pairs
from rmem_cli.data.prepared import open_prepared
from rmem_cli.errors import DataError

STORIES = {
    "http://cnn/one": "First paragraph.\n\nSecond\n\n@highlight\n\nA highlight\n\n@highlight\n\nAnother\n",
    "http://dm/two": "Mail.\n\n@highlight\n\nShort\n",
    "http://cnn/empty": "\n\n@highlight\n\nNothing was written\n",
    "http://dm/unlisted": "Nobody asked.\n",
}
LISTS = {
    "all_train.txt": ["http://cnn/one", "http://dm/two", "http://cnn/empty"],
    "all_val.txt": ["http://cnn/one"],
    "all_test.txt": ["http://cnn/one"],
}


def name_of(address):
    return hashlib.sha1(address.encode()).hexdigest()


@pytest.fixture
def stories(tmp_path):
    """The original layout of CNN/Daily Mail, in miniature."""
    for site in ("cnn", "dailymail"):
        with tarfile.open(tmp_path / f"{site}_stories.tgz", "w:gz") as archive:
            for address, story in STORIES.items():
                if address.startswith("http://cnn/") == (site == "cnn"):
                    info = tarfile.TarInfo(f"{site}/stories/{name_of(address)}.story")
                    info.size = len(story)
                    archive.addfile(info, io.BytesIO(story.encode()))
    for name, addresses in LISTS.items():
        (tmp_path / name).write_text("\n".join(addresses) + "\n")
    return tmp_path


def test_stories_are_paired_by_the_lists_in_the_order_of_ids(stories, loosened, console):
    fetch(loosened(CNN_DAILYMAIL), console, path=stories)
    pairs = Pairs(open_prepared("cnn_dailymail", FORM))
    assert pairs.prepared.meta["counts"] == {"train": 2, "valid": 1, "test": 1}
    assert list(pairs.ids("train")) == sorted(map(name_of, ("http://cnn/one", "http://dm/two")))
    articles, summaries = pairs.split("test")
    assert list(articles) == ["First paragraph.\nSecond"]
    assert list(summaries) == ["A highlight\nAnother"]


def test_stories_of_one_site_alone_are_a_part(stories, console, file_of):
    (stories / "dailymail_stories.tgz").unlink()
    small = tuple(
        file_of(file.name, path.read_bytes()) if (path := stories / file.name).exists() else file
        for file in CNN_DAILYMAIL.files
    )
    fetch(replace(CNN_DAILYMAIL, files=small), console, path=stories, allow_missing=True)
    prepared = Pairs(open_prepared("cnn_dailymail", FORM)).prepared
    assert prepared.missing[:2] == ["dailymail_stories.tgz", "train: 1 of 287,113"]
    assert prepared.meta["counts"]["train"] == 1


def test_a_story_without_highlights_has_an_empty_summary():
    assert parse_story("x", "Only this.") == ("x", "Only this.", "")


def test_three_tables_stand_for_the_stories(tmp_path, loosened, console):
    for name in ("train.csv", "validation.csv", "test.csv"):
        (tmp_path / name).write_text(f'id,article,highlights\n1,"It, said\n""so"".",in {name}\n')
    fetch(loosened(CNN_DAILYMAIL), console, path=tmp_path)
    pairs = Pairs(open_prepared("cnn_dailymail", FORM))
    articles, summaries = pairs.split("valid")
    assert (articles[0], summaries[0], pairs.ids("valid")[0]) == ('It, said\n"so".', "in validation.csv", "1")
    assert [source["verified"] for source in pairs.prepared.meta["sources"]] == [False] * 3


def test_of_two_layouts_the_more_complete_one_is_reported(tmp_path, loosened, console):
    (tmp_path / "train.csv").write_text("article,highlights\na,b\n")
    with pytest.raises(DataError, match=r"validation\.csv is missing") as error:
        fetch(loosened(CNN_DAILYMAIL), console, path=tmp_path)
    assert "stories" not in str(error.value)


@pytest.mark.parametrize("dataset", [PUBMED, ARXIV], ids=["pubmed", "arxiv"])
def test_papers_come_back_without_tags(dataset, tmp_path, loosened, console):
    paper = {
        "article_id": "P1",
        "article_text": ["one sentence .", "two\n of them ."],
        "abstract_text": ["<S> in  short </S>", "<S> or shorter </S>"],
        "labels": None,
    }
    for name in ("train.txt", "validation.txt", "test.txt"):
        (tmp_path / name).write_text(json.dumps(paper) + "\n")
    fetch(loosened(dataset), console, path=tmp_path)
    articles, summaries = Pairs(open_prepared(dataset.name, FORM)).split("valid")
    assert (articles[0], summaries[0]) == ("one sentence .\ntwo of them .", "in short\nor shorter")


def test_a_sample_is_refused_unless_it_may_be_partial(tmp_path, console):
    for name in ("train.txt", "val.txt", "test.txt"):
        (tmp_path / name).write_text('{"article_text": ["a"], "abstract_text": ["b"]}\n')
    with pytest.raises(DataError, match="gave train 1, valid 1, test 1 instead of train 119,924"):
        fetch(PUBMED, console, path=tmp_path)
    fetch(PUBMED, console, path=tmp_path, allow_missing=True)
    assert Pairs(open_prepared("pubmed", FORM)).prepared.missing[0] == "train: 1 of 119,924"
    assert "partial" in console.file.getvalue()


@pytest.mark.parametrize(
    ("dataset", "names", "gap"),
    [
        (PUBMED_SECTIONS, ("train.txt", "val.txt", "test.txt"), "papers of train: 1 of 119,924"),
        (ARXIV_SECTIONS, ("train.txt", "val.txt", "test.txt"), "papers of train: 1 of 203,037"),
        (SCIENCE_DAILY, ("train.jsonl", "valid.jsonl", "test.jsonl"), "pairs: 3 of 50,308"),
    ],
    ids=["pubmed_sections", "arxiv_sections", "science_daily"],
)
def test_a_sample_is_no_whole_set_where_only_what_was_read_can_be_counted(
    dataset, names, gap, tmp_path, console
):
    text = " ".join(f"word{number}" for number in range(60))
    paper = {
        "article_id": "P1",
        "article_text": [text],
        "abstract_text": [f"<S> {text} </S>"],
        "section_names": ["introduction"],
        "sections": [[text]],
    }
    for name in names:
        (tmp_path / name).write_text(json.dumps(paper) + "\n")
    with pytest.raises(DataError, match=f"instead of .*{gap.rpartition(' ')[2]}.*--allow-missing"):
        fetch(dataset, console, path=tmp_path)
    fetch(dataset, console, path=tmp_path, allow_missing=True)
    prepared = open_prepared(dataset.name, FORM)
    assert prepared.missing[0] == gap
    assert prepared.meta["counts"] == {"train": 1, "valid": 1, "test": 1}
    assert prepared.data_hash.endswith("-partial")


def test_without_a_public_source_the_way_to_import_is_told(console, patience):
    with pytest.raises(DataError, match=r"no public source is known. Ask the authors.*--from FOLDER"):
        fetch(SCIENCE_DAILY, console, patience=patience)


def test_what_is_imported_by_hand_comes_back(tmp_path, loosened, console):
    for split in ("train", "valid", "test"):
        (tmp_path / f"{split}.jsonl").write_text(json.dumps({"article": split, "summary": "s"}) + "\n")
    fetch(loosened(SCIENCE_DAILY), console, path=tmp_path)
    articles, summaries = Pairs(open_prepared("science_daily", FORM)).split("train")
    assert (list(articles), list(summaries)) == (["train"], ["s"])


@pytest.mark.parametrize(
    "text",
    [
        '{"article": "a"}\n',
        "{broken\n",
        "title,body\na,b\n",
        "article,summary\nonly one\n",
        '{"article": 3, "summary": 4}',
    ],
)
def test_what_has_no_pairs_is_refused_with_its_line(text, tmp_path):
    (tmp_path / "file").write_text(text)
    with pytest.raises(DataError, match=r"file:\d: "):
        list(read_pairs(tmp_path / "file"))


PAIRS = [("1", "first é\nline", "short, too"), ("2", "second", "x")]
RECORDS = [{"id": one, "article": article, "summary": summary} for one, article, summary in PAIRS]
JSON_LINES = "".join(json.dumps(record) + "\n" for record in RECORDS)
CSV = 'id,article,summary\n1,"first é\nline","short, too"\n2,second,x\n'
SAME = {
    "lines": JSON_LINES,
    "lines with a mark": "\ufeff" + JSON_LINES,
    "lines with blank ones": "\n \n" + JSON_LINES.replace("\n", "\n\n\t\n"),
    "lines with returns": JSON_LINES.replace("\n", "\r\n"),
    "array": json.dumps(RECORDS),
    "array over lines": "\n" + json.dumps(RECORDS, indent=2),
    "number as id": JSON_LINES.replace('"1"', "1").replace('"2"', "2"),
    "table": CSV,
    "table with a mark": "\ufeff" + CSV,
    "table behind blank lines": "\n\r\n" + CSV,
    "table with blank lines": CSV.replace("\n2", "\n\n  \n2") + "\n\n",
    "table with semicolons": CSV.replace("id,article,", "id;article;").replace("1,", "1;").replace("2,", "2;")
    .replace('",', '";').replace("second,", "second;"),
    "table with spaces in its header": CSV.replace("id,article", " id, article "),
    "table with all quotes": CSV.replace("id,article,summary", '"id","article","summary"'),
}  # fmt: skip


@pytest.mark.parametrize("text", SAME.values(), ids=list(SAME))
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-32"])
def test_records_are_read_in_whatever_they_are_wrapped(text, encoding, tmp_path):
    text = text.removeprefix("\ufeff") if encoding != "utf-8" else text
    (tmp_path / "file").write_bytes(text.encode(encoding))
    assert list(read_pairs(tmp_path / "file")) == PAIRS


@pytest.mark.parametrize(
    ("content", "line", "why"),
    [
        ("article,summary\na,b\nc,d,lost\n", 3, "this row has 3 cells, and the header has 2"),
        ("id,article,summary\n1,a\n", 2, "this row has 2 cells, and the header has 3"),
        ("article,summary,article\na,b,c\n", 1, "the header names 'article' more than once"),
        ('article,summary\na,"b\n', 2, "this is not a line of CSV"),
        ('{"article": "\\ud800", "summary": "b"}\n', 1, "article holds half of a character"),
        ('\n{"article": ["a", null], "summary": "b"}\n', 2, "article is not text, nor a list of sentences"),
        ('{"article": "a", "summary": {}}\n', 1, "summary is not text"),
        ('{"article": "a"}\n' * 2, 1, "there is no article with a summary here, but article"),
        ('[{"article": "a", "summary": "b"}, 3]', 1, "this is not a record"),
        ('["a", \n"b"', 2, "this is not JSON"),
        ("[" * 100_000, 1, "this is not JSON"),
        ('{"a": ' * 100_000, 1, "this is not a line of JSON"),
        ("article,summary\na,b\né,c\n".encode("latin-1"), 3, "this is not text in UTF-8"),
        ("article,summary\na,b\n".encode("utf-16-le"), 1, "this is not text in UTF-8"),
        (b"\xff\xfe\x00", 1, "this is not text in UTF-8"),
    ],
)
def test_what_would_lose_text_is_refused_with_its_line(content, line, why, tmp_path):
    (tmp_path / "file").write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(DataError, match=rf"file:{line}\b.*: {why}") as refused:
        list(read_pairs(tmp_path / "file"))
    assert re.search(r"Mend it|Give each|Call these|Write|save it", str(refused.value))


@pytest.mark.data
def test_the_real_sample_of_pubmed_is_partial(real_data):
    fetch(PUBMED, Console(file=io.StringIO()), path=real_data / "pubmed", allow_missing=True)
    pairs = Pairs(open_prepared("pubmed", FORM))
    assert pairs.prepared.meta["counts"] == {"train": 80, "valid": 10, "test": 10}
    assert pairs.prepared.data_hash.endswith("-partial")
    assert all(len(summary.split()) > 20 for summary in pairs.split("test")[1])
