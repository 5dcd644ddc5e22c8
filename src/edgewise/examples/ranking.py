"""Metrics on embeddings: nearest neighbours, and the order of all similarities."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgewise.errors import BadInput
from edgewise.examples.distances import unit_rows
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

_MAX_FOR_PAIRS = 3000  # 4.5 million pairs
_ROWS_AT_ONCE = 256


def recall_statistic(outputs: Array, groups: Array, *, k: int) -> Statistic:
    """Share of examples with one of their own group among their ``k`` nearest neighbours.

    Nearest by cosine similarity, the example itself left out, of equals the first. Examples alone
    in their group are neighbours but do not count. A resample weighs the examples that ask; all
    examples stay there to be found, as copies of an example would always find each other. Source:
    H. Oh Song et al., Deep metric learning via lifted structured feature embedding, CVPR 2016
    (Recall@K).
    """
    rows = unit_rows(real_rows(outputs))
    check_counts(len(rows), len(groups))
    _names, numbers, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    if not (sizes > 1).any():
        raise BadInput(
            expected="groups of at least two examples",
            found="every example alone in its group",
            remedy="label examples that belong together alike",
        )
    if not 1 <= k < len(rows):
        raise BadInput(
            expected=f"recall@k with k from 1 to {len(rows) - 1}, the number of neighbours",
            found=str(k),
            remedy="use a smaller k or more examples",
        )
    found = _finds_own_group(rows, numbers, k)
    return mean_of(np.where(sizes[numbers] > 1, found, np.nan))


def spearman_statistic(outputs: Array, reference: Array) -> Statistic:
    """Rank correlation of the similarities of all pairs of examples in two networks.

    For each pair i < j its cosine similarity in either network; then Pearson's correlation of
    their ranks, equal values taking the mean of their ranks. In a resample a pair counts as often
    as both its examples do, and copies make no pair with each other. Source: C. Spearman, Am. J.
    Psychology 15 (1904) 72-101.
    """
    check_counts(len(outputs), len(reference))
    if not 3 <= len(outputs) <= _MAX_FOR_PAIRS:
        raise BadInput(
            expected=f"3 to {_MAX_FOR_PAIRS} examples to compare all pairs of",
            found=str(len(outputs)),
            remedy="add examples or use a sample of them",
        )
    first, second = np.triu_indices(len(outputs), k=1)
    a, b = (_places(_cosines(x)[first, second]) for x in (outputs, reference))

    def correlation(row: Values) -> float:
        pairs = row[first] * row[second]
        return _weighted_pearson(_ranks(a, pairs), _ranks(b, pairs), pairs)

    def correlations(weights: Weights) -> Values:
        return np.array([correlation(row) for row in weights])

    return correlations


def _finds_own_group(rows: Values, numbers: NDArray[np.intp], k: int) -> Values:
    found = np.zeros(len(rows))
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        chunk = np.arange(start, min(start + _ROWS_AT_ONCE, len(rows)))
        near = _alike(rows[chunk] @ rows.T)
        near[np.arange(len(chunk)), chunk] = -np.inf
        best = np.argsort(-near, axis=1, kind="stable")[:, :k]
        found[chunk] = (numbers[best] == numbers[chunk, np.newaxis]).any(axis=1)
    return found


def _cosines(outputs: Array) -> Values:
    rows = unit_rows(real_rows(outputs))
    return _alike(rows @ rows.T)


def _alike(cosines: Values) -> Values:
    """Rounded, as equal examples may differ in the last bits."""
    return np.asarray(np.round(cosines, 12), np.float64)


def _places(values: Values) -> NDArray[np.intp]:
    """Each value's place among the different values."""
    return np.unique(values, return_inverse=True)[1]


def _ranks(places: NDArray[np.intp], weights: Values) -> Values:
    """The mean rank of each value when it counts as often as its weight says."""
    tied = np.bincount(places, weights=weights)
    last = np.cumsum(tied)
    return np.asarray((last - (tied - 1) / 2)[places], np.float64)


def _weighted_pearson(x: Values, y: Values, weights: Values) -> float:
    total = weights.sum()
    if total == 0:
        return float("nan")
    x, y = x - (weights @ x) / total, y - (weights @ y) / total
    weighted = weights * x
    scale = np.sqrt((weighted @ x) * (weights @ (y * y)))
    return float(ratio(np.asarray(weighted @ y), np.asarray(scale)))
