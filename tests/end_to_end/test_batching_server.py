"""Requests that meet in a real server: joined, expired, abandoned, or one too many."""

from __future__ import annotations

import contextlib
import json
import selectors
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

import batching_bundles as bundles
from edgewise.bounds import Bound
from edgewise.bundle import Bundle
from edgewise.tensors import Array
from edgewise.wire import HEADER_LENGTH_FIELD, Frame, Message, decode_reply, encode_request
from http_requests import metrics

pytestmark = [pytest.mark.net, pytest.mark.engine]

# The server, with every run of its engine counted; one engine, whatever the number of cores.
SCRIPT = """
import json, os, sys
from edgewise.engines import OnnxRuntimeEngine
from edgewise.serving import Access, Limits, Operations, serve
runs = []
run = OnnxRuntimeEngine.run
def counted(self, feeds):
    runs.append(len(next(iter(feeds.values()))))
    return run(self, feeds)
OnnxRuntimeEngine.run = counted
def ready(url):
    runs.clear()
    print(url, flush=True)
limits = Limits(**json.loads(sys.argv[2]))
access = Access(batching=limits, operations=Operations(metrics=True))
serve(sys.argv[1], port=0, threads=len(os.sched_getaffinity(0)), access=access, on_ready=ready)
print(json.dumps(runs), flush=True)
"""


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def rows(self) -> Array:
        length = int(self.headers[HEADER_LENGTH_FIELD.lower()])
        bounds = [Bound(name="y", dtype="float32", shape=("N", 4), min_bytes=16, max_bytes=9999)]
        return decode_reply(Frame(body=self.body, header_bytes=length), bounds).tensors["y"]

    @property
    def error(self) -> str:
        return str(json.loads(self.body)["error"])


@dataclass(frozen=True, slots=True)
class Server:
    port: int
    end: Callable[[], list[int]]

    def send(self, frame: Frame, *, keep_back: int = 0) -> socket.socket:
        sock = socket.create_connection(("127.0.0.1", self.port), timeout=60)
        head = (
            f"POST /v2/models/open/infer HTTP/1.1\r\nHost: localhost\r\n"
            f"Content-Length: {len(frame.body)}\r\n"
            f"{HEADER_LENGTH_FIELD}: {frame.header_bytes}\r\n\r\n"
        )
        sock.sendall(head.encode() + frame.body[: len(frame.body) - keep_back])
        return sock

    def ask(self, frame: Frame) -> Reply:
        return receive(self.send(frame))


def receive(sock: socket.socket) -> Reply:
    with sock, sock.makefile("rb") as lines:
        status = int(lines.readline().split()[1])
        headers = {}
        while line := lines.readline().decode().strip():
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        return Reply(status, headers, lines.read(int(headers["content-length"])))


def frame(value: float, *, rows: int = 1, **parameters: int) -> Frame:
    x = np.full((rows, bundles.WIDTH), value, np.float32)
    return encode_request(Message(tensors={"x": x}, parameters=parameters))


