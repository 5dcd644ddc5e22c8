"""Metrics on how far outputs are from what they should be."""

from __future__ import annotations

import numpy as np

from edgewise.errors import BadInput
from edgewise.examples.weighting import (
    Statistic,
    Values,
    check_counts,
    check_same_shape,
    mean_of,
    real_rows,
)
from edgewise.tensors import Array

_SMALLEST_PROBABILITY = 1e-12
_SUM_TOLERANCE = 1e-3


def kl_divergence(
    outputs: Array, reference: Array, *, probabilities: bool | None = None
) -> Values:
    """What is lost per example when ``outputs`` stand for ``reference``, in nats.

    ``KL(p || q) = sum p ln(p / q)`` with p of the reference and q of the outputs, both softmax of
    logits along the last axis; other axes are averaged. Probabilities below 1e-12 count as 1e-12.
    Source: S. Kullback, R. A. Leibler, Annals of Mathematical Statistics 22 (1951) 79-86.

    Args:
        outputs: of the network that is judged, one row per example.
        reference: of the network it stands for.
        probabilities: whether both are probabilities rather than logits; by default they are when
            no number of the reference is negative and its rows add up to 1 within 0.001.

    Raises:
        BadInput: when the shapes differ, there is one class, or something is no finite number.

    >>> kl_divergence(np.array([[0.0, 0.0]]), np.array([[0.0, np.log(3)]])).round(4)
    array([0.1308])
    """
    check_same_shape(outputs, reference)
    q, p = _last_axis(outputs), _last_axis(reference)
    if p.shape[-1] < 2:
        raise BadInput(
            expected="outputs with one column for each of two classes or more",
            found="one column",
            remedy="use the metric cosine, or f1 with labels",
        )
    if probabilities is None:
        probabilities = _are_probabilities(p)
    log_p, log_q = ((_log_shares if probabilities else _log_softmax)(x) for x in (p, q))
    divergence = (np.exp(log_p) * (log_p - log_q)).sum(axis=-1)
    return np.asarray(np.maximum(divergence, 0.0).mean(axis=1), np.float64)


def cosine_similarity(outputs: Array, reference: Array) -> Values:
    """Cosine of the angle between the outputs of two networks, per example.

    Both are taken as one vector per example. Two zero vectors are alike (1), a zero vector and
    another are not (0).

    Args:
        outputs: of the network that is judged, one row per example.
        reference: of the network it stands for.

    Raises:
        BadInput: when the shapes differ, or something is no finite number.

    >>> cosine_similarity(np.array([[1.0, 1.0]]), np.array([[2.0, 0.0]])).round(4)
    array([0.7071])
    """
    check_same_shape(outputs, reference)
    a, b = real_rows(outputs), real_rows(reference)
    unit_a, unit_b = unit_rows(a), unit_rows(b)
    both_zero = ~a.any(axis=1) & ~b.any(axis=1)
    cosine = np.clip((unit_a * unit_b).sum(axis=1), -1, 1)
    return np.where(both_zero, 1.0, cosine)


def unit_rows(rows: Values) -> Values:
    """Rows of length 1; a row of zeros stays."""
    largest = np.abs(rows).max(axis=1, keepdims=True)
    scaled = rows / np.where(largest > 0, largest, 1)  # squares neither overflow nor vanish
    length = np.sqrt((scaled * scaled).sum(axis=1, keepdims=True))
    return np.asarray(scaled / np.where(length > 0, length, 1), np.float64)


def kl_statistic(outputs: Array, reference: Array) -> Statistic:
    """Mean of :func:`kl_divergence`."""
    return mean_of(kl_divergence(outputs, reference))


def cosine_statistic(outputs: Array, reference: Array) -> Statistic:
    """Mean of :func:`cosine_similarity`."""
    return mean_of(cosine_similarity(outputs, reference))


def absolute_error_statistic(outputs: Array, labels: Array) -> Statistic:
    """Mean of ``|output - label|``, over all numbers of an example."""
    check_counts(len(outputs), len(labels))
    rows, wanted = real_rows(outputs), real_rows(labels)
    if rows.shape != wanted.shape:
        raise BadInput(
            expected=f"one output for each of the {wanted.shape[1]} numbers of a label",
            found=f"{rows.shape[1]} outputs",
            remedy="choose the model's output that the labels are for",
        )
    return mean_of(np.abs(rows - wanted).mean(axis=1))


def _last_axis(outputs: Array) -> Values:
    """Examples x everything between x last axis."""
    rows = real_rows(outputs)
    last = outputs.shape[-1] if outputs.ndim > 1 else 1
    return rows.reshape(len(rows), -1, last)


def _are_probabilities(x: Values) -> bool:
    return bool((x >= 0).all() and (np.abs(x.sum(axis=-1) - 1) < _SUM_TOLERANCE).all())


def _log_shares(x: Values) -> Values:
    if (x < 0).any():
        raise BadInput(
            expected="probabilities", found="a negative number", remedy="compare logits instead"
        )
    floored = np.maximum(x, _SMALLEST_PROBABILITY)
    return np.asarray(np.log(floored / floored.sum(axis=-1, keepdims=True)), np.float64)


def _log_softmax(x: Values) -> Values:
    shifted = x - x.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)), np.float64)
