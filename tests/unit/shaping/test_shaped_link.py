"""The real process, over real sockets. Times are only ever bounded from below: the link may not
be faster than it says. How exact it is, benchmarks/shaping.py measures."""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgewise.errors import BadInput, LinkFailed
from edgewise.shaping import OutageMode, ShapedLink, shaped, shipped_traces, stall_s
from edgewise.specs import LinkSpec, Provenance

pytestmark = pytest.mark.net
needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")

PATIENCE_S = 30.0


def make_link(
    mbit: float = math.inf, *, rtt_s: float = 0.0, jitter_s: float = 0.0, loss: float = 0.0
) -> LinkSpec:
    return LinkSpec(
        name="test",
        up_bytes_per_s=mbit * 1e6 / 8,
        rtt_s=rtt_s,
        jitter_s=jitter_s,
        loss=loss,
        provenance=Provenance(source="user-supplied", date="2026-11-21"),
    )


@contextlib.contextmanager
def dialled(link: ShapedLink) -> Iterator[socket.socket]:
    with socket.create_connection((link.host, link.port), timeout=PATIENCE_S) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield sock


def receive(sock: socket.socket, size_bytes: int) -> bytes:
    parts, left = [], size_bytes
    while left and (part := sock.recv(min(left, 1 << 16))):
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


def exchange(sock: socket.socket, data: bytes) -> bytes:
    """Send and receive at once, so that neither side waits for the other's buffer."""
    sender = threading.Thread(target=sock.sendall, args=(data,))
    sender.start()
    answer = receive(sock, len(data))
    sender.join()
    return answer


def ask(sock: socket.socket) -> bytes:
    sock.sendall(b"?")
    return sock.recv(1)


def noise(size_bytes: int) -> bytes:
    return hashlib.shake_128(b"noise").digest(size_bytes)


def wait_until_gone(pid: int) -> bool:
    deadline_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline_s:
        stat = Path(f"/proc/{pid}/stat")
        if not stat.exists() or ") Z " in stat.read_text():
            return True
        time.sleep(0.02)
    return False


def test_a_transfer_takes_at_least_its_time(echo_server: tuple[str, int]) -> None:
    data = noise(150_000)
    with shaped(echo_server, make_link(4.0, rtt_s=0.02)) as link, dialled(link) as sock:
        start_s = time.perf_counter()
        assert exchange(sock, data) == data
        assert time.perf_counter() - start_s >= len(data) / 500_000 + 0.02
        stats = link.stats()
    assert (stats.up_bytes, stats.down_bytes) == (len(data), len(data))
    assert (stats.connections, stats.stalls) == (1, 0)


def test_opening_costs_a_round_trip_and_asking_another(echo_server: tuple[str, int]) -> None:
    with shaped(echo_server, make_link(rtt_s=0.06)) as link:
        start_s = time.perf_counter()
        with dialled(link) as sock:
            assert exchange(sock, b"?") == b"?"
            first_s = time.perf_counter() - start_s
            start_s = time.perf_counter()
            assert exchange(sock, b"?") == b"?"
            second_s = time.perf_counter() - start_s
    assert first_s >= 0.12
    assert second_s >= 0.06


def test_connections_share_one_line(echo_server: tuple[str, int]) -> None:
    data = noise(60_000)
    with (
        shaped(echo_server, make_link(4.0)) as link,
        dialled(link) as one,
        dialled(link) as other,
    ):
        start_s = time.perf_counter()
        thread = threading.Thread(target=exchange, args=(other, data))
        thread.start()
        assert exchange(one, data) == data
        thread.join()
        assert time.perf_counter() - start_s >= 2 * len(data) / 500_000
        assert link.stats().connections == 2


def test_an_unshaped_link_passes_everything_on(echo_server: tuple[str, int]) -> None:
    data = noise(5_000_000)
    with shaped(echo_server, make_link()) as link, dialled(link) as sock:
        assert exchange(sock, data) == data


def test_the_end_of_data_crosses_in_both_directions(echo_server: tuple[str, int]) -> None:
    with shaped(echo_server, make_link(1.0, rtt_s=0.02)) as link, dialled(link) as sock:
        sock.sendall(b"last words")
        sock.shutdown(socket.SHUT_WR)
        assert receive(sock, 1000) == b"last words"


