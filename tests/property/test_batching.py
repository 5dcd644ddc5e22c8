"""The batcher under any order of arrivals, departures, deadlines and finished runs."""

from __future__ import annotations

import math
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from edgewise.serving.batching.batcher import (
    Batch,
    Batcher,
    Closed,
    Entry,
    Group,
    Limits,
    QueueFull,
)

GROUPS = tuple(Group(bundle="m", route=name) for name in ("a", "b", "c"))
STEPS_S = st.sampled_from((0.0, 0.001, 0.01, 0.3, 2.0))


class Driven(RuleBasedStateMachine):
    """Does what the batcher says, on a clock that only rules move."""

    @initialize(
        max_batch=st.integers(1, 5),
        max_wait_s=st.sampled_from((0.0, 0.02, 1.0)),
        max_queue=st.integers(0, 8),
        engines=st.integers(1, 2),
    )
    def begin(self, max_batch: int, max_wait_s: float, max_queue: int, engines: int) -> None:
        self.limits = Limits(
            max_batch=max_batch,
            max_wait_s=max_wait_s,
            max_queue=max_queue,
            max_queue_bytes=400,
            engines=engines,
        )
        self.batcher: Batcher[int] = Batcher(self.limits)
        self.now_s = 0.0
        self.wake_s = math.inf
        self.waiting: dict[int, Entry[int]] = {}
        self.running: list[Batch[int]] = []
        self.answered: Counter[int] = Counter()
        self.last: dict[Group, int] = {}
        self.count = self.refused = 0

    @rule(
        group=st.sampled_from(GROUPS),
        items=st.integers(1, 6),
        nbytes=st.integers(0, 500),
        deadline_in_s=st.sampled_from((math.inf, 0.0, 0.005, 0.1, 1.0)),
        alone=st.booleans(),
    )
    def arrive(
        self, group: Group, items: int, nbytes: int, deadline_in_s: float, alone: bool
    ) -> None:
        entry = Entry(
            group=group,
            work=self.count,
            arrived_s=self.now_s,
            items=items,
            nbytes=nbytes,
            deadline_s=self.now_s + deadline_in_s,
            alone=alone,
        )
        self.count += 1
        idle = not self.waiting and len(self.running) < self.limits.engines
        queued = sum(other.items for other in self.waiting.values())
        taken = sum(other.nbytes for other in self.waiting.values())
        crowded = queued + items > self.limits.max_queue
        heavy = bool(self.waiting) and taken + nbytes > self.limits.max_queue_bytes
        try:
            self.batcher.offer(entry, now_s=self.now_s)
        except QueueFull:
            assert not idle
            assert crowded or heavy
            self.refused += 1
            return
        assert idle or not (crowded or heavy)
        self.waiting[entry.work] = entry
        self.proceed()
        if idle and deadline_in_s > 0:
            assert entry.work not in self.waiting  # an idle engine starts at once

    @precondition(lambda self: self.running)
    @rule(data=st.data(), after_s=STEPS_S)
    def finish(self, data: st.DataObject, after_s: float) -> None:
        self.now_s += after_s
        batch = data.draw(st.sampled_from(self.running))
        self.running.remove(batch)
        self.batcher.finish(batch, now_s=self.now_s)
        for entry in batch.entries:
            self.answered[entry.work] += 1
        self.proceed()

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def hang_up(self, data: st.DataObject) -> None:
        entry = self.waiting.pop(data.draw(st.sampled_from(sorted(self.waiting))))
        assert self.batcher.withdraw(entry)
        assert not self.batcher.withdraw(entry)
        self.answered[entry.work] += 1
        self.proceed()

    @precondition(lambda self: self.wake_s < math.inf)
    @rule()
    def wake(self) -> None:
        self.now_s = max(self.now_s, self.wake_s)
        self.proceed()

    @rule(after_s=STEPS_S)
    def look_again(self, after_s: float) -> None:
        self.now_s += after_s
        self.proceed()

    def proceed(self) -> None:
        while True:
            step = self.batcher.step(now_s=self.now_s)
            for entry in step.expired:
                is_busy = len(self.running) == self.limits.engines
                assert entry.deadline_s <= self.now_s or (is_busy and entry.deadline_s < math.inf)
                assert self.waiting.pop(entry.work) is entry
                self.answered[entry.work] += 1
            if step.batch is None:
                break
            self.check(step.batch)
            self.running.append(step.batch)
        self.wake_s = step.wake_s
        assert self.wake_s > self.now_s  # a driver that obeys does not spin

    def check(self, batch: Batch[int]) -> None:
        works = [entry.work for entry in batch.entries]
        assert len(self.running) < self.limits.engines
        assert works == sorted(works)
        assert works[0] > self.last.get(batch.group, -1)
        self.last[batch.group] = works[-1]
        for entry in batch.entries:
            assert entry.group == batch.group
            assert entry.deadline_s > self.now_s
            assert self.waiting.pop(entry.work) is entry
        assert batch.items <= self.limits.max_batch or len(works) == 1
        assert len(works) == 1 or not any(entry.alone for entry in batch.entries)

    @invariant()
    def nothing_is_lost_or_answered_twice(self) -> None:
        assert set(self.answered.values()) <= {1}
        in_engines = {entry.work for batch in self.running for entry in batch.entries}
        assert not in_engines & set(self.waiting)
        assert not (in_engines | set(self.waiting)) & set(self.answered)
        assert self.batcher.queued_items == sum(e.items for e in self.waiting.values())
        assert self.batcher.queued_bytes == sum(e.nbytes for e in self.waiting.values())
        assert len(in_engines) + len(self.waiting) + len(self.answered) == (
            self.count - self.refused
        )

    @invariant()
    def the_queue_is_bounded(self) -> None:
        assert self.batcher.queued_items <= self.limits.max_queue

    @invariant()
    def nobody_waits_longer_than_the_limit_beside_a_free_engine(self) -> None:
        if len(self.running) < self.limits.engines:
            oldest_s = min((e.arrived_s for e in self.waiting.values()), default=math.inf)
            assert self.now_s < oldest_s + self.limits.max_wait_s or not self.waiting

    def teardown(self) -> None:
        """Everything that waits is answered without another arrival."""
        while self.running or self.waiting:
            if self.running:
                batch = self.running.pop()
                self.batcher.finish(batch, now_s=self.now_s)
                for entry in batch.entries:
                    self.answered[entry.work] += 1
            else:
                assert self.wake_s < math.inf
                self.now_s = self.wake_s
            self.proceed()


