"""Shares and their intervals."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from edgewise.errors import BadInput
from edgewise.examples import agreement, decisions, metric, share

OUTPUTS = np.array([[0.1, 0.9, 0.0], [0.8, 0.1, 0.1], [0.3, 0.3, 0.4], [5.0, 5.0, 1.0]])


@given(st.integers(1, 2000), st.data())
def test_the_interval_is_wilsons(n: int, data: st.DataObject) -> None:
    k = data.draw(st.integers(0, n))
    ours = share(k, n)
    theirs = binomtest(k, n).proportion_ci(confidence_level=0.95, method="wilson")
    assert ours.low == pytest.approx(theirs.low, abs=1e-12)
    assert ours.high == pytest.approx(theirs.high, abs=1e-12)
    assert 0 <= ours.low <= ours.mid == k / n <= ours.high <= 1


def test_more_examples_narrow_the_interval() -> None:
    few, many = share(9, 10), share(900, 1000)
    assert few.low < many.low < many.high < few.high


@pytest.mark.parametrize(("k", "n"), [(0, 0), (2, 1), (-1, 3)])
def test_counts_that_are_no_share_are_refused(k: int, n: int) -> None:
    with pytest.raises(BadInput, match="at least one example to measure on"):
        share(k, n)


def test_top1_counts_right_decisions() -> None:
    top1 = metric("top1")
    assert top1(OUTPUTS, np.array([1, 0, 2, 0])) == 1.0  # of equal outputs the first one
    assert top1(OUTPUTS, np.array([1, 0, 0, 1])) == 0.5


def test_agreement_counts_equal_decisions_not_equal_outputs() -> None:
    assert agreement(OUTPUTS, 10 * OUTPUTS + 3).mid == 1.0
    assert agreement(OUTPUTS, np.roll(OUTPUTS, 1, axis=1)).mid == 0.0


def test_different_counts_are_refused() -> None:
    with pytest.raises(BadInput, match="found 4 and 2"):
        agreement(OUTPUTS, OUTPUTS[:2])


@pytest.mark.parametrize(
    ("outputs", "words"),
    [
        (np.zeros(3), "examples x classes"),
        (np.zeros((3, 0)), "examples x classes"),
        (np.array([["a"]]), "examples x classes"),
        (np.array([[np.nan, 1.0]]), "found NaN"),
    ],
)
def test_outputs_that_decide_nothing_are_refused(outputs: np.ndarray, words: str) -> None:
    with pytest.raises(BadInput, match=words):
        decisions(outputs)
