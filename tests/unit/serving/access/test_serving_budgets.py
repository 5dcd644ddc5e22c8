"""Budgets: what a key may use in a second, told by a clock that is passed in."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewise.serving.access.budgets import Budget, TokenBucket
from edgewise.serving.access.keys import KeyEntry
from edgewise.serving.processes.draining import Draining


@dataclass
class Clock:
    now_s: float = 100.0

    def __call__(self) -> float:
        return self.now_s


def _budget(clock: Clock, **limits: float) -> Budget:
    entry = KeyEntry(name="shop", prefix="0" * 8, sha256="0" * 64, **limits)
    return Budget(entry, clock=clock)


def test_items_come_back_at_their_rate() -> None:
    clock = Clock()
    budget = _budget(clock, items_per_s=2)
    for _ in range(2):
        assert budget.retry_after_s() is None
        budget.pay_items(1)
    assert budget.retry_after_s() == 1
    clock.now_s += 0.5
    assert budget.retry_after_s() is None
    assert budget.retry_after_s(items=2) == 1


def test_a_request_above_a_seconds_worth_needs_a_full_bucket_and_leaves_a_debt() -> None:
    clock = Clock()
    budget = _budget(clock, items_per_s=4)
    assert budget.retry_after_s(items=40) is None
    budget.pay_items(40)
    assert budget.retry_after_s() == 10  # 36 in debt, and one more
    clock.now_s += 9.25
    assert budget.retry_after_s() is None


def test_time_of_the_engine_is_paid_afterwards() -> None:
    clock = Clock()
    budget = _budget(clock, compute_ms_per_s=100)
    assert budget.retry_after_s() is None
    budget.pay_compute(0.5)
    assert budget.retry_after_s() == 5  # 400 ms in debt at 100 ms a second, and one more
    clock.now_s += 4.1
    assert budget.retry_after_s() is None


def test_slow_rates_still_let_one_item_in() -> None:
    clock = Clock()
    budget = _budget(clock, items_per_s=0.1)
    assert budget.retry_after_s() is None
    budget.pay_items(1)
    assert budget.retry_after_s() == 10


def test_without_limits_everything_is_let_in() -> None:
    budget = _budget(Clock())
    budget.pay_items(10**9)
    budget.pay_compute(1e9)
    budget.under_way = 10**6
    assert budget.retry_after_s(items=10**9) is None
    assert not budget.is_crowded


def test_so_many_at_once() -> None:
    budget = _budget(Clock(), concurrent=2)
    assert not budget.is_crowded
    budget.under_way = 2
    assert budget.is_crowded


@given(
    rate=st.floats(0.1, 1000),
    steps=st.lists(st.tuples(st.floats(-1, 5), st.floats(0, 50)), max_size=30),
)
def test_no_more_is_taken_than_flowed_in(rate: float, steps: list[tuple[float, float]]) -> None:
    brim = max(1.0, rate)
    bucket = TokenBucket(rate_per_s=rate, brim=brim, now_s=0.0)
    now_s = latest_s = taken = 0.0
    for step_s, amount in steps:
        now_s += step_s  # a clock that goes back gives nothing
        latest_s = max(latest_s, now_s)
        if bucket.wait_s(amount, now_s=now_s) == 0:
            bucket.take(min(amount, brim), now_s=now_s)
            taken += min(amount, brim)
    assert taken <= brim + rate * latest_s + 1e-6 * (1 + taken)


@given(rate=st.floats(0.1, 1000), debt=st.floats(0, 5000), amount=st.floats(0.1, 10))
def test_waiting_as_long_as_told_is_enough(rate: float, debt: float, amount: float) -> None:
    bucket = TokenBucket(rate_per_s=rate, brim=max(1.0, rate), now_s=0.0)
    bucket.take(debt, now_s=0.0)
    wait_s = bucket.wait_s(amount, now_s=0.0)
    assert bucket.wait_s(amount, now_s=wait_s * (1 + 1e-9) + 1e-9) == pytest.approx(0, abs=1e-6)


def test_notice_is_given_once() -> None:
    clock = Clock()
    draining = Draining(notice_s=5, clock=clock)
    clock.now_s += 60
    assert (draining.has_begun, draining.is_deaf) == (False, False)
    draining.begin()
    assert (draining.has_begun, draining.is_deaf) == (True, False)
    clock.now_s += 4
    draining.begin()
    clock.now_s += 1
    assert draining.is_deaf
