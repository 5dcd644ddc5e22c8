"""Ask a server over plain sockets, in a closed loop or at fixed instants, as cheaply as can be.

The clients share the machine with the server, so what they cost would look like the server's.
"""

from __future__ import annotations

import contextlib
import math
import selectors
import socket
import time
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

PATIENCE_S = 5.0
_TICKS = 100  # /proc counts CPU time in hundredths of a second
_READ_BYTES = 262_144
_HEAD_END = b"\r\n\r\n"
_LENGTH = b"\r\ncontent-length:"


@dataclass(slots=True)
class Load:
    """What came back.

    Args:
        seconds: how long requests were sent.
        good_s: latencies of the answers.
        refused_s: latencies of the refusals.
        statuses: of all requests; 0 when none came.
        retry_after: refusals that said when to come back.
        cpu_s: what the server and its processes computed meanwhile, when it was asked.
    """

    seconds: float
    good_s: list[float] = field(default_factory=list)
    refused_s: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    retry_after: int = 0
    cpu_s: float = 0.0

    def add(self, other: Load) -> None:
        """The same again, as if it had been one."""
        self.seconds += other.seconds
        self.good_s += other.good_s
        self.refused_s += other.refused_s
        self.statuses += other.statuses
        self.retry_after += other.retry_after
        self.cpu_s += other.cpu_s

    def note(self, reply: Reply, latency_s: float) -> None:
        """One reply."""
        self.statuses[reply.status] += 1
        self.retry_after += reply.says_when
        (self.good_s if reply.status == 200 else self.refused_s).append(latency_s)

    def in_time_per_s(self, deadline_s: float) -> float:
        """Answers per second that were there by then."""
        return sum(one <= deadline_s for one in self.good_s) / self.seconds

    @property
    def per_s(self) -> float:
        """Answers per second."""
        return len(self.good_s) / self.seconds if self.seconds else 0.0

    @property
    def per_cpu_s(self) -> float:
        """Answers per second of the server's CPU time."""
        return len(self.good_s) / max(1 / _TICKS, self.cpu_s)


@dataclass(frozen=True, slots=True)
class Reply:
    """What the head of a reply says."""

    status: int
    says_when: bool
    closes: bool
    total_bytes: int


@dataclass(slots=True)
class _Asking:
    sock: socket.socket
    start_s: float
    got: bytearray = field(default_factory=bytearray)
    reply: Reply | None = None
    over: bool = False

    def receive(self) -> Reply | None:
        """The reply once it is whole."""
        piece = self.sock.recv(_READ_BYTES)
        if not piece:
            raise ConnectionError("closed without a reply")
        self.got += piece
        if self.reply is None:
            self.reply = read_head(bytes(self.got))
        if self.reply is None or len(self.got) < self.reply.total_bytes:
            return None
        return self.reply


def read_head(got: bytes) -> Reply | None:
    """What the head says; ``None`` while it is not whole."""
    end = got.find(_HEAD_END)
    if end < 0:
        return None
    head = got[:end].lower()
    length = int(head.partition(_LENGTH)[2].split(b"\r\n", 1)[0])
    return Reply(
        status=int(head[9:12]),
        says_when=b"\r\nretry-after:" in head,
        closes=b"\r\nconnection: close" in head,
        total_bytes=end + len(_HEAD_END) + length,
    )


def percentile(times_s: list[float], share: float) -> float:
    """Nearest rank; 0 of nothing."""
    ranked = sorted(times_s)
    return ranked[max(0, math.ceil(share * len(ranked)) - 1)] if ranked else 0.0


def one_by_one(port: int, request: bytes, *, count: int) -> list[float]:
    """Latencies on one connection that stays open."""
    times = []
    with _connected(port) as sock:
        for _ in range(count):
            asking = _Asking(sock, time.perf_counter())
            sock.sendall(request)
            while (reply := asking.receive()) is None:
                pass
            times.append(time.perf_counter() - asking.start_s)
            assert reply.status == 200, bytes(asking.got[:500])
    return times


def at_concurrency(port: int, request: bytes, *, clients: int, seconds: float) -> Load:
    """Each client asks again as soon as it has its answer."""
    load = Load(0.0)
    begin_s = time.perf_counter()
    with contextlib.ExitStack() as stack, selectors.DefaultSelector() as selector:
        for _ in range(clients):
            sock = stack.enter_context(_connected(port))
            selector.register(sock, selectors.EVENT_READ, _Asking(sock, time.perf_counter()))
            sock.sendall(request)
        while selector.get_map():
            for key, _ in selector.select(PATIENCE_S):
                _ask_again(selector, key.data, request, load, until_s=begin_s + seconds)
    load.seconds = time.perf_counter() - begin_s
    return load


