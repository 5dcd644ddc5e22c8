"""Start a shaped link in a process of its own, and steer it."""

from __future__ import annotations

import contextlib
import enum
import json
import math
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgewise.errors import BadInput, LinkFailed
from edgewise.shaping.traces import RateTrace, read_rate_trace
from edgewise.specs import LinkSpec

MIN_STALL_S = 0.2
"""The least retransmission time-out of Linux (TCP_RTO_MIN, include/net/tcp.h). RFC 6298, 2.4 asks
for 1 s and notes that other values are in use."""

_STOP_S = 5.0


class OutageMode(enum.StrEnum):
    """How a link that is down treats its connections.

    * ``STALL``: nothing moves, nothing is lost; new connections hang. A phone in a tunnel.
    * ``RESET``: connections are reset, new ones too. A router that restarts.
    """

    STALL = "stall"
    RESET = "reset"


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkStats:
    """What has crossed a shaped link since it started.

    Args:
        up_bytes: delivered to the target.
        down_bytes: delivered to the clients.
        connections: accepted so far.
        stalls: packets lost, each of which stalled its stream for :func:`stall_s`.
    """

    up_bytes: int
    down_bytes: int
    connections: int
    stalls: int


def stall_s(link: LinkSpec) -> float:
    """How long a lost packet stalls its stream: 200 ms, or two round trips if that is longer.

    RFC 6298, 2: RTO = SRTT + max(G, 4 RTTVAR), rounded up to a minimum. On a line of steady
    round trips RTTVAR decays from RTT/2 towards 0 and RTO from 3 RTT towards RTT; two is
    between. The minimum is that of Linux.

    >>> from edgewise.specs import Provenance
    >>> user = Provenance(source="user-supplied", date="2026-11-21")
    >>> stall_s(LinkSpec(name="lte", rtt_s=0.05, provenance=user))
    0.2
    """
    return max(MIN_STALL_S, 2 * link.rtt_s)


class ShapedLink:
    """A running link: connect to ``host`` and ``port`` instead of to the target.

    Args:
        process: the link's process, started.
        address: where it listens.
    """

    def __init__(self, process: subprocess.Popen[str], address: tuple[str, int]) -> None:
        self._process = process
        self._lock = threading.Lock()
        self.host, self.port = address

    @property
    def url(self) -> str:
        """Where a server behind the link answers HTTP."""
        return f"http://{self.host}:{self.port}"

    @property
    def pid(self) -> int:
        """The number of the link's process."""
        return self._process.pid

    def set_outage(self, down: bool, *, mode: OutageMode = OutageMode.STALL) -> None:
        """Cut or mend the link; it is done when the call returns.

        Args:
            down: True cuts it, False mends it.
            mode: what happens to connections while it is down.

        Raises:
            BadInput: on an unknown mode.
            LinkFailed: when the link's process is gone.
        """
        modes = [member.value for member in OutageMode]
        if mode not in modes:
            raise BadInput(
                expected=f"an outage mode of {' or '.join(modes)}",
                found=repr(mode),
                remedy="use a member of OutageMode",
            )
        _ask(self._process, {"op": "outage", "mode": str(mode) if down else None}, self._lock)

    def set_link(self, link: LinkSpec, *, trace: Path | None = None) -> None:
        """Change the link from now on; a trace that ran ends, the one given starts.

        Raises:
            BadInput: when the trace cannot be used.
            LinkFailed: when the link's process is gone.
        """
        _ask(self._process, {"op": "shape", **_shapes(link, trace)}, self._lock)

    def stats(self) -> LinkStats:
        """What has crossed the link so far.

        Raises:
            LinkFailed: when the link's process is gone.
        """
        return LinkStats(**_ask(self._process, {"op": "stats"}, self._lock))


