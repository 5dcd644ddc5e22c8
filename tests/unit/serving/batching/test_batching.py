"""When a batch starts, what a deadline is, and how long to stay away."""

from __future__ import annotations

import math

import pytest

from edgewise.errors import BadInput
from edgewise.serving.batching.batcher import (
    Batch,
    Batcher,
    Entry,
    Group,
    Limits,
    QueueFull,
)
from edgewise.serving.batching.drain_rate import DrainRate

GROUP = Group(bundle="m", route="r")


def _entry(at_s: float, *, deadline_s: float = math.inf, items: int = 1) -> Entry[str]:
    return Entry(group=GROUP, work="", arrived_s=at_s, deadline_s=deadline_s, items=items)


def _busy(limits: Limits, *, run_s: float) -> tuple[Batcher[str], Batch[str]]:
    """A batcher that has seen one run of this length and whose engine is busy from 10 s on."""
    batcher: Batcher[str] = Batcher(limits)
    batches = []
    for at_s in (0.0, 10.0):
        batcher.offer(_entry(at_s), now_s=at_s)
        batch = batcher.step(now_s=at_s).batch
        assert batch is not None
        batches.append(batch)
        if at_s == 0.0:
            batcher.finish(batch, now_s=run_s)
    return batcher, batches[-1]


def test_without_a_limit_nothing_waits_for_others() -> None:
    batcher, running = _busy(Limits(max_wait_s=0.0), run_s=0.1)
    batcher.offer(_entry(10.05), now_s=10.05)
    assert batcher.step(now_s=10.06).wake_s == math.inf
    batcher.finish(running, now_s=10.1)
    assert batcher.step(now_s=10.1).batch is not None


@pytest.mark.parametrize(
    ("deadline_s", "start_s"),
    [
        (math.inf, 11.05),  # the limit
        (20.0, 11.05),
        (10.8, 10.6),  # the slack: twice the longest run seen stays for the run
        (10.15, 10.1),  # no slack at all: as soon as the engine is free
    ],
)
def test_a_wait_is_the_limit_or_the_slack(deadline_s: float, start_s: float) -> None:
    batcher, running = _busy(Limits(max_wait_s=1.0), run_s=0.1)
    batcher.offer(_entry(10.05), now_s=10.05)
    batcher.offer(_entry(10.06, deadline_s=deadline_s), now_s=10.06)
    batcher.finish(running, now_s=10.1)
    step = batcher.step(now_s=10.1)
    if step.batch is None:
        assert step.wake_s == pytest.approx(start_s)
        assert batcher.step(now_s=start_s - 1e-3).batch is None
        step = batcher.step(now_s=step.wake_s)
    else:
        assert start_s == 10.1
    assert step.batch is not None
    assert step.batch.items == 2


def test_a_full_batch_waits_for_nobody() -> None:
    batcher, running = _busy(Limits(max_wait_s=1.0, max_batch=3), run_s=0.1)
    batcher.offer(_entry(10.05), now_s=10.05)
    batcher.finish(running, now_s=10.1)
    assert batcher.step(now_s=10.1).batch is None
    batcher.offer(_entry(10.2, items=2), now_s=10.2)
    batch = batcher.step(now_s=10.2).batch
    assert batch is not None
    assert batch.items == 3


def test_the_rate_is_of_busy_time_alone() -> None:
    rate = DrainRate()
    assert rate.items_per_s(now_s=0.0) is None
    rate.busy(now_s=0.0)
    rate.finished(1, now_s=0.5, idle=True)
    rate.busy(now_s=8.0)
    rate.finished(3, now_s=8.5)
    assert rate.items_per_s(now_s=8.5) == 4.0
    rate.finished(8, now_s=9.5)  # the first is forgotten by then, ten seconds later
    assert rate.items_per_s(now_s=11.0) == pytest.approx(11 / 2.0)


def test_a_run_that_takes_ever_longer_lowers_the_rate() -> None:
    rate = DrainRate()
    rate.busy(now_s=0.0)
    rate.finished(4, now_s=1.0)
    assert rate.items_per_s(now_s=1.5) == 4.0
    assert rate.items_per_s(now_s=5.0) == 1.0


@pytest.mark.parametrize(("run_s", "wanted"), [(0.01, 1), (1.0, 5), (2.5, 13), (1e9, 3600)])
def test_retry_after_is_what_waits_and_runs_at_the_real_rate(run_s: float, wanted: int) -> None:
    batcher: Batcher[str] = Batcher(Limits(max_batch=1, max_queue=4))
    for _ in range(5):
        batcher.offer(_entry(0.0), now_s=0.0)
        batcher.step(now_s=0.0)
    batch = _first(batcher)
    batcher.finish(batch, now_s=run_s)
    batcher.step(now_s=run_s)
    batcher.offer(_entry(run_s), now_s=run_s)
    with pytest.raises(QueueFull) as caught:
        batcher.offer(_entry(run_s), now_s=run_s)
    assert caught.value.retry_after_s == wanted
    assert caught.value.queued == 4


def _first(batcher: Batcher[str]) -> Batch[str]:
    return batcher._running[0]


def test_before_anything_finished_the_run_under_way_says_how_long() -> None:
    batcher: Batcher[str] = Batcher(Limits(max_queue=0))
    batcher.offer(_entry(0.0), now_s=0.0)
    batcher.step(now_s=0.0)
    assert batcher.retry_after_s(now_s=0.2) == 1
    assert batcher.retry_after_s(now_s=6.5) == 7


def test_a_request_of_more_than_a_batch_runs_alone() -> None:
    batcher: Batcher[str] = Batcher(Limits(max_batch=2))
    for items in (9, 1):
        batcher.offer(_entry(0.0, items=items), now_s=0.0)
    batch = batcher.step(now_s=0.0).batch
    assert batch is not None
    assert [entry.items for entry in batch.entries] == [9]


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"max_batch": 0}, "expected max_batch of at least 1, found 0; choose with --max-batch"),
        ({"max_wait_s": -1.0}, "expected max_wait_s of at least 0, found -1.0; choose with"),
        ({"max_wait_s": math.nan}, "expected max_wait_s of at least 0, found nan; choose with"),
        ({"max_wait_s": math.inf}, "expected max_wait_s of at least 0, found inf; choose with"),
        ({"max_queue": -1}, "expected max_queue of at least 0, found -1; choose with --max-queue"),
        ({"max_queue_bytes": 0}, "expected max_queue_bytes of at least 1, found 0; allow some"),
        ({"engines": 0}, "expected engines of at least 1, found 0; allow one run at a time"),
    ],
)
def test_limits_that_make_no_sense_are_refused(limits: dict[str, float], message: str) -> None:
    with pytest.raises(BadInput) as caught:
        Limits(**limits)
    assert str(caught.value).startswith(message)
