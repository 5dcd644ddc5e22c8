"""The session for asyncio: order, cancelling, closing, and a loop that nothing blocks."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import inspect
import socket
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest

import edgewise
from edgewise.bundle import Bundle
from edgewise.errors import BadInput
from edgewise.running import (
    Answer,
    Cancellation,
    GivenUp,
    Options,
    Outbox,
    Policy,
    ShadowOptions,
    connect,
)
from edgewise.serving import server_process
from edgewise.trace_log import TraceLog, read_traces
from session_bundles import image, logits_of, session_bundle
from session_servers import LyingServer, Seen, answer, greet_as, reply

pytestmark = [pytest.mark.net, pytest.mark.engine]
CLOUD_FIRST = Options(policy=Policy.PREFER_IN_CLOUD, timeout_s=600)
LONG_S = 60.0


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return session_bundle(tmp_path_factory.mktemp("async") / "bundle", "split-fp32", "local")


@pytest.fixture(autouse=True)
def _nothing_left_open() -> Iterator[None]:
    yield
    gc.collect()  # an open socket would warn now, and warnings are errors


@dataclass(slots=True)
class Holding:
    """Holds every request until it is let go, and notes who hangs up."""

    go: threading.Event = field(default_factory=threading.Event)
    arrived: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    hung_up: threading.Event = field(default_factory=threading.Event)

    def __call__(self, sock: socket.socket, seen: Seen) -> None:
        self.arrived.release()
        sock.settimeout(0.01)
        while not self.go.is_set():
            with contextlib.suppress(TimeoutError):
                if not sock.recv(1, socket.MSG_PEEK):
                    self.hung_up.set()
                    return
        sock.settimeout(None)
        with contextlib.suppress(ValueError):  # half a request: its sender has hung up meanwhile
            sock.sendall(reply(id=seen.id))


@contextlib.asynccontextmanager
async def ticking() -> AsyncIterator[list[int]]:
    """How often the event loop has come round."""
    ticks = [0]

    async def tick() -> None:
        while True:
            ticks[0] += 1
            await asyncio.sleep(0.001)

    task = asyncio.create_task(tick())
    try:
        yield ticks
    finally:
        task.cancel()


async def until(happened: Callable[[], bool]) -> None:
    async with asyncio.timeout(LONG_S):
        while not happened():
            await asyncio.sleep(0.005)


def from_cloud(one: Answer) -> bool:
    return float(one.outputs["logits"][0, 0]) == 1234.5  # what the test's own servers answer


def test_many_requests_are_answered_in_order(split: Bundle) -> None:
    async def main(url: str) -> tuple[list[Answer], list[int]]:
        done: list[int] = []

        async def ask(seed: int) -> Answer:
            one = await session.run(image(seed))
            done.append(seed)
            return one

        async with await edgewise.connect_async(split, url, options=CLOUD_FIRST) as session:
            answers = await asyncio.gather(*(ask(seed) for seed in range(30)))
        return answers, done

    with server_process(split.path) as server:
        answers, done = asyncio.run(main(server.url))
    assert done == list(range(30))
    assert [one.trace.request_id for one in answers] == [str(i + 1) for i in range(30)]
    for seed, one in enumerate(answers):
        assert one.inference_source.route == "split-fp32"
        np.testing.assert_allclose(one.outputs["logits"], logits_of(image(seed)), rtol=1e-4)


def test_the_loop_goes_on_while_a_slow_server_is_asked(split: Bundle) -> None:
    shared: list[list[int]] = []

    def after_fifty_ticks(then: bytes | Callable[[socket.socket, Seen], None]) -> Callable:
        def behave(sock: socket.socket, seen: Seen) -> None:
            aim = shared[0][0] + 50
            while shared[0][0] < aim:  # for ever, if the loop waits for the answer
                time.sleep(0.001)
            then(sock, seen)

        return behave

    async def main() -> Answer:
        async with ticking() as ticks:
            shared.append(ticks)
            async with await edgewise.connect_async(split, lying.url) as session:
                return await session.run(image())

    greet = after_fifty_ticks(greet_as(split))
    infer = after_fifty_ticks(lambda sock, seen: sock.sendall(reply(id=seen.id)))
    with LyingServer(greet, infer).running() as lying:
        one = asyncio.run(main())
    assert from_cloud(one)


def test_cancelling_hangs_up_and_the_next_request_works(split: Bundle) -> None:
    holding = Holding()

    async def main() -> tuple[Answer, str]:
        async with await edgewise.connect_async(split, lying.url, options=CLOUD_FIRST) as session:
            waiting = asyncio.create_task(session.run(image(1)))
            await asyncio.to_thread(holding.arrived.acquire)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            await until(holding.hung_up.is_set)
            holding.go.set()
            return await session.run(image(2)), session.session.status().health

    with LyingServer(greet_as(split), holding).running() as lying:
        one, health = asyncio.run(main())
    assert from_cloud(one)
    assert health == "online"


def test_a_thread_gives_up_what_another_waits_for(split: Bundle) -> None:
    holding = Holding()
    with (
        LyingServer(greet_as(split), holding).running() as lying,
        connect(split, lying.url, options=CLOUD_FIRST) as session,
        ThreadPoolExecutor(1) as pool,
    ):
        cancellation = Cancellation()
        waiting = pool.submit(session.run, image(1), cancellation=cancellation)
        holding.arrived.acquire()
        cancellation.cancel()
        with pytest.raises(GivenUp, match=r"^the caller gave the request up$"):
            waiting.result(LONG_S)
        assert holding.hung_up.wait(LONG_S)
        holding.go.set()
        with pytest.raises(GivenUp):
            session.run(image(2), cancellation=cancellation)
        assert from_cloud(session.run(image(3)))
        posts = [seen for seen in lying.seen if seen.line.startswith("POST")]
    assert len(posts) == 2  # what was given up before it began was never sent


def test_a_timeout_cancels_too(split: Bundle) -> None:
    holding = Holding()

    async def main() -> None:
        async with await edgewise.connect_async(split, lying.url, options=CLOUD_FIRST) as session:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(session.run(image()), timeout=0.05)
            if holding.arrived.acquire(blocking=False):
                await until(holding.hung_up.is_set)

    with LyingServer(greet_as(split), holding).running() as lying:
        asyncio.run(main())


def test_what_is_cancelled_before_its_turn_is_never_sent(split: Bundle) -> None:
    holding = Holding()

    async def main() -> list[Answer]:
        async with await edgewise.connect_async(split, lying.url, options=CLOUD_FIRST) as session:
            first = asyncio.create_task(session.run(image(1)))
            await asyncio.to_thread(holding.arrived.acquire)
            second = asyncio.create_task(session.run(image(2)))
            third = asyncio.create_task(session.run(image(3)))
            await asyncio.sleep(0)
            second.cancel()
            await asyncio.wait([second])
            holding.go.set()
            return list(await asyncio.gather(first, third))

    with LyingServer(greet_as(split), holding).running() as lying:
        answers = asyncio.run(main())
        posts = [seen for seen in lying.seen if seen.line.startswith("POST")]
    assert all(map(from_cloud, answers))
    assert len(posts) == 2


def test_a_deadline_counts_from_the_call_and_not_from_the_turn(split: Bundle) -> None:
    holding = Holding()
    skipped_s = [0.0]
    options = Options(policy=Policy.PREFER_IN_CLOUD, timeout_s=600, refuse_late=False)

    def clock() -> float:
        return time.perf_counter() + skipped_s[0]

    async def main() -> Answer:
        connecting = edgewise.connect_async(split, lying.url, options=options, clock=clock)
        async with await connecting as session:
            first = asyncio.create_task(session.run(image(1)))
            await asyncio.to_thread(holding.arrived.acquire)
            second = asyncio.create_task(session.run(image(2), deadline_s=3600))
            await asyncio.sleep(0)
            skipped_s[0] = 7200
            holding.go.set()
            await first
            return await second

    with LyingServer(greet_as(split), holding).running() as lying:
        one = asyncio.run(main())
    assert one.deadline_met is False


def test_closing_while_requests_are_under_way(split: Bundle) -> None:
    holding = Holding()

    async def main() -> Answer:
        session = await edgewise.connect_async(split, lying.url, options=CLOUD_FIRST)
        first = asyncio.create_task(session.run(image(1)))
        await asyncio.to_thread(holding.arrived.acquire)
        second = asyncio.create_task(session.run(image(2)))
        await asyncio.sleep(0)
        async with ticking() as ticks:
            await asyncio.gather(session.close(), session.close())
            assert ticks[0] > 0
        for refused in (second, session.run(image(3))):
            with pytest.raises(BadInput, match=r"^expected an open session, found a closed one"):
                await refused
        return await first

    with LyingServer(greet_as(split), holding).running() as lying:
        one = asyncio.run(main())
    np.testing.assert_allclose(one.outputs["logits"], logits_of(image(1)), rtol=1e-4)
    assert one.inference_source.kind == "local"


def test_cancelling_while_connecting_leaves_nothing_open(split: Bundle) -> None:
    greeted, go = threading.Event(), threading.Event()

    def greet(sock: socket.socket, seen: Seen) -> None:
        greeted.set()
        go.wait(LONG_S)
        greet_as(split)(sock, seen)

    async def main() -> None:
        connecting = asyncio.create_task(edgewise.connect_async(split, lying.url))
        await asyncio.to_thread(greeted.wait)
        connecting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await connecting
        go.set()
        await until(lambda: not any(t.name.startswith("edgewise-connect") for t in threads()))

    with LyingServer(greet, answer(b"")).running() as lying:
        asyncio.run(main())


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.is_alive()]


def test_bad_input_and_a_broken_bundle_are_raised_where_they_are_awaited(
    split: Bundle, tmp_path: Path
) -> None:
    async def main() -> None:
        with pytest.raises(BadInput, match="a bundle folder at"):
            await edgewise.connect_async(tmp_path / "none", None)
        async with await edgewise.connect_async(split, None) as session:
            with pytest.raises(BadInput, match="found float64"):
                await session.run(image().astype(np.float64))
            one = await session.run(image())
            np.testing.assert_allclose(one.outputs["logits"], logits_of(image()), rtol=1e-4)

    asyncio.run(main())


def test_what_is_submitted_waits_for_no_slow_answer(split: Bundle, tmp_path: Path) -> None:
    holding = Holding()

    async def submitting(session: edgewise.AsyncSession) -> list[Awaitable[object]]:
        return [await session.submit({"n": n}, key=f"k{n}") for n in range(3)]

    async def main() -> list[str]:
        outbox = Outbox(tmp_path / "outbox.db")
        connecting = edgewise.connect_async(split, lying.url, options=CLOUD_FIRST, outbox=outbox)
        async with await connecting as session:
            asked = asyncio.create_task(session.run(image()))
            await asyncio.to_thread(holding.arrived.acquire)
            receipts = await submitting(session)
            assert not asked.done()
            holding.go.set()
            await asked
        return [receipt.key for receipt in receipts]

    with LyingServer(greet_as(split), holding).running() as lying:
        assert asyncio.run(main()) == ["k0", "k1", "k2"]


def test_flush_delivers(split: Bundle, tmp_path: Path) -> None:
    async def main(url: str) -> int:
        outbox = Outbox(tmp_path / "outbox.db")
        async with await edgewise.connect_async(split, url, outbox=outbox) as session:
            await session.submit({"n": 1}, key="k")
            return (await session.flush(timeout_s=LONG_S)).waiting

    database = f"sqlite:///{tmp_path}/submissions.db"
    with server_process(split.path, options=[f"--submissions={database}"]) as server:
        assert asyncio.run(main(server.url)) == 0


def test_it_tells_how_it_is_doing_while_it_answers(split: Bundle) -> None:
    holding = Holding()

    async def main() -> None:
        options = replace(
            CLOUD_FIRST, shadow=ShadowOptions(share=1.0, rng=np.random.default_rng(7))
        )
        async with await edgewise.connect_async(split, lying.url, options=options) as session:
            assert session.distrusted == {}
            assert session.routes == split.manifest.routes
            asked = asyncio.create_task(session.run(image()))
            await asyncio.to_thread(holding.arrived.acquire)
            session.host_state(battery_share=0.05)
            status = session.status()
            assert (status.health, status.battery_low) == ("online", True)
            assert (await session.shadow_report()).asked == 0
            holding.go.set()
            await asked
            assert (await session.shadow_report(timeout_s=LONG_S)).asked == 1

    with LyingServer(greet_as(split), holding).running() as lying:
        asyncio.run(main())


def test_it_is_opened_with_what_a_session_is_opened_with() -> None:
    asynchronous = inspect.signature(edgewise.connect_async)
    assert asynchronous.parameters == inspect.signature(edgewise.connect).parameters
    assert inspect.iscoroutinefunction(edgewise.connect_async)


def test_it_keeps_traces(split: Bundle, tmp_path: Path) -> None:
    file = tmp_path / "traces.db"

    async def main() -> None:
        async with await edgewise.connect_async(split, None, traces=TraceLog(file)) as session:
            await session.run(image())

    asyncio.run(main())
    assert [trace.route for trace in read_traces(file)] == ["local"]
