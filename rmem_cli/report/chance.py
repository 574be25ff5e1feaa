"""What is reached without the ability that a task asks for, as lines beside the models."""

from dataclasses import replace

from rmem_cli.recipe import Recipe, RunSpec
from rmem_cli.report.footnotes import Footnotes
from rmem_cli.report.places import Place
from rmem_cli.report.selection import Entry
from rmem_cli.report.statistics import half_width, mean
from rmem_cli.report.table import Line, Ours
from rmem_cli.results.metrics import Metric

_NO_BETTER = "not surely better than {name}: no sign that answers are kept with their questions"
Groups = list[tuple[dict[str, float], list[str]]]  # scale to value, and the titles of the rows it is for


def chance_lines(
    recipe: Recipe, place: Place, entries: dict[str, dict[str, Entry]], footnotes: Footnotes
) -> list[Line]:
    """One line for each baseline, or several where rows differ in their task; of parts none is known.

    Args:
        recipe: The experiment.
        place: Where it is measured.
        entries: Row to scale to entry, of all that is measured there.
        footnotes: Receive where the loss of a task rests.
    """
    if place.part:
        return []
    baselines: dict[str, Groups] = {}
    for row, at in entries.items():
        found: dict[str, dict[str, float]] = {}
        for scale, entry in at.items():
            for name, value in _baselines(entry, place).items():
                found.setdefault(name, {})[scale] = value
        for name, values in found.items():
            known, titles = _agreeing(baselines.setdefault(name, []), values)
            known |= values
            titles.append(recipe.row(row).title)
    notes = _plateaus(place, entries, footnotes)
    return [
        Line(
            "chance",
            name,
            name if len(groups) == 1 else f"{name} for {'; '.join(titles)}",
            ours={scale: Ours(mean=value) for scale, value in values.items()},
            notes=notes if name == "chance" else (),
        )
        for name, groups in baselines.items()
        for values, titles in groups
    ]


def mark_no_better(
    lines: list[Line], baselines: list[Line], kind: Metric, footnotes: Footnotes
) -> list[Line]:
    """Give a footnote to every row whose seeds are not surely better than a baseline beyond chance.

    Args:
        lines: The rows.
        baselines: The lines of `chance_lines`.
        kind: The metric.
        footnotes: Receive what such a row has not shown.
    """
    beyond = [line for line in baselines if line.id != "chance"]
    for baseline in beyond:
        note = footnotes.add(_NO_BETTER.format(name=baseline.title)) if lines else 0
        lines = [
            replace(line, notes=(*line.notes, note)) if _is_no_better(line, baseline, kind) else line
            for line in lines
        ]
    return lines


def _is_no_better(line: Line, baseline: Line, kind: Metric) -> bool:
    """Whether at some scale the mean's 95 % interval is not wholly on the better side."""
    for scale, ours in line.ours.items():
        known = baseline.ours.get(scale)
        if known is None or known.mean is None or ours.mean is None:
            continue
        half = 0.0 if ours.sd is None else half_width(ours.sd, ours.n)
        ahead = (ours.mean - known.mean) * (1 if kind.higher_is_better else -1)
        if ahead <= half:
            return True
    return False


def _agreeing(groups: Groups, values: dict[str, float]) -> tuple[dict[str, float], list[str]]:
    """The group that differs at no scale, a new one if there is none: a row may be run at one scale alone."""
    for known, titles in groups:
        if all(known.get(scale, value) == value for scale, value in values.items()):
            return known, titles
    groups.append(({}, []))
    return groups[-1]


def _baselines(entry: Entry, place: Place) -> dict[str, float]:
    """Name to value of those that are known of the metric; of several tasks, of all, and their mean."""
    found = [_of_run(spec, place) for spec in entry.tasks or (entry.spec,)]
    return {
        name: mean([each[name] for each in found]) for name in found[0] if all(name in each for each in found)
    }


def _of_run(spec: RunSpec, place: Place) -> dict[str, float]:
    protocol = place.protocol_of(spec)
    if protocol is None:
        return {}
    task = spec.protocol_task(protocol)
    baselines = task.baselines(protocol.split)
    return {name: values[place.metric] for name, values in baselines.items() if place.metric in values}


def _plateaus(place: Place, entries: dict[str, dict[str, Entry]], footnotes: Footnotes) -> tuple[int, ...]:
    if place.metric != "loss":
        return ()
    tasks = [entry.spec.settings.task for at in entries.values() for entry in at.values()]
    texts = dict.fromkeys(text for task in tasks if (text := task.plateaus()))
    return tuple(footnotes.add(text) for text in texts)
