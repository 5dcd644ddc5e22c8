from __future__ import annotations

import math
from dataclasses import dataclass, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgewise.shaping import RateTrace
from edgewise.shaping.lane import PACKET_BYTES, Lane, LaneShape

FAST_ENOUGH = RateTrace.constant(1000.0)
UNEVEN = RateTrace(starts_s=(0.0, 1.0, 2.5), rates_bytes_per_s=(2000.0, 0.0, 500.0), period_s=4.0)


def make_lane(shape: LaneShape, *, streams: int = 1, now_s: float = 0.0) -> Lane[object]:
    lane: Lane[object] = Lane(shape, seed="test", now_s=now_s)
    for stream in range(streams):
        lane.begin(stream, not_before_s=now_s)
    return lane


@dataclass(frozen=True, kw_only=True)
class Chunk:
    stream: int
    number: int
    size_bytes: int
    offered_s: float


def drain(lane: Lane[object], now_s: float) -> list[tuple[float, object]]:
    """Wake exactly when the lane asks to be woken, until nothing is left."""
    arrivals = []
    while (due_s := lane.next_s()) < math.inf:
        now_s = max(now_s, due_s)
        arrivals += [(now_s, item) for item in lane.collect(now_s)]
    return arrivals


@st.composite
def workloads(draw: st.DrawFn) -> list[Chunk]:
    steps = draw(
        st.lists(
            st.tuples(st.integers(0, 2), st.integers(1, 6000), st.floats(0, 1)),
            min_size=1,
            max_size=25,
        )
    )
    now_s, chunks = 0.0, []
    for number, (stream, size, wait_s) in enumerate(steps):
        now_s += wait_s
        chunks.append(Chunk(stream=stream, number=number, size_bytes=size, offered_s=now_s))
    return chunks


shapes = st.builds(
    LaneShape,
    rate=st.sampled_from([None, FAST_ENOUGH, UNEVEN, RateTrace.constant(1e6)]),
    delay_s=st.sampled_from([0.0, 0.05]),
    jitter_s=st.sampled_from([0.0, 0.02, 0.2]),
    loss=st.sampled_from([0.0, 0.3]),
    stall_s=st.just(0.2),
)


@settings(deadline=None)
@given(shapes, workloads(), st.lists(st.floats(0, 1), max_size=10))
def test_nothing_is_lost_reordered_or_early(
    shape: LaneShape, chunks: list[Chunk], lateness_s: list[float]
) -> None:
    lane = make_lane(shape, streams=3)
    arrivals: list[tuple[float, object]] = []
    now_s = 0.0
    for i, chunk in enumerate(chunks):
        now_s = max(now_s, chunk.offered_s)
        arrivals += [(now_s, item) for item in lane.collect(now_s)]
        assert lane.offer(chunk.stream, chunk, size_bytes=chunk.size_bytes, now_s=now_s)
        now_s += lateness_s[i] if i < len(lateness_s) else 0.0  # the process wakes up late
    arrivals += drain(lane, now_s)

    got = [item for _, item in arrivals if isinstance(item, Chunk)]
    assert sorted(chunk.number for chunk in got) == [chunk.number for chunk in chunks]
    for stream in range(3):
        numbers = [chunk.number for chunk in got if chunk.stream == stream]
        assert numbers == sorted(numbers)
    assert lane.delivered_bytes == sum(chunk.size_bytes for chunk in chunks)

    least_delay_s = max(0.0, shape.delay_s - shape.jitter_s)
    total = 0.0
    for time_s, item in arrivals:
        assert isinstance(item, Chunk)
        total += item.size_bytes
        assert time_s >= item.offered_s + least_delay_s - 1e-9
        if shape.rate is not None:
            sendable = shape.rate.bytes_by(max(0.0, time_s - least_delay_s))
            assert total <= sendable * (1 + 1e-9) + 1e-3


