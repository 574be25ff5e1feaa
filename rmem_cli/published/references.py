"""The BibTeX entries of the papers."""

import re
from collections.abc import Iterable
from functools import cache
from importlib.resources import files

from rmem_cli.published.store import load_paper


def bibtex(papers: Iterable[str]) -> str:
    """The entries of papers, one after the other.

    Args:
        papers: Their ids, such as "rum2019".

    Raises:
        UsageError: There is no such paper.
    """
    return "\n".join(entries()[load_paper(paper).bibtex] for paper in papers)


@cache
def entries() -> dict[str, str]:
    """The text of every entry by its key."""
    text = files("rmem_cli.published").joinpath("references.bib").read_text(encoding="utf-8")
    found = re.finditer(r"^@\w+\{(\w+),\n.*?^\}\n", text, re.MULTILINE | re.DOTALL)
    return {entry[1]: entry[0] for entry in found}
