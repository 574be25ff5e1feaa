"""The charts of an experiment: learning curves, scores over a number, many tasks, and score against cost."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from rmem_cli.report import wording
from rmem_cli.report.across import Values, lines_across, many_tasks
from rmem_cli.report.citations import STEPS
from rmem_cli.report.curves import find_curves, place_of_curve
from rmem_cli.report.figure import COLOURS, Figure, Series, picture_name
from rmem_cli.report.learning import Curves
from rmem_cli.report.selection import Results
from rmem_cli.report.table import Line, Table
from rmem_cli.results.metrics import metric
from rmem_cli.results.row import ResultRow
from rmem_cli.visible import one_line

_FEWEST = 2  # points of a score over a number


def figures(table: Table, results: Results, curves: Curves) -> list[Figure]:
    """All charts for which there is something to draw.

    Args:
        table: The table of the experiment.
        results: The results behind it.
        curves: The learning curve behind a result.
    """
    return [*learning_curves(table, results, curves), *sweeps(table), *tasks(table), *costs(table)]


def learning_curves(table: Table, results: Results, curves: Curves) -> list[Figure]:
    """One chart for each scale, matrix cell and metric of the validations: a line for each seed.

    Published curves stand beside ours. Arguments as for `figures`.
    """
    colours = _colours(table)
    published = _published_curves(table)
    metrics = list(dict.fromkeys(section.metric for section in table.sections if section.protocol))
    found = []
    for (scale, cell), runs in _runs(results, colours).items():
        for name in metrics:
            lines = _seeds(runs, name, curves, colours)
            for row, line in lines.items():
                if points := published.get((row, cell, name)):
                    title = f"{colours[row].title}, published"
                    line.append(Series(title, points, colours[row].colour, is_published=True))
            about = Figure(
                picture_name(table.experiment, "curves", scale, cell, name),
                f"Learning curves, {', '.join(filter(None, (scale, cell)))}",
                STEPS,
                f"{wording.quantity(name, metric(name).unit)} in validation",
                [],
            )
            found += _shared_out(about, lines, colours)
    return found


def sweeps(table: Table) -> list[Figure]:
    """One chart for each scale and group of sections that differ in one number, such as a learning rate.

    Args:
        table: Of the experiment.
    """
    colours = _colours(table)
    found = []
    for group in find_curves(table.sections, _FEWEST, with_numbers=True):
        first = group[0]
        if len(group) == 1 or first.protocol == "training":
            continue
        points: dict[str, list[tuple[float, Line]]] = {}
        for section in group:
            for line in section.lines:
                if line.kind == "row" and line.id in colours and section.x is not None:
                    points.setdefault(line.id, []).append((section.x, line))
        for scale in first.scales:
            lines = {row: _over(of_row, scale, colours[row]) for row, of_row in points.items()}
            where = [scale, *place_of_curve(first)]
            about = Figure(
                picture_name(table.experiment, "sweep", first.x_name, *where, first.metric),
                f"By {first.x_name}, {', '.join(where)}",
                first.x_name,
                wording.quantity(first.metric, first.unit),
                [],
                x_is_log=True,
            )
            if any(len(one.points) >= _FEWEST for series in lines.values() for one in series):
                found += _shared_out(about, lines, colours)
    return found


def tasks(table: Table) -> list[Figure]:
    """One chart for each model that was measured on many tasks, such as the twenty of bAbI, as bars.

    Published values stand beside ours.

    Args:
        table: Of the experiment.
    """
    colours = _colours(table)
    found = []
    for many, _ in many_tasks(table):
        for ours in lines_across(many):
            if ours.row:
                about = colours[ours.row]
                both = [ours] if ours.published is None else [ours, ours.published]
                figure = Figure(
                    picture_name(
                        table.experiment, "tasks", many.scale, ours.row, many.name, many.sections[0].protocol
                    ),
                    f"{about.title} on each task, {many.scale}",
                    "task",
                    f"{many.sections[0].metric} (%)",
                    [_bars(values, about.colour, many.scale) for values in both],
                    kind="bars",
                    labels=many.labels,
                )
                found.append(_visible(figure))
    return found


def costs(table: Table) -> list[Figure]:
    """Score against training time of a seed, one chart for each scale with two rows or more.

    Args:
        table: Of the experiment.
    """
    section, colours = table.sections[table.main], _colours(table)
    found = []
    for scale in section.scales:
        lines = {
            line.id: [Series(line.title, [(ours.wall_seconds, ours.mean)], colours[line.id].colour)]
            for line in section.lines
            if line.id in colours
            and (ours := line.ours.get(scale))
            and ours.wall_seconds
            and ours.mean is not None
        }
        about = Figure(
            picture_name(table.experiment, "costs", scale, section.metric),
            f"Score against cost, {', '.join(filter(None, (scale, section.cell)))}",
            "training time of a seed (seconds)",
            wording.quantity(section.metric, section.unit),
            [],
            x_is_log=True,
            kind="points",
        )
        found += _shared_out(about, lines, colours) if len(lines) > 1 else []
    return found


class _Model(NamedTuple):
    """A row with results.

    Attributes:
        title: Its title.
        colour: Number of its colour.
        part: The chart that it is in, where one has no colours for all.
    """

    title: str
    colour: int
    part: int


def _colours(table: Table) -> dict[str, _Model]:
    """The rows with results, in their order."""
    lines = [line for section in table.sections for line in section.lines if line.has_run]
    titles = {line.id: line.title for line in lines}
    return {
        row: _Model(title, place % COLOURS, place // COLOURS)
        for place, (row, title) in enumerate(titles.items())
    }


def _shared_out(
    about: Figure, lines: Mapping[str, Sequence[Series]], colours: Mapping[str, _Model]
) -> list[Figure]:
    """The chart with the lines of each row; several where there are more rows than colours."""
    parts: dict[int, list[Series]] = {}
    for row in (row for row in colours if row in lines):
        parts.setdefault(colours[row].part, []).extend(lines[row])
    found = [parts[part] for part in sorted(parts) if parts[part]]
    if len(found) == 1:
        return [_visible(replace(about, series=found[0]))]
    return [
        _visible(
            replace(
                about,
                name=f"{about.name}-{number}",
                title=f"{about.title} ({number} of {len(found)})",
                series=series,
            )
        )
        for number, series in enumerate(found, 1)
    ]


def _visible(figure: Figure) -> Figure:
    """The same chart with texts as they may be shown, whatever was written in recipes and results."""
    series = [replace(one, name=one_line(one.name)) for one in figure.series]
    return replace(
        figure,
        title=one_line(figure.title),
        x=one_line(figure.x),
        y=one_line(figure.y),
        series=series,
        labels=list(map(one_line, figure.labels)),
    )


def _runs(
    results: Results, colours: Mapping[str, _Model]
) -> dict[tuple[str, str], dict[tuple[str, int], ResultRow]]:
    """(scale, matrix cell) to (row, seed) to any result of that run."""
    found: dict[tuple[str, str], dict[tuple[str, int], ResultRow]] = {}
    for key, rows in results.items():
        for row in rows:
            if key.row in colours:
                found.setdefault((key.scale, key.cell), {}).setdefault((key.row, row.seed), row)
    return found


def _seeds(
    runs: Mapping[tuple[str, int], ResultRow], name: str, curves: Curves, colours: Mapping[str, _Model]
) -> dict[str, list[Series]]:
    """Row to the learning curves of its seeds by a metric."""
    found: dict[str, list[Series]] = {}
    for (row, _), result in runs.items():
        curve = curves(result)
        points = [] if curve is None else curve.validation(name)
        if len(points) > 1:
            found.setdefault(row, []).append(Series(colours[row].title, points, colours[row].colour))
    return found


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
        and line.published.x_name == STEPS
        and line.published.x is not None
        and line.published.curve is not None
    }


def _over(points: Sequence[tuple[float, Line]], scale: str, model: _Model) -> list[Series]:
    """What was measured of a row at a scale, and, if anything was, what was published of it."""
    means = [(x, line.ours[scale].mean) for x, line in points if scale in line.ours]
    known = sorted((x, mean) for x, mean in means if mean is not None)
    ours = [Series(model.title, known, model.colour)] if known else []
    return [*ours, *_published_over(points, model)] if ours else []


def _published_over(points: Sequence[tuple[float, Line]], model: _Model) -> Iterator[Series]:
    """The numbers that were published at several places as one line, and each curve over such places."""
    published = [(x, line.published) for x, line in points if line.published is not None]
    title = f"{model.title}, published"
    numbers = sorted((x, one.value) for x, one in published if one.value is not None)
    if numbers:
        yield Series(title, numbers, model.colour, is_published=True)
    for _, one in published:
        if one.x is not None and one.curve is not None and one.x_name != STEPS:
            yield Series(title, list(zip(one.x, one.curve, strict=True)), model.colour, is_published=True)


def _bars(values: Values, colour: int, scale: str) -> Series:
    """One bar for each task that has a value, in percent."""
    points = [(float(place), 100 * value) for place, value in enumerate(values.values) if value is not None]
    return Series(
        f"ours, {scale}" if values.row else "published", points, colour, is_published=not values.row
    )
