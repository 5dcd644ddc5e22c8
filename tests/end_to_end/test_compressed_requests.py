"""Compressed requests and replies as they cross a real socket."""

from __future__ import annotations

import gzip
import http.client
import json
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest

from edgewise.serving import RunningServer, server_process
from edgewise.wire import HEADER_LENGTH_FIELD, Frame, Message, encode_request
from unit.serving import tiny_bundle as tiny

pytestmark = [pytest.mark.net, pytest.mark.engine]
INFER = "/v2/models/tiny/infer"
IMAGE = np.random.default_rng(1).normal(size=tiny.IMAGE.concrete()).astype(np.float32)


def _bare(body: bytes) -> bytes:
    stream = zlib.compressobj(wbits=-15)
    return stream.compress(body) + stream.flush()


PACKERS = [("gzip", gzip.compress), ("deflate", zlib.compress), ("deflate", _bare)]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    bundle = tiny.write_tiny_bundle(tmp_path_factory.mktemp("served") / "bundle")
    with server_process(bundle.path) as running:
        yield running


@pytest.fixture
def connection(server: RunningServer) -> Iterator[http.client.HTTPConnection]:
    address = server.url.removeprefix("http://")
    opened = http.client.HTTPConnection(address, timeout=20)
    yield opened
    opened.close()


def _post(
    connection: http.client.HTTPConnection, body: bytes, fields: Mapping[str, str]
) -> tuple[http.client.HTTPResponse, bytes]:
    connection.request("POST", INFER, body, dict(fields))
    reply = connection.getresponse()
    return reply, reply.read()


def _frame(**parameters: str) -> Frame:
    return encode_request(Message(tensors={"image": IMAGE}, parameters=parameters))


def _fields(header_bytes: int, encoding: str) -> dict[str, str]:
    return {HEADER_LENGTH_FIELD: str(header_bytes), "Content-Encoding": encoding}


@pytest.mark.parametrize(("encoding", "pack"), PACKERS)
def test_every_kind_of_stream_gets_the_plain_answer(
    connection: http.client.HTTPConnection, encoding: str, pack: Callable[[bytes], bytes]
) -> None:
    frame = _frame()
    plain, expected = _post(connection, frame.body, {HEADER_LENGTH_FIELD: str(frame.header_bytes)})
    assert (plain.status, plain.headers["content-encoding"]) == (200, None)
    reply, body = _post(connection, pack(frame.body), _fields(frame.header_bytes, encoding))
    assert (reply.status, body) == (200, expected)


@pytest.mark.parametrize(
    ("encoding", "unpack"), [("gzip", gzip.decompress), ("deflate", zlib.decompress)]
)
def test_replies_are_compressed_when_asked(
    connection: http.client.HTTPConnection, encoding: str, unpack: Callable[[bytes], bytes]
) -> None:
    frame = _frame()
    fields = {HEADER_LENGTH_FIELD: str(frame.header_bytes)}
    plain, expected = _post(connection, frame.body, fields)
    reply, body = _post(connection, frame.body, fields | {"Accept-Encoding": encoding})
    assert (reply.status, reply.headers["content-encoding"]) == (200, encoding)
    assert reply.headers["vary"] == "Accept-Encoding"
    assert unpack(body) == expected
    assert len(body) < len(expected)
    assert reply.headers[HEADER_LENGTH_FIELD] == plain.headers[HEADER_LENGTH_FIELD]


@pytest.mark.parametrize(("encoding", "pack"), PACKERS)
def test_bombs_are_refused_and_the_connection_lives(
    server: RunningServer,
    connection: http.client.HTTPConnection,
    encoding: str,
    pack: Callable[[bytes], bytes],
) -> None:
    before = _peak_bytes(server.pid)
    frame = _frame()
    for head, start in (
        (frame.body, frame.header_bytes),  # a good frame, and far more
        (b" " * 60_000, 50_000),
        (b"", 1),
    ):
        reply, body = _post(connection, pack(head + bytes(60_000_000)), _fields(start, encoding))
        assert reply.status in (400, 413), body
        assert list(json.loads(body)) == ["error"]
    reply, body = _post(connection, pack(b" " * 60_000_000), {"Content-Encoding": encoding})
    assert (reply.status, "once it is inflated" in json.loads(body)["error"]) == (413, True)
    assert _peak_bytes(server.pid) - before < 30_000_000
    assert (
        _post(connection, pack(frame.body), _fields(frame.header_bytes, encoding))[0].status == 200
    )


def test_a_stream_may_stand_for_what_its_own_route_takes_and_no_byte_more(
    connection: http.client.HTTPConnection,
) -> None:
    frame = _frame(route="cloud-raw")
    body = gzip.compress(frame.body + b"x")  # other routes have room for one more
    reply, raw = _post(connection, body, _fields(frame.header_bytes, "gzip"))
    assert reply.status == 413
    assert f"at most {len(frame.body)} bytes" in json.loads(raw)["error"]


def _peak_bytes(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024
