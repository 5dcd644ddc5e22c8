"""``submit`` from device to database: real processes, real sockets, and what goes wrong there."""

from __future__ import annotations

import contextlib
import gc
import json
import random
import resource
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from command_line import refused, type_command
from edgewise.bundle import Bundle
from edgewise.errors import LinkFailed
from edgewise.running import HttpLink, LeftWaiting, Options, Outbox, Session, connect
from edgewise.running.linking.backoff import Patience
from edgewise.running.submitting.submitter import Submitter
from edgewise.serving import SubmissionStore, server_process
from edgewise.shaping import OutageMode, shaped
from edgewise.specs import LinkSpec, Provenance
from edgewise.submission import Submission
from edgewise.wire import HEADER_LENGTH_FIELD
from session_bundles import image, session_bundle
from session_servers import LyingServer, answer, error, greet_as, http

pytestmark = [pytest.mark.net, pytest.mark.engine]
FAST = LinkSpec(
    name="a fast link", provenance=Provenance(source="user-supplied", date="2026-11-22")
)
QUICK = Patience(first_s=0.05, longest_s=0.2, budget=1000.0, timeout_s=2.0)


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return session_bundle(tmp_path / "bundle", "local", "split-fp32")


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/submissions.db"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "outbox.db"


@pytest.fixture(autouse=True)
def _nothing_left_open() -> Iterator[None]:
    yield
    gc.collect()  # an open socket would warn now, and warnings are errors


def serving(bundle: Bundle, url: str) -> contextlib.AbstractContextManager[object]:
    return server_process(bundle.path, options=[f"--submissions={url}"])


@contextlib.contextmanager
def submitter(
    bundle: Bundle, server: str | None, path: Path, **settings: object
) -> Iterator[Submitter]:
    """What a session hands over to, without networks, and in no hurry to give up."""
    made = Submitter(
        Outbox(path),
        link=None if server is None else HttpLink(server),
        bundle=bundle,
        options=Options(),
        **{"patience": QUICK, "in_background": False, **settings},
    )
    try:
        made.start()
        yield made
    finally:
        made.close()


def stored_keys(url: str) -> list[str]:
    with SubmissionStore(url) as store:
        return [row.key for row in store.rows()]


def until(done: object, *, what: str) -> None:
    for _ in range(1000):
        if done():
            return
        time.sleep(0.02)
    raise AssertionError(f"in vain: {what}")


def post(server: str, frame: object, *, model: str = "tiny", **headers: str) -> tuple[int, dict]:
    fields = {HEADER_LENGTH_FIELD: str(frame.header_bytes)} | {
        name.replace("_", "-"): value for name, value in headers.items()
    }
    asked = urllib.request.Request(
        f"{server}/v2/models/{model}/submit", data=frame.body, headers=fields
    )
    try:
        with urllib.request.urlopen(asked, timeout=20) as reply:
            return reply.status, json.load(reply)
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, json.load(refused)


# The way it should go


def test_outputs_and_a_record_reach_the_database(bundle: Bundle, url: str, path: Path) -> None:
    with serving(bundle, url) as server:
        with connect(bundle, server.url, outbox=Outbox(path)) as session:
            logits = session.run(image()).outputs["logits"]
            receipt = session.submit({"logits": logits, "seen": "cat"})
            session.flush()
            assert session.flush().waiting == 0
        with SubmissionStore(url) as store:
            (row,) = store.rows()
            assert (row.key, row.digest, row.bundle) == (
                receipt.key,
                receipt.digest,
                bundle.digest,
            )
            read = store.read("tiny", receipt.key)
    assert read.record == {"seen": "cat"}
    np.testing.assert_array_equal(read.tensors["logits"], logits)


def test_it_is_delivered_without_being_asked(bundle: Bundle, url: str, path: Path) -> None:
    with serving(bundle, url) as server, connect(bundle, server.url, outbox=Outbox(path)) as one:
        for i in range(3):
            one.submit({"i": i}, key=f"k{i}")
        until(lambda: len(stored_keys(url)) == 3, what="delivery in the background")
    assert stored_keys(url) == ["k0", "k1", "k2"]


