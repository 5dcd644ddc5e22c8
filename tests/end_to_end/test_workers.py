"""Several worker processes behind one address: started, replaced, told and ended together."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from command_line import refused, serving, type_command
from edgewise.bundle import Bundle
from edgewise.errors import BadInput
from edgewise.running import Options, Policy, connect
from edgewise.serving import SubmissionStore, serve, server_process
from edgewise.serving.access.access import Access
from edgewise.serving.operations import Operations
from edgewise.submission import Submission
from edgewise.wire import HEADER_LENGTH_FIELD, Message, encode_request
from http_requests import INFER, ask, infer, metrics
from session_bundles import image, logits_of, session_bundle
from unit.serving import tiny_bundle as tiny

pytestmark = [pytest.mark.net, pytest.mark.engine]


def _workers(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def _wait_until(condition: Callable[[], bool]) -> None:
    while not condition():
        time.sleep(0.02)


class Log(threading.Thread):
    """Reads a server's lines as they come."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        super().__init__(daemon=True)
        self.lines: list[dict[str, object]] = []
        self._stream = process.stderr
        self.start()

    def run(self) -> None:
        assert self._stream is not None
        for line in self._stream:
            self.lines.append(json.loads(line))

    def of(self, event: str, **fields: object) -> list[dict[str, object]]:
        return [
            line
            for line in list(self.lines)
            if line["event"] == event and fields.items() <= line.items()
        ]


@dataclass(frozen=True, kw_only=True)
class Site:
    url: str
    process: subprocess.Popen[str]
    log: Log
    bundle: Bundle


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """Two workers that a test may do anything to."""
    bundle = session_bundle(tmp_path / "bundle", "split-fp32", "local")
    with serving(bundle.path, "--workers", "2", "--log", "json", "--drain", "60s") as (
        url,
        process,
    ):
        log = Log(process)
        yield Site(url=url, process=process, log=log, bundle=bundle)
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0
        log.join()
        assert not any("Traceback" in str(line.get("trace", "")) for line in log.lines)


def test_workers_answer_and_count_together(site: Site) -> None:
    assert len(_workers(site.process.pid)) == 2
    for _ in range(30):
        reply = infer(site.url)
        assert reply.status == 200
        np.testing.assert_allclose(reply.logits, logits_of(image()), rtol=1e-4)
    found = metrics(site.url)
    labels = "endpoint=infer,model=tiny,route=split-fp32,status=200,version=1"
    assert found["edgewise_requests_total", labels] == 30
    assert found["nv_inference_count", "model=tiny,version=1"] == 30
    assert found["edgewise_compute_seconds_count", "model=tiny,route=split-fp32,version=1"] == 30
    assert found["edgewise_under_way", ""] == 1  # the one that asks
    assert len([name for name, _ in found if name == "edgewise_build_info"]) == 1


def test_every_worker_keeps_strangers_out(site: Site) -> None:
    for _ in range(20):  # each over a connection of its own, so that either worker answers some
        assert infer(site.url, Host="evil.example").status == 421
        assert infer(site.url, Origin="http://evil.example").status == 403


def test_a_killed_worker_is_replaced_and_costs_no_session_its_answer(site: Site) -> None:
    victims = _workers(site.process.pid)
    options = Options(policy=Policy.PREFER_IN_CLOUD)
    with connect(site.bundle, site.url, options=options) as session:
        for died, victim in enumerate(victims, start=1):  # one of them has the session's link
            for i in range(30):
                if i == 10:
                    os.kill(victim, signal.SIGKILL)
                answer = session.run(image())
                np.testing.assert_allclose(answer.outputs["logits"], logits_of(image()), 1e-4)
            _wait_until(lambda died=died: len(site.log.of("worker", state="ready")) == died)
            _wait_until(lambda: session.run(image()).inference_source.route == "split-fp32")
    ended = site.log.of("worker", state="ended")
    assert [line["pid"] for line in ended] == victims
    assert {(line["code"], line["again_in_s"]) for line in ended} == {(-signal.SIGKILL, 0.1)}
    assert len(_workers(site.process.pid)) == 2
    assert not set(victims) & set(_workers(site.process.pid))
    assert metrics(site.url)["edgewise_under_way", ""] == 1


def test_a_worker_that_dies_again_and_again_has_longer_pauses(site: Site) -> None:
    for died in range(1, 4):
        number = {"number": 1}
        pids = [line["pid"] for line in site.log.of("worker", state="ready", **number)]
        os.kill(int(str(pids[-1])) if pids else _workers(site.process.pid)[0], signal.SIGKILL)
        _wait_until(lambda died=died: len(site.log.of("worker", state="ready")) == died)
    pauses = [line["again_in_s"] for line in site.log.of("worker", state="ended")]
    assert pauses == [0.1, 0.2, 0.4]