@settings(deadline=None)
@given(
    st.lists(st.integers(1, 5000), min_size=1, max_size=30),
    st.lists(st.floats(0, 5), max_size=20),
    st.sampled_from([FAST_ENOUGH, UNEVEN]),
)
def test_late_wake_ups_never_add_up(
    sizes: list[int], looks_s: list[float], rate: RateTrace
) -> None:
    lane = make_lane(LaneShape(rate=rate, delay_s=0.1))
    for size in sizes:
        lane.offer(0, size, size_bytes=size, now_s=0.0)
    arrivals = [(t, item) for t in sorted(looks_s) for item in lane.collect(t)]
    arrivals += drain(lane, max(looks_s, default=0.0))
    end_s = rate.finish_s(0.0, sum(sizes)) + 0.1
    assert len(arrivals) == len(sizes)
    if max(looks_s, default=0.0) < end_s:
        assert arrivals[-1][0] == pytest.approx(end_s, rel=1e-9)


@settings(deadline=None)
@given(
    st.lists(st.integers(1, 5000), min_size=1, max_size=10),
    st.lists(st.tuples(st.floats(0.01, 2), st.floats(0.01, 2)), max_size=5),
)
def test_outages_add_exactly_their_time(
    sizes: list[int], outages_s: list[tuple[float, float]]
) -> None:
    lane = make_lane(LaneShape(rate=FAST_ENOUGH))
    for size in sizes:
        lane.offer(0, size, size_bytes=size, now_s=0.0)
    now_s, got, dark_s, busy_s = 0.0, 0, 0.0, sum(sizes) / 1000
    for up_s, down_s in outages_s:
        now_s += up_s
        got += len(lane.collect(now_s))
        if now_s < busy_s + dark_s:
            dark_s += down_s
        lane.hold(now_s)
        assert lane.next_s() == math.inf
        now_s += down_s
        assert lane.collect(now_s) == []
        lane.release(now_s)
    arrivals = drain(lane, now_s)
    assert got + len(arrivals) == len(sizes)
    if arrivals:
        assert arrivals[-1][0] == pytest.approx(max(busy_s + dark_s, now_s), rel=1e-9)


def test_streams_share_the_line_chunk_by_chunk() -> None:
    lane = make_lane(LaneShape(rate=FAST_ENOUGH), streams=2)
    for number in range(3):
        lane.offer(0, ("a", number), size_bytes=500, now_s=0.0)
    for number in range(3):
        lane.offer(1, ("b", number), size_bytes=500, now_s=0.0)
    names = [item[0] for _, item in drain(lane, 0.0) if isinstance(item, tuple)]
    assert names == ["a", "b", "a", "b", "a", "b"]


def test_a_stream_waits_for_its_handshake_and_another_does_not() -> None:
    lane: Lane[object] = Lane(LaneShape(delay_s=0.05), seed="test", now_s=0.0)
    lane.begin(1, not_before_s=0.1)
    lane.begin(2, not_before_s=0.0)
    lane.offer(1, "new", size_bytes=1, now_s=0.0)
    lane.offer(2, "old", size_bytes=1, now_s=0.0)
    assert drain(lane, 0.0) == [(0.05, "old"), (pytest.approx(0.15), "new")]


def test_a_lost_packet_stalls_its_own_stream_only() -> None:
    shape = LaneShape(rate=RateTrace.constant(1e6), loss=0.999999, stall_s=0.2)
    lane = make_lane(shape)
    lane.offer(0, "unlucky", size_bytes=3 * PACKET_BYTES, now_s=0.0)
    lane.reshape(replace(shape, loss=0.0), 0.0)
    lane.begin(9, not_before_s=0.0)
    lane.offer(9, "lucky", size_bytes=1000, now_s=0.0)
    assert lane.stalls == 3
    assert drain(lane, 0.0) == [
        (pytest.approx(0.001), "lucky"),
        (pytest.approx(0.6045), "unlucky"),
    ]


