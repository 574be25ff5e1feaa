"""A folder of HTML pages that needs nothing but itself: the scoreboard, and a page for each experiment."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from rmem_cli.recipe import Recipe
from rmem_cli.recipe.commands import train_command
from rmem_cli.recipe.explain import explain, render
from rmem_cli.report import layout, scoreboard_layout
from rmem_cli.report.figures import figures
from rmem_cli.report.joined import Joined
from rmem_cli.report.learning import Curves
from rmem_cli.report.scoreboard import Scoreboard
from rmem_cli.report.table import Table
from rmem_cli.results.row import ResultRow
from rmem_cli.results.run_names import run_name
from rmem_cli.results.summaries import Summary
from rmem_cli.visible import one_line, visible

Samples = Callable[[ResultRow], list[Summary]]
_ARTICLES = 5  # with what was said about each
_MORE = "see Everything, at the end"
_STATIC = ("style.css", "script.js")
_ENVIRONMENT = (
    "device", "threads", "processes", "compiled", "op_paths", "dtype", "torch_version", "rmem_version",
    "git_commit", "git_dirty", "checkpoint", "step", "wall_seconds", "peak_memory_mb", "train_hash",
    "data_hash", "time",
)  # fmt: skip


@dataclass(frozen=True)
class Seed:
    """One run: its seed, how it ended, and where."""

    seed: int
    status: str
    facts: dict[str, str]


@dataclass(frozen=True)
class Runs:
    """The runs of one row at one scale.

    Attributes:
        anchor: What the row's name links to, at its first scale.
        heading: Its title, scale and matrix cell.
        command: What runs it again.
        settings: Every setting, with its origin, as YAML.
        seeds: The runs.
    """

    anchor: str
    heading: str
    command: str
    settings: str
    seeds: list[Seed]


@dataclass(frozen=True)
class Experiment:
    """What a page is made of."""

    table: Table
    recipe: Recipe
    joined: Joined


@dataclass(frozen=True)
class Said:
    """What one run said about an article: by which row, and what it is worth."""

    by: str
    text: str
    scores: str


@dataclass(frozen=True)
class Article:
    """An article by its name, its own summary, and what was said about it."""

    name: str
    reference: str
    said: list[Said]


def write_site(
    folder: Path, experiments: Sequence[Experiment], board: Scoreboard, curves: Curves, samples: Samples
) -> list[Path]:
    """Write the pages, and what they look like.

    Args:
        folder: A folder that is there.
        experiments: One page for each.
        board: The scoreboard.
        curves: The learning curve behind a result.
        samples: What was said about some articles behind a result.

    Returns:
        The files.
    """
    environment = Environment(
        loader=PackageLoader("rmem_cli.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    names = {each.table.experiment for each in experiments}
    texts = {name: _static(name) for name in _STATIC}
    index = environment.get_template("index.html.j2")
    shown = {
        each.table.experiment: layout.page(each.table, layout.View(more=_MORE)).finished()
        for each in experiments
    }
    score = scoreboard_layout.page(board, everything=True).finished()
    texts["index.html"] = index.render(
        page=score, pages=shown.values(), links={name: f"{name}.html" for name in names}
    )
    template = environment.get_template("experiment.html.j2")
    for each in experiments:
        name = each.table.experiment
        articles = _articles(each.recipe, each.joined, samples)
        if articles:
            texts[f"{name}.summaries.html"] = environment.get_template("summaries.html.j2").render(
                page=replace(shown[name], title=f"{name}: what was said about the first articles"),
                articles=articles,
            )
        texts[f"{name}.html"] = template.render(
            page=shown[name],
            whole=layout.page(each.table, layout.View(everything=True)).finished(),
            figures=figures(each.table, each.joined.results, curves),
            runs=list(_runs(each.recipe, each.joined)),
            links={key.row: f"#run-{key.row}" for key in each.joined.results},
            summaries=f"{name}.summaries.html" if articles else "",
        )
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    return [folder / name for name in texts]


def _articles(recipe: Recipe, joined: Joined, samples: Samples) -> list[Article]:
    """The first articles, and what each row at each scale said about them, in its first seed."""
    found: dict[tuple[int, str, str], dict[str, Summary]] = {}
    for key, rows in joined.results.items():
        scored = [row for row in rows if row.settings and row.status == "ok"]
        by = ", ".join(filter(None, (recipe.row(key.row).title, f"{key.scale} scale", key.cell)))
        for one in samples(scored[0])[:_ARTICLES] if scored else ():
            found.setdefault((one.place, one.id, one.reference), {}).setdefault(by, one)
    return [
        Article(
            one_line(article or f"number {place}"),
            visible(reference),
            [Said(one_line(by), visible(one.summary), _scores(one)) for by, one in said.items()],
        )
        for (place, article, reference), said in sorted(found.items(), key=lambda each: each[0])
    ]


def _scores(summary: Summary) -> str:
    """The scores that are compared, in words."""
    return ", ".join(
        f"{name} {value:.3f}"
        for name, value in summary.scores.items()
        if not name.endswith(("precision", "recall"))
    )


def _static(name: str) -> str:
    return files("rmem_cli.report").joinpath("templates", name).read_text(encoding="utf-8")


def _runs(recipe: Recipe, joined: Joined) -> Iterator[Runs]:
    """The runs of each row at each scale that has results."""
    found: dict[tuple[str, str, str], dict[int, ResultRow]] = {}
    for key, rows in joined.results.items():
        for row in rows:
            found.setdefault((key.row, key.scale, key.cell), {}).setdefault(row.seed, row)
    rows_told: set[str] = set()
    for (row_id, scale, cell), seeds in found.items():
        resolved = [one for one in recipe.resolve(scale, [row_id]) if one.cell == cell]
        if resolved:  # what several cells are together is no run
            heading = ", ".join(filter(None, (recipe.row(row_id).title, f"{scale} scale", cell)))
            command = train_command(recipe.name, row_id, cell, "--scale", scale)
            settings = visible(render(explain(recipe, resolved[0])))
            first = row_id not in rows_told
            rows_told.add(row_id)
            anchor = f"run-{row_id}" if first else f"run-{row_id}-{scale}-{cell}"
            yield Runs(
                anchor, one_line(heading), one_line(command), settings, [_seed(row) for row in seeds.values()]
            )


def _seed(row: ResultRow) -> Seed:
    facts = {
        field.name: one_line(str(getattr(row, field.name)))
        for field in fields(row)
        if field.name in _ENVIRONMENT and getattr(row, field.name) not in (None, "")
    }
    return Seed(row.seed, one_line(row.status), {"run": one_line(run_name(row)), **facts})
