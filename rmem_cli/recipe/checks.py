"""What must hold between the fields of a run, beyond what each field's type says."""

import re
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import NoReturn

from rmem_cli.errors import closest
from rmem_cli.recipe.kinds import CoreSettings, TaskSettings
from rmem_cli.recipe.registry import CORES, ENCODERS, HEADS, Registry
from rmem_cli.recipe.schema import EvalProtocol, ModelSettings, TrainSettings
from rmem_cli.recipe.settings import Component
from rmem_cli.results.metrics import METRICS

Path = tuple[str | int, ...]
Found = Iterator[tuple[Path, str]]

_EARLY_ENDS = {"early_stopping": "early stopping", "stop_when_solved": "a stop when the task is solved"}
_EMPTY = "the task has nothing in the split {split!r} with these settings; take another split"
_OF_SUMMARIES = {
    True: "is of summaries, and the protocol makes none; add summaries: {} to it",
    False: "is not of summaries, which the protocol makes; measure it by another protocol",
}
_NOT_DRAWN = "has no meaning: the task reads its examples, in the order of the data; leave it out"


@dataclass(frozen=True)
class Sections:
    """The sections of a run; None where one is not valid by itself, `Unknown` for components that are not."""

    task: TaskSettings | None
    model: ModelSettings | None
    optimizer: Component | None
    schedule: Component | None
    train: TrainSettings | None
    eval: list[EvalProtocol | None]


def check_sections(sections: Sections, task: type[TaskSettings] | None) -> Found:
    """Everything that is wrong between valid sections, as path and message.

    Args:
        sections: The sections.
        task: The settings class of the task, known even where the task's fields are not valid.
    """
    if sections.model is not None:
        yield from _as_far_as_known(_check_architecture(sections.model))
        yield from _check_told(sections.model, sections.task, ("model", "architecture"))
        yield from _as_far_as_known(_check_memory_network(sections))
        yield from _as_far_as_known(_check_whole_stories(sections))
    if task is not None and sections.model is not None:
        yield from _as_far_as_known(_check_encoder(task, sections.model))
        yield from _as_far_as_known(_check_head(task, sections.model))
        yield from _as_far_as_known(_check_tied(task, sections.model))
        yield from _as_far_as_known(_check_memory_loss(task, sections.model))
        yield from _as_far_as_known(_check_causal(task, sections.model.core, ("model", "core")))
    if sections.train is not None and sections.model is not None:
        yield from _as_far_as_known(_check_published(sections.train.backprop, sections.model.core))
        yield from _as_far_as_known(_check_pieces(sections.train.backprop, sections.model.core))
        yield from _check_coverage(sections.train, sections.model)
    if sections.schedule is not None and sections.optimizer is not None:
        yield from _as_far_as_known(_check_least_rate(sections.optimizer, sections.schedule))
    if sections.train is not None:
        yield from _check_duration(task, sections.train)
        yield from _check_validation(task, sections)
    if sections.task is not None:
        yield from _check_meaning(sections.task, sections)
    yield from _check_names(sections.eval)
    for index, protocol in enumerate(sections.eval):
        if protocol is not None:
            yield from _check_protocol(task, sections.train, protocol, index)


