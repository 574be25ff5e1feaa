"""Hyperpartisan news detection (SemEval-2019 task 4): the 645 articles labelled by hand.

What is stored, and the split in folds: `rmem_cli.data.hyperpartisan`. The test articles of the task are not
published with them.

The tokenizer of a fold knows the articles that are trained on when the fold is held out, and no other.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from xml.etree import ElementTree  # read only after the sha256 of the file was verified

import numpy as np

from rmem_cli.data.hyperpartisan import FOLDS, FORM, PIECES, TWINS, fold_of
from rmem_cli.data.texts import text_chunks
from rmem_cli.data.tokenizers import END_OF_LINE, SentencePieceTokenizer, whole_lines
from rmem_cli.data.unwritten import zeros
from rmem_cli.data.writer import Content, Expected, smallest_unsigned
from rmem_cli.errors import DataError

from .dataset import Dataset, Form, Source, SourceFile
from .stand_ins import StandIn

_ARTICLES = "articles-training-byarticle-20181122"
_LABELS = "ground-truth-training-byarticle-20181122"
_VOCABULARY = 4000
_LONG = 4096  # words or pieces of an article in a plan: more than a segment has
_SAME_BEGINNING = 200  # letters and digits; no two articles share them that are not twins


def prepare_articles(files: Mapping[str, Path], *, twins: bool = False) -> Content:
    """Texts, titles and labels.

    Args:
        files: The articles and their labels.
        twins: Whether twins are held out together.

    Raises:
        DataError: One of the two files is missing, or they do not describe the same articles.
    """
    articles, labels = _labelled(files)
    return Content(
        {"label": [labels], "rank": [_ranks(articles, labels, twins)]},
        [],
        together=_texts(articles),
        counted={"articles": "label"},
        details={"true": int(labels.sum()), "false": int((labels == 0).sum())},
    )


def prepare_pieces(files: Mapping[str, Path], *, twins: bool = False) -> Content:
    """Title and text of each article as pieces of words, once for each fold.

    Args:
        files: The articles and their labels.
        twins: Whether twins are held out together.

    Raises:
        DataError: One of the two files is missing, or they do not describe the same articles.
    """
    articles, labels = _labelled(files)
    rank = _ranks(articles, labels, twins)
    folds = fold_of(rank)
    texts = [(_title(article), _text(article)) for article in articles]
    return Content(
        {"label": [labels], "rank": [rank]},
        [],
        together=(chunk for fold in range(FOLDS) for chunk in _pieces(texts, folds != fold, fold)),
        counted={"articles": "label"},
    )


def _labelled(files: Mapping[str, Path]) -> tuple[list[ElementTree.Element], np.ndarray]:
    """The articles and their labels (1: hyperpartisan)."""
    paths = [files.get(f"{name}.xml") for name in (_ARTICLES, _LABELS)]
    if None in paths:
        raise DataError("Hyperpartisan news needs both its files, the articles and their labels.")
    articles, truth = (_articles(path) for path in paths if path is not None)
    ids = [article.attrib["id"] for article in articles]
    if ids != [article.attrib["id"] for article in truth]:
        raise DataError("The two files of Hyperpartisan news do not describe the same articles.")
    return articles, np.array([article.attrib["hyperpartisan"] == "true" for article in truth], np.uint8)


def _pieces(
    texts: Sequence[tuple[str, str]], trained_on: np.ndarray, fold: int
) -> Iterator[tuple[str, np.ndarray]]:
    """The arrays of one fold: all articles by a tokenizer that knows some of them."""
    known = [text for text, known in zip(texts, trained_on, strict=True) if known]
    lines = whole_lines(f"{line}\n" for text in known for line in text)
    tokenizer = SentencePieceTokenizer.train(lines, _VOCABULARY, "bpe", exact=False)
    end = tokenizer.vocabulary.index(END_OF_LINE)
    encoded = [[symbol for line in text for symbol in (*tokenizer.encode(line), end)] for text in texts]
    dtype = smallest_unsigned(len(tokenizer.vocabulary))
    yield f"fold{fold}", np.concatenate([np.array(symbols, dtype) for symbols in encoded])
    yield f"fold{fold}_sizes", np.array([len(symbols) for symbols in encoded], np.uint32)
    yield f"fold{fold}_model", np.frombuffer(tokenizer.model, np.uint8)


def ranks(ids: Sequence[str], labels: Sequence[int]) -> np.ndarray:
    """The place of each article in the order that gives the folds (see `rmem_cli.data.hyperpartisan`)."""

    def key(position: int) -> tuple[int, str]:
        return labels[position], hashlib.sha256(f"1:{ids[position]}".encode()).hexdigest()

    order = sorted(range(len(ids)), key=key)
    ranks = np.zeros(len(ids), np.uint16)
    ranks[order] = np.arange(len(ids))
    return ranks


def _ranks(articles: Sequence[ElementTree.Element], labels: np.ndarray, twins: bool) -> np.ndarray:
    """The rank of each article, or, of twins, that of the first."""
    own = ranks([article.attrib["id"] for article in articles], labels.tolist())
    if not twins:
        return own
    return with_twins(own, [_text(article) for article in articles])


def with_twins(ranks: np.ndarray, texts: Sequence[str]) -> np.ndarray:
    """The least rank of all articles whose texts begin with the same letters and digits."""
    first: dict[str, int] = {}
    beginnings = ["".join(filter(str.isalnum, text.lower()))[:_SAME_BEGINNING] for text in texts]
    for rank, beginning in sorted(zip(ranks.tolist(), beginnings, strict=True)):
        first.setdefault(beginning, rank)
    return np.array([first[beginning] for beginning in beginnings], ranks.dtype)


def _articles(path: Path) -> list[ElementTree.Element]:
    try:
        return ElementTree.parse(path).getroot().findall("article")  # noqa: S314  # verified content
    except ElementTree.ParseError as error:
        raise DataError(f"{path} is not right: {error}.") from error


def _texts(articles: Sequence[ElementTree.Element]) -> Iterator[tuple[str, np.ndarray]]:
    yield from text_chunks("text", [_text(article) for article in articles])
    yield from text_chunks("title", [_title(article) for article in articles])
    yield from text_chunks("id", [article.attrib["id"] for article in articles])


def _title(article: ElementTree.Element) -> str:
    return article.attrib.get("title", "")


def _text(article: ElementTree.Element) -> str:
    return " ".join("".join(article.itertext()).split())


def _source(name: str, size: int, sha256: str) -> Source:
    return Source(
        SourceFile(f"{name}.zip", size, f"sha256:{sha256}"),
        (f"https://zenodo.org/record/1489920/files/{name}.zip?download=1",),
        provides=(f"{name}.xml",),
    )


def _form(name: str, prepare: Callable[[Mapping[str, Path]], Content], stand_in: StandIn) -> Form:
    return Form(name, prepare, Expected({"articles": 645}), unit="articles", stand_in=stand_in)


def _long_pieces(expected: Expected) -> Content:
    """Articles so long that they fill their segments, as pieces of words."""
    articles = expected.counts["articles"]
    arrays = _facts(articles)
    for fold in range(FOLDS):
        arrays[f"fold{fold}"] = [zeros(articles * _LONG)]
        arrays[f"fold{fold}_sizes"] = [np.full(articles, _LONG, np.uint32)]
    return Content(arrays, [], counted={"articles": "label"}, details={"symbols": _VOCABULARY})


def _long_texts(expected: Expected) -> Content:
    """Articles so long that they fill their segments."""
    articles = expected.counts["articles"]
    titles = text_chunks("title", ["News"] * articles)
    texts = text_chunks("text", [" ".join(["news"] * _LONG)] * articles)
    return Content(_facts(articles), [], together=chain(titles, texts), counted={"articles": "label"})


def _facts(articles: int) -> dict[str, list[np.ndarray]]:
    return {"label": [zeros(articles)], "rank": [np.arange(articles, dtype=np.uint16)]}


HYPERPARTISAN = Dataset(
    name="hyperpartisan",
    title="Hyperpartisan news, by article",
    files=(
        SourceFile(
            f"{_ARTICLES}.xml",
            2_714_335,
            "sha256:bbabd848f66ddd102651745930b50c41a11ade8d2a9273a6bd6b2db1e0642229",
        ),
        SourceFile(
            f"{_LABELS}.xml",
            111_875,
            "sha256:17cd01260c99739d4f3ac25f99ed39361cfde851bf018b675800a2b639bce790",
        ),
    ),
    sources=(
        _source(_ARTICLES, 971_841, "62b4a71275ef2724faddc74d6ff3d782ee9898c732cd66119c7976f6f5168990"),
        _source(_LABELS, 28_511, "0c02f4c33317287758e6fbbc976cbfd7a0978923899ddf30cb9dd2cd740af43c"),
    ),
    forms=(
        _form(FORM, prepare_articles, _long_texts),
        _form(PIECES, prepare_pieces, _long_pieces),
        _form(FORM + TWINS, partial(prepare_articles, twins=True), _long_texts),
        _form(PIECES + TWINS, partial(prepare_pieces, twins=True), _long_pieces),
    ),
    licence="CC BY 4.0, it seems (Zenodo record 1489920; not confirmed)",
    citation=(
        "Kiesel, Mestre, Shukla, Vincent, Adineh, Corney, Stein, Potthast (2019), SemEval-2019 Task 4: "
        "Hyperpartisan News Detection, SemEval"
    ),
)
