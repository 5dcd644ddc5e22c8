"""Whatever is said twice in one request, and might be read in two ways, is refused."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator

import numpy as np
import pytest

from edgewise.serving import RunningServer, server_process
from edgewise.submission import Submission
from edgewise.wire import HEADER_LENGTH_FIELD, Frame, Message, encode_request
from unit.serving import tiny_bundle as tiny

pytestmark = [pytest.mark.net, pytest.mark.engine]
MODEL = "/v2/models/tiny"
IMAGE = np.zeros(tiny.IMAGE.concrete(), np.float32)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("served")
    bundle = tiny.write_tiny_bundle(folder / "bundle")
    store = f"--submissions=sqlite:///{folder}/submissions.db"
    with server_process(bundle.path, options=[store]) as running:
        yield running


def _post(server: RunningServer, path: str, body: bytes, *fields: str) -> tuple[int, str]:
    """Status and refusal; the fields go as they are, which no HTTP client would do."""
    lines = [f"POST {MODEL}/{path} HTTP/1.1", "Host: localhost", *fields]
    host, _, port = server.url.removeprefix("http://").rpartition(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall("\r\n".join([*lines, "", ""]).encode() + body)
        reply = http.client.HTTPResponse(connection)
        reply.begin()
        raw = reply.read()
    return reply.status, json.loads(raw)["error"] if reply.status != 200 else ""


def _fields(frame: Frame) -> tuple[str, str]:
    return f"Content-Length: {len(frame.body)}", f"{HEADER_LENGTH_FIELD}: {frame.header_bytes}"


@pytest.mark.parametrize(
    ("more", "status", "words"),
    [
        ((), 200, ""),
        (("Content-Length: 5",), 400, "expected an HTTP/1.1 request"),
        (("Transfer-Encoding: chunked",), 400, "expected an HTTP/1.1 request"),
        ((f"{HEADER_LENGTH_FIELD}: 5",), 400, f"expected {HEADER_LENGTH_FIELD} from 1 to"),
        (
            ("Content-Encoding: gzip", "Content-Encoding: identity"),
            415,
            "expected a body as it is, or one of gzip or deflate",
        ),
        (("Host: elsewhere",), 400, "expected one Host header"),
    ],
)
def test_header_fields(
    server: RunningServer, more: tuple[str, ...], status: int, words: str
) -> None:
    frame = encode_request(Message(tensors={"image": IMAGE}))
    found, text = _post(server, "infer", frame.body, *_fields(frame), *more)
    assert (found, text.startswith(words)) == (status, True), text


@pytest.mark.parametrize(
    "text",
    [
        '{"inputs": [], "inputs": []}',
        '{"parameters": {"route": "cloud-raw", "route": "split-fp32"}, "inputs": []}',
        '{"inputs": [{"name": "image", "name": "feature", "data": []}]}',
        '{"inputs": [{"name": "image", "data": [], "d\\u0061ta": []}]}',
        '{"id": "a", "\\u0069d": "b", "inputs": []}',
    ],
)
def test_keys_of_json_however_they_are_written(server: RunningServer, text: str) -> None:
    body = text.encode()
    found, said = _post(server, "infer", body, f"Content-Length: {len(body)}")
    assert (found, said) == (
        400,
        "expected valid JSON in the request, found a repeated key; write it anew",
    )


@pytest.mark.parametrize("second", ["a", "b", ""])
def test_keys_of_a_submission(server: RunningServer, second: str) -> None:
    frame = Submission(key="a", record={"i": 1}).frame()
    keys = ("Idempotency-Key: a", f"Idempotency-Key: {second}")
    found, said = _post(server, "submit", frame.body, *_fields(frame), *keys)
    assert (found, said.startswith("expected a key of 1 to 128 letters")) == (400, True)
