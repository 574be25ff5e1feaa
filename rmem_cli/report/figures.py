"""The charts of an experiment: learning curves, scores over a length, and score against cost."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from rmem_cli.report.curves import find_curves
from rmem_cli.report.figure import COLOURS, Figure, Series
from rmem_cli.report.learning import Curves
from rmem_cli.report.selection import Results
from rmem_cli.report.table import Line, Section, Table
from rmem_cli.results.row import ResultRow
from rmem_cli.visible import one_line


def figures(table: Table, results: Results, curves: Curves) -> list[Figure]:
    """All charts for which there is something to draw.

    Args:
        table: The table of the experiment.
        results: The results behind it.
        curves: The learning curve behind a result.
    """
    found = [*_learning(table, results, curves), *_over_length(table)]
    main = table.sections[table.main]
    return [_visible(figure) for figure in [*found, *_costs(main)]]


def _visible(figure: Figure) -> Figure:
    """The same chart with texts as they may be shown, whatever was written in recipes and results."""
    series = [replace(one, name=one_line(one.name)) for one in figure.series]
    return replace(
        figure, title=one_line(figure.title), x=one_line(figure.x), y=one_line(figure.y), series=series
    )


def _learning(table: Table, results: Results, curves: Curves) -> Iterator[Figure]:
    """One chart for each scale, matrix cell and metric of the validations: a line for each seed."""
    titles = {line.id: line.title for section in table.sections for line in section.lines}
    runs: dict[tuple[str, str], dict[tuple[str, int], ResultRow]] = {}
    for key, rows in results.items():
        for row in rows:
            runs.setdefault((key.scale, key.cell), {}).setdefault((key.row, row.seed), row)
    order = list(titles)
    published = _published_curves(table)
    metrics = list(dict.fromkeys(section.metric for section in table.sections if section.protocol))
    for (scale, cell), seeds in runs.items():
        here = {row for row, _ in seeds}
        for metric in metrics:
            series = [
                Series(titles[row], points, order.index(row) % COLOURS)
                for (row, _), result in seeds.items()
                if (curve := curves(result)) is not None and len(points := curve.validation(metric)) > 1
            ]
            if series:
                beside = [
                    Series(f"{titles[row]}, published", points, order.index(row) % COLOURS, is_published=True)
                    for (row, at, its_metric), points in published.items()
                    if row in here and (at, its_metric) == (cell, metric)
                ]
                where = ", ".join(filter(None, (scale, cell)))
                yield Figure(f"Learning curves, {where}", "training steps", metric, [*series, *beside])


def _published_curves(table: Table) -> dict[tuple[str, str, str], list[tuple[float, float]]]:
    """(row, matrix cell, metric) to the published learning curve."""
    return {
        (line.id, section.cell, section.metric): list(
            zip(line.published.x, line.published.curve, strict=True)
        )
        for paper in table.papers
        for section in paper.columns
        for line in section.lines
        if line.kind == "row"
        and line.published is not None
        and line.published.x_name == "training steps"
        and line.published.x is not None
        and line.published.curve is not None
    }


def _over_length(table: Table) -> Iterator[Figure]:
    """One chart for each group of sections that differ in one number, such as a length."""
    for group in find_curves(table.sections):
        if len(group) == 1 or group[0].protocol == "training":
            continue
        first = group[0]
        lines: dict[tuple[str, str], list[tuple[float, Line]]] = {}
        for section in group:
            for line in section.lines:
                if line.kind == "row" and section.x is not None:
                    lines.setdefault((line.id, line.title), []).append((section.x, line))
        series: list[Series] = []
        for index, ((_, title), points) in enumerate(lines.items()):
            series += _series_over_length(title, points, first.scales, index % COLOURS)
        if series:
            where = ", ".join(filter(None, (first.cell, f"{first.split} split", first.part)))
            yield Figure(f"By {first.x_name}, {where}", first.x_name, first.metric, series, x_is_log=True)


def _series_over_length(
    title: str, points: Sequence[tuple[float, Line]], scales: Sequence[str], colour: int
) -> Iterator[Series]:
    """What was measured of a row at each scale, and what was published of it."""
    has_run = False
    for scale in scales:
        means = [(x, line.ours[scale].mean) for x, line in points if scale in line.ours]
        known = sorted((x, mean) for x, mean in means if mean is not None)
        if known:
            has_run = True
            yield Series(f"{title}, {scale}", known, colour)
    for published in (line.published for _, line in points if line.published is not None):
        if has_run and published.x is not None and published.curve is not None:
            curve = list(zip(published.x, published.curve, strict=True))
            yield Series(f"{title}, published", curve, colour, is_published=True)


def _costs(section: Section) -> Iterator[Figure]:
    """Score against training time of a seed, one chart for each scale with two rows or more."""
    for scale in section.scales:
        rows = [line for line in section.lines if line.kind == "row"]
        series = [
            Series(line.title, [(ours.wall_seconds, ours.mean)], index % COLOURS)
            for index, line in enumerate(rows)
            if (ours := line.ours.get(scale)) and ours.wall_seconds and ours.mean is not None
        ]
        if len(series) > 1:
            title = f"Score against cost, {scale}"
            yield Figure(
                title, "seconds of training, a seed", section.metric, series, x_is_log=True, has_lines=False
            )
