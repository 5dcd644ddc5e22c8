"""Shares of right or equal decisions, with the interval that their number of examples allows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgewise.errors import BadInput
from edgewise.tensors import Array

# The 97.5 % point of the normal distribution: intervals of 95 %.
_Z = 1.959963984540054


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A share and where it may lie, with 95 % confidence.

    Args:
        low: from here, 0 to 1.
        mid: the observed share.
        high: to here.
        n: how many examples it was observed on.

    >>> print(share(443, 500))
    88.6 % (85.5 to 91.1 %, n = 500)
    """

    low: float
    mid: float
    high: float
    n: int

    def __str__(self) -> str:
        low, mid, high = (f"{100 * value:.1f}" for value in (self.low, self.mid, self.high))
        return f"{mid} % ({low} to {high} %, n = {self.n})"


def share(successes: int, n: int) -> Interval:
    """Wilson's score interval of a share, 95 %.

    Unlike the usual normal interval it is right for few examples and for shares near 0 and 1.
    Source: E. B. Wilson, J. Am. Stat. Assoc. 22 (1927) 209-212; recommended by Brown, Cai and
    DasGupta, Statistical Science 16 (2001) 101-133.

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
    mid = successes / n
    centre = (mid + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
    half = _Z / (1 + _Z**2 / n) * math.sqrt(mid * (1 - mid) / n + _Z**2 / (4 * n**2))
    low, high = max(0.0, centre - half), min(1.0, centre + half)
    return Interval(low=min(low, mid), mid=mid, high=max(high, mid), n=n)


def decisions(outputs: Array) -> NDArray[np.int64]:
    """The class with the largest output of each example; the first one of equals.

    Args:
        outputs: logits or probabilities, one row per example, one column per class.

    Raises:
        BadInput: on another shape, or NaN.

    >>> decisions(np.array([[0.1, 0.9], [0.8, 0.2]])).tolist()
    [1, 0]
    """
    if outputs.ndim != 2 or outputs.shape[1] < 1 or not np.issubdtype(outputs.dtype, np.number):
        raise BadInput(
            expected="outputs as numbers of shape examples x classes",
            found=f"{outputs.dtype.name} of shape {list(outputs.shape)}",
            remedy="stack the outputs of batch 1, and choose the classifier's output",
        )
    if np.isnan(outputs).any():
        raise BadInput(
            expected="outputs that are numbers",
            found="NaN",
            remedy="check the model with: edgewise inspect MODEL",
        )
    return np.asarray(outputs.argmax(axis=1), np.int64)


def top1(outputs: Array, labels: Sequence[int]) -> Interval:
    """The share of examples whose largest output is their label.

    Args:
        outputs: one row per example, one column per class.
        labels: class indices.

    Raises:
        BadInput: when the counts differ.

    >>> top1(np.array([[0.1, 0.9], [0.8, 0.2]]), [1, 1]).mid
    0.5
    """
    found = decisions(outputs)
    _check_counts(len(found), len(labels))
    return share(int((found == np.asarray(labels)).sum()), len(found))


def agreement(a: Array, b: Array) -> Interval:
    """The share of examples on which two models decide alike.

    Args:
        a: outputs of one model, one row per example.
        b: outputs of the other, for the same examples in the same order.

    Raises:
        BadInput: when the counts differ.

    >>> agreement(np.array([[1.0, 0.0]]), np.array([[0.6, 0.4]])).mid
    1.0
    """
    left, right = decisions(a), decisions(b)
    _check_counts(len(left), len(right))
    return share(int((left == right).sum()), len(left))


def _check_counts(left: int, right: int) -> None:
    if left != right:
        raise BadInput(
            expected="as many outputs as labels or outputs to compare them with",
            found=f"{left} and {right}",
            remedy="pass the same examples on both sides",
        )
