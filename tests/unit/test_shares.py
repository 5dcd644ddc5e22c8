from __future__ import annotations

import numpy as np
import pytest

from edgewise.shares import mean_interval, wilson


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [(0, 10, 0.0, 0.277533), (10, 10, 0.722467, 1.0), (5, 10, 0.236593, 0.763407)],
)
def test_wilson_is_the_closed_form(successes: int, n: int, low: float, high: float) -> None:
    assert wilson(successes, n) == pytest.approx((low, high), abs=1e-6)


def test_the_interval_of_a_mean_covers_it_nineteen_times_in_twenty() -> None:
    rng = np.random.default_rng(0)
    draws = rng.exponential(2.0, (2000, 100))
    covered = [low <= 2.0 <= high for low, high in map(mean_interval, draws.tolist())]
    assert 0.92 <= np.mean(covered) <= 0.97


def test_values_that_are_equal_have_a_point() -> None:
    assert mean_interval([0.25] * 40) == (0.25, 0.25)