TestDriven = Driven.TestCase
TestDriven.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


@given(st.integers(1, 20), st.integers(1, 8))
def test_what_queued_behind_a_run_runs_together(count: int, max_batch: int) -> None:
    batcher: Batcher[int] = Batcher(Limits(max_batch=max_batch, max_queue=count))
    for i in range(count + 1):
        batcher.offer(Entry(group=GROUPS[0], work=i, arrived_s=0.0), now_s=0.0)
        if i == 0:
            first = batcher.step(now_s=0.0).batch
            assert first is not None
            assert first.items == 1
    sizes = []
    batch: Batch[int] | None = first
    while batch is not None:
        assert batcher.step(now_s=1.0).batch is None
        batcher.finish(batch, now_s=1.0)
        batch = batcher.step(now_s=1.0).batch
        sizes += [batch.items] if batch else []
    assert sizes == [max_batch] * (count // max_batch) + [count % max_batch] * (
        count % max_batch > 0
    )


def test_draining_refuses_only_what_arrives_later() -> None:
    batcher: Batcher[str] = Batcher(Limits())
    batcher.drain(now_s=1.0)
    batcher.offer(Entry(group=GROUPS[0], work="before", arrived_s=0.5), now_s=1.5)
    late = Entry(group=GROUPS[0], work="after", arrived_s=1.2)
    with pytest.raises(Closed):
        batcher.offer(late, now_s=1.5)
    batch = batcher.step(now_s=1.5).batch
    assert batch is not None
    assert [entry.work for entry in batch.entries] == ["before"]
