"""Metrics on decisions: the class with the largest output."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgewise.errors import BadInput
from edgewise.examples.intervals import Interval, share
from edgewise.examples.weighting import (
    Statistic,
    Values,
    Weights,
    check_counts,
    mean_of,
    ratio,
    real_rows,
)
from edgewise.tensors import Array

Classes = NDArray[np.int64]


def decisions(outputs: Array) -> Classes:
    """The class with the largest output of each example; the first one of equals.

    Args:
        outputs: logits or probabilities, one row per example, one column per class.

    Raises:
        BadInput: on another shape, or NaN.

    >>> decisions(np.array([[0.1, 0.9], [0.8, 0.2]])).tolist()
    [1, 0]
    """
    return np.asarray(_scores(outputs).argmax(axis=1), np.int64)


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
    check_counts(len(left), len(right))
    return share(int((left == right).sum()), len(left))


def top_k_statistic(outputs: Array, labels: Array, *, k: int) -> Statistic:
    """Share of examples whose label is among the ``k`` largest outputs.

    Of equal outputs the first one counts as larger, as in :func:`decisions`. Source: O.
    Russakovsky et al., ImageNet Large Scale Visual Recognition Challenge, IJCV 115 (2015), 4.1.
    """
    scores = _scores(outputs)
    places = class_indices(labels, scores.shape[1])[:, np.newaxis]
    check_counts(len(scores), len(places))
    own = np.take_along_axis(scores, places, axis=1)
    earlier = np.arange(scores.shape[1]) < places
    place = ((scores > own) | ((scores == own) & earlier)).sum(axis=1)
    return mean_of((place < k).astype(np.float64))


def agreement_statistic(outputs: Array, reference: Array) -> Statistic:
    """Share of examples on which two networks decide alike."""
    left, right = decisions(outputs), decisions(reference)
    check_counts(len(left), len(right))
    return mean_of((left == right).astype(np.float64))


def f1_statistic(outputs: Array, labels: Array) -> Statistic:
    """F1 of class 1 against class 0: ``2 TP / (2 TP + FP + FN)``, 0 where nothing is found.

    Two columns are scores of the classes. One column is the score of class 1: probabilities (all
    in 0 to 1) decide at 0.5, logits at 0. Source: C. J. van Rijsbergen, Information Retrieval,
    2nd edition (1979), chapter 7.
    """
    decided = _binary_decisions(outputs)
    check_counts(len(decided), len(labels))
    return _macro_f1(decided, class_indices(labels, 2), np.array([1]))


def macro_f1_statistic(outputs: Array, labels: Array) -> Statistic:
    """Mean over classes of each class's F1; classes neither labelled nor decided do not count.

    The mean of F1 values, not F1 of mean precision and recall: J. Opitz, S. Burst, Macro F1 and
    Macro F1, arXiv:1911.03347 (2019).
    """
    decided = decisions(outputs)
    check_counts(len(decided), len(labels))
    right = class_indices(labels, outputs.shape[1])
    return _macro_f1(decided, right, np.union1d(decided, right))


def class_indices(labels: Array, classes: int) -> Classes:
    """The labels, if all are class indices below ``classes``.

    Raises:
        BadInput: naming the first that is none.
    """
    if labels.dtype.kind not in "iu" or labels.ndim != 1:
        raise _no_index(f"{labels.dtype.name} of shape {list(labels.shape)}", classes)
    indices = np.asarray(labels, np.int64)
    wrong = indices[(indices < 0) | (indices >= classes)]
    if len(wrong):
        raise _no_index(str(wrong[0]), classes)
    return indices


def _no_index(found: str, classes: int) -> BadInput:
    return BadInput(
        expected=f"labels as class indices from 0 to {classes - 1}",
        found=found,
        remedy="correct the labels, or choose the classifier's output",
    )


def _scores(outputs: Array) -> NDArray[np.floating]:
    if outputs.ndim != 2 or outputs.shape[1] < 1 or outputs.dtype.kind not in "biuf":
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
    return np.asarray(outputs, np.promote_types(outputs.dtype, np.float32))


def _binary_decisions(outputs: Array) -> Classes:
    rows: Values = real_rows(outputs)
    if rows.shape[1] == 2:
        return decisions(rows)
    if rows.shape[1] != 1:
        raise BadInput(
            expected="outputs with one column, or one for each of two classes",
            found=f"{rows.shape[1]} columns",
            remedy="use the metric f1_macro",
        )
    probabilities = bool(((rows >= 0) & (rows <= 1)).all())
    return np.asarray(rows[:, 0] > (0.5 if probabilities else 0.0), np.int64)


def _macro_f1(decided: Classes, labels: Classes, classes: Classes) -> Statistic:
    found = (decided[:, np.newaxis] == classes).astype(np.float64)
    right = (labels[:, np.newaxis] == classes).astype(np.float64)
    both, either = found * right, found + right  # found + right is 2 TP + FP + FN

    def mean_f1(weights: Weights) -> Values:
        wholes = weights @ either
        f1 = np.nan_to_num(ratio(2 * (weights @ both), wholes))
        present = np.maximum((wholes > 0).sum(axis=1), 1)
        return np.asarray(f1.sum(axis=1) / present, np.float64)

    return mean_f1