def test_an_encrypted_outbox_delivers_plain_content(bundle: Bundle, url: str, path: Path) -> None:
    box = Outbox(path, key=b"k" * 32)
    with serving(bundle, url) as server, connect(bundle, server.url, outbox=box) as session:
        session.submit({"diagnosis": "well"}, key="a", sensitive=True)
        session.flush()
    with SubmissionStore(url) as store:
        assert store.read("tiny", "a").record == {"diagnosis": "well"}


def test_a_full_outbox_is_delivered_in_order_after_a_restart(
    bundle: Bundle, url: str, path: Path
) -> None:
    with submitter(bundle, None, path) as offline:
        for i in range(40):
            offline.submit({"i": i}, key=f"k{i}")
    with serving(bundle, url) as server, submitter(bundle, server.url, path) as online:
        flushed = online.flush(timeout_s=60)
    assert flushed.delivered == tuple(f"k{i}" for i in range(40))
    assert (flushed.waiting, flushed.reason) == (0, "")
    assert stored_keys(url) == list(flushed.delivered)


# What goes wrong


@pytest.mark.parametrize("mode", list(OutageMode))
def test_a_link_that_is_cut_loses_nothing(
    bundle: Bundle, url: str, path: Path, mode: OutageMode
) -> None:
    with serving(bundle, url) as server:
        host, _, port = server.url.removeprefix("http://").rpartition(":")
        with (
            shaped((host, int(port)), FAST) as link,
            submitter(
                bundle,
                link.url,
                path,
                in_background=True,
                patience=Patience(first_s=0.05, longest_s=0.2, budget=1000.0, timeout_s=0.5),
            ) as device,
        ):
            for i in range(30):
                if i in (10, 20):
                    link.set_outage(i == 10, mode=mode)
                device.submit({"i": i, "noise": "x" * 5000}, key=f"k{i}")
            flushed = device.flush(timeout_s=60)
            assert flushed.waiting == 0, flushed.reason
    assert stored_keys(url) == [f"k{i}" for i in range(30)]


DIES_ONCE = """
import os, pathlib, signal, sys
from edgewise.serving import SubmissionStore, serve

class DiesOnce(SubmissionStore):
    def store(self, *words):
        done = super().store(*words)
        marker = pathlib.Path(sys.argv[3])
        if not marker.exists():
            marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return done

serve(sys.argv[1], port=0, submissions=DiesOnce(sys.argv[2]),
      on_ready=lambda url: print(url, flush=True))
"""


