"""Sessions with a real server process: routes, policies, traces; a cloud that comes and goes."""

from __future__ import annotations

import contextlib
import gc
import os
import re
import signal
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from edgewise.bundle import Bundle
from edgewise.errors import BadInput, LinkFailed
from edgewise.running import Answer, Options, Policy, Session, connect
from edgewise.serving import RunningServer, server_process
from edgewise.shaping import OutageMode, shaped
from edgewise.specs import LinkSpec, Provenance
from edgewise.trace import SpanKind
from session_bundles import AGREEMENT, REMOTE, image, logits_of, photo, session_bundle
from session_servers import LyingServer, answer, error, greet_as, http
from unit.serving import tiny_bundle as tiny

pytestmark = [pytest.mark.net, pytest.mark.engine]
EXACT = ("split-fp32", "cloud-raw", "cloud-png", "local")
FAST = LinkSpec(
    name="a fast link", provenance=Provenance(source="user-supplied", date="2026-11-21")
)


@dataclass(slots=True)
class Clock:
    """The real clock, and time that a test skips."""

    skipped_s: float = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.skipped_s

    @contextlib.contextmanager
    def stopped(self) -> Iterator[None]:
        """What happens within takes no time."""
        start_s = self()
        yield
        self.skipped_s -= self() - start_s


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("session") / "bundle"
    return session_bundle(folder, *REMOTE, "local")


@pytest.fixture(scope="module")
def server(bundle: Bundle) -> Iterator[RunningServer]:
    with server_process(bundle.path) as running:
        yield running


@pytest.fixture
def split(tmp_path: Path) -> Bundle:
    return session_bundle(tmp_path / "bundle", "split-fp32", "local")


@pytest.fixture(autouse=True)
def _nothing_left_open() -> Iterator[None]:
    yield
    gc.collect()  # an open socket would warn now, and warnings are errors


def check(answer: Answer, value: np.ndarray) -> None:
    """The answer is the network's, and its trace adds up."""
    exact = answer.inference_source.route in EXACT
    np.testing.assert_allclose(
        answer.outputs["logits"], logits_of(value), rtol=1e-4, atol=1e-5 if exact else 0.2
    )
    trace = answer.trace
    assert sum(span.duration_s for span in trace.spans) <= trace.total_s
    ends_s = [span.start_s + span.duration_s for span in trace.spans]
    assert max(ends_s) <= trace.total_s + 1e-9
    starts_s = [span.start_s for span in trace.spans]
    assert starts_s == sorted(starts_s)


def remote(answer: Answer) -> bool:
    return answer.inference_source.kind != "local"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


# Routes


@pytest.mark.parametrize("route", [*REMOTE, "local"])
@pytest.mark.parametrize("make", [image, photo])
def test_every_route_answers_as_the_whole_network_does(
    tmp_path: Path, route: str, make: object
) -> None:
    value = make()
    pixels_only = route in ("cloud-png", "cloud-jpeg", "cloud-webp")
    one = session_bundle(tmp_path / "bundle", route, *([] if route == "local" else ["local"]))
    with contextlib.ExitStack() as stack:
        url = None if route == "local" else stack.enter_context(server_process(one.path)).url
        session = stack.enter_context(connect(one.path, url, options=Options(link=FAST)))
        answer = session.run(value)
    check(answer, value)
    wanted = "local" if pixels_only and make is image else route
    assert answer.inference_source.route == wanted
    assert list(answer.outputs) == ["logits", "means"]


def test_the_trace_says_where_the_time_and_the_bytes_went(
    bundle: Bundle, server: RunningServer
) -> None:
    with connect(bundle, server.url) as session:
        answer = session.run(image())
    trace = answer.trace
    assert [span.kind for span in trace.spans] == [
        SpanKind.PREPARE,
        SpanKind.DEVICE,
        SpanKind.UPLOAD,
        SpanKind.QUEUE,
        SpanKind.CLOUD,
        SpanKind.DOWNLOAD,
    ]
    assert trace.seconds_of(SpanKind.CLOUD) > 0
    assert trace.seconds_of(SpanKind.UPLOAD) > 0
    assert trace.up_bytes > tiny.FEATURE.nbytes()
    assert trace.down_bytes > sum(spec.nbytes() for spec in tiny.OUTPUTS)
    assert trace.bundle_digest == bundle.digest
    assert trace.route == answer.inference_source.route == "split-fp32"
    assert trace.reason == answer.inference_source.reason == "the planner's first choice"


