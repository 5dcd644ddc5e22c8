"""Ask a server from one asyncio loop, at a fixed concurrency or at a fixed rate."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import statistics
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

PATIENCE_S = 2.0


@dataclass(slots=True)
class Load:
    """What came back.

    Args:
        seconds: how long requests were sent.
        good_s: latencies of the answers.
        statuses: of all requests; 0 when none came in time.
        retry_after: refusals that said when to come back.
        cpu_s: what the server and its processes computed meanwhile, when it was asked.
    """

    seconds: float
    good_s: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    retry_after: int = 0
    cpu_s: float = 0.0

    def add(self, other: Load) -> None:
        """The same again, as if it had been one."""
        self.seconds += other.seconds
        self.good_s += other.good_s
        self.statuses += other.statuses
        self.retry_after += other.retry_after
        self.cpu_s += other.cpu_s

    @property
    def per_s(self) -> float:
        return len(self.good_s) / self.seconds

    @property
    def per_cpu_s(self) -> float:
        return len(self.good_s) / max(0.01, self.cpu_s)

    @property
    def p95_s(self) -> float:
        return statistics.quantiles(self.good_s, n=20)[-1] if len(self.good_s) > 1 else 0.0


def one_by_one(port: int, request: bytes, *, count: int) -> list[float]:
    """Latencies on one connection that stays open."""
    times = []
    with socket.create_connection(("127.0.0.1", port), timeout=30) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with sock.makefile("rb") as lines:
            for _ in range(count):
                start = time.perf_counter()
                sock.sendall(request)
                status, length = int(lines.readline().split()[1]), 0
                while (line := lines.readline()) not in (b"\r\n", b""):
                    if line.lower().startswith(b"content-length:"):
                        length = int(line.partition(b":")[2])
                body = lines.read(length)
                times.append(time.perf_counter() - start)
                assert status == 200, body[:300]
    return times


def at_concurrency(port: int, request: bytes, *, clients: int, seconds: float) -> Load:
    """Each client asks again as soon as it has its answer."""
    return asyncio.run(_closed(port, request, clients, seconds))


def at_rate(port: int, request: bytes, *, per_s: float, seconds: float) -> Load:
    """A request on a new connection at each instant, whatever became of those before."""
    return asyncio.run(_open(port, request, per_s, seconds))


def cpu_s(pid: int) -> float:
    """CPU time of a process and all below it."""
    total, ticks = 0.0, 100
    stats = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = path.read_text().rpartition(")")[2].split()
            stats[int(path.parent.name)] = (int(fields[1]), int(fields[11]) + int(fields[12]))
    family = {pid}
    for _ in range(4):
        family |= {child for child, (parent, _) in stats.items() if parent in family}
    for member in family & stats.keys():
        total += stats[member][1] / ticks
    return total


async def _closed(port: int, request: bytes, clients: int, seconds: float) -> Load:
    load = Load(seconds)
    end = time.perf_counter() + seconds

    async def client() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while (start := time.perf_counter()) < end:
            await _exchange(reader, writer, request, load, start)
        writer.close()

    await asyncio.gather(*(client() for _ in range(clients)))
    return load


async def _open(port: int, request: bytes, per_s: float, seconds: float) -> Load:
    load = Load(seconds)
    begin = time.perf_counter()

    async def one(at: float) -> None:
        try:
            async with asyncio.timeout_at(asyncio.get_running_loop().time() + PATIENCE_S):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                with contextlib.closing(writer):
                    await _exchange(reader, writer, request, load, at)
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            load.statuses[0] += 1

    tasks = []
    for i in range(int(per_s * seconds)):
        at = begin + i / per_s
        await asyncio.sleep(max(0.0, at - time.perf_counter()))
        tasks.append(asyncio.create_task(one(at)))
    await asyncio.gather(*tasks)
    return load


async def _exchange(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    request: bytes,
    load: Load,
    start: float,
) -> None:
    writer.write(request)
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = int(head.partition(b"\r\ncontent-length:")[2].split(b"\r\n", 1)[0])
    await reader.readexactly(length)
    status = int(head.split(b" ", 2)[1])
    load.statuses[status] += 1
    load.retry_after += b"retry-after:" in head
    if status == 200:
        load.good_s.append(time.perf_counter() - start)
