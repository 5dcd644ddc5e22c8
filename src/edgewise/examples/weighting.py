"""A metric as a function of how often each example counts, so that resampling is fast."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from edgewise.errors import BadInput
from edgewise.tensors import Array

Values: TypeAlias = NDArray[np.float64]
# How often each example counts: one row per resample, one column per example.
Weights: TypeAlias = NDArray[np.float64]
# The figure of each row of weights; NaN where it is not defined.
Statistic: TypeAlias = Callable[[Weights], Values]


def mean_of(values: Values) -> Statistic:
    """The mean over examples; those with NaN do not count.

    >>> mean_of(np.array([0.0, 1.0, np.nan]))(np.array([[1.0, 1, 1], [1, 3, 0], [0, 0, 1]]))
    array([0.5 , 0.75,  nan])
    """
    counted = ~np.isnan(values)
    known = values[counted]

    def mean(weights: Weights) -> Values:
        used = weights[:, counted]
        return ratio(used @ known, used.sum(axis=1))

    return mean


def ratio(parts: Values, wholes: Values) -> Values:
    """Their quotient, NaN where the whole is zero."""
    out = np.full(np.broadcast_shapes(parts.shape, wholes.shape), np.nan)
    np.divide(parts, wholes, out=out, where=wholes != 0)
    return out


def observed(statistic: Statistic, count: int, name: str) -> float:
    """The figure when every example counts once.

    Raises:
        BadInput: when it is not defined.
    """
    value = float(statistic(np.ones((1, count)))[0])
    if not np.isfinite(value):
        raise BadInput(
            expected=f"a finite number from the metric {name!r}",
            found=str(value),
            remedy="use examples and outputs that are not all alike",
        )
    return value


def check_counts(left: int, right: int) -> None:
    """Refuse different numbers of examples.

    Raises:
        BadInput: when they differ.
    """
    if left != right:
        raise BadInput(
            expected="as many outputs as labels or outputs to compare them with",
            found=f"{left} and {right}",
            remedy="pass the same examples on both sides",
        )


def real_rows(outputs: Array) -> Values:
    """Outputs as float64, one row of numbers per example.

    Raises:
        BadInput: on anything but real numbers, or NaN or infinity.

    >>> real_rows(np.zeros((2, 3, 4), np.float32)).shape
    (2, 12)
    """
    real = outputs.dtype.kind in "biuf"
    if not real or outputs.ndim < 1 or outputs.size == 0:
        raise BadInput(
            expected="outputs as real numbers, one row per example",
            found=f"{outputs.dtype.name} of shape {list(outputs.shape)}",
            remedy="stack the outputs of batch 1 along the first axis",
        )
    rows = outputs.reshape(len(outputs), -1).astype(np.float64)
    if not np.isfinite(rows).all():
        raise BadInput(
            expected="outputs that are finite numbers",
            found="NaN or infinity",
            remedy="check the model with: edgewise inspect MODEL",
        )
    return rows


def check_same_shape(outputs: Array, reference: Array) -> None:
    """Refuse outputs of two networks that cannot be compared number by number.

    Raises:
        BadInput: when the counts or shapes differ.
    """
    check_counts(len(outputs), len(reference))
    if outputs.shape != reference.shape:
        raise BadInput(
            expected=f"outputs of one shape, {list(reference.shape)}",
            found=str(list(outputs.shape)),
            remedy="compare the same output of both models",
        )
