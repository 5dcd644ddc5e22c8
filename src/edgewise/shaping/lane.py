"""One direction of a link as pure arithmetic: bytes in, the times at which they come out.

No sockets and no clock: every method is told the time, so the tests drive it with times of
their own, and a late wake-up of the process never adds up: transmissions follow one another in
computed time, not in the time at which somebody looked.
"""

from __future__ import annotations

import heapq
import math
import random
from collections import deque
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from edgewise.shaping.traces import RateTrace

T = TypeVar("T")

PACKET_BYTES = 1500
"""The MTU of Ethernet (RFC 894), which most links follow; losses are drawn per packet."""

_MAX_CHUNK_BYTES = 65_536
_CHUNK_S = 1e-3
"""A chunk comes out whole, so it is kept to a millisecond of link time."""

_READ_AHEAD_S = 0.05
"""The link's own queue: it keeps the line busy while the process waits for the processor."""

_MAX_FLYING_BYTES = 16 * 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneShape:
    """What one direction does to bytes.

    Args:
        rate: how fast they are put on the line; None is unlimited.
        delay_s: how long the line is.
        jitter_s: the delay is drawn evenly from ``delay_s`` plus or minus this, never below 0.
        loss: share of packets that are lost.
        stall_s: how long a stream waits for each lost packet.
    """

    rate: RateTrace | None = None
    delay_s: float = 0.0
    jitter_s: float = 0.0
    loss: float = 0.0
    stall_s: float = 0.0


@dataclass(slots=True)
class _Parcel(Generic[T]):
    item: T
    size_bytes: int
    left_bytes: float
    arrived_s: float
    last: bool


@dataclass(slots=True)
class _Stream(Generic[T]):
    free_s: float
    rng: random.Random
    waiting: deque[_Parcel[T]] = field(default_factory=deque)
    waiting_bytes: int = 0
    flying: int = 0
    packet_room_bytes: int = 0