def check_evaluated(
    sections: Sections, protocol: EvalProtocol, task: Component | None, core: Component | None
) -> Found:
    """Everything that is wrong with what a protocol changes, as path below it and message.

    Args:
        sections: The sections of the run.
        protocol: One of its protocols.
        task: The task with its changes; None if it is not valid.
        core: The core with its changes, likewise.
    """
    if sections.model is not None and sections.model.core is None and protocol.core:
        yield ("core",), "changes a core, and the model has none; leave it out"
    if sections.model is not None and isinstance(task, TaskSettings):
        yield from _check_told(sections.model, task, ("task",))
    if isinstance(core, CoreSettings) and sections.model is not None and sections.model.core is not None:
        own, free = sections.model.core, core.free_in_evaluation()
        for name, field in type(core).model_fields.items():
            called = field.alias or name
            if getattr(core, name) != getattr(own, name) and called not in free & own.free_in_evaluation():
                changeable = ", ".join(sorted(free)) or "nothing"
                yield (
                    ("core", called),
                    f"decides the weights, which are trained by then; leave it out (free: {changeable})",
                )
        if sections.task is not None:
            yield from _check_causal(type(sections.task), core, ("core",))
    drawn = getattr(task, "split", None) == "drawn"
    if protocol.summaries is not None and protocol.summaries.joined and drawn:
        yield (
            ("summaries", "joined"),
            "joins sections of a paper, which task.split drawn divides; set that to published, or leave "
            "it out",
        )
    if isinstance(task, TaskSettings) and protocol.split in task.empty_splits():
        yield ("split",), _EMPTY.format(split=protocol.split)


_OF_SEQUENCES = ("encoder", "readout", "head", "input_dropout", "output_dropout", "memory_loss")
_OTHER_ARCHITECTURES = {"memory_network": "memory network", "pointer_generator": "pointer generator"}


def _check_architecture(model: ModelSettings) -> Found:
    """Each architecture has fields of its own."""
    own = model.architecture
    for section in _OTHER_ARCHITECTURES:
        given = getattr(model, section) is not None
        if section == own and not given:
            yield ("model", section), "is missing; give at least its size"
        if section != own and given:
            message = f"belongs to another architecture; set model.architecture to {section}"
            yield ("model", section), message
    if own != "memory_network" and model.core is None:
        yield ("model", "core"), f"is missing; there are: {', '.join(CORES.kinds())}"
    for name in _OF_SEQUENCES if own in _OTHER_ARCHITECTURES else ():
        if getattr(model, name):
            yield ("model", name), f"is no part of a {_OTHER_ARCHITECTURES[own]}; leave it out"
    for name in ("readout", "memory_loss") if own == "story_and_question" else ():
        if getattr(model, name):
            yield ("model", name), "is no part of networks of story and question; leave it out"
    if own in _STEP_BY_STEP:
        yield from _check_stepwise(model)
    if own != "pointer_generator" and model.source_core is not None:
        yield ("model", "source_core"), "reads the source of a pointer generator; leave it out"


_STEP_BY_STEP = {
    "pointer_generator": "a pointer generator goes step by step",
    "story_and_question": "networks of story and question are recurrent",
}


def _check_stepwise(model: ModelSettings) -> Found:
    for name in ("core", "source_core"):
        core = getattr(model, name)
        if core is not None and not core.stepwise:
            yield (
                ("model", name),
                f"of kind {core.kind} reads segments as a whole, and {_STEP_BY_STEP[model.architecture]}; "
                "choose a recurrent core, such as lstm or rum",
            )


def _check_memory_network(sections: Sections) -> Found:
    """A memory network answers in symbols, at once, and its controller is a core of its own width."""
    model, task = sections.model, sections.task
    if model is None or model.memory_network is None:
        return
    if task is not None and task.reads_sentences and not task.classes_are_symbols:
        yield ("task", "classes"), "must be vocabulary: a memory network answers in symbols"
    core, size = model.core, model.memory_network.size
    if core is not None and not core.stepwise:
        yield (
            ("model", "core"),
            f"of kind {core.kind} reads segments as a whole, and the controller of a memory network goes "
            "step by step; choose a recurrent core",
        )
    elif core is not None and core.output_size not in (None, size):
        yield (
            ("model", "core"),
            f"has outputs of {core.output_size} units, and memory_network.size is {size}; make them equal",
        )


_READS_WHOLE_STORIES = {
    "memory_network": "which a memory network reads together",
    "story_and_question": "whose networks are read together",
}