@contextlib.contextmanager
def serving(bundle: Bundle, **limits: float) -> Iterator[Server]:
    command = [sys.executable, "-c", SCRIPT, str(bundle.path), json.dumps(limits)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        out = process.stdout
        port = int(out.readline().rpartition(":")[2])

        def end() -> list[int]:
            process.terminate()
            return list(json.loads(out.readline()))

        try:
            yield Server(port, end)
        finally:
            process.terminate()


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    raw = bundles.slow_network()
    return bundles.open_bundle_of(tmp_path_factory.mktemp("slow") / "bundle", raw, most=4)


def _keep_busy(server: Server) -> socket.socket:
    """A request that is in the engine by the time this returns."""
    sock = server.send(frame(0))
    time.sleep(0.03)
    return sock


def test_what_meets_runs_together_and_each_gets_its_own(bundle: Bundle) -> None:
    with serving(bundle) as server:
        sent = [server.send(frame(i)) for i in range(9)]
        replies = [receive(sock) for sock in sent]
        runs = server.end()
    assert [reply.status for reply in replies] == [200] * 9
    for i, reply in enumerate(replies):
        assert reply.rows.shape == (1, bundles.WIDTH)
        assert (reply.rows == i).all()
    joined = [int(reply.headers["edgewise-batch"]) for reply in replies]
    assert sum(runs) == 9
    assert len(runs) < 9
    assert sorted(joined) == sorted(size for size in runs for _ in range(size))


def test_sizes_count_rows_not_requests(bundle: Bundle) -> None:
    with serving(bundle, max_batch=4) as server:
        busy = _keep_busy(server)
        sent = [server.send(frame(rows, rows=rows)) for rows in (3, 2, 1)]
        replies = [receive(sock) for sock in sent]
        receive(busy)
        runs = server.end()
    assert [len(reply.rows) for reply in replies] == [3, 2, 1]
    assert all((reply.rows == rows).all() for reply, rows in zip(replies, (3, 2, 1), strict=True))
    assert max(runs) <= 4
    assert sum(runs) == 7


def test_expired_requests_reach_no_engine(bundle: Bundle) -> None:
    with serving(bundle) as server:
        busy = _keep_busy(server)
        sent = [server.send(frame(i, deadline_us=1000)) for i in range(2)]
        sent.append(server.send(frame(3, timeout=1000)))
        late = [receive(sock) for sock in sent]
        assert receive(busy).status == 200
        patient = server.ask(frame(4, deadline_us=30_000_000))
        runs = server.end()
    assert [reply.status for reply in late] == [504] * 3
    assert late[0].error == (
        "expected to answer before the deadline of the request, found too little time left;"
        " allow more time, or answer on the device"
    )
    assert patient.status == 200
    assert runs == [1, 1]


def test_clients_that_hang_up_reach_no_engine(bundle: Bundle) -> None:
    with serving(bundle) as server:
        busy = _keep_busy(server)
        for i in range(3):
            server.send(frame(i)).close()
        assert receive(busy).status == 200
        last = server.ask(frame(7))
        counted = metrics(f"http://127.0.0.1:{server.port}")
        runs = server.end()
    assert (last.rows == 7).all()
    assert runs == [1, 1]
    gone = [labels for name, labels in counted if name == "edgewise_requests_total"]
    assert [labels for labels in gone if "status=gone" in labels]
    assert not [labels for labels in gone if "status=503" in labels]
    assert not [labels for name, labels in counted if name == "edgewise_refused_total"]


def test_clients_that_hang_up_within_a_body_are_gone_and_not_to_blame(bundle: Bundle) -> None:
    with serving(bundle) as server:
        url = f"http://127.0.0.1:{server.port}"
        server.send(frame(1), keep_back=4).close()
        counted = _counted_infers(url)
        while not counted:
            time.sleep(0.01)
            counted = _counted_infers(url)
        refused = [labels for name, labels in metrics(url) if name == "edgewise_refused_total"]
        assert server.end() == []
    assert ["status=gone" in labels for labels in counted] == [True]
    assert not refused


def _counted_infers(url: str) -> list[str]:
    return [
        labels
        for name, labels in metrics(url)
        if name == "edgewise_requests_total" and "endpoint=infer" in labels
    ]


def test_beyond_the_queue_429_says_when_to_come_back(bundle: Bundle) -> None:
    with serving(bundle, max_queue=2, max_batch=1) as server:
        assert server.ask(frame(0)).status == 200  # from now on the rate is known
        busy = _keep_busy(server)
        sent = [server.send(frame(i)) for i in range(6)]
        replies = [receive(sock) for sock in sent]
        assert receive(busy).status == 200
        runs = server.end()
    refused = [reply for reply in replies if reply.status == 429]
    admitted = [(i, reply) for i, reply in enumerate(replies) if reply.status == 200]
    assert len(refused) + len(admitted) == 6
    assert len(refused) >= 1
    assert len(admitted) >= 2
    assert all((reply.rows == i).all() for i, reply in admitted)
    assert all(int(reply.headers["retry-after"]) >= 1 for reply in refused)
    assert all("items waiting; try again later" in reply.error for reply in refused)
    assert len(runs) == 2 + len(admitted)


def test_overload_is_answered_to_the_last_request_and_refused_at_once(bundle: Bundle) -> None:
    count = 240
    with serving(bundle, max_queue=8, max_batch=2) as server:
        assert server.ask(frame(0)).status == 200  # from now on the rate is known
        replies = _flood(server, count)
        after = server.ask(frame(7))
        runs = server.end()
    refused = [(at_s, reply) for at_s, reply in replies if reply.status == 429]
    admitted = [at_s for at_s, reply in replies if reply.status == 200]
    assert len(refused) + len(admitted) == count
    assert all(int(reply.headers["retry-after"]) >= 1 for _, reply in refused)
    assert len(refused) > len(admitted) > 0
    assert statistics.median(at_s for at_s, _ in refused) < statistics.median(admitted)
    assert (after.rows == 7).all()
    assert sum(runs) == len(admitted) + 2


def _flood(server: Server, count: int) -> list[tuple[float, Reply]]:
    """All at once, each on its own connection; how long each took."""
    body = frame(1)
    start_s = time.perf_counter()
    waiting = {(sock := server.send(body)).fileno(): sock for _ in range(count)}
    replies = []
    with selectors.DefaultSelector() as selector:
        for sock in waiting.values():
            selector.register(sock, selectors.EVENT_READ)
        while selector.get_map():
            for key, _ in selector.select():
                selector.unregister(key.fileobj)
                replies.append((time.perf_counter() - start_s, receive(waiting[key.fd])))
    return replies


def test_nobody_fails_for_anothers_input(bundle: Bundle) -> None:
    with serving(bundle) as server:
        busy = _keep_busy(server)
        values = [1.0, float("nan"), 3.0]
        replies = [receive(sock) for sock in [server.send(frame(v)) for v in values]]
        receive(busy)
        runs = server.end()
    assert [reply.status for reply in replies] == [200, 400, 200]
    assert (replies[2].rows == 3).all()
    assert "NaN or infinity" in replies[1].error
    assert sum(runs) >= 4


def test_a_network_whose_rows_mix_is_never_joined(tmp_path: Path) -> None:
    bundle = bundles.open_bundle_of(tmp_path / "bundle", bundles.centring_network())
    with serving(bundle) as server:
        threads, replies = [], []
        for i in range(8):
            asked = frame(i)
            threads.append(
                threading.Thread(target=lambda asked=asked: replies.append(server.ask(asked)))
            )
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        runs = server.end()
    assert runs == [1] * 8
    assert all((reply.rows == 0).all() for reply in replies)
    assert {reply.headers["edgewise-batch"] for reply in replies} == {"1"}


def test_options_that_make_no_sense_are_one_paragraph_and_code_2(bundle: Bundle) -> None:
    command = [sys.executable, "-m", "edgewise.serving", str(bundle.path), "--max-batch=0"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 2
    assert result.stderr == (
        "expected max_batch of at least 1, found 0; choose with --max-batch\n"
    )