def test_losses_are_drawn_per_packet_however_the_stream_is_cut() -> None:
    stalls = set()
    for cut in (100, 1500, 4096, 60_000):
        lane = make_lane(LaneShape(delay_s=1.0, loss=0.1, stall_s=0.0))
        for _ in range(600_000 // cut):
            lane.offer(0, None, size_bytes=cut, now_s=0.0)
        lane.offer(0, None, size_bytes=600_000 % cut or 1, now_s=0.0)
        stalls.add(lane.stalls)
    assert len(stalls) <= 2  # the last byte may begin a packet more
    assert 20 < min(stalls) <= max(stalls) < 60


def test_a_small_request_is_a_packet() -> None:
    lane = make_lane(LaneShape(loss=0.5))
    for i in range(200):
        lane.offer(0, None, size_bytes=10, now_s=float(i))
        lane.collect(float(i))
    assert 70 < lane.stalls < 130


def test_the_seed_decides_jitter_and_losses() -> None:
    def arrivals(seed: str) -> list[tuple[float, object]]:
        lane: Lane[object] = Lane(
            LaneShape(rate=FAST_ENOUGH, delay_s=1, jitter_s=0.5, loss=0.3), seed=seed, now_s=0.0
        )
        lane.begin(0, not_before_s=0.0)
        for number in range(20):
            lane.offer(0, number, size_bytes=1500, now_s=0.0)
        return drain(lane, 0.0)

    assert arrivals("1") == arrivals("1")
    assert arrivals("1") != arrivals("2")


def test_jitter_spreads_the_delay_evenly() -> None:
    lane = make_lane(LaneShape(delay_s=0.1, jitter_s=0.05))
    delays_s = []
    for i in range(2000):
        lane.offer(0, None, size_bytes=1, now_s=float(i))
        delays_s += [time_s - i for time_s, _ in drain(lane, float(i))]
    assert 0.05 <= min(delays_s) < 0.052
    assert 0.148 < max(delays_s) <= 0.15
    assert sum(delays_s) / len(delays_s) == pytest.approx(0.1, abs=0.003)


def test_a_new_rate_counts_from_the_middle_of_a_chunk() -> None:
    lane = make_lane(LaneShape(rate=FAST_ENOUGH))
    lane.offer(0, "chunk", size_bytes=1000, now_s=0.0)
    lane.reshape(LaneShape(rate=RateTrace.constant(100.0)), 0.5)
    assert drain(lane, 0.5) == [(pytest.approx(5.5), "chunk")]


def test_the_queue_has_room_until_it_is_some_link_time_ahead() -> None:
    lane = make_lane(LaneShape(rate=RateTrace.constant(1e6)))
    offered = 0
    while lane.has_room(0, 0.0):
        lane.offer(0, None, size_bytes=lane.chunk_bytes(0.0), now_s=0.0)
        offered += lane.chunk_bytes(0.0)
    assert offered == pytest.approx(1e6 * 0.05, rel=0.05)
    lane.collect(0.01)
    assert lane.has_room(0, 0.01)


def test_chunks_are_a_millisecond_but_never_less_than_a_packet_or_more_than_a_buffer() -> None:
    def chunk_bytes(rate: RateTrace | None) -> int:
        return make_lane(LaneShape(rate=rate)).chunk_bytes(0.0)

    assert chunk_bytes(RateTrace.constant(1000.0)) == 1500
    assert chunk_bytes(RateTrace.constant(25e6)) == 25_000
    assert chunk_bytes(None) == 65_536


def test_what_follows_the_last_chunk_is_refused() -> None:
    lane = make_lane(LaneShape(rate=FAST_ENOUGH))
    assert lane.offer(0, "end", size_bytes=0, now_s=0.0, last=True)
    assert not lane.offer(0, "more", size_bytes=1, now_s=0.0)
    assert [item for _, item in drain(lane, 0.0)] == ["end"]
    assert not lane.offer(0, "more", size_bytes=1, now_s=1.0)


def test_a_dropped_stream_gives_the_line_to_the_others() -> None:
    lane = make_lane(LaneShape(rate=FAST_ENOUGH), streams=2)
    lane.offer(0, "dropped", size_bytes=5000, now_s=0.0)
    lane.offer(1, "kept", size_bytes=500, now_s=0.0)
    lane.drop(0, 1.0)
    assert drain(lane, 1.0) == [(1.5, "kept")]