def _check_whole_stories(sections: Sections) -> Found:
    """What answers a question about a story has both at once."""
    model, train = sections.model, sections.train
    if model is None or train is None:
        return
    why = _READS_WHOLE_STORIES.get(model.architecture)
    if why is not None and train.backprop.kind != "full":
        yield ("train", "backprop"), f"cuts a story from its question, {why}; take kind full"


def _check_told(model: ModelSettings, task: TaskSettings | None, path: Path) -> Found:
    """What the task tells must be what the architecture reads."""
    if task is None:
        return
    if model.architecture == "memory_network" and not task.reads_sentences:
        yield path, "a memory network needs questions about sentences; take task babi of level sentence"
    if model.architecture == "story_and_question" and not task.asks_questions:
        yield (
            path,
            f"networks of story and question answer questions about stories, and task {task.kind} asks none; "
            "take task babi, or another architecture",
        )
    if model.architecture == "pointer_generator" and not task.has_source:
        yield (
            path,
            f"a pointer generator says something about a source, and task {task.kind} has none; choose "
            "another architecture for it, or another task",
        )
    if model.architecture != "pointer_generator" and task.has_source:
        yield (
            path,
            f"task {task.kind} asks for what is said about a source, which only a pointer generator reads; "
            "set model.architecture to pointer_generator",
        )


class _UnknownError(Exception):
    """What was asked for is not known, as the component is wrong."""


class Unknown:
    """What stands for a component that is wrong: a check that asks it for anything ends there.

    What the check would go on to find is only what is wrong already.
    """

    def __getattr__(self, name: str) -> NoReturn:
        raise _UnknownError(name)


def _as_far_as_known(check: Found) -> Found:
    """What a check finds until it asks for a component that is wrong."""
    with suppress(_UnknownError):
        yield from check


def _check_encoder(task: type[TaskSettings], model: ModelSettings) -> Found:
    """It must be of the same sort as the one that the task has by default."""
    yield from _check_sort(ENCODERS, "encoder", "reads", task.encoder, model.encoder)


def _check_head(task: type[TaskSettings], model: ModelSettings) -> Found:
    """The same for the head."""
    yield from _check_sort(HEADS, "head", "predicts", task.head, model.head)


def _check_sort(registry: Registry, name: str, sort: str, default: str, given: Component | None) -> Found:
    wanted = getattr(registry.settings(default), sort)
    found = getattr(given, sort, wanted)
    if found != wanted:
        fitting = [kind for kind in registry.kinds() if getattr(registry.settings(kind), sort) == wanted]
        message = f"{sort} {found}, and the task needs one that {sort} {wanted}: {', '.join(fitting)}"
        yield ("model", name, "kind"), message


def _check_tied(task: type[TaskSettings], model: ModelSettings) -> Found:
    """What a head that shares the encoder's tables asks of it."""
    if not getattr(model.head, "tied", False):
        return
    encoder = model.encoder
    if not task.answers_in_symbols:
        yield (
            ("model", "head", "tied"),
            "needs classes that are symbols, which this task has not; set it to false",
        )
    elif (task.encoder if encoder is None else encoder.kind) != "adaptive":
        yield ("model", "head", "tied"), "needs an adaptive encoder; set model.encoder.kind to adaptive"
    elif any(getattr(model.head, "tie_projections", [])):
        size, width = getattr(encoder, "size", None), _width(model)
        if width is not None and size != width:
            yield (
                ("model", "head", "tie_projections"),
                f"needs outputs to the head, which have {width} units, as wide as the encoder's vectors, "
                f"which have {size}; make them equal, or leave it out",
            )


def _width(model: ModelSettings) -> int | None:
    """Of what the head gets; None where it is not known before the core is built."""
    width = None if model.core is None else model.core.output_size
    return width if width is None or model.readout is None else model.readout.output_size(width)


