"""What it takes to decode what is said about articles, counted on a model without memory for its numbers."""

from dataclasses import replace

import torch

from rmem_cli.models.batch import SourceBatch
from rmem_cli.models.model import Model
from rmem_cli.recipe.schema import EvalProtocol, SummariesSettings
from rmem_cli.runs.cost import Cost, cost_of_outputs
from rmem_cli.runs.opened import Run
from rmem_cli.runs.pace import Pace
from rmem_cli.tasks.summarization import Summarization

_PASSES = 10  # of a search over the chances of all words, in each of its steps; roughly


def decoding_seconds(run: Run, model: Model, pace: Pace) -> float:
    """How long the protocols of a run decode at most, roughly: as if no hypothesis stopped early.

    Args:
        run: The run.
        model: Its model, its numbers without memory.
        pace: Of the machine.
    """
    batch_size = run.settings.train.batch_size
    return sum(
        _seconds(each.task, each.protocol, summaries, each.protocol.batch_size or batch_size, model, pace)
        for each in run.measurements
        if (summaries := each.protocol.summaries) and summaries.lead is None
        if isinstance(each.task, Summarization)
    )


def _seconds(
    task: Summarization,
    protocol: EvalProtocol,
    settings: SummariesSettings,
    batch_size: int,
    model: Model,
    pace: Pace,
) -> float:
    """Of one protocol: all batches like the one in the middle, which reads once and then goes on by steps."""
    places = task.order(protocol.split, protocol.examples)
    articles = min(protocol.examples or task.count(protocol.split), task.count(protocol.split))
    middle = task.articles(protocol.split)[places[len(places) // 2]]
    sources = task.sources.source_batch([middle] * min(batch_size, articles))
    hypotheses = sources.rows(torch.arange(len(sources.inputs)).repeat(settings.beam))
    read = cost_of_outputs(model, sources)
    two, three = (cost_of_outputs(model, _said(hypotheses, steps)) for steps in (2, 3))
    step = Cost(
        three.flops - two.flops, three.calls - two.calls, 0.0, _PASSES * (three.traffic - two.traffic)
    )
    batches = articles / len(sources.inputs)
    return batches * (pace.seconds(read) + settings.longest * pace.seconds(step))


def _said(sources: SourceBatch, steps: int) -> SourceBatch:
    """The same with so many symbols said."""
    names = ("inputs", "targets", "weight")
    return replace(sources, **{name: getattr(sources, name).repeat(1, steps) for name in names})
