"""The sockets of a shaped link: every connection is relayed through two shared lanes.

One proxy is one link. Each accepted connection is a stream in the lane up and in the lane down.
Opening, end of data and reset travel through the lanes as the data do, so they keep their order
and wait during an outage.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import math
import socket
import struct
from collections.abc import Callable
from functools import partial

from edgewise.shaping.lane import Lane, LaneShape

Action = Callable[[], None]

MAX_SEGMENT_BYTES = 1460
"""What an Ethernet path carries per segment (RFC 9293, 3.7.1: MTU less 40). Loopback would send
65 483, with which a sender's kernel takes in megabytes at once that a real link has to carry."""

_BUFFER_S = 0.05
_MIN_BUFFER_BYTES = 16_384
_MAX_BUFFER_BYTES = 2**20
_UNSENT_BYTES = 65_536
_LARGEST_CHUNK_BYTES = 65_536


class _Driver:
    """Runs one lane on the event loop: takes chunks, and acts when they have arrived."""

    def __init__(self, lane: Lane[Action], loop: asyncio.AbstractEventLoop) -> None:
        self.lane = lane
        self.paused: set[_End] = set()
        self._loop = loop
        self._timer: asyncio.TimerHandle | None = None

    def offer(self, stream: int, action: Action, size_bytes: int, *, last: bool = False) -> bool:
        now_s = self._loop.time()
        taken = self.lane.offer(stream, action, size_bytes=size_bytes, now_s=now_s, last=last)
        self.arm()
        return taken

    def arm(self) -> None:
        """Wake at the lane's next event."""
        due_s = self.lane.next_s()
        if self._timer is not None:
            if self._timer.when() == due_s:
                return
            self._timer.cancel()
        self._timer = None if due_s == math.inf else self._loop.call_at(due_s, self._pump)

    def _pump(self) -> None:
        self._timer = None
        for action in self.lane.collect(self._loop.time()):
            action()
        for end in tuple(self.paused):
            end.read_on()
        self.arm()


class _End(asyncio.BufferedProtocol):
    """One of the two sockets of a relayed connection; ``out`` carries what it reads."""

    peer: _End

    def __init__(self, proxy: Proxy, stream: int, out: _Driver) -> None:
        self._proxy = proxy
        self._stream = stream
        self._out = out
        self._loop = proxy.loop
        self._transport: asyncio.Transport | None = None
        self._early: list[Action] = []
        self._scratch = memoryview(bytearray(_LARGEST_CHUNK_BYTES))
        self._read_all = False
        self._wrote_all = False
        self._clogged = False
        self.gone = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.set_write_buffer_limits(high=_UNSENT_BYTES)
        # asyncio does so only for sockets made with the protocol's number, not for accepted ones.
        sock = transport.get_extra_info("socket")
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._proxy.ends.add(self)
        if self.gone or self._proxy.refusing:
            self.abort()
        for action in self._early:
            action()
        self._early.clear()

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._scratch[: self._out.lane.chunk_bytes(self._loop.time())]

    def buffer_updated(self, nbytes: int) -> None:
        data = bytes(self._scratch[:nbytes])
        self._out.offer(self._stream, partial(self.peer.write, data), nbytes)
        if not self._may_read() and self._transport is not None:
            self._transport.pause_reading()
            self._out.paused.add(self)

    def read_on(self) -> None:
        """Read again, if the lane and the far socket have room."""
        if self._read_all or self.gone:
            self._out.paused.discard(self)
        elif self._may_read() and self._transport is not None:
            self._out.paused.discard(self)
            self._transport.resume_reading()

    def _may_read(self) -> bool:
        return not self.peer._clogged and self._out.lane.has_room(self._stream, self._loop.time())

    def pause_writing(self) -> None:
        self._clogged = True

    def resume_writing(self) -> None:
        self._clogged = False
        self.peer.read_on()

    def eof_received(self) -> bool:
        self._read_all = True
        self._out.offer(self._stream, self.peer.end, 0, last=True)
        return not self._wrote_all  # False: both directions are done, close

    def write(self, data: bytes) -> None:
        """Bytes have come over the link."""
        if self._transport is None:
            self._early.append(partial(self.write, data))
        elif not self._transport.is_closing():
            self._transport.write(data)

    def end(self) -> None:
        """The other side's end of data has come over the link."""
        self._wrote_all = True
        if self._transport is None:
            self._early.append(self.end)
        elif self._read_all:
            self._transport.close()
        elif not self._transport.is_closing():
            self._transport.write_eof()

    def abort(self) -> None:
        """Reset this socket: the other side did, or the link went down in that way."""
        self.gone = True
        self._forget()
        if self.peer._transport is None:  # it has nothing left to wait for
            self.peer.gone = True
            self.peer._forget()
        if self._transport is not None and not self._transport.is_closing():
            reset_on_close = struct.pack("ii", 1, 0)
            sock = self._transport.get_extra_info("socket")
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset_on_close)
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        unfinished = not (self.gone or (self._read_all and self._wrote_all))
        self.gone = True
        self._proxy.ends.discard(self)
        self._out.paused.discard(self)
        if unfinished:
            self.break_off()

    def break_off(self) -> None:
        """Tell the other side, through the link, that this one failed."""
        if not self._out.offer(self._stream, self.peer.abort, 0, last=True):
            self.peer.abort()

    def _forget(self) -> None:
        self._proxy.ends.discard(self)
        self._out.paused.discard(self)
        self._out.lane.drop(self._stream, self._loop.time())
        self._out.arm()