def _check_memory_loss(task: type[TaskSettings], model: ModelSettings) -> Found:
    if model.memory_loss is None:
        return
    if model.readout is not None and model.readout.output_size(1) != 1:
        yield (
            ("model", "memory_loss"),
            "needs a read-out that gives the core's outputs as they are; leave it out",
        )
    head = HEADS.settings(task.head) if model.head is None else type(model.head)
    if getattr(head, "predicts", "classes") != "classes":
        yield ("model", "memory_loss"), "needs a head that predicts classes; leave it out"
    if not getattr(model.core, "memory_tokens", 0) or getattr(model.core, "memory_kind", "") == "associative":
        yield (
            ("model", "memory_loss"),
            "needs a core whose memory tokens go from segment to segment, such as rmt with memory_tokens",
        )


def _check_causal(task: type[TaskSettings], core: CoreSettings | None, path: Path) -> Found:
    if core is not None and task.predicts_future and core.reads_ahead:
        where = (*path, "causal") if "causal" in type(core).model_fields else (*path, "kind")
        yield where, "reads its whole segment, where the task has its answers; choose a causal core"


def _check_pieces(backprop: Component, core: CoreSettings | None) -> Found:
    """Pieces that back-propagation cuts must not be longer than the core can read."""
    length = getattr(backprop, "segment_length", None)
    longest = None if core is None else core.longest_segment
    if length is not None and longest is not None and length > longest:
        yield (
            ("train", "backprop", "segment_length"),
            f"is {length}, and the core's absolute positions reach {longest} steps; make it no larger",
        )


def _check_published(backprop: Component, core: Component | None) -> Found:
    """What the published code does with memory tokens needs some."""
    for option in ("published_restart", "published_caches"):
        if getattr(backprop, option, False) and not getattr(core, "memory_tokens", 0):
            yield ("train", "backprop", option), "needs a core with memory_tokens, such as rmt; leave it out"


def _check_coverage(train: TrainSettings, model: ModelSettings) -> Found:
    """Stages without coverage: of a model that has it, and that gets to it."""
    without = [index for index, stage in enumerate(train.stages) if not stage.coverage]
    for index in without:
        if model.pointer_generator is None or not model.pointer_generator.coverage:
            yield (
                ("train", "stages", index, "coverage"),
                "the model has no coverage that it could do without; set model.pointer_generator.coverage, "
                "or leave it out",
            )
    for name in _EARLY_ENDS:
        if without and getattr(train, name) is not None:
            yield ("train", name), "may end the run before coverage is learned; leave it out"
    if train.early_stopping is not None and len(train.stages) > len(without):
        yield ("train", "early_stopping"), "may end the run before the stages have; leave it out"


def _check_least_rate(optimizer: Component, schedule: Component) -> Found:
    """A schedule goes down to its least rate."""
    rate, least = getattr(optimizer, "lr", None), getattr(schedule, "min_lr", None)
    if rate is not None and least is not None and least > rate:
        yield ("schedule", "min_lr"), f"is {least:g}, above optimizer.lr, {rate:g}; lower it"


def _check_duration(task: type[TaskSettings] | None, train: TrainSettings) -> Found:
    if train.steps is None and train.epochs is None:
        yield ("train",), "needs either steps or epochs"
    if train.steps is not None and train.epochs is not None:
        yield ("train", "epochs"), "steps and epochs exclude each other; set one of them to null"
    first = sum(stage.steps for stage in train.stages)
    if train.stages and train.steps is None:
        yield ("train", "stages"), "stages need train.steps, which says when the last of them ends"
    elif train.steps is not None and first >= train.steps:
        message = (
            f"take {first} steps, and train.steps is {train.steps}: none is left for the task; give more"
        )
        yield ("train", "stages"), message
    if train.epochs is not None and task is not None and task.generated:
        yield ("train", "epochs"), "a task that generates its examples has no epochs; give steps"