def test_a_worker_that_cannot_load_says_why_and_is_tried_again(site: Site) -> None:
    tail = site.bundle.path / "tail.onnx"
    whole = tail.read_bytes()
    tail.write_bytes(whole[:-1])
    os.kill(_workers(site.process.pid)[0], signal.SIGKILL)
    _wait_until(lambda: len(site.log.of("worker", state="ended", code=2)) > 1)
    (said, *_) = site.log.of("failure")
    assert str(said["what"]).endswith("; copy the bundle again, or plan it anew")
    for _ in range(5):
        assert infer(site.url).status == 200  # by the other one
    tail.write_bytes(whole)
    _wait_until(lambda: len(site.log.of("worker", state="ready")) == 1)


def test_sighup_reaches_every_worker(site: Site) -> None:
    new = session_bundle(site.bundle.path, "split-fp32", "local", seed=1, version=2)
    site.process.send_signal(signal.SIGHUP)
    _wait_until(lambda: len(site.log.of("bundles", loaded=1, kept=1)) == 2)
    for _ in range(20):
        reply = infer(site.url)
        assert (reply.answered_by, reply.headers["Edgewise-Bundle"]) == ("2", new.digest)
        assert infer(site.url, bundle=site.bundle.digest).answered_by == "1"


def test_sigterm_finishes_what_every_worker_has_under_way(site: Site) -> None:
    frame = encode_request(Message(tensors={"feature": tiny.weights().feature(image())}))
    pids = _workers(site.process.pid)
    waiting = []
    for _ in range(8):
        connection = http.client.HTTPConnection(site.url.removeprefix("http://"), timeout=30)
        connection.putrequest("POST", INFER)
        connection.putheader("Content-Length", str(len(frame.body)))
        connection.putheader(HEADER_LENGTH_FIELD, str(frame.header_bytes))
        connection.endheaders(frame.body[:-1])
        waiting.append(connection)
    _wait_until(lambda: metrics(site.url)["edgewise_under_way", ""] == 9)
    site.process.send_signal(signal.SIGTERM)
    _wait_until(lambda: _is_refused(site.url))
    for connection in waiting:
        connection.send(frame.body[-1:])
        assert connection.getresponse().status == 200
        connection.close()
    assert site.process.wait(30) == 0
    assert not any(map(_is_alive, pids))
    site.log.join()
    assert (site.log.lines[0]["event"], site.log.lines[-1]["event"]) == ("serving", "ended")
    assert site.log.lines[0]["workers"] == 2


def _is_refused(url: str) -> bool:
    try:
        ask(url, "/v2/health/live")
    except OSError:
        return True
    return False


def test_workers_end_with_the_process_that_watches_them(site: Site) -> None:
    pids = _workers(site.process.pid)
    site.process.kill()
    site.process.wait(30)
    _wait_until(lambda: not any(map(_is_alive, pids)))
    assert _is_refused(site.url)


def test_a_bundle_that_one_worker_cannot_load_starts_no_server(tmp_path: Path) -> None:
    bundle = tiny.write_tiny_bundle(tmp_path / "bundle")
    (bundle.path / "tail.onnx").write_bytes(b"garbage")
    typed = type_command("serve", bundle.path, "--port", "0", "--workers", "2")
    refused(typed, said="expected .* bytes in .*tail.onnx, found 7 bytes; copy the bundle again")


@pytest.mark.parametrize("count", ["0", "65", "-1"])
def test_numbers_of_workers_that_cannot_be_had(tmp_path: Path, count: str) -> None:
    typed = type_command("serve", tmp_path, "--workers", count)
    refused(typed, said=f"expected 1 to 64 workers, found {count}; choose with --workers")


def test_workers_need_the_main_thread_and_a_store_that_each_can_open(tmp_path: Path) -> None:
    bundle = tiny.write_tiny_bundle(tmp_path / "bundle")
    access = Access(operations=Operations(workers=2))
    with (
        SubmissionStore(f"sqlite:///{tmp_path}/kept.db") as store,
        pytest.raises(BadInput, match="expected the address of a database for submissions, for"),
    ):
        serve(bundle.path, port=0, access=access, submissions=store)
    said: list[BaseException] = []

    def start() -> None:
        try:
            serve(bundle.path, port=0, access=access)
        except BadInput as error:
            said.append(error)

    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    assert str(said[0]) == (
        "expected a main thread on a system with fork, to start several workers, found another"
        " thread; serve with one worker"
    )


def test_submissions_to_any_worker_are_stored_once(tmp_path: Path) -> None:
    bundle = tiny.write_tiny_bundle(tmp_path / "bundle")
    address = f"sqlite:///{tmp_path}/kept.db"
    options = ["--workers=2", f"--submissions={address}"]
    with server_process(bundle.path, options=options) as running:
        for i in range(10):
            frame = Submission(key=f"key-{i}", tensors={"x": np.zeros(1)}, record={}).frame()
            fields = {HEADER_LENGTH_FIELD: str(frame.header_bytes)}
            path = "/v2/models/tiny/submit"
            replies = [ask(running.url, path, frame.body, **fields) for _ in range(2)]
            assert [reply.status for reply in replies] == [200, 200]
            assert [json.loads(reply.body)["duplicate"] for reply in replies] == [False, True]
    with SubmissionStore(address) as store:
        assert len(list(store.rows())) == 10
