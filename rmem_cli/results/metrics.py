"""The metrics a result row may carry, and how each is read and printed."""

from dataclasses import dataclass

from rmem_cli.errors import UsageError, closest


@dataclass(frozen=True)
class Metric:
    """A measured quantity.

    Attributes:
        name: Name in recipes, result rows and tables.
        unit: Unit of the stored values.
        higher_is_better: Whether a larger value is the better one.
        digits: Digits after the decimal point when printed.
    """

    name: str
    unit: str
    higher_is_better: bool
    digits: int


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("accuracy", "fraction", higher_is_better=True, digits=3),
        Metric("exact_match", "fraction", higher_is_better=True, digits=3),
        Metric("f1", "F1", higher_is_better=True, digits=3),
        Metric("loss", "nats per symbol", higher_is_better=False, digits=4),
        Metric("bpc", "bits per character", higher_is_better=False, digits=3),
        Metric("perplexity", "perplexity", higher_is_better=False, digits=2),
        Metric("mse", "squared error", higher_is_better=False, digits=4),
    )
}


def metric(name: str) -> Metric:
    """The metric of a name.

    Raises:
        UsageError: There is no such metric; the message names the closest one.
    """
    if name not in METRICS:
        raise UsageError(f"unknown metric {name!r}; {closest(name, METRICS)}")
    return METRICS[name]
