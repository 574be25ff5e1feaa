"""PubMed and arXiv papers with their abstracts (Cohan et al. 2018): one JSON object a line.

Of each set there is another one, of the sections of its papers (`data_scripts.sections`).
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from rmem_cli.data.pair_records import pair_content, read_pairs
from rmem_cli.data.pairs import FORM
from rmem_cli.data.words import SPLIT_ALREADY
from rmem_cli.data.writer import Content, Expected

from .dataset import Dataset, Form, Source, SourceFile
from .sections import papers_of, published
from .words import words_form

_FILES = {"train": "train.txt", "valid": "val.txt", "test": "test.txt"}
_OTHER_NAMES = {"train": (), "valid": ("validation.txt", "valid.txt"), "test": ()}


def prepare_pairs(files: Mapping[str, Path]) -> Content:
    """Papers, a sentence a line, and abstracts, a sentence a line, without the tags around them."""
    return pair_content({split: read_pairs(files[name]) for split, name in _FILES.items() if name in files})


def prepare_sections(files: Mapping[str, Path]) -> Content:
    """Sections of papers, and the parts of abstracts that belong to them."""
    papers = Counter[str]()
    splits = {split: published(files[name], split, papers) for split, name in _FILES.items() if name in files}
    return replace(pair_content(splits), read=papers)


def _papers(name: str, title: str, archive: SourceFile, most: int, counts: Mapping[str, int]) -> Dataset:
    """One of the two sets; known are the checksum of its archive, and how many papers its files hold."""
    return Dataset(
        name=name,
        title=title,
        files=tuple(
            SourceFile(file, None, "", aliases=_OTHER_NAMES[split], at_most=most)
            for split, file in _FILES.items()
        ),
        sources=(
            Source(
                archive,
                (f"https://s3.amazonaws.com/datasets.huggingface.co/scientific_papers/1.1.1/{archive.name}",),
                provides=tuple(_FILES.values()),
            ),
        ),
        forms=(Form(FORM, prepare_pairs, Expected(counts), unit="pairs"),),
        derived=(words_form(SPLIT_ALREADY, Expected(counts)),),
        licence="none stated",
        citation=(
            "Cohan, Dernoncourt, Kim, Bui, Kim, Chang, Goharian (2018), A Discourse-Aware Attention Model "
            "for Abstractive Summarization of Long Documents, NAACL"
        ),
    )


PUBMED = _papers(
    "pubmed",
    "PubMed papers and abstracts",
    SourceFile(
        "pubmed-dataset.zip",
        880_225_504,
        "sha256:d424074726a5e29e20bf834055fe7efe90f8a37bce0a2b512e4ab7e487013c04",
    ),
    4 << 30,
    {"train": 119_924, "valid": 6_633, "test": 6_658},
)

ARXIV = _papers(
    "arxiv",
    "arXiv papers and abstracts",
    SourceFile(
        "arxiv-dataset.zip",
        3_624_420_843,
        "sha256:82ed30dd7c66a6497eeb3d7c3090c274e9e32c012438f8e0bb3cce3e6c1fcada",
    ),
    16 << 30,
    {"train": 203_037, "valid": 6_436, "test": 6_440},
)


def _sections(papers: Dataset) -> Dataset:
    """The sections of some papers; how many papers there are is known, and not how many sections."""
    whole = papers.forms[0].expected
    counts = {} if whole is None else {papers_of(split): count for split, count in whole.counts.items()}
    return replace(
        papers,
        name=f"{papers.name}_sections",
        title=f"{papers.title}, section by section",
        forms=(Form(FORM, prepare_sections, Expected(counts), unit="sections"),),
        derived=(words_form(SPLIT_ALREADY),),
    )


PUBMED_SECTIONS, ARXIV_SECTIONS = map(_sections, (PUBMED, ARXIV))
