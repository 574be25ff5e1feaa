"""Charts of a report, and how they are drawn as SVG: lines, points or bars, without any other package."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from typing import Literal

_WIDTH, _HEIGHT = 640, 320
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 24, 10, 44
COLOURS = 8  # series of one chart that can be told apart
_MOST_TICKS = 10
_HUGE = 1e6
_UNSAFE = re.compile(r"[^\w.=+-]+", re.ASCII)
_BARS = 0.8  # share of the axis that bars take, the rest is between groups


def picture_name(*parts: str) -> str:
    """What a file of a picture is called, without its ending.

    Args:
        parts: What it shows; those that are empty are left out.
    """
    return "-".join(_UNSAFE.sub("_", part) for part in parts if part)


@dataclass(frozen=True)
class Series:
    """One line or one cloud of points.

    Attributes:
        name: What it shows, for the legend and for who points at it.
        points: (x, y), in the order of x for lines.
        colour: Number of its colour; series of one colour have one entry in the legend.
        is_published: Whether it was published, which is drawn dashed, and as bars without filling.
        spread: (lowest, highest) y that a line stands for, one for each point; empty for none.
    """

    name: str
    points: Sequence[tuple[float, float]]
    colour: int
    is_published: bool = False
    spread: Sequence[tuple[float, float]] = ()


@dataclass(frozen=True)
class Figure:
    """A chart.

    Attributes:
        name: What a file of it is called.
        title: What it shows.
        x: What is on the horizontal axis.
        y: What is on the vertical axis, with its unit.
        series: What is drawn.
        x_is_log: Whether the horizontal axis is logarithmic.
        kind: How series are drawn.
        labels: Of bars, what each x stands for, from 0.
    """

    name: str
    title: str
    x: str
    y: str
    series: Sequence[Series]
    x_is_log: bool = False
    kind: Literal["lines", "points", "bars"] = "lines"
    labels: Sequence[str] = ()

    @property
    def legend(self) -> list[tuple[str, int, bool]]:
        """Name, colour and whether it was published, once for each."""
        return list(dict.fromkeys((one.name, one.colour, one.is_published) for one in self.series))

    @property
    def measured_at(self) -> list[float]:
        """All x, if they are few and far enough from each other to be written at the axis; else nothing."""
        xs = sorted({x for one in self.series for x, _ in one.points})
        if not self.x_is_log or self.kind != "lines" or not 1 < len(xs) <= _MOST_TICKS or xs[0] <= 0:
            return []
        least = math.log(xs[-1] / xs[0]) / _MOST_TICKS
        return xs if all(math.log(right / left) >= least for left, right in pairwise(xs)) else []

    @property
    def svg(self) -> str:
        """The chart, with a text for those who do not see it."""
        xs, ys = ([point[axis] for one in self.series for point in one.points] for axis in (0, 1))
        if self.kind == "bars":
            across = _Axis(
                [-0.5, len(self.labels) - 0.5], _LEFT, _WIDTH - _RIGHT, ticks=range(len(self.labels))
            )
            ys.append(0.0)
        else:
            across = _Axis(xs, _LEFT, _WIDTH - _RIGHT, is_log=self.x_is_log, ticks=self.measured_at)
        up = _Axis(ys, _HEIGHT - _BOTTOM, _TOP)
        parts = [
            f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(self._in_words())}">',
            *(_line(_LEFT, up(y), _WIDTH - _RIGHT, up(y), "grid") for y in up.ticks),
            *(_text(_LEFT - 6, up(y) + 4, f"{y:g}", "end") for y in up.ticks),
            *(
                _line(across(x), _HEIGHT - _BOTTOM, across(x), _HEIGHT - _BOTTOM + 5, "axis")
                for x in across.ticks
            ),
            *(_text(across(x), _HEIGHT - _BOTTOM + 18, self._at(x), "middle") for x in across.ticks),
            _line(_LEFT, _HEIGHT - _BOTTOM, _WIDTH - _RIGHT, _HEIGHT - _BOTTOM, "axis"),
            _text((_LEFT + _WIDTH) / 2, _HEIGHT - 6, self.x, "middle"),
            *(self._drawn(number, one, across, up) for number, one in enumerate(self.series)),
            "</svg>",
        ]
        return "".join(parts)

    def _at(self, x: float) -> str:
        """What is written at a tick of the horizontal axis."""
        return self.labels[int(x)] if self.kind == "bars" else short(x)

    def bar(self, number: int) -> tuple[float, float]:
        """How far left of its x the bar of a series begins, and how wide it is."""
        width = _BARS / len(self.series)
        return number * width - _BARS / 2, width

    def _drawn(self, number: int, one: Series, across: "_Axis", up: "_Axis") -> str:
        title = f"<title>{escape(one.name)}</title>"
        kind = f"c{one.colour}" + (" published" if one.is_published else "")
        if self.kind == "bars":
            left, width = self.bar(number)
            return "".join(
                f'<rect class="bar {kind}" x="{across(x + left):.1f}" y="{min(up(y), up(0)):.1f}" '
                f'width="{across(width) - across(0):.1f}" height="{abs(up(0) - up(y)):.1f}">{title}</rect>'
                for x, y in one.points
            )
        at = [(across(x), up(y)) for x, y in one.points]
        if self.kind == "lines" and len(at) > 1:
            path = "L".join(f"{x:.1f} {y:.1f}" for x, y in at)
            return f'<path class="line {kind}" d="M{path}">{title}</path>'
        return "".join(
            f'<circle class="dot {kind}" cx="{x:.1f}" cy="{y:.1f}" r="4">{title}</circle>' for x, y in at
        )

    def _in_words(self) -> str:
        names = ", ".join(name for name, _, _ in self.legend)
        return f"{self.title}: {self.y} over {self.x}, of {names}"


@dataclass(frozen=True)
class Landscape:
    """A number over a plane.

    Attributes:
        name: What a file of it is called.
        title: What it shows.
        x: What is on the horizontal axis.
        y: What is on the vertical axis.
        z: What the number is, with its unit.
        xs: Where the columns are.
        ys: Where the rows are.
        heights: The number, row by row.
    """

    name: str
    title: str
    x: str
    y: str
    z: str
    xs: Sequence[float]
    ys: Sequence[float]
    heights: Sequence[Sequence[float]]


class _Axis:
    """From values to places, with round ticks.

    Args:
        values: All that is shown.
        start: Where the smallest is.
        end: Where the largest is.
        is_log: Whether equal ratios are equally far apart.
        ticks: Where values are written; round numbers that enclose all if there are none.
    """

    def __init__(
        self,
        values: Sequence[float],
        start: float,
        end: float,
        *,
        is_log: bool = False,
        ticks: Sequence[float] = (),
    ) -> None:
        self.is_log = is_log and min(values) > 0
        self.start, self.end = start, end
        low, high = min(values), max(values)
        if low == high:
            room = 0.5 if abs(low) < _HUGE else abs(low) / 8  # a half is none beside the largest numbers
            low, high = (low / 2, high * 2) if self.is_log else (low - room, high + room)
        self.ticks = ticks or (_powers(low, high) if self.is_log else _round_steps(low, high))
        self.low, self.high = self._scaled(min(low, *self.ticks)), self._scaled(max(high, *self.ticks))

    def __call__(self, value: float) -> float:
        share = (self._scaled(value) - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)

    def _scaled(self, value: float) -> float:
        return math.log10(value) if self.is_log else value


def _round_steps(low: float, high: float) -> list[float]:
    """About five multiples of a round number that enclose two values."""
    rough = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [round(index * step, 12) for index in range(first, last + 1)]


def _powers(low: float, high: float) -> list[float]:
    """Powers of ten that enclose two values; where there are few, their doubles and fives that do, too."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    if last - first > 2:
        return [10.0**power for power in range(first, last + 1, (last - first) // 6 or 1)]
    found = [factor * 10.0**power for power in range(first, last + 1) for factor in (1, 2, 5)]
    below, above = max(one for one in found if one <= low), min(one for one in found if one >= high)
    return [one for one in found if below <= one <= above]


def short(value: float) -> str:
    """A number in few characters: 20000 is 20k."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
