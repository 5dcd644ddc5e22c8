"""What a figure is and where it may lie: Wilson's interval of shares, and the bootstrap."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from edgewise.errors import BadInput
from edgewise.examples.weighting import Values, Weights, check_counts, observed
from edgewise.shares import wilson
from edgewise.tensors import Array

if TYPE_CHECKING:
    from edgewise.examples.metrics import Metric

Groups: TypeAlias = NDArray[np.intp]

_PERCENTILES = (2.5, 97.5)
_RESAMPLES = 1000  # what percentiles need: Efron and Tibshirani, chapter 19
_MAX_UNDEFINED = 0.1
_CHUNK_ELEMENTS = 4_000_000  # 32 MB of weights at once


class Unit(enum.StrEnum):
    """In what a figure is stated."""

    SHARE = "share"  # 0 to 1, shown in percent
    POINTS = "points"  # a difference of two shares, shown in percentage points
    NATS = "nats"
    PLAIN = ""  # a number without a unit, such as a correlation
    LABEL = "label"  # whatever the labels are measured in


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A figure and where it may lie, with 95 % confidence.

    Args:
        low: from here.
        mid: the observed figure.
        high: to here.
        n: how many examples it was observed on.
        unit: of all three.

    >>> print(share(443, 500))
    88.6 % (85.5 to 91.1 %, n = 500)
    >>> print(Interval(low=0.9921, mid=0.99523, high=0.997, n=90, unit=Unit.PLAIN))
    0.9952 (0.9921 to 0.997, n = 90)
    """

    low: float
    mid: float
    high: float
    n: int
    unit: Unit = Unit.SHARE

    def __str__(self) -> str:
        figures = (self.mid, self.low, self.high)
        if self.unit in (Unit.SHARE, Unit.POINTS):
            mid, low, high = (f"{100 * figure:.1f}" for figure in figures)
            word = " %" if self.unit is Unit.SHARE else " points"
        else:
            mid, low, high = (f"{figure:.4g}" for figure in figures)
            word = " nats" if self.unit is Unit.NATS else ""
        return f"{mid}{word} ({low} to {high}{word}, n = {self.n})"


def share(successes: int, n: int) -> Interval:
    """Wilson's score interval of a share, 95 %; see :func:`edgewise.shares.wilson`.

    Args:
        successes: how many of the examples, 0 to ``n``.
        n: the number of examples, at least 1.

    Raises:
        BadInput: on other counts.

    >>> share(10, 10).low
    0.722467200137...
    """
    if not 0 <= successes <= n or n < 1:
        raise BadInput(
            expected="at least one example to measure on",
            found=f"{successes} of {n}",
            remedy="add examples",
        )
    low, high = wilson(successes, n)
    return Interval(low=low, mid=successes / n, high=high, n=n)


def estimate(
    metric: Metric,
    outputs: Array,
    target: Array,
    *,
    rng: np.random.Generator,
    resamples: int = _RESAMPLES,
) -> Interval:
    """A metric and its 95 % interval: Wilson's for shares of examples, else the bootstrap.

    Args:
        metric: what is measured.
        outputs: of the network, one row per example.
        target: what the metric compares with; see :meth:`Metric.target_for`.
        rng: draws the resamples.
        resamples: how many, 100 to 100 000.

    Raises:
        BadInput: when the metric cannot be measured, or there are fewer than two groups.

    >>> from edgewise.examples import metric
    >>> logits = np.eye(4)
    >>> print(estimate(metric("top1"), logits, np.arange(4), rng=np.random.default_rng(0)))
    100.0 % (51.0 to 100.0 %, n = 4)
    """
    statistic = metric.statistic(outputs, target)
    mid = observed(statistic, len(outputs), metric.name)
    if metric.counts and metric.groups is None:
        return share(round(mid * len(outputs)), len(outputs))
    drawn = _bootstrap(statistic, _groups_of(metric, target), resamples, rng)
    return _interval(mid, drawn, len(outputs), metric.unit)