def test_a_server_killed_between_storing_and_replying_has_it_once(
    bundle: Bundle, url: str, path: Path, tmp_path: Path
) -> None:
    marker = tmp_path / "died"
    command = [sys.executable, "-c", DIES_ONCE, str(bundle.path), url, str(marker)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as dying:
        assert dying.stdout is not None
        server = dying.stdout.readline().strip()
        with submitter(bundle, server, path) as device:
            device.submit({"i": 1}, key="a")
            device.submit({"i": 2}, key="b")
            flushed = device.flush(timeout_s=1)
            assert (flushed.delivered, flushed.waiting) == ((), 2)
            assert flushed.reason != ""
        assert dying.wait(20) == -signal.SIGKILL
    assert stored_keys(url) == ["a"]
    with serving(bundle, url) as again, submitter(bundle, again.url, path) as device:
        assert device.flush(timeout_s=60).delivered == ("a", "b")
    assert stored_keys(url) == ["a", "b"]


DEVICE = """
import sys
from edgewise.bundle import open_bundle
from edgewise.errors import LinkFailed
from edgewise.running import HttpLink, LeftWaiting, Options, Outbox
from edgewise.running.linking.backoff import Patience
from edgewise.running.submitting.submitter import Submitter

outbox = Outbox(sys.argv[2])
device = Submitter(outbox, link=HttpLink(sys.argv[3]), bundle=open_bundle(sys.argv[1]),
                   options=Options(), patience=Patience(first_s=0.01))
device.start()
for i in range(10**6):
    device.submit({"i": i}, key=f"{sys.argv[4]}-{i}")
    print(f"{sys.argv[4]}-{i}", flush=True)
"""


def test_a_device_killed_while_delivering_loses_nothing_and_doubles_nothing(
    bundle: Bundle, url: str, path: Path
) -> None:
    chance = random.Random(3)
    told: list[str] = []
    with serving(bundle, url) as server:
        for number in range(4):
            words = [str(bundle.path), str(path), server.url, str(number)]
            with subprocess.Popen(
                [sys.executable, "-c", DEVICE, *words], stdout=subprocess.PIPE, text=True
            ) as process:
                assert process.stdout is not None
                told += [process.stdout.readline().strip()]
                time.sleep(chance.uniform(0, 0.1))
                process.send_signal(signal.SIGKILL)
                told += [line.strip() for line in process.stdout if line.endswith("\n")]
        with submitter(bundle, server.url, path) as device:
            assert device.flush(timeout_s=60).waiting == 0
    found = stored_keys(url)
    assert len(found) == len(set(found))
    assert set(told) <= set(found)
    assert len(found) <= len(told) + 4  # the one under way at each end may be there or not


def test_two_processes_share_an_outbox(bundle: Bundle, url: str, path: Path) -> None:
    with submitter(bundle, None, path) as offline:
        for i in range(30):
            offline.submit({"i": i}, key=f"k{i}")
    with serving(bundle, url) as server, contextlib.ExitStack() as stack:
        devices = [
            stack.enter_context(submitter(bundle, server.url, path, in_background=True))
            for _ in range(2)
        ]
        threads = [threading.Thread(target=d.flush, kwargs={"timeout_s": 60}) for d in devices]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(stored_keys(url)) == sorted(f"k{i}" for i in range(30))


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        (http(b"<html>pay for this network</html>"), "answered 200, and not that it stored this"),
        (http(b'{"key": "a", "digest": "0"}'), "answered 200, and not that it stored this"),
        (http(b"<html>", status="400 Bad Request"), "the server answered 400"),
        (error("501 Not Implemented", "no submissions here"), "501: no submissions here"),
        (error("503 Busy", "later"), "503: later"),
        (http(b"x" * 100_000), "longer than 65536 bytes"),
        (b"garbage\r\n\r\n", "the"),
    ],
)
def test_only_a_server_that_confirms_ends_the_wait(
    bundle: Bundle, path: Path, reply: bytes, why: str
) -> None:
    with LyingServer(greet=greet_as(bundle), infer=answer(reply)).running() as liar:
        with submitter(bundle, liar.url, path) as device:
            device.submit({"i": 1}, key="a")
            flushed = device.flush(timeout_s=1)
            assert (flushed.delivered, flushed.waiting, flushed.aside) == ((), 1, ())
            assert why in flushed.reason
        assert len(liar.seen) > 0
    with Outbox(path) as outbox:
        (entry,) = outbox.entries("waiting")
        assert entry.attempts == len(liar.seen)


def test_what_the_server_never_takes_is_set_aside_and_blocks_nothing(
    bundle: Bundle, url: str, path: Path
) -> None:
    other = Submission(key="a", record={"i": "other"}).frame()
    with serving(bundle, url) as server, submitter(bundle, server.url, path) as device:
        assert post(server.url, other)[0] == 200
        device.submit({"i": 1}, key="a")
        device.submit({"i": 2}, key="b")
        flushed = device.flush(timeout_s=60)
    assert flushed.delivered == ("b",)
    (aside,) = flushed.aside
    assert (aside.key, aside.state) == ("a", "aside")
    assert "409: expected for the key 'a' what was submitted under it before" in aside.reason