def test_a_full_link_blocks_the_sender(echo_server: tuple[str, int]) -> None:
    """A sender's kernel may take some megabytes at once, but not everything."""
    with shaped(echo_server, make_link(0.1)) as link, dialled(link) as sock:
        sock.settimeout(0.5)
        with pytest.raises(TimeoutError):
            sock.sendall(bytes(50_000_000))


def test_an_outage_stops_everything_and_loses_nothing(echo_server: tuple[str, int]) -> None:
    data = noise(200_000)
    with shaped(echo_server, make_link(4.0, rtt_s=0.01)) as link, dialled(link) as sock:
        answers: list[bytes] = []
        thread = threading.Thread(target=lambda: answers.append(exchange(sock, data)))
        thread.start()
        while link.stats().down_bytes == 0:
            time.sleep(0.01)
        link.set_outage(True)
        before = link.stats()
        time.sleep(0.3)
        assert link.stats() == before
        assert before.down_bytes < len(data)
        link.set_outage(False)
        thread.join()
        assert answers == [data]


def test_a_connection_made_in_an_outage_hangs_until_its_end(
    echo_server: tuple[str, int],
) -> None:
    with shaped(echo_server, make_link()) as link:
        link.set_outage(True)
        with dialled(link) as sock:
            sock.sendall(b"hello")
            sock.settimeout(0.2)
            with pytest.raises(TimeoutError):
                sock.recv(1)
            sock.settimeout(PATIENCE_S)
            link.set_outage(False)
            assert receive(sock, 5) == b"hello"


def test_a_reset_outage_breaks_old_and_new_connections(echo_server: tuple[str, int]) -> None:
    with shaped(echo_server, make_link(rtt_s=0.01)) as link:
        with dialled(link) as sock:
            assert exchange(sock, b"a") == b"a"
            link.set_outage(True, mode=OutageMode.RESET)
            with pytest.raises(ConnectionResetError):
                sock.recv(1)
        with pytest.raises(ConnectionError), dialled(link) as sock:  # at once, or when asked
            ask(sock)
        link.set_outage(False)
        with dialled(link) as sock:
            assert exchange(sock, b"c") == b"c"


def test_a_target_that_does_not_listen_resets_the_connection() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with (
            shaped(unused.getsockname(), make_link(rtt_s=0.01)) as link,
            dialled(link) as sock,
            pytest.raises(ConnectionResetError),
        ):
            sock.recv(1)


def test_a_reset_by_the_client_reaches_the_target() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(PATIENCE_S)
        with shaped(server.getsockname(), make_link(rtt_s=0.01)) as link:
            sock = socket.create_connection((link.host, link.port))
            sock.sendall(b"x")
            far, _ = server.accept()
            with far:
                far.settimeout(PATIENCE_S)
                assert far.recv(1) == b"x"
                linger_0 = b"\x01\0\0\0\0\0\0\0"
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger_0)
                sock.close()
                with pytest.raises(ConnectionResetError):
                    far.recv(1)


def test_losses_stall(echo_server: tuple[str, int]) -> None:
    with shaped(echo_server, make_link(loss=0.3), seed=3) as link, dialled(link) as sock:
        start_s = time.perf_counter()
        exchange(sock, bytes(15_000))
        elapsed_s = time.perf_counter() - start_s
        stalls = link.stats().stalls
    assert stalls >= 1
    assert elapsed_s >= 0.2 * math.ceil(stalls / 2)  # both directions stall at the same time


def test_a_stall_is_at_least_what_linux_waits_and_grows_with_the_round_trip() -> None:
    assert stall_s(make_link(rtt_s=0.001)) == 0.2
    assert stall_s(make_link(rtt_s=0.4)) == 0.8


def test_the_link_changes_while_it_runs(echo_server: tuple[str, int]) -> None:
    with shaped(echo_server, make_link()) as link, dialled(link) as sock:
        exchange(sock, bytes(100_000))
        link.set_link(make_link(2.0, rtt_s=0.05))
        start_s = time.perf_counter()
        exchange(sock, bytes(50_000))
        assert time.perf_counter() - start_s >= 50_000 / 250_000 + 0.05