class Lane(Generic[T]):
    """A line that several streams share, in the order in which their bytes become ready.

    Args:
        shape: rate, delay, jitter and loss.
        seed: draws the jitter, and together with the stream's number its losses.
        now_s: when the line starts; a trace counts from here.

    >>> lane = Lane(LaneShape(rate=RateTrace.constant(1000.0), delay_s=0.1), seed="s", now_s=0.0)
    >>> lane.begin(1, not_before_s=0.0)
    >>> lane.offer(1, "hello", size_bytes=500, now_s=0.0)
    True
    >>> lane.collect(0.55), lane.collect(0.61)
    ([], ['hello'])
    """

    def __init__(self, shape: LaneShape, *, seed: str, now_s: float) -> None:
        self._shape = shape
        self._seed = seed
        self._rng = random.Random(seed)
        self._origin_s = now_s
        self._free_s = now_s
        self._last_due_s = now_s
        self._held = False
        self._order = 0
        self._streams: dict[int, _Stream[T]] = {}
        self._heads: list[tuple[float, int, int]] = []
        self._flying: deque[tuple[float, int, _Parcel[T]]] = deque()
        self._flying_bytes = 0
        self.delivered_bytes = 0
        self.stalls = 0

    @property
    def shape(self) -> LaneShape:
        """What the lane does now."""
        return self._shape

    def begin(self, stream: int, *, not_before_s: float) -> None:
        """Open a stream that sends nothing before a time."""
        rng = random.Random(f"{self._seed}/{stream}")
        self._streams[stream] = _Stream(free_s=not_before_s, rng=rng)

    def offer(
        self, stream: int, item: T, *, size_bytes: int, now_s: float, last: bool = False
    ) -> bool:
        """Queue a chunk behind the others of its stream.

        Args:
            stream: the number of an open stream.
            item: what :meth:`collect` gives back.
            size_bytes: its length; 0 is a signal (SYN, FIN), which takes the line for one byte,
                as it takes one sequence number, and is never lost.
            now_s: the time.
            last: the stream ends with it.

        Returns:
            False when the stream is not open; the item is dropped.
        """
        self._advance(now_s)
        entry = self._streams.get(stream)
        if entry is None or (entry.waiting and entry.waiting[-1].last):
            return False
        entry.waiting.append(_Parcel(item, size_bytes, max(1.0, size_bytes), now_s, last))
        entry.waiting_bytes += size_bytes
        if len(entry.waiting) == 1:
            self._line_up(stream, entry)
        return True

    def collect(self, now_s: float) -> list[T]:
        """The items that have reached the far end by now, in order."""
        self._advance(now_s)
        items: list[T] = []
        while not self._held and self._flying and self._flying[0][0] <= now_s:
            _, stream, parcel = self._flying.popleft()
            if stream in self._streams:
                self._streams[stream].flying -= 1
            self._flying_bytes -= parcel.size_bytes
            self.delivered_bytes += parcel.size_bytes
            items.append(parcel.item)
        return items

    def next_s(self) -> float:
        """When something happens next; infinite when nothing will."""
        if self._held:
            return math.inf
        due_s = self._flying[0][0] if self._flying else math.inf
        return min(due_s, self._finish_s() if self._heads else math.inf)

    def has_room(self, stream: int, now_s: float) -> bool:
        """Whether the link's queue takes more bytes of a stream."""
        entry = self._streams.get(stream)
        if entry is None or self._flying_bytes >= _MAX_FLYING_BYTES:
            return False
        ahead = min(self._rate_at(now_s) * _READ_AHEAD_S, float(_MAX_FLYING_BYTES))
        return entry.waiting_bytes < max(2 * self.chunk_bytes(now_s), ahead)

    def chunk_bytes(self, now_s: float) -> int:
        """How many bytes to offer at once: a millisecond of the line, at least one packet."""
        wanted = min(self._rate_at(now_s) * _CHUNK_S, float(_MAX_CHUNK_BYTES))
        return max(PACKET_BYTES, int(wanted))

    def hold(self, now_s: float) -> None:
        """Cut the line: nothing moves and nothing arrives until :meth:`release`."""
        self._settle(now_s)
        self._held = True

    def release(self, now_s: float) -> None:
        """Mend the line: what stood in it goes on from where it was."""
        if self._held:
            self._held = False
            self._free_s = max(self._free_s, now_s)

    def reshape(self, shape: LaneShape, now_s: float) -> None:
        """Change what the line does from now on; bytes already sent keep their arrival."""
        self._settle(now_s)
        self._shape = shape
        self._origin_s = now_s

    def drop(self, stream: int, now_s: float) -> None:
        """Forget a stream and what waits in it."""
        self._settle(now_s)
        if self._streams.pop(stream, None) is not None:
            self._heads = [head for head in self._heads if head[2] != stream]
            heapq.heapify(self._heads)

    def _rate_at(self, now_s: float) -> float:
        rate = self._shape.rate
        return math.inf if rate is None else rate.rate_at(max(0.0, now_s - self._origin_s))

    def _line_up(self, stream: int, entry: _Stream[T]) -> None:
        head = entry.waiting[0]
        ready_s = max(head.arrived_s, entry.free_s)
        ready_s += self._shape.stall_s * self._draw_losses(entry, head.size_bytes)
        self._order += 1
        heapq.heappush(self._heads, (ready_s, self._order, stream))

    def _draw_losses(self, entry: _Stream[T], size_bytes: int) -> int:
        """How many of the packets that this chunk begins are lost."""
        if not self._shape.loss or not size_bytes:
            return 0
        if not entry.flying:  # after a pause a new packet begins, however short the last one was
            entry.packet_room_bytes = 0
        begun = max(0, math.ceil((size_bytes - entry.packet_room_bytes) / PACKET_BYTES))
        entry.packet_room_bytes += begun * PACKET_BYTES - size_bytes
        lost = sum(entry.rng.random() < self._shape.loss for _ in range(begun))
        self.stalls += lost
        return lost

    def _start_s(self) -> float:
        return max(self._free_s, self._heads[0][0])

    def _finish_s(self) -> float:
        start_s, rate = self._start_s(), self._shape.rate
        if rate is None:
            return start_s
        left = self._streams[self._heads[0][2]].waiting[0].left_bytes
        since_s = max(0.0, start_s - self._origin_s)
        return max(start_s, self._origin_s + rate.finish_s(since_s, left))

    def _advance(self, now_s: float) -> None:
        """Put on the line whatever fits before now."""
        while not self._held and self._heads:
            finish_s = self._finish_s()
            if finish_s > now_s:
                return
            _, _, stream = heapq.heappop(self._heads)
            self._free_s = finish_s
            self._send(stream, finish_s)

    def _send(self, stream: int, finish_s: float) -> None:
        entry = self._streams[stream]
        parcel = entry.waiting.popleft()
        entry.waiting_bytes -= parcel.size_bytes
        entry.free_s = finish_s
        entry.flying += 1
        jitter_s = self._shape.jitter_s * (2 * self._rng.random() - 1)
        due_s = finish_s + max(0.0, self._shape.delay_s + jitter_s)
        self._last_due_s = max(self._last_due_s, due_s)
        self._flying.append((self._last_due_s, stream, parcel))
        self._flying_bytes += parcel.size_bytes
        if entry.waiting:
            self._line_up(stream, entry)
        elif parcel.last:
            del self._streams[stream]

    def _settle(self, now_s: float) -> None:
        """Book what is half sent, so that the line can change now."""
        self._advance(now_s)
        if self._held:
            return
        rate = self._shape.rate
        if self._heads and rate is not None and self._start_s() < now_s:
            parcel = self._streams[self._heads[0][2]].waiting[0]
            since_s = max(0.0, self._start_s() - self._origin_s)
            sent = rate.bytes_by(now_s - self._origin_s) - rate.bytes_by(since_s)
            parcel.left_bytes = max(0.0, parcel.left_bytes - sent)
        self._free_s = max(self._free_s, now_s)
