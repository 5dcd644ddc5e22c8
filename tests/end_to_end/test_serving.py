"""A real server process on a real socket, asked by clients that mean well and by others."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import struct
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest

from edgewise.bounds import Bound
from edgewise.bundle import Bundle
from edgewise.preparation import PixelCodec, encode_pixels, normalise, read_preparation
from edgewise.serving import RunningServer, server_process
from edgewise.wire import HEADER_LENGTH_FIELD, Frame, Message, decode_reply, encode_request
from unit.serving import tiny_bundle as tiny

pytestmark = [pytest.mark.net, pytest.mark.engine]
BOUNDS = tuple(map(Bound.exactly, tiny.OUTPUTS))
INFER = "/v2/models/tiny/infer"


class Client:
    """One keep-alive connection, so that a refusal that breaks it shows in the next call."""

    def __init__(self, server: RunningServer) -> None:
        self.address = server.url.removeprefix("http://")
        self.connection = http.client.HTTPConnection(self.address, timeout=20)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> tuple[int, dict]:
        self.connection.request("GET", path, headers=dict(headers or {}))
        reply = self.connection.getresponse()
        return reply.status, json.loads(reply.read())

    def post(
        self, body: bytes, headers: Mapping[str, str], path: str = INFER
    ) -> tuple[http.client.HTTPResponse, bytes]:
        self.connection.request("POST", path, body, dict(headers))
        reply = self.connection.getresponse()
        return reply, reply.read()

    def infer(self, tensors: Mapping[str, np.ndarray], **parameters: str) -> Message:
        frame = encode_request(Message(tensors=tensors, id="42", parameters=parameters))
        reply, body = self.post(frame.body, _length(frame))
        assert reply.status == 200, body
        length = int(reply.headers[HEADER_LENGTH_FIELD])
        return decode_reply(Frame(body=body, header_bytes=length), BOUNDS)

    def refused(
        self, body: bytes, headers: Mapping[str, str], path: str = INFER
    ) -> tuple[int, str]:
        reply, raw = self.post(body, headers, path)
        assert reply.headers["content-type"] == "application/json"
        error = json.loads(raw)
        assert list(error) == ["error"]
        assert "Traceback" not in error["error"]
        assert "/" not in error["error"].replace("/v2/models/", "").replace("_ . / :", "")
        return reply.status, error["error"]


def _length(frame: Frame) -> dict[str, str]:
    return {HEADER_LENGTH_FIELD: str(frame.header_bytes)}


def _image(seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=tiny.IMAGE.concrete()).astype(np.float32)


def _feature() -> np.ndarray:
    return tiny.weights().feature(_image())


def _frame(**parameters: str) -> Frame:
    return encode_request(Message(tensors={"image": _image()}, parameters=parameters))


def _with_header(header: object, tensors: bytes) -> tuple[bytes, dict[str, str]]:
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return raw + tensors, {HEADER_LENGTH_FIELD: str(len(raw))}


def _declared(**changes: object) -> dict[str, object]:
    tensor = {
        "name": "image",
        "shape": list(tiny.IMAGE.shape),
        "datatype": "FP32",
        "parameters": {"binary_data_size": tiny.IMAGE.nbytes()},
    }
    return {"inputs": [tensor | changes]}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return tiny.write_tiny_bundle(tmp_path_factory.mktemp("served") / "bundle")


@pytest.fixture(scope="module")
def server(bundle: Bundle) -> Iterator[RunningServer]:
    with server_process(bundle.path, options=["--body-timeout-s=1"]) as running:
        yield running


@pytest.fixture
def client(server: RunningServer) -> Iterator[Client]:
    with Client(server) as client:
        yield client


# Health and metadata


@pytest.mark.parametrize("path", ["/v2/health/live", "/v2/health/ready"])
def test_health(client: Client, path: str) -> None:
    assert client.get(path)[0] == 200


def test_server_metadata_lists_the_binary_extension(client: Client) -> None:
    status, data = client.get("/v2")
    assert (status, data["name"]) == (200, "edgewise")
    assert "binary_tensor_data" in data["extensions"]


@pytest.mark.parametrize("path", ["/v2/models/tiny", "/v2/models/tiny/versions/1"])
def test_model_metadata_describes_the_whole_network(client: Client, path: str) -> None:
    status, data = client.get(path)
    assert (status, data["name"], data["versions"]) == (200, "tiny", ["1"])
    assert data["inputs"] == [{"name": "image", "datatype": "FP32", "shape": [1, 3, 16, 16]}]
    assert [output["name"] for output in data["outputs"]] == ["logits", "means"]


def test_model_ready(client: Client) -> None:
    assert client.get("/v2/models/tiny/ready") == (200, {"name": "tiny", "ready": True})
    assert client.get("/v2/models/tiny/versions/1/ready")[0] == 200


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/v2/",
        "/v3",
        "/v2/models",
        "/v2/models/tiny/versions/1/versions/1",
        "/v2/models/../models/tiny",
        "/v2/models/..%2ftiny",
        "/v2/models/%2e%2e/%2e%2e/etc/passwd",
        "/v2/models/tiny/",
        "//v2",
    ],
)
def test_other_paths_are_not_found(client: Client, path: str) -> None:
    status, data = client.get(path)
    assert (status, list(data)) == (404, ["error"])
    assert data["error"] == (
        "expected a path and a method that this server answers, found another;"
        " GET /v2/openapi.json lists them"
    )


@pytest.mark.parametrize("path", ["/v2/models/other", "/v2/models/tiny%00", "/v2/models/TINY"])
def test_another_model_is_refused_with_the_known_one(client: Client, path: str) -> None:
    status, data = client.get(path)
    assert (status, data["error"]) == (
        404,
        "expected the model 'tiny', which this server serves, found another name;"
        " ask for /v2/models/tiny",
    )


@pytest.mark.parametrize("version", ["2", "0", "-1", "01", "latest", "1%00"])
def test_another_version_is_refused_with_the_known_one(client: Client, version: str) -> None:
    status, data = client.get(f"/v2/models/tiny/versions/{version}")
    assert (status, data["error"]) == (
        404,
        "expected version 1 of the model 'tiny', found another version;"
        " ask for version 1, or for none",
    )


def test_infer_takes_only_post(client: Client) -> None:
    assert client.get(INFER)[0] == 405


# Inference


def test_raw_input_gets_the_whole_networks_answer(client: Client, bundle: Bundle) -> None:
    reply = client.infer({"image": _image()}, route="cloud-raw", bundle=bundle.digest)
    w = tiny.weights()
    np.testing.assert_allclose(reply.tensors["logits"], w.logits(_feature()), rtol=1e-5, atol=1e-6)
    assert (reply.id, reply.model, reply.parameters["route"]) == ("42", "tiny", "cloud-raw")


def test_a_lossless_split_equals_the_whole(client: Client) -> None:
    whole = client.infer({"image": _image()}).tensors["logits"]
    half = client.infer({"feature": _feature()}, route="split-fp32").tensors["logits"]
    np.testing.assert_allclose(half, whole, rtol=1e-5, atol=1e-6)


def test_half_precision_is_widened_by_the_network(client: Client) -> None:
    sent = _feature().astype(np.float16)
    reply = client.infer({"half": sent}, route="split-fp16")
    wanted = tiny.weights().logits(sent.astype(np.float32))
    np.testing.assert_allclose(reply.tensors["logits"], wanted, rtol=1e-5, atol=1e-6)


def test_bytes_are_dequantised_by_the_network(client: Client) -> None:
    sent = np.clip(np.round(_feature() / tiny.SCALE) + tiny.ZERO, -128, 127).astype(np.int8)
    reply = client.infer({"byte": sent}, route="split-int8")
    wanted = tiny.weights().logits((sent.astype(np.float32) - tiny.ZERO) * np.float32(tiny.SCALE))
    np.testing.assert_allclose(reply.tensors["logits"], wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("codec", list(PixelCodec))
def test_encoded_pixels_are_decoded_and_normalised(client: Client, codec: PixelCodec) -> None:
    from edgewise.preparation import decode_pixels

    preparation = read_preparation(json.dumps(tiny.PREPARATION))
    ramp = np.arange(tiny.SIDE * tiny.SIDE * 3, dtype=np.uint32) // 4
    pixels = ramp.astype(np.uint8).reshape(tiny.SIDE, tiny.SIDE, 3)
    data = encode_pixels(pixels, codec, 90)
    sent = np.frombuffer(data, np.uint8)
    reply = client.infer({"image": sent}, route=f"cloud-{codec}")
    seen = normalise(decode_pixels(data, preparation, codec), preparation)
    w = tiny.weights()
    wanted = w.logits(w.feature(seen))
    np.testing.assert_allclose(reply.tensors["logits"], wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "dtype", "route"),
    [
        ("image", "float32", "cloud-raw"),
        ("feature", "float32", "split-fp32"),
        ("half", "float16", "split-fp16"),
        ("byte", "int8", "split-int8"),
    ],
)
def test_without_a_route_the_first_that_fits_answers(
    client: Client, name: str, dtype: str, route: str
) -> None:
    shape = tiny.IMAGE.shape if name == "image" else tiny.FEATURE.shape
    assert client.infer({name: np.zeros(shape, dtype)}).parameters["route"] == route


def test_only_the_requested_outputs_come_in_their_order(client: Client) -> None:
    for wanted in (["means"], ["means", "logits"]):
        header = _declared() | {"parameters": {"binary_data_output": True}}
        header |= {"outputs": [{"name": name} for name in wanted]}
        body, fields = _with_header(header, _image().tobytes())
        reply, raw = client.post(body, fields)
        assert reply.status == 200
        found = json.loads(raw[: int(reply.headers[HEADER_LENGTH_FIELD])])["outputs"]
        assert [output["name"] for output in found] == wanted


def test_a_reply_says_how_long_it_took_and_which_bundle_gave_it(
    client: Client, bundle: Bundle
) -> None:
    frame = _frame()
    reply, _ = client.post(frame.body, _length(frame))
    spans = re.findall(r"(\w+);dur=([0-9]+\.[0-9]{3})", reply.headers["server-timing"])
    assert [name for name, _ in spans] == ["queue", "decode", "compute"]
    assert float(spans[2][1]) > 0
    assert reply.headers["edgewise-bundle"] == bundle.digest
    assert reply.headers["content-type"] == "application/octet-stream"
    assert "server" not in reply.headers


# Requests that lie


def test_another_bundle_is_a_conflict(client: Client, bundle: Bundle) -> None:
    frame = _frame(bundle="f" * 64)
    status, text = client.refused(frame.body, _length(frame))
    assert status == 409
    assert text == (
        f"expected a request for the bundle {bundle.digest[:12]}, which this server serves, found"
        " one for the bundle 'ffffffffffff'; connect to the server of your bundle, or download"
        " this one"
    )


@pytest.mark.parametrize("route", ["nowhere", "local", "../x"])
def test_an_unknown_route_is_refused_with_the_known_ones(client: Client, route: str) -> None:
    frame = _frame(route=route.replace("/", "-"))
    status, text = client.refused(frame.body, _length(frame))
    assert status == 400
    assert text.startswith("expected a request for one of the routes split-fp32, split-fp16")


def test_tensors_of_another_route_are_refused(client: Client) -> None:
    frame = _frame(route="split-fp32")
    status, text = client.refused(frame.body, _length(frame))
    assert (status, "expected the tensors feature, found image" in text) == (400, True)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"shape": [1, 3, 16, 17]}, "binary_data_size 3264"),
        ({"shape": [2**31]}, "sizes from 1 to 2^31"),
        ({"shape": [2**30] * 8}, "binary_data_size"),
        ({"shape": [-1]}, "sizes from 1"),
        ({"shape": [1.0]}, "sizes from 1"),
        ({"shape": [1, 3, 256]}, "float32[1, 3, 16, 16]"),
        ({"datatype": "FP16"}, "binary_data_size 1536"),
        ({"datatype": "BYTES"}, "a known datatype"),
        ({"datatype": "INT32"}, "which none of them takes"),
        ({"name": "other"}, "which none of them takes"),
        ({"name": "x" * 300}, "a tensor name"),
        ({"parameters": {}}, "binary_data_size"),
        ({"parameters": {"shared_memory_region": "x"}}, "binary_data_size"),
        ({"parameters": {"binary_data_size": 3073}}, "binary_data_size 3072"),
        ({"parameters": {"binary_data_size": 10**12}}, "binary_data_size 3072"),
    ],
)
def test_lying_tensors_are_refused(
    client: Client, changes: dict[str, object], message: str
) -> None:
    body, fields = _with_header(_declared(**changes), _image().tobytes())
    status, text = client.refused(body, fields)
    assert (status, message in text) == (400, True), text


@pytest.mark.parametrize(
    "header",
    [
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe\x00",
        b'{"inputs": NaN}',
        b'{"inputs": [], "inputs": []}',
        b"[" * 60_000,
        b'{"inputs": []}',
        b'{"inputs": {}}',
        b'{"id": 7, "inputs": [1]}',
        json.dumps(_declared() | {"parameters": {"route": ["a"]}}).encode(),
        json.dumps(_declared() | {"parameters": {"route": 7}}).encode(),
        json.dumps(_declared() | {"outputs": {}}).encode(),
        json.dumps(_declared() | {"outputs": ["logits"]}).encode(),
        json.dumps(_declared() | {"outputs": [{"name": "logits"}] * 2}).encode(),
    ],
)
def test_garbage_headers_are_refused(client: Client, header: bytes) -> None:
    body, fields = _with_header(header, _image().tobytes() if header[:2] == b'{"' else b"")
    assert client.refused(body, fields)[0] == 400


def test_an_unknown_output_is_refused_with_the_known_ones(client: Client) -> None:
    body, fields = _with_header(_declared() | {"outputs": [{"name": "y"}]}, _image().tobytes())
    status, text = client.refused(body, fields)
    assert status == 400
    assert text == (
        "expected outputs among logits, means, found 'y'; leave 'outputs' out to get all of them"
    )


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"binary_data": 1}, "expected true or false for binary_data, found int"),
        ({"classification": 2}, "expected the output 'logits' as a tensor, found the parameter"),
        ({"shared_memory_region": "r"}, "found 'shared_memory_region'"),
    ],
)
def test_outputs_in_another_form_are_refused(
    client: Client, parameters: dict[str, object], message: str
) -> None:
    outputs = {"outputs": [{"name": "logits", "parameters": parameters}]}
    status, text = client.refused(*_with_header(_declared() | outputs, _image().tobytes()))
    assert (status, message in text) == (400, True)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_none_are_refused(client: Client, value: float) -> None:
    image = _image()
    image[0, 1, 2, 3] = value
    frame = encode_request(Message(tensors={"image": image}))
    status, text = client.refused(frame.body, _length(frame))
    assert (status, "NaN or infinity" in text) == (400, True)


def _png(width: int, height: int) -> bytes:
    pixels = np.zeros((height, width, 3), np.uint8)
    return encode_pixels(pixels, PixelCodec.PNG)


def _pixel_bomb() -> bytes:
    """A PNG whose header claims 30 000 x 30 000 pixels."""
    png = bytearray(_png(16, 16))
    png[16:24] = struct.pack(">II", 30_000, 30_000)
    return bytes(png)


@pytest.mark.parametrize(
    ("route", "data"),
    [
        ("cloud-png", b"not an image"),
        ("cloud-png", _png(17, 16)),
        ("cloud-png", _pixel_bomb()),
        ("cloud-png", _png(16, 16)[:40]),
        ("cloud-jpeg", _png(16, 16)),
        ("cloud-webp", b"RIFF\xff\xff\xff\xffWEBPVP8 "),
    ],
)
def test_bad_images_are_refused(client: Client, route: str, data: bytes) -> None:
    tensors = {"image": np.frombuffer(data, np.uint8)}
    frame = encode_request(Message(tensors=tensors, parameters={"route": route}))
    assert client.refused(frame.body, _length(frame))[0] == 400


# Bodies that lie


@pytest.mark.parametrize("length", ["", "0", "-1", "1e3", "99999", "4000000000", "٣"])
def test_a_wrong_header_length_is_refused(server: RunningServer, length: str) -> None:
    frame = _frame()
    head = f"POST {INFER} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(frame.body)}\r\n"
    raw = f"{head}{HEADER_LENGTH_FIELD}: {length}\r\n\r\n".encode() + frame.body
    status, text = _exchange(server, raw)
    assert (status, HEADER_LENGTH_FIELD in text or "HTTP/1.1" in text) == (400, True)


def test_binary_tensors_without_a_header_length_are_refused(client: Client) -> None:
    status, text = client.refused(_frame().body, {})
    assert (status, "expected valid JSON in the request" in text) == (400, True)


def test_a_missing_content_length_is_refused(server: RunningServer) -> None:
    head = f"POST {INFER} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    status, text = _exchange(server, head.encode() + b"5\r\nhello\r\n0\r\n\r\n")
    assert status == 411
    assert text == (
        "expected a Content-Length, found none; send the body's length ahead of it, not in chunks"
    )


def test_an_oversized_body_is_refused_before_it_is_sent(server: RunningServer) -> None:
    head = f"POST {INFER} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {10**12}\r\n\r\n"
    status, text = _exchange(server, head.encode())
    assert (status, "expected a body of at most" in text) == (413, True)


def test_an_oversized_body_is_refused_after_it_is_sent(client: Client) -> None:
    status, _ = client.refused(bytes(5_000_000), {HEADER_LENGTH_FIELD: "10"})
    assert status == 413
    assert client.get("/v2/health/live")[0] == 200  # on the same connection


@pytest.mark.parametrize("encoding", ["zstd", "gzip, gzip", "br"])
def test_a_body_compressed_in_another_way_is_refused(client: Client, encoding: str) -> None:
    frame = _frame()
    fields = _length(frame) | {"Content-Encoding": encoding}
    status, text = client.refused(frame.body, fields)
    assert status == 415
    assert text == (
        "expected a body as it is, or one of gzip or deflate, found another Content-Encoding;"
        " send the frame as it is"
    )


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_a_body_that_is_no_stream_is_refused(client: Client, encoding: str) -> None:
    frame = _frame()
    status, text = client.refused(frame.body, _length(frame) | {"Content-Encoding": encoding})
    assert (status, f"one whole {encoding} stream" in text) == (400, True)


@pytest.mark.parametrize("lengths", ["5\r\nContent-Length: 6", "+5", "0x10", "9" * 30])
def test_ambiguous_lengths_are_refused(server: RunningServer, lengths: str) -> None:
    head = f"POST {INFER} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {lengths}\r\n\r\n"
    assert _exchange(server, head.encode())[0] == 400


def test_a_slow_body_is_refused(server: RunningServer) -> None:
    frame = _frame()
    with _connect(server) as connection:
        connection.sendall(_request(frame)[:-10])
        status, text = _read_reply(connection)
        assert status == 408
        assert text == (
            "expected the whole body within 1 s, found less; send less, or answer on the device"
        )
        assert connection.recv(1) == b""  # and the connection is closed


def test_a_truncated_body_leaves_the_server_alive(server: RunningServer, client: Client) -> None:
    for _ in range(5):
        with _connect(server) as connection:
            connection.sendall(_request(_frame())[:-10])
    client.infer({"image": _image()})


def test_an_endless_head_is_refused(server: RunningServer) -> None:
    for line in (b"GET /" + b"a" * 100_000, b"GET / HTTP/1.1\r\nX: " + b"a" * 100_000):
        with _connect(server) as connection:
            connection.sendall(line)
            assert _read_reply(connection)[0] == 431


def test_a_slow_or_silent_head_ends_the_connection(server: RunningServer) -> None:
    with _connect(server) as silent, _connect(server) as slow:
        slow.sendall(b"GET /v2 HTTP/1.1\r\nHost: loc")
        assert (silent.recv(1), slow.recv(1)) == (b"", b"")


def test_what_is_no_http_is_refused(server: RunningServer) -> None:
    status, text = _exchange(server, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n")
    assert status == 400
    assert text == (
        "expected an HTTP/1.1 request, found something else; send what the Open Inference"
        " Protocol describes"
    )


# Foreign hosts and pages


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("LOCALHOST:8000", 200),
        ("127.0.0.1:1", 200),
        ("[::1]:8000", 200),
        ("evil.example", 421),
        ("127.0.0.1.evil.example", 421),
        ("localhost:80:80", 400),
        ("localhost@evil.example", 400),
        ("", 400),
    ],
)
def test_only_known_hosts_are_answered(server: RunningServer, host: str, status: int) -> None:
    raw = f"GET /v2/health/live HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
    found, text = _exchange(server, raw)
    assert found == status
    assert ("--allow-host NAME" in text) == (status == 421)


def test_fields_behind_a_body_have_a_bound_too(server: RunningServer) -> None:
    head = f"POST {INFER} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"
    field = b"a: " + b"b" * 60_000 + b"\r\n"
    with _connect(server) as connection:
        connection.sendall(head.encode())
        assert _read_reply(connection)[0] == 411
        with contextlib.suppress(ConnectionError):
            for _ in range(1000):
                connection.sendall(field)
            pytest.fail("it took 60 MB of fields")


def test_a_request_close_behind_a_long_body_is_answered(server: RunningServer) -> None:
    """The body does not count as part of the next head, however the bytes were cut."""
    frame = encode_request(Message(tensors={"image": _image()}))
    raw = _request(frame)
    count = 200_000 // len(raw)
    with _connect(server) as connection:
        connection.sendall(raw * count + raw[:50])
        found = b""
        while found.count(b"HTTP/1.1 ") < count:
            found += connection.recv(100_000)
    assert found.count(b"HTTP/1.1 200") == count


def test_a_missing_or_repeated_host_is_refused(server: RunningServer) -> None:
    for hosts in ("", "Host: localhost\r\n" * 2):
        raw = f"GET /v2/health/live HTTP/1.1\r\n{hosts}\r\n".encode()
        status, text = _exchange(server, raw)
        assert (status, text) == (
            400,
            "expected one Host header, found none, several or a malformed one; send the name and"
            " port that the server was asked under",
        )


@pytest.mark.parametrize("path", [f"{INFER}%0A", "/v2/health/live%0A", "/v2%0A"])
def test_a_line_break_behind_a_path_makes_it_another_one(client: Client, path: str) -> None:
    """Or the layers would know neither what is asked for nor which limits hold."""
    reply, _ = client.post(b"{}", {}, path)
    assert reply.status == 404


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "https://localhost", ""])
def test_foreign_pages_are_refused(client: Client, origin: str) -> None:
    status, data = client.get("/v2", {"Origin": origin})
    assert (status, data["error"]) == (
        403,
        "expected no Origin header, or the server's own, found another one; ask from a program,"
        " not from a page of another site",
    )


def test_its_own_pages_are_answered(client: Client) -> None:
    assert client.get("/v2", {"Origin": f"http://{client.address}"})[0] == 200


# Life and death


def test_mutated_requests_leave_it_alive_and_small(server: RunningServer, client: Client) -> None:
    rng = np.random.default_rng(7)
    raw = _request(_frame())
    for _ in range(50):  # the first requests of any kind load code
        _provoke(server, _mutate(raw, rng))
    before = _resident_bytes(server.pid)
    statuses = [_provoke(server, _mutate(raw, rng)) for _ in range(200)]
    assert not [status for status in statuses if status is not None and status >= 500]
    assert any(status == 400 for status in statuses)
    client.infer({"image": _image()})
    assert _resident_bytes(server.pid) - before < 8_000_000


def test_sigterm_finishes_what_is_under_way(bundle: Bundle) -> None:
    raw = _request(_frame())
    with server_process(bundle.path) as running, _connect(running) as connection:
        connection.sendall(raw[:-10])
        time.sleep(0.1)
        os.kill(running.pid, signal.SIGTERM)
        time.sleep(0.3)
        with pytest.raises(OSError, match="refused"):
            _connect(running)
        connection.sendall(raw[-10:])
        assert connection.recv(12) == b"HTTP/1.1 200"


def test_health_is_answered_while_a_network_runs(tmp_path: Path) -> None:
    bundle = tiny.write_heavy_bundle(tmp_path / "heavy")
    frame = encode_request(Message(tensors={"x": np.zeros(1, np.float32)}))
    order: list[str] = []

    def infer(running: RunningServer) -> None:
        with Client(running) as client:
            reply, _ = client.post(frame.body, _length(frame), "/v2/models/heavy/infer")
            order.append(f"infer {reply.status}")

    with server_process(bundle.path) as running, Client(running) as client:
        thread = threading.Thread(target=infer, args=(running,))
        thread.start()
        time.sleep(0.1)
        order.append(f"health {client.get('/v2/health/live')[0]}")
        thread.join(60)
    assert order == ["health 200", "infer 200"]


def _connect(server: RunningServer) -> socket.socket:
    host, _, port = server.url.removeprefix("http://").rpartition(":")
    return socket.create_connection((host, int(port)), timeout=20)


def _request(frame: Frame) -> bytes:
    head = f"POST {INFER} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(frame.body)}\r\n"
    return f"{head}{HEADER_LENGTH_FIELD}: {frame.header_bytes}\r\n\r\n".encode() + frame.body


def _exchange(server: RunningServer, raw: bytes) -> tuple[int, str]:
    with _connect(server) as connection:
        connection.sendall(raw)
        return _read_reply(connection)


def _read_reply(connection: socket.socket) -> tuple[int, str]:
    reply = http.client.HTTPResponse(connection)
    reply.begin()
    data = json.loads(reply.read())
    return reply.status, data.get("error", "")


def _mutate(raw: bytes, rng: np.random.Generator) -> bytes:
    data = bytearray(raw)
    # Half of the changes hit the request line and both headers, half the tensor.
    limit = 400 if rng.random() < 0.5 else len(data)
    for _ in range(int(rng.integers(1, 5))):
        start = int(rng.integers(0, limit))
        end = min(len(data), start + int(rng.integers(1, 30)))
        kind = rng.integers(0, 4)
        if kind == 0:
            data[start:end] = rng.bytes(end - start)
        elif kind == 1:
            del data[start:end]
        elif kind == 2:
            data[start:start] = data[start:end]
        else:
            data[start:end] = bytes(end - start)
    return bytes(data)


def _provoke(server: RunningServer, raw: bytes) -> int | None:
    """The status of the answer, or nothing when the server rightly waits for more."""
    with _connect(server) as connection:
        connection.sendall(raw)
        connection.settimeout(0.1)
        try:
            start = connection.recv(12)
        except (TimeoutError, ConnectionResetError):
            return None
    assert re.fullmatch(rb"HTTP/1\.1 [1-5][0-9]{2}", start)
    return int(start[-3:])


def _resident_bytes(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) * 1024