def test_retries_grow_apart_rather_than_hammer(bundle: Bundle, path: Path) -> None:
    with LyingServer(greet=greet_as(bundle), infer=answer(error("503 Busy", "no"))).running() as s:
        patience = Patience(first_s=0.05, longest_s=60.0, budget=3.0)
        with submitter(bundle, s.url, path, patience=patience, in_background=True) as device:
            for i in range(20):
                device.submit({"i": i})
            device.flush(timeout_s=2.0)
        assert len(s.seen) == 3  # the budget, then a pause longer than the test


# The endpoint


def test_a_duplicate_gets_the_first_answer_and_other_content_409(bundle: Bundle, url: str) -> None:
    one = Submission(key="a", record={"i": 1})
    with serving(bundle, url) as server:
        status, first = post(server.url, one.frame())
        assert status == 200
        assert first["duplicate"] is False
        assert (first["key"], first["digest"]) == ("a", one.digest)
        assert first["stored_at"].endswith("Z")
        status, second = post(server.url, one.frame(), Idempotency_Key="a")
        assert (status, second) == (200, first | {"duplicate": True})
        status, refusal = post(server.url, Submission(key="a", record={"i": 2}).frame())
        assert status == 409
        assert "found other content; use a new key" in refusal["error"]


def test_what_the_endpoint_refuses(bundle: Bundle, url: str) -> None:
    frame = Submission(key="a", record={"i": 1}).frame()
    with serving(bundle, url) as server:
        assert post(server.url, frame, model="other")[0] == 404
        status, reply = post(server.url, frame, Idempotency_Key="b")
        assert (status, "expected one key" in reply["error"]) == (400, True)
        status, reply = post(server.url, frame, Idempotency_Key="a b")
        assert (status, "expected a key of 1 to 128" in reply["error"]) == (400, True)
        status, reply = post(server.url, frame, Content_Length="999999999")
        assert status == 413
        assert reply["error"] == (
            "expected a body of at most 16777216 bytes, found 999999999 bytes; submit less at once"
        )
        status, reply = post(server.url, frame, Content_Encoding="gzip")
        assert (status, reply["error"]) == (
            415,
            "expected a body as it is, found a compressed one; send it without Content-Encoding",
        )
        assert post(server.url, frame, **{HEADER_LENGTH_FIELD: "3"})[0] == 400
        asked = urllib.request.Request(f"{server.url}/v2/models/tiny/versions/1/submit")
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(asked, timeout=20)
        assert caught.value.code == 405
        caught.value.close()
    assert stored_keys(url) == []


def test_off_by_default(bundle: Bundle, path: Path) -> None:
    with server_process(bundle.path) as server:
        status, reply = post(server.url, Submission(key="a", record={"i": 1}).frame())
        assert status == 501
        assert reply["error"] == (
            "expected a server that takes submissions, found one that does not; start it with:"
            " edgewise serve BUNDLE --submissions sqlite:///FILE"
        )
        with submitter(bundle, server.url, path) as device:
            device.submit({"i": 1})
            flushed = device.flush(timeout_s=1)
            assert flushed.waiting == 1
            assert "501: expected a server that takes submissions" in flushed.reason


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="needs limits on other processes")
def test_a_database_on_a_full_disk_acknowledges_nothing(
    bundle: Bundle, url: str, path: Path
) -> None:
    with serving(bundle, url) as server, submitter(bundle, server.url, path) as device:
        _, most = resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (8192, -1))
        device.submit({"noise": "x" * 20_000}, key="a")
        flushed = device.flush(timeout_s=1)
        assert (flushed.delivered, flushed.waiting) == ((), 1)
        assert "503: expected the server's database to take this" in flushed.reason
        resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (most, most))
        assert device.flush(timeout_s=60).delivered == ("a",)
    assert stored_keys(url) == ["a"]


# The operator


