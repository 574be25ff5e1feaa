"""Decoding what is said about the articles of a protocol, from where an earlier session stopped."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean

from torch import Tensor

from rmem_cli.data.identity import data_hash
from rmem_cli.errors import InterruptedRunError
from rmem_cli.evaluation.summaries import Summarizer
from rmem_cli.models.model import Model
from rmem_cli.recipe.schema import SummariesSettings
from rmem_cli.records.checkpoint import weights_hash
from rmem_cli.records.decoding import Decoding, Origin
from rmem_cli.records.environment import Environment
from rmem_cli.results.metrics import Sums
from rmem_cli.results.summaries import Summary
from rmem_cli.runs.opened import Measurement
from rmem_cli.tasks.summarization import Summarization
from rmem_cli.training.progress import MakeProgress
from rmem_cli.world import Stop

_SHOWN = "rouge_1"


def decode(
    model: Model,
    weights: Mapping[str, Tensor],
    measurement: Measurement,
    settings: SummariesSettings,
    folder: Path,
    environment: Environment,
    batch_size: int,
    progress: MakeProgress,
    stop: Stop,
) -> tuple[Sums, Origin]:
    """The scores of all articles of a protocol, and what decoded them.

    Batches are of like length, and each is on disk before the next one is begun: whenever it is stopped, the
    articles of a batch are decoded together, and the scores are those of a decoding that was never stopped.

    Args:
        model: It is put into evaluation mode.
        weights: Its weights, as they were loaded.
        measurement: The protocol, and its task.
        settings: How summaries come about.
        folder: The run folder.
        environment: Where it is computed.
        batch_size: Articles at a time.
        progress: Makes the display.
        stop: Asked before each batch.

    Raises:
        InterruptedRunError: `stop` was true.
        DivergedError: The model predicts what is no number.
        UsageError: The library of ROUGE is missing, or the file of summaries cannot be written.
    """
    task, protocol = measurement.task, measurement.protocol
    assert isinstance(task, Summarization)  # noqa: S101  no other has metrics of summaries
    summarizer = Summarizer(model.eval(), task, settings)
    origin = Origin(
        measurement.eval_hash,
        data_hash(task.settings),
        weights_hash(weights),
        summarizer.scorer,
        environment,
    )
    order = task.order(protocol.split, protocol.examples)
    batches = [order[first : first + batch_size] for first in range(0, len(order), batch_size)]
    decoding = Decoding(folder, protocol.name, origin, batches)
    with progress(len(order), decoding.done, "article") as shown:
        for batch in decoding.missing:
            if stop():
                raise InterruptedRunError("stopped while decoding; the same command goes on from there")
            decoding.append(summarizer(protocol.split, batch))
            shown.step(decoding.done, {_SHOWN: fmean(one.scores[_SHOWN] for one in decoding.summaries)})
    summaries = summarizer.joined(decoding.summaries) if settings.joined else decoding.summaries
    return _sums(summaries), decoding.origin


def _sums(summaries: Sequence[Summary]) -> Sums:
    """The scores of articles, in the order of their split, on which intervals depend."""
    ordered = sorted(summaries, key=lambda one: one.place)
    names = ordered[0].scores if ordered else {}
    scores = {name: [one.scores[name] for one in ordered] for name in names}
    return Sums(examples=len(ordered), scores=scores)