@contextlib.contextmanager
def shaped(
    target: tuple[str, int], link: LinkSpec, *, seed: int = 0, trace: Path | None = None
) -> Iterator[ShapedLink]:
    """A real link of the given rate, delay and losses in front of a TCP server.

    A process of its own listens on a free loopback port and relays every connection to the
    target. It ends with the ``with`` block, and with this process if that dies.

    What is modelled:

    * **Rate.** Each direction is one line that all connections share, chunk by chunk in the
      order in which they are ready. The rate is that of payload: headers are not counted.
    * **Round trip.** Half each way. Opening a connection costs one: ``connect`` itself returns
      at once (the kernel answers), but the first bytes leave one round trip after it, so the
      first answer comes after two, as over a real link. There is no slow start: a request takes
      RTT + bytes up / rate + bytes down / rate, as ``LinkSpec.transfer_s`` says.
    * **Jitter.** Each chunk's one-way delay is drawn evenly from half the RTT plus or minus
      ``jitter_s`` (never below 0); order is kept.
    * **Loss.** A lost packet stalls its stream, and no other, for :func:`stall_s`. Packets are
      cut at 1 500 bytes of the stream; the draws depend on the seed, the direction, the
      connection's number and the packet's number alone.
    * **Outages** by :meth:`ShapedLink.set_outage`; on mending, a stalled stream goes on at
      once (a real sender waits for its next retransmission).
    * **Recorded traces.** The rate of both directions follows the trace, again and again, and is
      nowhere above the link's own rates.

    What the sender sees: ``send`` returns when its own kernel has the bytes. Behind that, only
    50 ms of link time queue in the link and as much (16 KiB at least) in its receive buffer,
    with Ethernet-sized segments, so that a sender's buffer stays full, ``send`` blocks, and its
    clock follows the link, to within its own send buffer. An upload is over when the answer
    comes. At most 16 MiB are on their way in a direction.

    Args:
        target: host and port of the server.
        link: what to be.
        seed: draws jitter and losses.
        trace: a file of ``seconds Mbit/s``; see :func:`read_rate_trace`.

    Yields:
        The running link.

    Raises:
        BadInput: when the target or the trace cannot be used.
        LinkFailed: when the link's process does not start.
    """
    family, address = _resolve(target)
    start = {"family": family, "address": address, "seed": seed, **_shapes(link, trace)}
    process = _launch()
    try:
        where = _ask(process, start, threading.Lock())
        yield ShapedLink(process, (where["host"], where["port"]))
    finally:
        _stop(process)


def _launch() -> subprocess.Popen[str]:
    source = str(Path(__file__).parents[2])
    inherited = os.environ.get("PYTHONPATH")
    path = source if not inherited else source + os.pathsep + inherited
    return subprocess.Popen(
        [sys.executable, "-m", "edgewise.shaping"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
        start_new_session=True,  # Ctrl-C is for us; the link ends with its stdin
    )


def _stop(process: subprocess.Popen[str]) -> None:
    with contextlib.suppress(OSError):
        if process.stdin is not None:
            process.stdin.close()
    try:
        process.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()


def _ask(
    process: subprocess.Popen[str], command: dict[str, Any], lock: threading.Lock
) -> dict[str, Any]:
    line = ""
    with lock, contextlib.suppress(OSError, ValueError):  # ValueError: the pipe is closed
        if process.stdin is not None and process.stdout is not None:
            process.stdin.write(json.dumps(command) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
    if not line.endswith("\n"):
        raise LinkFailed("the process of the shaped link is gone")
    answer: dict[str, Any] = json.loads(line)
    return answer


def _resolve(target: tuple[str, int]) -> tuple[int, tuple[str, int]]:
    host, port = target
    if not (isinstance(port, int) and 0 < port < 65_536):
        raise BadInput(
            expected="a port from 1 to 65535 behind the shaped link",
            found=repr(port),
            remedy="give the port on which the server listens",
        )
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (OSError, UnicodeError):
        raise BadInput(
            expected="a known host behind the shaped link",
            found=repr(host),
            remedy="check the name or give an address",
        ) from None
    return int(found[0]), (str(found[4][0]), int(found[4][1]))


def _shapes(link: LinkSpec, trace: Path | None) -> dict[str, object]:
    recorded = None if trace is None else read_rate_trace(trace)
    path = {
        "delay_s": link.rtt_s / 2,
        "jitter_s": link.jitter_s,
        "loss": link.loss,
        "stall_s": stall_s(link),
    }
    return {
        "up": {**path, "rate": _rate(link.up_bytes_per_s, recorded)},
        "down": {**path, "rate": _rate(link.down_bytes_per_s, recorded)},
    }


def _rate(own_bytes_per_s: float, recorded: RateTrace | None) -> dict[str, object] | None:
    if recorded is not None:
        trace = recorded.capped(own_bytes_per_s)
    elif math.isinf(own_bytes_per_s):
        return None
    else:
        trace = RateTrace.constant(own_bytes_per_s)
    return {
        "starts_s": trace.starts_s,
        "rates_bytes_per_s": trace.rates_bytes_per_s,
        "period_s": trace.period_s,
    }