def _check_validation(task: type[TaskSettings] | None, sections: Sections) -> Found:
    train = sections.train
    assert train is not None  # noqa: S101  the caller checked
    if train.validation is not None and task is not None:
        yield from _check_validated(("train", "validation", "metric"), train.validation.metric, task)
        if task.generated and train.validation.examples is None:
            yield (
                ("train", "validation", "examples"),
                "is missing; the task can generate any number of examples",
            )
        if train.validation.examples_drawn != "by_batch" and not task.generated:
            yield ("train", "validation", "examples_drawn"), _NOT_DRAWN
        if sections.task is not None and train.validation.split in sections.task.empty_splits():
            yield ("train", "validation", "split"), _EMPTY.format(split=train.validation.split)
    if train.stop_when_solved is not None and task is not None:
        yield from _check_validated(
            ("train", "stop_when_solved", "metric"), train.stop_when_solved.metric, task
        )
    for path, what in _users_of_validation(sections):
        if train.validation is None:
            yield path, f"{what} needs train.validation"
        if train.eval_every is None:
            yield path, f"{what} needs train.eval_every"


def _check_validated(path: Path, metric: str, task: type[TaskSettings]) -> Found:
    """A metric that validations are to measure."""
    if metric not in task.metrics:
        yield path, _unknown_metric(metric, task)
    elif METRICS[metric].asks_for_summaries:
        yield path, "is of summaries, which no validation decodes; take loss"


def _check_meaning(task: TaskSettings, sections: Sections) -> Found:
    """Metrics that the task has, and that mean nothing with its settings."""
    measured: list[tuple[Path, str]] = [
        (("eval", index, "metrics", place), metric)
        for index, protocol in enumerate(sections.eval)
        if protocol is not None
        for place, metric in enumerate(protocol.metrics)
    ]
    for name in ("validation", "stop_when_solved"):
        if (given := getattr(sections.train, name, None)) is not None:
            measured.append((("train", name, "metric"), given.metric))
    yield from ((path, why) for path, metric in measured if (why := task.refuses(metric)))


def _users_of_validation(sections: Sections) -> Found:
    for name, what in _EARLY_ENDS.items():
        if sections.train is not None and getattr(sections.train, name) is not None:
            yield ("train", name), what
    if sections.schedule is not None and sections.schedule.kind == "plateau":
        yield ("schedule", "kind"), "the plateau schedule"


def _check_names(protocols: list[EvalProtocol | None]) -> Found:
    counts: Counter[str] = Counter()
    for index, protocol in enumerate(protocols):
        if protocol is None:
            continue
        counts[protocol.name] += 1
        if counts[protocol.name] == 2:
            yield ("eval", index, "name"), f"a second protocol called {protocol.name!r}; names must differ"
        if not re.fullmatch(r"[A-Za-z0-9_-]+", protocol.name):
            yield (
                ("eval", index, "name"),
                "must consist of letters, digits, _ and -, so that a path can name it",
            )


def _check_protocol(
    task: type[TaskSettings] | None, train: TrainSettings | None, protocol: EvalProtocol, index: int
) -> Found:
    if task is not None:
        for place, metric in enumerate(protocol.metrics):
            if metric not in task.metrics:
                yield ("eval", index, "metrics", place), _unknown_metric(metric, task)
            elif METRICS[metric].asks_for_summaries != (protocol.summaries is not None):
                yield ("eval", index, "metrics", place), _OF_SUMMARIES[METRICS[metric].asks_for_summaries]
        if protocol.feed != "truth" and not task.feeds_back:
            yield ("eval", index, "feed"), "must be truth: the answers of this task are not its inputs"
        if task.generated and protocol.examples is None:
            yield ("eval", index, "examples"), "is missing; the task can generate any number of examples"
        if protocol.examples_drawn != "by_batch" and not task.generated:
            yield ("eval", index, "examples_drawn"), _NOT_DRAWN
    if protocol.checkpoint == "best" and train is not None and train.validation is None:
        yield (
            ("eval", index, "checkpoint"),
            "there is a best checkpoint only with train.validation; set that, or take the last",
        )


def _unknown_metric(metric: str, task: type[TaskSettings]) -> str:
    return f"the task has no metric {metric!r}; {closest(metric, task.metrics)}"