def test_a_trace_bounds_the_bytes_and_the_link_bounds_the_trace(
    echo_server: tuple[str, int], tmp_path: Path
) -> None:
    file = tmp_path / "trace.txt"
    file.write_text("0 0\n0.4 80\n1000 80\n")
    with shaped(echo_server, make_link(8.0), trace=file) as link, dialled(link) as sock:
        start_s = time.perf_counter()
        exchange(sock, bytes(100_000))
        # The trace began before this clock did, a few milliseconds at the most in a quiet
        # machine; the second part follows the link, which is slower than the trace.
        assert time.perf_counter() - start_s >= 0.1
    with shaped(echo_server, make_link(), trace=shipped_traces()["blackout"]) as link:
        assert link.url == f"http://127.0.0.1:{link.port}"


def test_links_do_not_know_each_other(echo_server: tuple[str, int]) -> None:
    with shaped(echo_server, make_link()) as one, shaped(echo_server, make_link()) as other:
        one.set_outage(True)
        with dialled(other) as sock:
            assert exchange(sock, b"through") == b"through"


@needs_proc
def test_leaving_the_block_ends_the_process(echo_server: tuple[str, int]) -> None:
    with shaped(echo_server, make_link()) as link, dialled(link) as sock:
        exchange(sock, b"x")
    assert not Path(f"/proc/{link.pid}").exists()
    with pytest.raises(LinkFailed, match="process of the shaped link is gone"):
        link.stats()


def test_a_dead_process_is_an_error_and_not_a_hang(echo_server: tuple[str, int]) -> None:
    with shaped(echo_server, make_link()) as link:
        os.kill(link.pid, signal.SIGKILL)
        with pytest.raises(LinkFailed, match="process of the shaped link is gone"):
            link.set_outage(True)


PARENT = """
import os, sys, time
from edgewise.shaping import shaped
from edgewise.specs import LinkSpec, Provenance
user = Provenance(source="user-supplied", date="2026-11-21")
with shaped(("127.0.0.1", 9), LinkSpec(name="test", provenance=user)) as link:
    heir = os.fork() if sys.argv[1] == "forks" else -1
    if heir:
        print(link.pid, heir, flush=True)
    time.sleep(120)
"""


@needs_proc
@pytest.mark.parametrize("behaviour", ["plain", "forks"])
def test_the_link_dies_with_its_parent(behaviour: str) -> None:
    """Even when a process that the parent forked still holds the pipe open."""
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, behaviour],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert parent.stdout is not None
    with parent:
        link_pid, heir = (int(word) for word in parent.stdout.readline().split())
        assert Path(f"/proc/{link_pid}").exists()
        parent.kill()
        try:
            assert wait_until_gone(link_pid)
        finally:
            if heir > 0:
                os.kill(heir, signal.SIGKILL)


@pytest.mark.parametrize("port", [0, -1, 65_536, "http"])
def test_a_bad_port_is_refused(port: int) -> None:
    with (
        pytest.raises(BadInput, match="a port from 1 to 65535"),
        shaped(("127.0.0.1", port), make_link()),
    ):
        pass


def test_an_unknown_host_is_refused() -> None:
    with (
        pytest.raises(BadInput, match="a known host behind the shaped link"),
        shaped(("no-such-host.invalid", 80), make_link()),
    ):
        pass


def test_a_bad_trace_is_refused_before_anything_starts(tmp_path: Path) -> None:
    with (
        pytest.raises(BadInput, match="a readable trace"),
        shaped(("127.0.0.1", 9), make_link(), trace=tmp_path / "none"),
    ):
        pass


def test_an_unknown_outage_is_refused(echo_server: tuple[str, int]) -> None:
    with (
        shaped(echo_server, make_link()) as link,
        pytest.raises(BadInput, match="an outage mode of stall or reset, found 'melt'"),
    ):
        link.set_outage(True, mode="melt")  # type: ignore[arg-type]
