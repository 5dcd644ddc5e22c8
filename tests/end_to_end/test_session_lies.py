"""Sessions whose server lies, dawdles or talks nonsense: the device answers, and says why."""

from __future__ import annotations

import gc
import gzip
import json
import re
import socket
import struct
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from command_line import refused, type_command
from edgewise.bounds import Bound
from edgewise.bundle import Bundle
from edgewise.errors import LinkFailed
from edgewise.running import HttpLink, Options, Request, connect
from edgewise.trace import SpanKind
from edgewise.wire import HEADER_LENGTH_FIELD, Message, max_frame_bytes
from session_bundles import image, logits_of, session_bundle
from session_servers import (
    HUGE,
    Behaviour,
    LyingServer,
    Seen,
    answer,
    error,
    greet_as,
    http,
    outputs,
    reply,
    trickle,
)
from unit.serving import tiny_bundle as tiny

pytestmark = [pytest.mark.net, pytest.mark.engine]
HALF_A_SECOND = Options(timeout_s=0.5)
LIE = 1234.5


@dataclass(slots=True)
class Clock:
    """The real clock, and time that a test skips."""

    skipped_s: float = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.skipped_s


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("lies") / "bundle"
    return session_bundle(folder, "split-fp32", "local")


@pytest.fixture
def lying(bundle: Bundle) -> Iterator[LyingServer]:
    with LyingServer(greet=greet_as(bundle), infer=answer(reply())).running() as server:
        yield server
    gc.collect()  # an open socket would warn now, and warnings are errors


def with_outputs(**changes: np.ndarray) -> dict[str, np.ndarray]:
    return outputs() | changes


def logits(*shape: int, dtype: str = "float32", value: float = LIE) -> np.ndarray:
    return np.full(shape, value, dtype)


def header_length(length: str) -> bytes:
    return reply(**{HEADER_LENGTH_FIELD: length})


def json_header(change: Mapping[str, object]) -> bytes:
    """A frame whose first tensor is declared otherwise than it is."""
    sound = reply().partition(b"\r\n\r\n")[2]
    end = sound.index(b"]}") + 2
    head = json.loads(sound[:end])
    head["outputs"][0] |= change
    raw = json.dumps(head).encode()
    return http(raw + sound[end:], **{HEADER_LENGTH_FIELD: str(len(raw))})


def break_off(raw: bytes, *, reset: bool = False) -> Behaviour:
    """Send this much, then hang up."""

    def behave(sock: socket.socket, seen: Seen) -> None:
        sock.sendall(raw)
        if reset:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        else:
            sock.shutdown(socket.SHUT_RDWR)
        raise OSError  # ends the connection

    return behave


def endless(head: bytes, piece: bytes) -> Behaviour:
    def behave(sock: socket.socket, seen: Seen) -> None:
        sock.sendall(head)
        while True:
            sock.sendall(piece)

    return behave


UNTIL_CLOSED = http(b"").replace(b"Content-Length: 0\r\n", b"Connection: close\r\n")
CHUNKED = http(b"").replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
LIMIT_BYTES = max_frame_bytes([Bound.exactly(spec) for spec in tiny.OUTPUTS])
TOO_LONG = f"the reply is longer than {LIMIT_BYTES} bytes"
UNSOUND = "an unsound reply: "
DEEP = http(b"[" * 5000, **{HEADER_LENGTH_FIELD: "5000"})
BROKE = "the connection broke"

