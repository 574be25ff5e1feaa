"""How the seeds of one row compare with what was published."""

from dataclasses import dataclass

from rmem_cli.recipe.solved import SolvedRule
from rmem_cli.report import statistics
from rmem_cli.report.footnotes import Footnotes
from rmem_cli.report.statistics import Interval
from rmem_cli.report.table import Comparison, Ours, Published, Rule
from rmem_cli.report.verdict import ClaimEvidence, Evidence, judge, judge_claim
from rmem_cli.results.metrics import Metric

_TAKEN: dict[Rule, str] = {
    "student": "the published number has no standard deviation with a number of runs, so the interval takes "
    "it as exact",
    "single run": "the published number is one run, which the interval takes to vary as much as our seeds do",
}
_CLAIM = "a claim is judged by the recipe's rule for a solved task: {metric} {bound} {at:g} in each seed"
AT_STEP = "compared at step "  # how a note begins on what was compared of two curves
_AT_STEP = (
    AT_STEP + "{step:,}, the last at which both curves have a value, in validation: published "
    "{published:.4g}, ours {ours:.4g}"
)


@dataclass(frozen=True)
class Rules:
    """What a comparison goes by.

    Attributes:
        metric: The metric that is compared.
        tolerance: Largest difference that counts as reproduced.
        solved: When a seed has solved the task, where there is a rule for that.
    """

    metric: Metric
    tolerance: float | None
    solved: SolvedRule | None = None


@dataclass(frozen=True)
class AtStep:
    """Learning curves at the last step that both have.

    Attributes:
        step: Training steps.
        published: The published value, in the unit of our metric.
        ours: What our seeds had reached there.
    """

    step: int
    published: float
    ours: Ours


def compare(
    ours: Ours | None,
    published: Published | None,
    rules: Rules,
    footnotes: Footnotes,
    at: AtStep | None = None,
) -> Comparison:
    """Compare a full-scale result with what was published, where both are there.

    Args:
        ours: The result.
        published: A number, a curve or a text.
        rules: What the comparison goes by.
        footnotes: Receive how numbers were compared.
        at: Both learning curves at a common step, where a curve was published.
    """
    ours = ours or Ours(mean=None)
    if published is not None and published.claim is not None and rules.solved is not None:
        return _compare_claim(ours, published, rules.solved, rules.metric, footnotes)
    if published is not None and at is not None:
        text = _AT_STEP.format(step=at.step, published=at.published, ours=at.ours.mean)
        note = footnotes.add(text)
        return _compare_number(at.ours, published, at.published, rules, footnotes, (note,))
    return _compare_number(ours, published, None if published is None else published.value, rules, footnotes)


def is_too_wide(published: Published, tolerance: float | None, seeds: int) -> bool:
    """Whether a published mean varies so much that no result of so many seeds can be called reproduced.

    Args:
        published: The number.
        tolerance: Largest difference that counts as reproduced; None where none is stated.
        seeds: Of ours, at least two.
    """
    if published.sd is None or published.n is None or published.n < 2 or tolerance is None:
        return False
    return statistics.least_half_width(published.sd, published.n, seeds) > tolerance


def _compare_number(
    ours: Ours,
    published: Published | None,
    value: float | None,
    rules: Rules,
    footnotes: Footnotes,
    notes: tuple[int, ...] = (),
) -> Comparison:
    difference, interval, rule = None, None, None
    if ours.mean is not None and value is not None and published is not None:
        difference = ours.mean - value
        if ours.sd is not None:
            rule, interval = _interval(difference, ours.sd, ours.n, published)
            notes += (footnotes.add(_TAKEN[rule]),) if rule in _TAKEN else ()
    obstacles = ours.caveats
    if published is not None and published.verified and value is None:
        obstacles = (f"published as {'text' if published.curve is None else 'a curve'}", *obstacles)
    verdict = judge(
        Evidence(
            seeds=ours.n,
            failed=sum(ours.failed.values()),
            without_number=ours.without_number,
            has_number=published is not None and published.verified,
            obstacles=obstacles,
            interval=interval,
            tolerance=rules.tolerance,
            higher_is_better=rules.metric.higher_is_better,
        )
    )
    low, high = (None, None) if interval is None else (interval.low, interval.high)
    return Comparison(difference, low, high, rules.tolerance, verdict, notes, rule)


def _compare_claim(
    ours: Ours, published: Published, rule: SolvedRule, metric: Metric, footnotes: Footnotes
) -> Comparison:
    if published.claim is None:
        raise ValueError("there is no claim to compare with")
    rate = ours.solve_rate
    verdict = judge_claim(
        ClaimEvidence(
            claim=published.claim,
            solved=0 if rate is None else rate.solved,
            seeds=0 if rate is None else rate.seeds,
            failed=sum(ours.failed.values()) - ours.without_number,
            obstacles=ours.caveats,
            assumed_budget=rule.budget == "assumed",
        )
    )
    note = footnotes.add(_CLAIM.format(metric=metric.name, bound=rule.bound, at=rule.at))
    return Comparison(None, None, None, None, verdict, (note,), "claim")


def _interval(difference: float, sd: float, n: int, published: Published) -> tuple[Rule, Interval]:
    """The interval of the difference, and how it was found."""
    if published.sd is not None and published.n is not None and published.n > 1:
        return "welch", statistics.welch_interval(difference, sd, n, published.sd, published.n)
    if published.n == 1:
        return "single run", statistics.single_run_interval(difference, sd, n)
    return "student", statistics.one_sample_interval(difference, sd, n)