def test_on_a_slow_link_the_time_and_the_smaller_payload_show(
    bundle: Bundle, server: RunningServer
) -> None:
    slow = LinkSpec(
        name="slow",
        up_bytes_per_s=40_000,
        down_bytes_per_s=400_000,
        rtt_s=0.02,
        provenance=FAST.provenance,
    )
    host, port = server.url.removeprefix("http://").split(":")
    with shaped((host, int(port)), slow) as link, connect(bundle, link.url) as session:
        answers = [session.run(image()) for _ in range(2)]
        crossed = link.stats()
    trace = answers[1].trace
    assert trace.seconds_of(SpanKind.UPLOAD) > trace.seconds_of(SpanKind.CLOUD)
    assert trace.seconds_of(SpanKind.UPLOAD) >= trace.up_bytes / slow.up_bytes_per_s
    assert crossed.up_bytes >= sum(answer.trace.up_bytes for answer in answers)
    assert crossed.down_bytes >= sum(answer.trace.down_bytes for answer in answers)
    assert crossed.connections == 1


def test_a_local_answer_has_its_own_span_and_sends_nothing(bundle: Bundle) -> None:
    with connect(bundle, None) as session:
        answer = session.run(image(), deadline_s=60)
    assert [span.kind for span in answer.trace.spans] == [SpanKind.PREPARE, SpanKind.LOCAL]
    assert (answer.trace.up_bytes, answer.trace.down_bytes) == (0, 0)
    assert answer.inference_source.agreement == AGREEMENT.value
    assert answer.deadline_met is True


def test_a_deadline_in_the_past_is_not_met(bundle: Bundle) -> None:
    with connect(bundle, None) as session:
        assert session.run(image(), deadline_s=0).deadline_met is False
        assert session.run(image()).deadline_met is None


def test_the_time_in_the_queue_of_threads_counts(bundle: Bundle) -> None:
    options = Options(slowdown=2000)
    with connect(bundle, None, options=options) as session, ThreadPoolExecutor(3) as pool:
        traces = [a.trace for a in pool.map(session.run, [image()] * 3)]
    totals = sorted(trace.total_s for trace in traces)
    runs = sum(trace.seconds_of(SpanKind.LOCAL) for trace in traces)
    assert totals[-1] > runs * 0.9


def test_many_threads_each_get_their_own_answer(bundle: Bundle, server: RunningServer) -> None:
    values = [image(seed) for seed in range(24)]
    with connect(bundle, server.url) as session, ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(session.run, values))
    for one, value in zip(answers, values, strict=True):
        check(one, value)
        assert remote(one)
    assert len({one.trace.request_id for one in answers}) == len(values)


# Policies


def test_on_device_policy_opens_no_connection(bundle: Bundle) -> None:
    options = Options(policy=Policy.ONLY_ON_DEVICE)
    lying = LyingServer(greet=greet_as(bundle), infer=answer(b""))
    with lying.running(), connect(bundle, lying.url, options=options) as session:
        check(session.run(image()), image())
    assert lying.connections == 0


def test_a_bundle_without_remote_routes_opens_no_connection(tmp_path: Path) -> None:
    local = session_bundle(tmp_path / "bundle", "local")
    lying = LyingServer(greet=greet_as(local), infer=answer(b""))
    with lying.running(), connect(local, lying.url) as session:
        assert session.run(image()).inference_source.reason == ("the only route that can be taken")
    assert lying.connections == 0


@pytest.mark.parametrize(
    ("policy", "stays", "route"),
    [
        (Policy.AUTO, False, "cloud-jpeg"),
        (Policy.AUTO, True, "split-fp32"),
        (Policy.PREFER_ON_DEVICE, False, "local"),
        (Policy.PREFER_IN_CLOUD, False, "cloud-jpeg"),
        (Policy.ONLY_IN_CLOUD, True, "split-fp32"),
        (Policy.ONLY_ON_DEVICE, True, "local"),
    ],
)
@pytest.mark.parametrize("link", [None, FAST])
def test_policies(
    tmp_path: Path, policy: Policy, stays: bool, route: str, link: LinkSpec | None
) -> None:
    three = session_bundle(tmp_path / "bundle", "cloud-jpeg", "split-fp32", "local")
    options = Options(policy=policy, raw_input_stays=stays, link=link)
    with server_process(three.path) as server, connect(three, server.url, options=options) as s:
        one = s.run(photo())
    assert one.inference_source.route == route
    assert (str(policy) in one.inference_source.reason) is (policy is not Policy.AUTO)


