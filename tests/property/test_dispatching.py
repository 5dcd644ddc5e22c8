"""Requests through a real event loop: answered once each, as if alone; the gone never run."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import batching_bundles as bundles
from edgewise.engines import Engine, open_engine
from edgewise.serving.batching.batcher import Batch, Entry, Expired, Group, Limits, QueueFull
from edgewise.serving.batching.dispatch import Dispatcher
from edgewise.serving.batching.joining import Done, Job, run_batch
from edgewise.serving.protocol.refusals import Gone
from edgewise.tensors import Array, Feeds

pytestmark = pytest.mark.engine


@dataclass(frozen=True, slots=True)
class Asked:
    """One request: which group, how many rows, and whether it leaves or is too late."""

    group: str
    rows: int
    leaves: bool
    late: bool


ASKED = st.lists(
    st.builds(Asked, st.sampled_from("ab"), st.integers(1, 3), st.booleans(), st.booleans()),
    min_size=1,
    max_size=14,
)


@pytest.fixture(scope="module")
def engine() -> Engine:
    return open_engine(bundles.slow_network(size=8, products=1))


class Room:
    """A dispatcher whose runs are written down."""

    def __init__(self, engine: Engine, limits: Limits) -> None:
        self.engine = engine
        self.limits = limits
        self.runs: list[Array] = []

    def run(self, feeds: Feeds) -> dict[str, Array]:
        self.runs.append(feeds["x"])
        return self.engine.run(feeds)

    def entry(self, number: int, asked: Asked, dispatcher: Dispatcher[Array]) -> Entry[Any]:
        x = np.full((asked.rows, bundles.WIDTH), number, np.float32)
        now_s = dispatcher.clock()
        return Entry(
            group=Group(bundle="m", route=asked.group),
            work=Job(receive=lambda: {"x": x}, run=self.run, finish=lambda outputs: outputs["y"]),
            arrived_s=now_s,
            items=asked.rows,
            deadline_s=now_s if asked.late else math.inf,
        )

    async def answers(self, requests: list[Asked]) -> list[Done[Array] | BaseException]:
        dispatcher: Dispatcher[Array] = Dispatcher(self.limits)
        waiting: list[Coroutine[Any, Any, Done[Array]]] = [
            dispatcher.answer(
                self.entry(number, asked, dispatcher), _leave if asked.leaves else _stay
            )
            for number, asked in enumerate(requests)
        ]
        found = await asyncio.gather(*waiting, return_exceptions=True)
        assert dispatcher.batcher.idle
        assert dispatcher.batcher.queued_items == dispatcher.batcher.queued_bytes == 0
        return list(found)


async def _leave() -> None:
    await asyncio.sleep(0)


async def _stay() -> None:
    await asyncio.Event().wait()


@settings(max_examples=40, deadline=None)
@given(requests=ASKED, max_batch=st.integers(1, 4), engines=st.integers(1, 2))
def test_each_is_answered_once_and_as_if_alone(
    engine: Engine, requests: list[Asked], max_batch: int, engines: int
) -> None:
    room = Room(engine, Limits(max_batch=max_batch, max_queue=30, engines=engines))
    found = asyncio.run(room.answers(requests))
    ran = [int(number) for x in room.runs for number in x[:, 0]]
    for number, (asked, answer) in enumerate(zip(requests, found, strict=True)):
        if isinstance(answer, Done):
            assert not asked.late
            np.testing.assert_array_equal(
                answer.answer, np.full((asked.rows, bundles.WIDTH), number, np.float32)
            )
            assert ran.count(number) == asked.rows
        else:
            assert isinstance(answer, Expired | Gone | QueueFull)
            assert number not in ran
    assert all(len(x) <= max_batch or len(set(x[:, 0])) == 1 for x in room.runs)
    assert all(len({requests[int(n)].group for n in x[:, 0]}) == 1 for x in room.runs)


@settings(max_examples=30, deadline=None)
@given(sizes=st.lists(st.integers(1, 4), min_size=1, max_size=6), seed=st.integers(0, 99))
def test_joined_rows_give_what_each_gives_alone(
    engine: Engine, sizes: list[int], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    rows = [{"x": rng.normal(size=(n, bundles.WIDTH)).astype(np.float32)} for n in sizes]
    group = Group(bundle="m", route="r")
    entries = tuple(
        Entry(
            group=group,
            work=Job(receive=lambda row=row: row, run=engine.run, finish=lambda out: out["y"]),
            arrived_s=0.0,
            items=len(row["x"]),
        )
        for row in rows
    )
    results = run_batch(Batch(group=group, entries=entries, started_s=0.0), lambda: 0.0)
    for row, result in zip(rows, results, strict=True):
        assert isinstance(result, Done)
        np.testing.assert_allclose(result.answer, engine.run(row)["y"], rtol=1e-6)
    assert [isinstance(r, Done) and r.leads for r in results] == [True] + [False] * (len(rows) - 1)
