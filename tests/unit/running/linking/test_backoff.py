"""Pauses between attempts."""

from __future__ import annotations

from edgewise.running.linking.backoff import Backoff, Patience


def test_pauses_double_up_to_the_longest_and_a_success_begins_anew() -> None:
    patience = Patience(first_s=1.0, longest_s=10.0, budget=100.0)
    backoff = Backoff(patience, chance=lambda: 1.0)
    assert [backoff.failed() for _ in range(6)] == [1.0, 2.0, 4.0, 8.0, 10.0, 10.0]
    backoff.succeeded()
    assert backoff.failed() == 1.0


def test_chance_spreads_them_over_their_upper_half() -> None:
    assert Backoff(Patience(first_s=2.0), chance=lambda: 0.0).failed() == 1.0
    assert Backoff(Patience(first_s=2.0), chance=lambda: 0.5).failed() == 1.5


def test_a_spent_budget_takes_the_longest_pause_until_successes_fill_it() -> None:
    backoff = Backoff(Patience(first_s=1.0, longest_s=60.0, budget=3.0), chance=lambda: 1.0)
    assert [backoff.failed() for _ in range(3)] == [1.0, 2.0, 60.0]
    backoff.succeeded()  # a tenth of an attempt: not enough for two failures
    assert backoff.failed() == 60.0
    for _ in range(30):
        backoff.succeeded()
    assert backoff.failed() == 1.0


def test_failures_for_ever_overflow_nothing() -> None:
    backoff = Backoff(Patience(budget=1e9), chance=lambda: 1.0)
    assert [backoff.failed() for _ in range(2000)][-1] == 300.0