def test_only_in_cloud_never_answers_from_the_device(bundle: Bundle) -> None:
    options = Options(policy=Policy.ONLY_IN_CLOUD)
    with connect(bundle, f"http://127.0.0.1:{free_port()}", options=options) as session:
        for _ in range(2):
            with pytest.raises(LinkFailed, match=r"^the connection was refused$"):
                session.run(image())


def test_a_route_for_photos_alone_refuses_arrays(tmp_path: Path) -> None:
    photos = session_bundle(tmp_path / "bundle", "cloud-png", fallback=False)
    with server_process(photos.path) as server, connect(photos, server.url) as session:
        check(session.run(photo()), photo())
        with pytest.raises(BadInput, match=r"expected a photo, since .*, found arrays; pass"):
            session.run(image())
        check(session.run(photo()), photo())


# Servers of something else


def test_a_server_of_another_bundle_is_refused(tmp_path: Path, server: RunningServer) -> None:
    other = session_bundle(tmp_path / "bundle", "split-fp32", "local", seed=1)
    with pytest.raises(BadInput, match=rf"expected the bundle {other.digest[:12]} at .*start: "):
        connect(other, server.url)


def test_a_server_of_another_model_is_refused(tmp_path: Path, server: RunningServer) -> None:
    other = session_bundle(tmp_path / "bundle", "split-fp32", "local", name="other")
    with pytest.raises(BadInput, match=r"a server of the model 'other' at .* answered 404: expec"):
        connect(other, server.url)


@pytest.mark.parametrize(
    ("greeting", "found"),
    [
        (http(b"<html>welcome</html>"), "something else that speaks HTTP"),
        (http(b'{"name": "other"}'), "something else that speaks HTTP"),
        (http(b'{"name": 7}'), "something else that speaks HTTP"),
        (http(b"[" * 70_000), "something else that speaks HTTP"),
        (error("404 Not Found", "no \x1b[31mmodel"), r"one that answered 404: no  \[31mmodel"),
        (error("421 Misdirected Request", "not you"), "one that answered 421: not you"),
        (
            http(b"", status="302 Found", Location="http://127.0.0.1:1/"),
            "one that answered 302: it sends us elsewhere",
        ),
    ],
)
def test_what_is_no_server_of_the_model_is_refused(
    bundle: Bundle, greeting: bytes, found: str
) -> None:
    lying = LyingServer(greet=answer(greeting), infer=answer(b""))
    with lying.running(), pytest.raises(BadInput, match=f"found {found}; start one with"):
        connect(bundle, lying.url)


@pytest.mark.parametrize(
    ("greeting", "reason"),
    [
        (error("503 Service Unavailable", "full"), "the server answered 503: full"),
        (error("429 Too Many Requests", "later"), "the server answered 429: later"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "the reply is not HTTP|the connection broke"),
        (http(b"", length=10**15), "the reply is longer than 262144 bytes"),
    ],
)
def test_a_server_that_cannot_answer_now_starts_the_session_offline(
    bundle: Bundle, greeting: bytes, reason: str
) -> None:
    lying = LyingServer(greet=answer(greeting), infer=answer(b""))
    with lying.running(), connect(bundle, lying.url) as session:
        one = session.run(image())
    check(one, image())
    assert one.inference_source.route == "local"
    assert re.fullmatch(
        rf"the cloud is offline \(({reason})\); next try in 1 s", one.inference_source.reason
    )