LIES: dict[str, tuple[Behaviour, str]] = {
    "other shape": (
        answer(reply(with_outputs(logits=logits(5, 1)))),
        UNSOUND + r"expected float32\[1, 5\] for 'logits', found float32\[5, 1\]",
    ),
    "other size": (answer(reply(with_outputs(logits=logits(1, 6)))), UNSOUND + "expected fl.*"),
    "batch of two": (answer(reply(with_outputs(logits=logits(2, 5)))), UNSOUND + "expected fl.*"),
    "other type": (
        answer(reply(with_outputs(logits=logits(1, 5, dtype="float64")))),
        UNSOUND + r"expected float32\[1, 5\] for 'logits', found float64\[1, 5\]",
    ),
    "a tensor more": (
        answer(reply(with_outputs(extra=logits(1)))),
        UNSOUND + "expected the tensors logits, means, found logits, means, extra",
    ),
    "a tensor less": (
        answer(reply({"logits": logits(1, 5)})),
        UNSOUND + "expected the tensors logits, means, found logits",
    ),
    "other names": (
        answer(reply({"Logits": logits(1, 5), "means": logits(1, 4)})),
        UNSOUND + "expected the tensors logits, means, found Logits, means",
    ),
    "NaN": (
        answer(reply(with_outputs(logits=logits(1, 5, value=np.nan)))),
        UNSOUND + "NaN in 'logits'",
    ),
    "another request's": (answer(reply(id="4711")), UNSOUND + "it answers another request"),
    "declared too large": (
        answer(json_header({"parameters": {"binary_data_size": HUGE}})),
        UNSOUND + "expected binary_data_size 20 for 'logits', found 10{15}",
    ),
    "a huge shape": (
        answer(json_header({"shape": [2**30, 2**30]})),
        UNSOUND + "expected binary_data_size [0-9]+ for 'logits', found 20",
    ),
    "an escape in a name": (answer(json_header({"name": "\x1b[31m"})), UNSOUND + "[^\x1b]*"),
    "no JSON": (
        answer(http(b"{" * 60, **{HEADER_LENGTH_FIELD: "20"})),
        UNSOUND + "expected valid JSON in the frame's header, found .*",
    ),
    "deep JSON": (answer(DEEP), UNSOUND + ".*"),
    "no header length": (
        answer(reply(**{HEADER_LENGTH_FIELD: ""})),
        f"a reply without {HEADER_LENGTH_FIELD}",
    ),
    "a negative header length": (
        answer(header_length("-1")),
        f"a reply without {HEADER_LENGTH_FIELD}",
    ),
    "a header beyond the body": (
        answer(header_length("99999")),
        UNSOUND + "expected a header within the body's .*",
    ),
    "a header of any length": (
        answer(header_length("9" * 40)),
        f"a reply without {HEADER_LENGTH_FIELD}",
    ),
    "nothing": (answer(http(b"")), f"a reply without {HEADER_LENGTH_FIELD}"),
    "compressed": (answer(reply(Content_Encoding="gzip")), "answered"),
    "409": (
        answer(error("409 Conflict", "expected more, found less")),
        "the server answered 409: expected more, found less",
    ),
    "a gzip bomb": (
        answer(
            http(
                gzip.compress(bytes(10_000_000)),
                **{HEADER_LENGTH_FIELD: "99"},
                Content_Encoding="gzip",
            )
        ),
        UNSOUND + "expected valid JSON in the frame's header, found .*",
    ),
    "404": (answer(error("404 Not Found", "")), "the server answered 404"),
    "500 with escapes": (
        answer(error("500 Internal Server Error", "\x1b]0;title\x07 broken\nhere")),
        "the server answered 500:  ]0;title  broken here",
    ),
    "500 with a novel": (
        answer(error("500 Internal Server Error", "so " * 10_000)),
        "the server answered 500: (so ){99}so",
    ),
    "503 with HTML": (
        answer(http(b"<html>", status="503 Service Unavailable")),
        "the server answered 503",
    ),
    "204": (answer(http(b"", status="204 No Content")), "the server answered 204"),
    "garbage": (break_off(b"\x00\xff garbage\r\n\r\n"), "the reply is not HTTP"),
    "a status of letters": (break_off(b"HTTP/1.1 OK\r\n\r\n"), "the reply is not HTTP"),
    "a header line without end": (
        break_off(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000 + b"\r\n\r\n"),
        "the reply is not HTTP",
    ),
    "a thousand header fields": (
        answer(http(b"", **{f"X{i}": "x" for i in range(1000)})),
        "the reply is not HTTP",
    ),
    "two lengths": (
        answer(reply(content_length="7")),
        "the connection broke|the reply is not HTTP",
    ),
    "hangs up at once": (break_off(b""), BROKE),
    "resets at once": (break_off(b"", reset=True), BROKE),
    "hangs up in the headers": (break_off(reply()[:30]), f"{BROKE}|a reply without .*"),
    "hangs up in the body": (break_off(reply()[:-9]), BROKE),
    "resets in the body": (break_off(reply()[:-9], reset=True), BROKE),
    "a short body": (break_off(http(reply()[-60:], length=70)), BROKE),
    "a huge length": (answer(http(b"x", length=HUGE)), TOO_LONG),
    "a little too long": (answer(http(b"x" * (LIMIT_BYTES + 1))), TOO_LONG),
    "a body without end": (endless(UNTIL_CLOSED, b"x" * 65_536), TOO_LONG),
    "chunks without end": (endless(CHUNKED, b"8000\r\n" + b"x" * 32_768 + b"\r\n"), TOO_LONG),
    "a huge chunk": (endless(CHUNKED + b"FFFFFFFFFFFF\r\n", b"x" * 65_536), TOO_LONG),
    "a chunk of letters": (break_off(CHUNKED + b"zz\r\n"), BROKE),
    "100 without end": (
        endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100),
        "no answer within 0.50 s",
    ),
    "silence": (lambda sock, seen: time.sleep(0), "no answer within 0.50 s"),
    "headers in drops": (
        trickle(b"HTTP/1.1 200 OK\r\nX: x"),
        "no answer within 0.50 s",
    ),
    "a body in drops": (
        trickle(http(b"x", length=60_000, **{HEADER_LENGTH_FIELD: "99"})),
        "no answer within 0.50 s",
    ),
    "chunks in drops": (
        trickle(CHUNKED + b"9\r\n" + b"1\r\nx\r\n" * 10_000),
        "no answer within 0.50 s|the connection broke",
    ),
}


