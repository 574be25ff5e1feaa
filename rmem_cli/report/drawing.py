"""Pictures in files, drawn by matplotlib: the charts of a report, and landscapes of a loss.

What is written in them stays text. The same picture is the same file: nothing in it says when it was made.
"""

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

from rmem_cli.report.figure import Figure, Landscape, Series, short

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito's colours, which those who are colour-blind tell apart; yellow, too pale for lines, is brown.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#7A5C00", "#56B4E9", "#000000", "#E69F00")
_MARKERS = "osD^vPX*"
_MARKS = 10  # of a line
_CHARACTERS = 96  # of a legend's line
_STYLE: dict[Any, Any] = {  # of names that matplotlib lists one by one
    "svg.fonttype": "none",
    "svg.hashsalt": "rmem",
    "pdf.fonttype": 42,
    "text.parse_math": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": "#d5d8de",
    "figure.dpi": 150,
    "font.size": 10,
}
_NOTHING_OF_WHEN = {
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": "rmem"},
    "pdf": {"CreationDate": None, "Creator": "rmem"},
}


def drawn(picture: Figure | Landscape, form: str) -> bytes:
    """A picture as the content of a file.

    Args:
        picture: A chart, or a landscape.
        form: "png", "svg" or "pdf".
    """
    with mpl.rc_context(_STYLE):
        canvas = Canvas(figsize=_size(picture), layout="constrained")
        axes = canvas.subplots()
        axes.set_title(picture.title, loc="left", wrap=True)
        axes.set_xlabel(picture.x)
        axes.set_ylabel(picture.y)
        if isinstance(picture, Landscape):
            _draw_landscape(canvas, axes, picture)
        else:
            _draw(canvas, axes, picture)
        content = io.BytesIO()
        canvas.savefig(content, format=form, metadata=_NOTHING_OF_WHEN[form])
        return content.getvalue()


def _size(picture: Figure | Landscape) -> tuple[float, float]:
    """Width and height in inches: a legend of many lines stands below what is drawn."""
    if isinstance(picture, Landscape):
        return 6.4, 5.0
    return 8.0, 4.2 + 0.22 * len(_legend_rows([name for name, *_ in picture.legend]))


def _draw(canvas: Canvas, axes: "Axes", figure: Figure) -> None:
    for number, one in enumerate(figure.series):
        if figure.kind == "bars":
            _draw_bars(axes, figure, number, one)
        else:
            _draw_line(axes, figure, one)
    if figure.kind == "bars":
        axes.set_xticks(range(len(figure.labels)), figure.labels)
        axes.set_xlim(-0.6, len(figure.labels) - 0.4)
    else:
        _draw_ticks(axes, figure)
    _draw_legend(canvas, axes, figure)


def _draw_line(axes: "Axes", figure: Figure, one: Series) -> None:
    colour = _COLOURS[one.colour]
    x, y = zip(*one.points, strict=True)
    axes.plot(
        x, y,
        label=one.name,
        color=colour,
        linestyle="none" if figure.kind == "points" else "--" if one.is_published else "-",
        linewidth=2.2 if one.is_published else 1.4,
        marker=_MARKERS[one.colour],
        markevery=max(1, len(one.points) // _MARKS),
        markersize=7 if figure.kind == "points" else 4.5,
        markerfacecolor="white" if one.is_published else colour,
    )  # fmt: skip
    if one.spread:
        low, high = zip(*one.spread, strict=True)
        axes.fill_between(x, low, high, color=colour, alpha=0.2, linewidth=0)


def _draw_bars(axes: "Axes", figure: Figure, number: int, one: Series) -> None:
    left, width = figure.bar(number)
    colour = _COLOURS[one.colour]
    look: dict[str, Any] = (
        {"color": "white", "edgecolor": colour, "hatch": "////"} if one.is_published else {"color": colour}
    )
    axes.bar(
        [x + left for x, _ in one.points],
        [y for _, y in one.points],
        width,
        align="edge",
        label=one.name,
        **look,
    )


def _draw_ticks(axes: "Axes", figure: Figure) -> None:
    xs = [x for one in figure.series for x, _ in one.points]
    if figure.x_is_log and min(xs) > 0:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_minor_formatter(NullFormatter())
    if figure.measured_at:
        axes.set_xticks(figure.measured_at)
        axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: short(x)))


def _draw_legend(canvas: Canvas, axes: "Axes", figure: Figure) -> None:
    """One entry for each name, below what is drawn, where it hides nothing."""
    entries: dict[str, Any] = {}
    for handle, one in zip(_handles(axes, figure), figure.series, strict=True):
        entries.setdefault(one.name, handle)
    rows = _legend_rows(list(entries))
    canvas.legend(
        list(entries.values()), list(entries), loc="outside lower left", ncols=len(rows[0]), frameon=False
    )


def _handles(axes: "Axes", figure: Figure) -> Sequence[Any]:
    return axes.containers if figure.kind == "bars" else axes.get_lines()


def _legend_rows(names: Sequence[str]) -> list[Sequence[str]]:
    """The entries of a legend in lines of as many columns as are wide enough for the longest."""
    columns = max(1, _CHARACTERS // (max(map(len, names)) + 6))
    return [names[start : start + columns] for start in range(0, len(names), columns)]


def _draw_landscape(canvas: Canvas, axes: "Axes", landscape: Landscape) -> None:
    axes.grid(visible=False)
    heights = np.ma.masked_invalid(landscape.heights)
    filled = axes.contourf(landscape.xs, landscape.ys, heights, levels=15, cmap="cividis")
    axes.contour(filled, colors="white", linewidths=0.5)
    axes.set_aspect("equal")
    canvas.colorbar(filled, ax=axes, label=landscape.z)