def test_a_greeting_that_never_ends_is_not_waited_for(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgewise.running.connecting._GREETING_S", 0.2)

    def trickle(sock: socket.socket, _: object) -> None:
        sock.sendall(b"HTTP/1.1 200 OK\r\nX: ")
        while True:
            sock.sendall(b"x")
            time.sleep(0.02)

    lying = LyingServer(greet=trickle, infer=answer(b""))
    with lying.running(), connect(bundle, lying.url) as session:
        one = session.run(image())
    assert one.inference_source.reason.startswith("the cloud is offline (no answer within 0.20 s)")


def test_a_bundle_that_turns_out_broken_leaves_no_connection_open(
    tmp_path: Path, server: RunningServer, bundle: Bundle
) -> None:
    broken = session_bundle(tmp_path / "bundle", *REMOTE, "local")
    (broken.path / "head.onnx").write_bytes(b"x")
    assert broken.digest == bundle.digest
    with pytest.raises(BadInput, match=r"head\.onnx"):
        connect(broken, server.url)


# Inputs


BAD_INPUTS = [
    np.full(tiny.IMAGE.concrete(), np.nan, np.float32),
    image()[:, :2],
    np.repeat(image(), 2, axis=0),
    {"picture": image()},
    {"image": image().tolist()},
    Path("nowhere.jpg"),
    b"no photo",
    np.zeros((4, 4, 7), np.uint8),
    None,
    7,
]


@pytest.mark.parametrize("value", BAD_INPUTS, ids=lambda value: type(value).__name__)
def test_a_bad_input_in_the_middle_harms_nobody_else(
    bundle: Bundle, server: RunningServer, value: object
) -> None:
    with connect(bundle, server.url) as session:
        check(session.run(image()), image())
        with pytest.raises(BadInput, match=r"^expected .*, found .*; "):
            session.run(value)
        after = session.run(image(2))
    check(after, image(2))
    assert remote(after)


def test_what_the_engine_refuses_leaves_the_next_request_alone(
    bundle: Bundle, server: RunningServer
) -> None:
    huge = np.full(tiny.IMAGE.concrete(), 3e38, np.float32)  # finite; its features are not
    with connect(bundle, server.url) as session:
        reason = session.run(huge).inference_source.reason
        assert reason == "the cloud failed (an unsound reply: NaN in 'logits')"
        check(session.run(image()), image())


def test_a_closed_session_says_so(bundle: Bundle, server: RunningServer) -> None:
    session = connect(bundle, server.url)
    session.close()
    session.close()
    with pytest.raises(BadInput, match="an open session"):
        session.run(image())


# The cloud comes and goes


def test_killed_and_started_again(split: Bundle) -> None:
    clock, port = Clock(), free_port()
    with contextlib.ExitStack() as stack:
        with server_process(split.path, options=[f"--port={port}"]) as server:
            session = stack.enter_context(connect(split, server.url, clock=clock))
            assert remote(session.run(image(1)))
            os.kill(server.pid, signal.SIGKILL)
            _until_refused(port)
            failed = session.run(image(2))
            for pause_s in (1, 2, 4, 8):  # the next one outlasts the start of a server
                clock.skipped_s += pause_s
                session.run(image(2))
            resting = session.run(image(3))
        with contextlib.ExitStack() as second:
            with clock.stopped():  # however long a server takes to start
                second.enter_context(server_process(split.path, options=[f"--port={port}"]))
            still_resting = session.run(image(4))
            clock.skipped_s += 16
            back = session.run(image(5))
    for one, seed in ((failed, 2), (resting, 3), (still_resting, 4), (back, 5)):
        check(one, image(seed))
    assert failed.inference_source.reason in (
        "the cloud failed (the connection was refused)",
        "the cloud failed (the connection broke)",
    )
    assert resting.inference_source.reason.startswith("the cloud is offline (the connection ")
    assert [remote(one) for one in (failed, resting, still_resting, back)] == [
        False,
        False,
        False,
        True,
    ]
    assert resting.trace.up_bytes == 0


def test_killed_in_the_middle_of_a_request(split: Bundle) -> None:
    with server_process(split.path) as server, connect(split, server.url) as session:
        os.kill(server.pid, signal.SIGSTOP)
        threading.Timer(0.3, os.kill, (server.pid, signal.SIGKILL)).start()
        one = session.run(image())
    check(one, image())
    assert one.inference_source.reason == "the cloud failed (the connection broke)"
    assert one.trace.up_bytes >= tiny.FEATURE.nbytes()


def test_gone_at_the_start_and_found_later(split: Bundle) -> None:
    clock, port = Clock(), free_port()
    with connect(split, f"http://127.0.0.1:{port}", clock=clock) as session:
        alone = session.run(image(1))
        with server_process(split.path, options=[f"--port={port}"]):
            clock.skipped_s += 1
            back = session.run(image(2))
    check(alone, image(1))
    check(back, image(2))
    assert alone.inference_source.reason == (
        "the cloud is offline (the connection was refused); next try in 1 s"
    )
    assert remote(back)


def test_another_bundle_on_the_same_port_later_on(tmp_path: Path, split: Bundle) -> None:
    other = session_bundle(tmp_path / "other", "split-fp32", "local", seed=9)
    port = free_port()
    with contextlib.ExitStack() as stack:
        with server_process(split.path, options=[f"--port={port}"]) as server:
            session = stack.enter_context(connect(split, server.url))
            assert remote(session.run(image()))
        with server_process(other.path, options=[f"--port={port}"]):
            one = session.run(image())
    check(one, image())
    assert "the server answered 409: expected a request for the bundle" in (
        one.inference_source.reason
    )


def test_a_stopped_server_costs_one_time_out_and_comes_back(split: Bundle) -> None:
    clock, options = Clock(), Options(timeout_s=0.3)
    with (
        server_process(split.path) as server,
        connect(split, server.url, options=options, clock=clock) as session,
    ):
        session.run(image(0))
        with _stopped(server):
            slow = session.run(image(1))
            resting = session.run(image(2))
            clock.skipped_s += 1
            again = session.run(image(3))
        clock.skipped_s += 2
        back = session.run(image(4))
    for one, seed in ((slow, 1), (resting, 2), (again, 3), (back, 4)):
        check(one, image(seed))
    reason = "the cloud failed (no answer within 0.30 s)"
    assert slow.inference_source.reason == again.inference_source.reason == reason
    assert resting.trace.total_s < slow.trace.total_s
    assert slow.trace.seconds_of(SpanKind.UPLOAD) >= 0.3
    assert remote(back)


def test_pauses_grow_while_the_server_stays_away(split: Bundle) -> None:
    clock, refused = Clock(), 0
    with connect(split, f"http://127.0.0.1:{free_port()}", clock=clock) as session:
        for pause_s in (1, 2, 4, 8, 16, 30, 30, 30):
            clock.skipped_s += pause_s - 0.5
            resting = session.run(image()).inference_source.reason
            assert resting.startswith("the cloud is offline")
            clock.skipped_s += 0.5
            tried = session.run(image()).inference_source.reason
            refused += tried == "the cloud failed (the connection was refused)"
    assert refused == 8


def test_without_a_fallback_every_request_tries_and_says_why_it_failed(tmp_path: Path) -> None:
    alone = session_bundle(tmp_path / "bundle", "split-fp32", fallback=False)
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with connect(alone, url, options=Options(timeout_s=0.3)) as session:
        for _ in range(3):
            with pytest.raises(LinkFailed, match=r"^the connection was refused$"):
                session.run(image())
        with server_process(alone.path, options=[f"--port={port}"]) as server:
            check(session.run(image()), image())
            with _stopped(server), pytest.raises(LinkFailed, match=r"^no answer within 0\.30 s$"):
                session.run(image())
            check(session.run(image()), image())


@pytest.mark.parametrize("mode", OutageMode)
def test_an_outage_of_the_link(split: Bundle, mode: OutageMode) -> None:
    clock, options = Clock(), Options(timeout_s=0.4)
    with server_process(split.path) as own:
        host, port = own.url.removeprefix("http://").split(":")
        with (
            shaped((host, int(port)), FAST) as link,
            connect(split, link.url, options=options, clock=clock) as session,
        ):
            before = session.run(image(1))
            link.set_outage(True, mode=mode)
            during = [session.run(image(2)), session.run(image(3))]
            link.set_outage(False)
            clock.skipped_s += 1
            after = session.run(image(4))
    for one, seed in ((before, 1), (during[0], 2), (during[1], 3), (after, 4)):
        check(one, image(seed))
    assert [remote(one) for one in (before, *during, after)] == [True, False, False, True]
    # Whether the old connection breaks or a new one is reset at once depends on who is quicker.
    broken = ("the connection broke", "there is no way to the server")
    words = broken if mode is OutageMode.RESET else ("no answer within 0.40 s",)
    reasons = [one.inference_source.reason for one in during]
    assert reasons[0] in [f"the cloud failed ({why})" for why in words]
    why = reasons[0].removeprefix("the cloud failed ")
    assert reasons[1].startswith(f"the cloud is offline {why}")


def test_closing_ends_a_request_that_waits(split: Bundle) -> None:
    options = Options(timeout_s=600)
    with server_process(split.path) as server, ThreadPoolExecutor(1) as pool:
        session: Session = connect(split, server.url, options=options)
        with _stopped(server):
            waiting = pool.submit(session.run, image())
            time.sleep(0.3)
            session.close()
            one = waiting.result(60)
    check(one, image())
    assert one.inference_source.reason == "the cloud failed (the connection broke)"


@contextlib.contextmanager
def _stopped(server: RunningServer) -> Iterator[None]:
    os.kill(server.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(server.pid, signal.SIGCONT)


def _until_refused(port: int) -> None:
    for _ in range(500):
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            return
        time.sleep(0.01)
    raise AssertionError("the killed server still listens")