@pytest.mark.parametrize("name", LIES)
def test_a_lie_is_answered_from_the_device_and_told(
    bundle: Bundle, lying: LyingServer, name: str
) -> None:
    behave, why = LIES[name]
    clock = Clock()
    with connect(bundle, lying.url, options=HALF_A_SECOND, clock=clock) as session:
        lying.infer = behave
        first = session.run(image())
        lying.infer = answer(reply())
        resting = session.run(image())
        clock.skipped_s += 1
        honest = session.run(image())
    if name == "compressed":
        # The bytes are what they are, whatever the header field claims.
        assert first.inference_source.kind == "split"
        return
    assert re.fullmatch(rf"the cloud failed \(({why})\)", first.inference_source.reason), (
        first.inference_source.reason
    )
    for one in (first, resting):
        np.testing.assert_allclose(one.outputs["logits"], logits_of(image()), rtol=1e-4)
        assert one.inference_source.kind == "local"
        assert sum(span.duration_s for span in one.trace.spans) <= one.trace.total_s
    assert resting.inference_source.reason.startswith("the cloud is offline (")
    assert honest.inference_source.kind == "split"
    assert (honest.outputs["logits"] == LIE).all()


@pytest.mark.parametrize("status", ["301", "302", "303", "307", "308"])
def test_a_redirect_is_not_followed(bundle: Bundle, lying: LyingServer, status: str) -> None:
    other = LyingServer(greet=greet_as(bundle), infer=answer(reply()))
    with other.running(), connect(bundle, lying.url) as session:
        where = f"{other.url}/v2/models/tiny/infer"
        lying.infer = answer(http(b"", status=f"{status} Elsewhere", Location=where))
        one = session.run(image())
    reason = f"the cloud failed (the server answered {status}: it sends us elsewhere)"
    assert one.inference_source.reason == reason
    assert other.connections == 0