def paired_difference(
    metric: Metric,
    a: Array,
    b: Array,
    target: Array,
    *,
    rng: np.random.Generator,
    resamples: int = _RESAMPLES,
) -> Interval:
    """How much more ``metric`` gives for ``a`` than for ``b``, with its 95 % interval.

    The paired bootstrap: each resample draws examples with replacement and measures both on the
    same draw, so that what makes an example hard for both cancels. Examples of one group are
    drawn together (see :meth:`Metric.drawn_by`). The interval holds the 2.5 and 97.5 percentiles
    (B. Efron, R. J. Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13.3).
    Percentiles rather than BCa, as differences of two similar networks are nearly symmetric and
    BCa needs one more run of the metric per example.

    Where the two never differ the interval is a point: so many examples cannot tell them apart.
    Up to ``3 / n`` of all examples may still differ (J. A. Hanley, A. Lippman-Hand, JAMA 249
    (1983) 1743-1745).

    Args:
        metric: what is measured.
        a: outputs of one network, one row per example.
        b: outputs of the other, for the same examples in the same order.
        target: what the metric compares both with; see :meth:`Metric.target_for`.
        rng: draws the resamples; the same state gives the same interval.
        resamples: how many, 100 to 100 000.

    Raises:
        BadInput: when the metric cannot be measured, the counts differ, or there are fewer than
            two groups to draw from.

    >>> from edgewise.examples import metric
    >>> a, b = np.eye(4), np.eye(4)[[0, 1, 2, 2]]
    >>> print(paired_difference(metric("top1"), a, b, np.arange(4), rng=np.random.default_rng(0)))
    25.0 points (0.0 to 75.0 points, n = 4)
    """
    check_counts(len(a), len(b))
    of_a, of_b = metric.statistic(a, target), metric.statistic(b, target)
    mid = observed(of_a, len(a), metric.name) - observed(of_b, len(b), metric.name)

    def difference(weights: Weights) -> Values:
        return of_a(weights) - of_b(weights)

    drawn = _bootstrap(difference, _groups_of(metric, target), resamples, rng)
    unit = Unit.POINTS if metric.unit is Unit.SHARE else metric.unit
    return _interval(mid, drawn, len(a), unit)


def _groups_of(metric: Metric, target: Array) -> Groups:
    """The number of each example's group, 0 to the number of groups."""
    groups: Sequence[object] | None = metric.groups
    if groups is None and metric.target == "groups":
        groups = target.tolist()
    if groups is None:
        return np.arange(len(target))
    check_counts(len(target), len(groups))
    places: dict[object, int] = {}
    return np.array([places.setdefault(group, len(places)) for group in groups], np.intp)


def _bootstrap(
    statistic: Callable[[Weights], Values],
    groups: Groups,
    resamples: int,
    rng: np.random.Generator,
) -> Values:
    count = int(groups.max()) + 1 if len(groups) else 0
    if count < 2:
        raise BadInput(
            expected="at least two examples, or groups of them, to draw from",
            found=str(count),
            remedy="add examples",
        )
    if not 100 <= resamples <= 100_000:
        raise BadInput(expected="100 to 100000 resamples", found=str(resamples), remedy="use 1000")
    return np.concatenate(
        [statistic(weights) for weights in _weights(groups, count, resamples, rng)]
    )


def _weights(
    groups: Groups, count: int, resamples: int, rng: np.random.Generator
) -> Iterator[Weights]:
    at_once = max(1, _CHUNK_ELEMENTS // max(count, len(groups)))
    equal = np.full(count, 1 / count)
    for start in range(0, resamples, at_once):
        drawn = rng.multinomial(count, equal, size=min(at_once, resamples - start))
        yield drawn[:, groups].astype(np.float64)


def _interval(mid: float, drawn: Values, n: int, unit: Unit) -> Interval:
    defined = drawn[~np.isnan(drawn)]
    if len(defined) < (1 - _MAX_UNDEFINED) * len(drawn):
        raise BadInput(
            expected="a metric that is defined on most resamples of the examples",
            found=f"no number on {len(drawn) - len(defined)} of {len(drawn)}",
            remedy="add examples of every kind",
        )
    low, high = np.percentile(defined, _PERCENTILES)
    return Interval(low=min(float(low), mid), mid=mid, high=max(float(high), mid), n=n, unit=unit)