def at_rate(port: int, request: bytes, *, per_s: float, seconds: float) -> Load:
    """A request at each instant, whatever became of those before.

    Connections stay open and are used again, as devices keep theirs; a new one is made when none
    is free. Latency counts from the instant, so that a late client hides nothing.
    """
    return _Rate(port, request, Load(seconds)).run(per_s)


class _Rate:
    def __init__(self, port: int, request: bytes, load: Load) -> None:
        self._port, self._request, self._load = port, request, load
        self._selector = selectors.DefaultSelector()
        self._free: list[socket.socket] = []
        self._under_way: deque[_Asking] = deque()  # in the order of their instants

    def run(self, per_s: float) -> Load:
        begin_s = time.perf_counter()
        instants = deque(begin_s + i / per_s for i in range(int(per_s * self._load.seconds)))
        with self._selector:
            while instants or self._selector.get_map():
                now_s = time.perf_counter()
                while instants and instants[0] <= now_s:
                    self._begin(instants.popleft())
                wait_s = instants[0] - now_s if instants else PATIENCE_S / 10
                for key, events in self._selector.select(max(0.0, wait_s)):
                    self._go_on(key.data, events)
                self._give_up(before_s=time.perf_counter() - PATIENCE_S)
        for sock in self._free:
            sock.close()
        return self._load

    def _begin(self, instant_s: float) -> None:
        if self._free:
            asking = _Asking(self._free.pop(), instant_s)
            self._selector.register(asking.sock, selectors.EVENT_READ, asking)
            self._send(asking)
        else:
            sock = socket.socket()
            sock.setblocking(False)
            sock.connect_ex(("127.0.0.1", self._port))
            asking = _Asking(sock, instant_s)
            self._selector.register(sock, selectors.EVENT_WRITE, asking)
        self._under_way.append(asking)

    def _send(self, asking: _Asking) -> None:
        try:
            asking.sock.sendall(self._request)
        except OSError:
            self._lose(asking)

    def _go_on(self, asking: _Asking, events: int) -> None:
        if events & selectors.EVENT_WRITE:
            self._selector.modify(asking.sock, selectors.EVENT_READ, asking)
            self._send(asking)
            return
        try:
            reply = asking.receive()
        except OSError:
            self._lose(asking)
            return
        if reply is None:
            return
        self._load.note(reply, time.perf_counter() - asking.start_s)
        asking.over = True
        self._selector.unregister(asking.sock)
        if reply.closes:
            asking.sock.close()
        else:
            self._free.append(asking.sock)

    def _give_up(self, *, before_s: float) -> None:
        while self._under_way and (
            self._under_way[0].over or self._under_way[0].start_s < before_s
        ):
            asking = self._under_way.popleft()
            if not asking.over:
                self._lose(asking)

    def _lose(self, asking: _Asking) -> None:
        self._load.statuses[0] += 1
        asking.over = True
        self._selector.unregister(asking.sock)
        asking.sock.close()


def settle(port: int, request: bytes, *, within_s: float) -> None:
    """Wait until the server has worked off what it was sent, a minute at most."""
    until_s = time.perf_counter() + 60
    while time.perf_counter() < until_s:
        with contextlib.suppress(OSError, AssertionError):
            if one_by_one(port, request, count=1)[0] <= within_s:
                return
        time.sleep(0.2)


def cpu_s(pid: int) -> float:
    """CPU time of a process and all below it."""
    stats = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = path.read_text().rpartition(")")[2].split()
            stats[int(path.parent.name)] = (int(fields[1]), int(fields[11]) + int(fields[12]))
    family = {pid}
    for _ in range(4):
        family |= {child for child, (parent, _) in stats.items() if parent in family}
    return sum(stats[member][1] for member in family & stats.keys()) / _TICKS


def resident_bytes(pid: int) -> int:
    """Memory of one process."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return 0


@contextlib.contextmanager
def _connected(port: int) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port), timeout=30) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield sock


def _ask_again(
    selector: selectors.BaseSelector,
    asking: _Asking,
    request: bytes,
    load: Load,
    *,
    until_s: float,
) -> None:
    reply = asking.receive()
    if reply is None:
        return
    now_s = time.perf_counter()
    load.note(reply, now_s - asking.start_s)
    if now_s >= until_s:
        selector.unregister(asking.sock)
        return
    selector.modify(asking.sock, selectors.EVENT_READ, _Asking(asking.sock, now_s))
    asking.sock.sendall(request)