@pytest.mark.parametrize(
    "name",
    ["a huge length", "a body without end", "chunks without end", "a huge chunk", "a gzip bomb"],
)
def test_an_oversized_reply_is_refused_without_room_for_it(
    bundle: Bundle, lying: LyingServer, name: str
) -> None:
    behave, why = LIES[name]
    with connect(bundle, lying.url, options=Options(timeout_s=20)) as session:
        session.run(image())
        lying.infer = behave
        tracemalloc.start()
        try:
            one = session.run(image())
            peak_bytes = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert re.search(why, one.inference_source.reason)
    assert peak_bytes < 4_000_000


def test_a_server_that_exaggerates_its_times_does_not_stretch_the_trace(
    bundle: Bundle, lying: LyingServer
) -> None:
    lying.infer = answer(
        reply(Server_Timing="queue;dur=999999999, compute;dur=999999999, total;dur=999999999")
    )
    with connect(bundle, lying.url) as session:
        trace = session.run(image()).trace
    assert sum(span.duration_s for span in trace.spans) <= trace.total_s
    assert trace.seconds_of(SpanKind.UPLOAD) == 0


@pytest.mark.parametrize("timing", ["", "compute", "compute;dur=-1", ";;;,,,="])
def test_times_that_make_no_sense_are_ignored(
    bundle: Bundle, lying: LyingServer, timing: str
) -> None:
    lying.infer = answer(reply(Server_Timing=timing))
    with connect(bundle, lying.url) as session:
        trace = session.run(image()).trace
    assert trace.seconds_of(SpanKind.CLOUD) == 0


def test_requests_share_one_connection_and_say_what_they_are(
    bundle: Bundle, lying: LyingServer
) -> None:
    with connect(bundle, lying.url) as session:
        for seed in range(3):
            session.run(image(seed))
    assert lying.connections == 1
    assert [seen.line for seen in lying.seen] == [
        "GET /v2/models/tiny HTTP/1.1",
        *["POST /v2/models/tiny/infer HTTP/1.1"] * 3,
    ]
    assert [seen.id for seen in lying.seen[1:]] == ["1", "2", "3"]


def test_a_connection_that_said_too_much_is_not_used_again(
    bundle: Bundle, lying: LyingServer
) -> None:
    first_read = threading.Event()

    def behave(sock: socket.socket, seen: Seen) -> None:
        sock.sendall(reply())
        first_read.wait(20)
        sock.sendall(reply(with_outputs(logits=logits(1, 5, value=-1))))

    lying.infer = behave
    with connect(bundle, lying.url) as session:
        session.run(image())
        first_read.set()
        time.sleep(0.1)  # more arrives, which nobody asked for
        one = session.run(image())
    assert lying.connections == 2
    assert (one.outputs["logits"] == LIE).all()


def test_a_reply_after_its_time_out_answers_nobody(bundle: Bundle, lying: LyingServer) -> None:
    clock, late = Clock(), threading.Event()

    def behave(sock: socket.socket, seen: Seen) -> None:
        if seen.id == "1":
            late.wait(20)
        sock.sendall(reply(with_outputs(logits=logits(1, 5, value=float(seen.id)))))

    lying.infer = behave
    with connect(bundle, lying.url, options=HALF_A_SECOND, clock=clock) as session:
        first = session.run(image())
        clock.skipped_s += 1
        second = session.run(image())
        late.set()
        third = session.run(image())
    assert first.inference_source.kind == "local"
    assert second.outputs["logits"][0, 0] == 2
    assert third.outputs["logits"][0, 0] == 3


@pytest.mark.parametrize("name", ["silence", "headers in drops", "a body in drops"])
def test_nobody_is_left_waiting_after_a_time_out(
    bundle: Bundle, lying: LyingServer, name: str
) -> None:
    lying.infer, _ = LIES[name]
    clock = Clock()
    with connect(bundle, lying.url, options=Options(timeout_s=0.2), clock=clock) as session:
        for _ in range(4):
            session.run(image())
            clock.skipped_s += 30
        assert _senders() <= 1  # the last one may still be on its way out
    for _ in range(200):
        if not _senders():
            return
        time.sleep(0.01)
    raise AssertionError("a thread still waits for a server that was given up")


