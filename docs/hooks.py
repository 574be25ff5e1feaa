"""What the pages take from the code: references of settings and options, scoreboards, notes of recipes.

mkdocs calls the functions `on_...`. Nothing that is made here is kept in the repository, so none of it can
be out of date.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer
from griffe import Docstring, DocstringSectionAttributes, DocstringSectionText
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from pydantic import BaseModel
from pydantic.errors import PydanticInvalidForJsonSchema
from pydantic_core import PydanticUndefined

from rmem_cli.app import app
from rmem_cli.recipe import schema
from rmem_cli.recipe.explain import flow
from rmem_cli.recipe.fields import fields_of
from rmem_cli.recipe.library import load_recipe
from rmem_cli.recipe.own_files import OwnDocuments, OwnPairs, OwnText
from rmem_cli.recipe.registry import (
    BACKPROP,
    CORES,
    ENCODERS,
    HEADS,
    OPTIMIZERS,
    READOUTS,
    SCHEDULES,
    TASKS,
    Registry,
)
from rmem_cli.recipe.search import SearchSettings
from rmem_cli.recipe.settings import Settings
from rmem_cli.recipe.solved import StopWhenSolvedSettings

ROOT = Path(__file__).parents[1]
SORTS = {
    "tasks": (TASKS, "What is learned: `task: {kind: ...}`."),
    "cores": (CORES, "The memory models: `model: {core: {kind: ...}}`."),
    "encoders": (ENCODERS, "From the inputs of a task to vectors: `model: {encoder: {kind: ...}}`."),
    "readouts": (
        READOUTS,
        "From the outputs of a core to what the head gets: `model: {readout: {kind: ...}}`.",
    ),
    "heads": (HEADS, "From vectors to predictions: `model: {head: {kind: ...}}`."),
    "optimizers": (OPTIMIZERS, "`optimizer: {kind: ...}`."),
    "schedules": (SCHEDULES, "Of the learning rate: `schedule: {kind: ...}`."),
    "backprop": (BACKPROP, "How far gradients go back in time: `train: {backprop: {kind: ...}}`."),
}
SECTIONS = {
    "task.text": OwnText,
    "task.documents": OwnDocuments,
    "task.pairs": OwnPairs,
    "model": schema.ModelSettings,
    "model.memory_loss": schema.MemoryLossSettings,
    "model.memory_network": schema.MemoryNetworkSettings,
    "model.pointer_generator": schema.PointerGeneratorSettings,
    "train": schema.TrainSettings,
    "train.validation": schema.ValidationSettings,
    "train.early_stopping": schema.EarlyStoppingSettings,
    "train.stop_when_solved": StopWhenSolvedSettings,
    "search": SearchSettings,
    "train.stages": schema.StageSettings,
    "eval": schema.EvalProtocol,
    "eval.summaries": schema.SummariesSettings,
}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made of the code."""
    made = {f"reference/{name}.md": sort_page(*SORTS[name]) for name in SORTS}
    made["reference/experiment.md"] = experiment_page()
    made["reference/options.md"] = options_page()
    for path, text in made.items():
        files.append(File.generated(config, path, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Fill in what a page asks for: `<!-- scoreboard: rum2019 -->` or `all`, `<!-- notes: rmt_copy -->`."""
    markdown = re.sub(r"<!-- scoreboard: ([\w ]+) -->", lambda found: scoreboard(found[1].split()), markdown)
    return re.sub(r"<!-- notes: ([\w ]+) -->", lambda found: notes(found[1].split()), markdown)


def scoreboard(papers: list[str]) -> str:
    """The lines of `results/scoreboard.md` about the tables of some papers, or all, under their headings."""
    kept = []
    for line in (ROOT / "results" / "scoreboard.md").read_text(encoding="utf-8").splitlines():
        table = re.match(r"\| (\w+)\.\w+ \|", line)
        if line.startswith("**") or re.match(r"\| (Table|---)", line):
            kept.append(f"\n{line}\n" if line.startswith("**") else line)
        elif (table and table[1] in papers) or (line.startswith("|") and papers == ["all"]):
            kept.append(line)
    return "\n".join(kept)


def notes(recipes: list[str]) -> str:
    """The notes of recipes, as they stand there."""
    lines = []
    for name in recipes:
        lines += [f"\n**{name}**\n", *(f"- {note}" for note in load_recipe(name).notes)]
    return "\n".join(lines)


def sort_page(registry: Registry, lead: str) -> str:
    """All kinds of one sort of component."""
    kinds = "\n".join(settings_section(kind, registry.settings(kind)) for kind in registry.kinds())
    return f"# The {registry.noun}: every kind and option\n\n{lead} Made of the settings classes.\n\n{kinds}"


def experiment_page() -> str:
    """What is no component: files of one's own, model, training, evaluation."""
    sections = "\n".join(settings_section(name, settings) for name, settings in SECTIONS.items())
    title = "# Own files, model, training, evaluation: every option"
    return f"{title}\n\nMade of the settings classes.\n\n{sections}"


def settings_section(name: str, settings: type[BaseModel]) -> str:
    """One settings class: what it is, its options, its rules."""
    parts = [f"## {name}", *texts(settings)]
    known = meanings(settings)
    rows = [
        table_line(
            f"`{field.alias or each}`", kind_of(settings, each), default_of(field), known.get(each, "")
        )
        for each, field in settings.model_fields.items()
        if each not in ("kind", "code")
    ]
    if rows:
        parts.append("\n".join(["| option | values | default | meaning |", "|---|---|---|---|", *rows]))
    rules = list(rules_of(settings))
    if rules:
        parts.append("Rules among options: " + "; ".join(rules) + ".")
    metrics = getattr(settings, "metrics", None)
    if metrics:
        parts.append("Metrics: " + ", ".join(f"`{metric}`" for metric in metrics) + ".")
    return "\n\n".join(parts) + "\n"


def table_line(*cells: str) -> str:
    """A line of a table."""
    return f"| {' | '.join(cells)} |"


def texts(settings: type[BaseModel]) -> list[str]:
    """What the docstring says in front of its attributes, references to code as code."""
    sections = parsed(settings)
    return [section.value for section in sections if isinstance(section, DocstringSectionText)]


def meanings(settings: type[BaseModel]) -> dict[str, str]:
    """Option to its documentation, those of the classes it comes from included."""
    found: dict[str, str] = {}
    for each in reversed(settings.__mro__):
        for section in parsed(each) if issubclass(each, Settings) else []:
            if isinstance(section, DocstringSectionAttributes):
                found |= {one.name: one.description.replace("\n", " ") for one in section.value}
    return found


def parsed(settings: type) -> list[Any]:
    """The sections of a docstring of its own."""
    return list(Docstring(settings.__dict__.get("__doc__") or "").parse("google", warnings=False))


def kind_of(settings: type[BaseModel], name: str) -> str:
    """What values an option takes, with its bounds, in words of JSON Schema."""
    try:
        described = settings.model_json_schema(by_alias=False)["properties"][name]
    except PydanticInvalidForJsonSchema:  # a component within: its kinds have a page of their own
        return "a component, by its `kind`"
    return " or ".join(filter(None, (in_words(one) for one in described.get("anyOf", [described]))))


def in_words(one: dict[str, Any]) -> str:
    """One alternative of a schema."""
    if "enum" in one or "const" in one:
        return ", ".join(f"`{value}`" for value in one.get("enum", [one.get("const")]))
    names = {"integer": "whole number", "number": "number", "boolean": "true, false", "string": "text"}
    names |= {"array": "list", "object": "mapping", "null": ""}
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    bounds = [f"{sign} {one[key]:g}" for key, sign in signs.items() if key in one]
    return " ".join([names.get(one.get("type", ""), "a group of options"), ", ".join(bounds)]).rstrip()


def default_of(field: Any) -> str:
    """The default, as YAML."""
    if field.is_required():
        return "needed"
    value = field.get_default(call_default_factory=True)
    if value is PydanticUndefined or value is None:
        return "none"
    return f"`{flow(fields_of(value) if isinstance(value, Settings) else value)}`"


def rules_of(settings: type[BaseModel]) -> Iterator[str]:
    """The rules among options: the validators, whose names say what holds."""
    shared = set(Settings.__pydantic_decorators__.model_validators)
    for name in settings.__pydantic_decorators__.model_validators:
        if name not in shared:
            yield name.strip("_").replace("_", " ")


def options_page() -> str:
    """Every command with its options."""
    parts = ["# Options of the commands", "Made of the commands; `rmem COMMAND -h` shows the same."]
    parts += command_sections(typer.main.get_command(app), "rmem")
    return "\n\n".join(parts)


def command_sections(command: Any, name: str) -> Iterator[str]:
    """One command, or those within."""
    for below, each in getattr(command, "commands", {}).items():
        yield from command_sections(each, f"{name} {below}")
    if getattr(command, "commands", None):
        return
    yield f"## {name}"
    yield re.sub(r"\s+", " ", (command.help or "").replace("<", "&lt;"))
    rows = [
        f"| {' '.join(f'`{option}`' for option in parameter.opts)} | {words_of(parameter)} |"
        for parameter in command.params
        if parameter.name != "help"
    ]
    if rows:
        yield "\n".join(["| option | meaning |", "|---|---|", *rows])


def words_of(parameter: Any) -> str:
    """What an option is for, on one line of a table."""
    return re.sub(r"\s+", " ", getattr(parameter, "help", "") or "").replace("|", "\\|").replace("<", "&lt;")