def test_the_operator_lists_them(bundle: Bundle, url: str) -> None:
    one = Submission(
        key="a", record={"seen": "cat"}, tensors={"x": np.zeros((1, 2), np.float32)}, bundle="b"
    )
    with serving(bundle, url) as server:
        assert post(server.url, one.frame())[0] == 200
        typed = type_command("submissions", url, "--json")
    assert typed.code == 0, typed.err
    (row,) = json.loads(typed.out)["submissions"]
    assert (row["key"], row["model"], row["digest"]) == ("a", "tiny", one.digest)
    assert row["record"] == {"seen": "cat"}
    assert row["tensors"] == [{"name": "x", "dtype": "float32", "shape": [1, 2]}]
    listed = type_command("submissions", url, "--since", "1h")
    assert "tiny  a  " in listed.out
    assert "1 submission;" in listed.err
    assert type_command("submissions", url, "--since", "2999-01-01").out == ""


def test_the_operator_asks_for_what_is_not_there(tmp_path: Path) -> None:
    missing = tmp_path / "none.db"
    refused(
        type_command("submissions", f"sqlite:///{missing}"), said="expected a database at .*found"
    )
    assert not missing.exists()
    other = tmp_path / "other.db"
    with contextlib.closing(sqlite3.connect(other)) as db:
        db.execute("CREATE TABLE theirs (a)")
    before = other.read_bytes()
    refused(
        type_command("submissions", f"sqlite:///{other}"),
        said="expected a database at sqlite:///.*, found none of ours; check the path",
    )
    assert other.read_bytes() == before
    refused(type_command("submissions", "nonsense"), said="address of a database as SQLAlchemy")
    refused(
        type_command("submissions", "sqlite:///x", "--since", "soon"),
        said="expected a date and time, or how long ago, found 'soon'",
    )


def test_serve_refuses_a_database_that_cannot_be(bundle: Bundle) -> None:
    refused(
        type_command("serve", bundle.path, "--port", "0", "--submissions", "sqlite://"),
        said="expected a database that outlives the server, found one in memory",
    )


def test_sessions_have_no_thread_left(bundle: Bundle, path: Path) -> None:
    with LyingServer(greet=greet_as(bundle), infer=lambda *_: time.sleep(0)).running() as mute:
        session: Session = connect(bundle, mute.url, outbox=Outbox(path))
        session.submit({"i": 1})
        until(lambda: mute.seen, what="an attempt")
        session.close()
    names = [thread.name for thread in threading.enumerate()]
    assert "edgewise-outbox" not in names


def test_a_request_that_nobody_can_answer_waits_in_the_outbox(
    tmp_path: Path, url: str, path: Path
) -> None:
    alone = session_bundle(tmp_path / "alone", "split-fp32", fallback=False)
    with server_process(alone.path) as gone:
        session = connect(alone, gone.url, outbox=Outbox(path))
    with (
        session,
        pytest.raises(LeftWaiting, match="the request waits in the outbox as ") as caught,
    ):
        session.run(image())
    with (
        server_process(alone.path, options=["--submissions", url]) as server,
        connect(alone, server.url, outbox=Outbox(path)) as back,
    ):
        assert back.flush(timeout_s=30).waiting == 0
    with SubmissionStore(url, only_look=True) as store:
        (stored,) = store.rows()
        left = store.read(stored.model, stored.key)
    assert stored.key == caught.value.receipt.key
    assert left.record == {"route": "split-fp32"}
    assert list(left.tensors) == [bound.name for bound in alone.manifest.routes[0].boundary]


def test_without_an_outbox_nothing_is_left(tmp_path: Path) -> None:
    alone = session_bundle(tmp_path / "alone", "split-fp32", fallback=False)
    with server_process(alone.path) as gone:
        session = connect(alone, gone.url)
    with session, pytest.raises(LinkFailed) as caught:
        session.run(image())
    assert not isinstance(caught.value, LeftWaiting)