def test_a_process_ends_although_its_server_does_not(bundle: Bundle, lying: LyingServer) -> None:
    lying.infer, _ = LIES["headers in drops"]
    script = (
        "import sys, numpy as np\n"
        "from edgewise.running import Options, connect\n"
        "s = connect(sys.argv[1], sys.argv[2], options=Options(timeout_s=0.2))\n"
        "x = np.zeros((1, 3, 16, 16), np.float32)\n"
        "s._equipment.link.close = lambda: None\n"  # not even cutting the connection helps
        "print(s.run(x).inference_source.reason)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(bundle.path), lying.url],
        capture_output=True,
        text=True,
        timeout=60,
        env={"PYTHONPATH": str(Path(__file__).parents[2] / "src")},
        check=False,
    )
    assert done.stdout == "the cloud failed (no answer within 0.20 s)\n"
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    "name",
    ["other shape", "NaN", "another request's", "garbage", "a gzip bomb", "500 with escapes"],
)
def test_where_the_device_cannot_answer_the_lie_is_told_in_one_paragraph(
    tmp_path: Path, name: str
) -> None:
    alone = session_bundle(tmp_path / "bundle", "split-fp32", fallback=False)
    np.save(tmp_path / "x.npy", image())
    behave, why = LIES[name]
    with LyingServer(greet=greet_as(alone), infer=behave).running() as server:
        words = ("run", alone.path, tmp_path / "x.npy", "--server", server.url)
        typed = type_command(*words)
    refused(
        typed,
        said=f"expected an answer from the server at {server.url}, since the device has none of"
        f" its own, found {why}; check the server and the way to it, or plan a bundle with",
    )
    assert len(typed.err.splitlines()) == 1


# Any bytes at all


@given(st.one_of(st.binary(max_size=200), st.data()))
@settings(max_examples=150)
def test_any_bytes_at_all_end_in_a_reply_or_in_one_error(
    fuzzed: FuzzedServer, raw: object
) -> None:
    if not isinstance(raw, bytes):
        raw = _mutated(raw)
    reason = fuzzed.ask(raw)
    assert reason.isprintable()
    assert len(reason) < 500


class FuzzedServer:
    """Sends what it is told, then hangs up; asked over one link."""

    def __init__(self, server: LyingServer) -> None:
        self._server = server
        self._link = HttpLink(server.url)
        message = Message(
            tensors={"feature": np.zeros(tiny.FEATURE.concrete(), np.float32)}, id="1"
        )
        self._request = Request(
            message=message,
            model="tiny",
            reply_bounds=tuple(map(Bound.exactly, tiny.OUTPUTS)),
            timeout_s=20,
        )

    def ask(self, raw: bytes) -> str:
        """Why there was no reply, if there was none."""
        self._server.infer = break_off(raw)
        try:
            self._link.send(self._request)
        except LinkFailed as failed:
            return failed.reason
        return ""

    def close(self) -> None:
        self._link.close()


@pytest.fixture(scope="module")
def fuzzed(bundle: Bundle) -> Iterator[FuzzedServer]:
    with LyingServer(greet=greet_as(bundle), infer=answer(b"")).running() as server:
        asked = FuzzedServer(server)
        yield asked
        asked.close()


def _mutated(data: st.DataObject) -> bytes:
    raw = bytearray(data.draw(st.sampled_from([reply(), CHUNKED + b"5\r\nhello\r\n0\r\n\r\n"])))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(raw) - 1))
        raw[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=4))
    return bytes(raw)


def _senders() -> int:
    return sum(thread.name == "edgewise-send" for thread in threading.enumerate())
