"""Tables as LaTeX with booktabs, one document that compiles as it stands, and whose tables can be copied."""

from collections.abc import Sequence
from typing import IO

from rmem_cli.report.page import Cell, Grid, Page

_PREAMBLE = r"""\documentclass{article}
\usepackage[T1]{fontenc}
\usepackage[utf8]{inputenc}
\usepackage{textcomp,amssymb,booktabs,graphicx}
\usepackage[margin=2cm]{geometry}
\setlength{\parindent}{0pt}
\begin{document}
"""
_ESCAPES = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "{": r"\{",
        "}": r"\}",
        "&": r"\&",
        "%": r"\%",
        "$": r"\$",
        "#": r"\#",
        "_": r"\_",
        "^": r"\textasciicircum{}",
        "~": r"\textasciitilde{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
        '"': r"\textquotedbl{}",
        "[": "{[}",  # behind a line break, a bracket would be its option
        "]": "{]}",
        "*": "{*}",
        "-": "{-}",  # two would be a dash
        "`": r"\textasciigrave{}",
        "'": r"\textquotesingle{}",
        "±": r"$\pm$",
        "→": r"$\rightarrow$",
        "↑": r"$\uparrow$",
        "↓": r"$\downarrow$",
        "×": r"$\times$",
        "≤": r"$\leq$",
        "≥": r"$\geq$",
        "…": r"\ldots{}",
        "²": r"$^2$",
        "α": r"$\alpha$",
        "β": r"$\beta$",
        "ε": r"$\varepsilon$",
        "η": r"$\eta$",
        "λ": r"$\lambda$",
        "µ": r"$\mu$",
        "σ": r"$\sigma$",
        "−": "$-$",
        "–": "--",
        "—": "---",
    }
)


def write(pages: Sequence[Page], file: IO[str]) -> None:
    """Write pages, each as a section of one document.

    Args:
        pages: What is to be written.
        file: An open text file or stream.
    """
    sections = "\n".join(_section(page) for page in pages)
    file.write(f"{_PREAMBLE}{sections}\n\\end{{document}}\n")


def _section(page: Page) -> str:
    blocks = [f"\\section*{{{_escaped(page.title)}}}"]
    blocks += [_escaped(line) for line in (page.status, *page.lines) if line]
    blocks += [_table(grid, f"tab:{page.name}:{number}") for number, grid in enumerate(page.grids, 1)]
    blocks += [
        f"\\textsuperscript{{{number}}} {_escaped(note)}" for number, note in enumerate(page.footnotes, 1)
    ]
    blocks += [_escaped(remark) for remark in page.remarks]
    return "\n\n".join(blocks) + "\n\\clearpage"


def _table(grid: Grid, label: str) -> str:
    alignment = "".join("r" if column.is_number else "l" for column in grid.columns)
    lines = [
        r"\begin{table}[htbp]\centering\small",
        rf"\caption{{{_escaped(grid.caption)}}}\label{{{label}}}",
        r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
        rf"\begin{{tabular}}{{{alignment}}}",
        r"\toprule",
        _row([column.heading for column in grid.columns]),
        r"\midrule",
        *(_row(row) for row in grid.rows),
        r"\bottomrule",
        r"\end{tabular}}",
    ]
    if grid.below:
        lines.append(rf"\par {_escaped(grid.below)}")
    return "\n".join([*lines, r"\end{table}"])


def _row(cells: Sequence[Cell]) -> str:
    return " & ".join(map(_cell, cells)) + r" \\"


def _cell(cell: Cell) -> str:
    text = " ".join(_escaped(part) for part in cell.text.split("\n"))
    bold = rf"\textbf{{{text}}}" if cell.is_best else text
    marks = rf"\textsuperscript{{{','.join(map(str, cell.notes))}}}" if cell.notes else ""
    return " ".join([bold + marks, *map(_escaped, cell.more)])


def _escaped(text: str) -> str:
    """A text as LaTeX prints it literally; a letter that pdfTeX has no glyph for is spelled out."""
    plain = text.translate(_ESCAPES)
    return "".join(each if ord(each) < 0x180 else f"U+{ord(each):04X}" for each in plain)
