"""The model card of an exported model, in Markdown."""

import json
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rmem_cli.published.references import bibtex
from rmem_cli.recipe import Recipe, RunSpec
from rmem_cli.recipe.resolve import PAPER
from rmem_cli.report.build import build_table
from rmem_cli.report.markdown import escaped
from rmem_cli.report.table import Published, Table
from rmem_cli.report.wording import NOTHING, as_published, number
from rmem_cli.results.row import ResultRow

_HEADINGS = ("metric", "of", "value", "published", "seed", "scale", "commit")


@dataclass(frozen=True)
class About:
    """What a model card says of a model, beside its results.

    Attributes:
        spec: Its run.
        folder: What the folder is called.
        checkpoint: "best" or "last".
        step: After how many updates.
        parameters: How many weights it has.
        has_text: Whether its task has text.
        modules: Modules of one's own that its core is in.
        data: Of each data set: name, licence and citation.
        rmem_version: Version of rmem that exported it.
        torch_version: Version of torch that trained it.
    """

    spec: RunSpec
    folder: str
    checkpoint: str
    step: int
    parameters: int
    has_text: bool
    modules: Sequence[str]
    data: Sequence[tuple[str, str, str]]
    rmem_version: str
    torch_version: str


def model_card(
    about: About, rows: Sequence[ResultRow], recipe: Recipe | None, others: Sequence[ResultRow]
) -> str:
    """The text of a model card.

    Args:
        about: What it is.
        rows: Results of the model.
        recipe: The recipe that its run is of; None: there is none here.
        others: All results of the experiment.
    """
    table = None if recipe is None else build_table(recipe, others)
    title = about.spec.title if recipe is None else f"{about.spec.title}: {recipe.title}"
    sections = [
        f"# {escaped(title)}",
        _summary(about),
        "## Results",
        *_results(about.spec, rows, table),
        "## Use",
        *_use(about),
        "## Data",
        *_data(about),
        *_papers(recipe, table, rows),
    ]
    return "\n\n".join(sections) + "\n"


def _summary(about: About) -> str:
    spec = about.spec
    model, task = spec.settings.model, spec.settings.task
    core = "no core" if model.core is None else f"core `{model.core.kind}`"
    facts = [
        f"Row `{spec.row}`{f', {escaped(spec.cell)}' if spec.cell else ''} of the recipe `{spec.experiment}` "
        f"of rmem, scale `{spec.scale}`, seed {spec.seed}: the {about.checkpoint} checkpoint, after "
        f"{about.step:,} updates.",
        f"Architecture `{model.architecture}`, {core}, {about.parameters:,} parameters; task `{task.kind}`.",
        f"Trained with torch {about.torch_version}, exported by rmem {about.rmem_version}; all settings are "
        "in `settings.yaml`.",
        *map(escaped, spec.footnotes),
    ]
    return "\n".join(f"- {fact}" for fact in facts)


def _results(spec: RunSpec, rows: Sequence[ResultRow], table: Table | None) -> Iterator[str]:
    if not rows:
        yield "None: no result of this checkpoint was found where it was exported."
        return
    lines = [_line(_HEADINGS), _line(["---"] * len(_HEADINGS))]
    lines += [_line(_cells(row, _published(table, row))) for row in rows]
    yield "\n".join(lines)
    if spec.scale != PAPER and any(_published(table, row) for row in rows):
        yield (
            f"The published numbers are of the paper's size; this run is of scale `{spec.scale}`, which "
            "cannot be compared with them."
        )


def _cells(row: ResultRow, published: Published | None) -> list[str]:
    assert row.value is not None  # noqa: S101  others are no results
    commit = row.git_commit or "unknown"
    return [
        f"{row.metric} ({row.unit})" if row.unit != row.metric else row.metric,
        ", ".join(filter(None, dict.fromkeys((row.protocol, row.split, row.part)))),
        number(row.value, None),
        NOTHING if published is None or published.value is None else as_published(published.value, None),
        str(row.seed),
        row.scale,
        f"{commit}, uncommitted changes" if row.git_dirty == "true" else commit,
    ]


def _published(table: Table | None, row: ResultRow) -> Published | None:
    """The published number that a result stands beside in its table."""
    where = row.cell, row.protocol, row.split, row.part, row.metric
    for section in () if table is None else table.sections:
        for line in section.lines if section.where == where else ():
            if line.id == row.row and line.published is not None and line.published.verified:
                return line.published
    return None


def _use(about: About) -> Iterator[str]:
    in_python, folder = json.dumps(about.folder, ensure_ascii=False), shlex.quote(about.folder)
    allowed = f", allow_modules={list(about.modules)}" if about.modules else ""
    task = about.spec.settings.task
    if task.kind == "language_model":
        use = 'print(model.generate("", 100))'
    elif task.has_source:
        use = 'print(model.summarize("The text of an article."))'
    else:
        use = "print(model.settings.task)  # model(inputs, state) gives predictions and the state after them"
    yield f"```python\nfrom rmem_cli import load\n\nmodel = load({in_python}{allowed})\n{use}\n```"
    if about.modules:
        yield f"It is made of code of somebody's own, in {', '.join(about.modules)}, which must be there."
    commands = [f"rmem eval {folder}"]
    if task.kind == "language_model":
        commands.insert(0, f'rmem sample {folder} --prompt ""')
    elif task.has_source:
        commands.insert(0, f"rmem sample {folder} --source article.txt")
    yield "```sh\n" + "\n".join(commands) + "\n```"


def _data(about: About) -> Iterator[str]:
    own = about.spec.settings.task.own_files()
    if own is not None:
        names = ", ".join(escaped(path.name) for path in own.files.values())
        yield f"Files of its maker's own: {names}. `rmem eval` looks for them in the working folder."
    elif not about.data:
        yield "None: the task makes its examples."
    else:
        yield "\n".join(
            f"- {escaped(name)}: {escaped(citation)}. Licence: {escaped(licence)}."
            for name, licence, citation in about.data
        )
    if about.has_text:
        yield "`tokenizer.json` holds the vocabulary of the data; its licence goes for that, too."


def _papers(recipe: Recipe | None, table: Table | None, rows: Sequence[ResultRow]) -> Iterator[str]:
    """The papers of the recipe and of the published numbers."""
    numbers = filter(None, (_published(table, row) for row in rows))
    named = [] if recipe is None or recipe.paper is None else [recipe.paper]
    papers = dict.fromkeys([*named, *(one.id.partition(".")[0] for one in numbers)])
    if papers:
        yield "## Papers"
        yield f"```bibtex\n{bibtex(papers).rstrip()}\n```"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(map(escaped, cells))} |"