class Proxy:
    """One shaped link: a listening socket on the loopback interface and two lanes.

    Args:
        target: address family and socket address of the far end.
        up: what happens to bytes on the way to the far end.
        down: what happens to bytes on the way back.
        seed: draws jitter and losses.
    """

    def __init__(
        self, target: tuple[int, tuple[str, int]], *, up: LaneShape, down: LaneShape, seed: int
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.ends: set[_End] = set()
        self.refusing = False
        self.connections = 0
        self._family, self._address = target
        now_s = self.loop.time()
        self.up = _Driver(Lane(up, seed=f"{seed}/up", now_s=now_s), self.loop)
        self.down = _Driver(Lane(down, seed=f"{seed}/down", now_s=now_s), self.loop)
        self._numbers = itertools.count(1)
        self._tasks: set[asyncio.Task[None]] = set()

    async def listen(self) -> tuple[str, int]:
        """Listen on a free port of 127.0.0.1.

        Returns:
            Host and port.
        """
        sock = socket.socket()
        _tune(sock, self.up.lane)  # before listen: accepted sockets inherit it
        sock.bind(("127.0.0.1", 0))
        await self.loop.create_server(self._accept, sock=sock, backlog=512)
        host, port = sock.getsockname()
        return host, port

    def set_outage(self, mode: str | None) -> None:
        """Cut the link (``stall`` or ``reset``), or mend it (None)."""
        now_s = self.loop.time()
        self.refusing = mode == "reset"
        for driver in (self.up, self.down):
            if mode is None:
                driver.lane.release(now_s)
            else:
                driver.lane.hold(now_s)
            driver.arm()
        if self.refusing:
            for end in tuple(self.ends):
                end.abort()

    def set_shapes(self, *, up: LaneShape, down: LaneShape) -> None:
        """Change rate, delay, jitter and loss from now on."""
        now_s = self.loop.time()
        for driver, shape in ((self.up, up), (self.down, down)):
            driver.lane.reshape(shape, now_s)
            driver.arm()
            for end in tuple(driver.paused):
                end.read_on()

    def stats(self) -> dict[str, int]:
        """Counts since the start; bytes are those that have crossed the link."""
        return {
            "up_bytes": self.up.lane.delivered_bytes,
            "down_bytes": self.down.lane.delivered_bytes,
            "connections": self.connections,
            "stalls": self.up.lane.stalls + self.down.lane.stalls,
        }

    def _accept(self) -> _End:
        stream = next(self._numbers)
        self.connections += 1
        client = _End(self, stream, self.up)
        server = _End(self, stream, self.down)
        client.peer, server.peer = server, client
        now_s = self.loop.time()
        # The kernel has answered the SYN already; over the real link SYN and SYN-ACK would have
        # taken one round trip before the client could send a byte.
        handshake_s = self.up.lane.shape.delay_s + self.down.lane.shape.delay_s
        self.up.lane.begin(stream, not_before_s=now_s + handshake_s)
        self.down.lane.begin(stream, not_before_s=now_s)
        self.up.offer(stream, partial(self._connect, server), 0)
        return client

    def _connect(self, server: _End) -> None:
        task = self.loop.create_task(self._reach(server))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _reach(self, server: _End) -> None:
        sock = socket.socket(self._family)
        try:
            sock.setblocking(False)
            _tune(sock, self.down.lane)
            await self.loop.sock_connect(sock, self._address)
            await self.loop.create_connection(lambda: server, sock=sock)
        except OSError:
            sock.close()
            server.break_off()


def _tune(sock: socket.socket, lane: Lane[Action]) -> None:
    """Make a socket behave as at the end of a real link, as far as the platform lets us."""
    if lane.shape.rate is None:
        return
    wanted = lane.shape.rate.mean_rate_bytes_per_s * _BUFFER_S
    size = int(min(max(wanted, _MIN_BUFFER_BYTES), _MAX_BUFFER_BYTES))
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, MAX_SEGMENT_BYTES)
