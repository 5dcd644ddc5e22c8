"""Deadlines over a shaped link with outages: answers are in time, whatever the cloud does."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from edgewise.bundle import Bundle
from edgewise.errors import BadInput
from edgewise.running import Options, Policy, connect
from edgewise.serving import RunningServer, server_process
from edgewise.shaping import OutageMode, ShapedLink, shaped
from edgewise.specs import LinkSpec, Provenance
from session_bundles import image, logits_of, session_bundle
from session_servers import LyingServer, answer, error, greet_as, reply

pytestmark = [pytest.mark.net, pytest.mark.engine]
FAST = LinkSpec(
    name="a fast link", provenance=Provenance(source="user-supplied", date="2026-11-21")
)
# Far more than the tiny network needs here, far less than the time-out of a cloud that is gone.
DEADLINE_S = 2.0
PATIENT = Options(timeout_s=60)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("deadlines") / "bundle"
    return session_bundle(folder, "split-fp32", "local")


@pytest.fixture(scope="module")
def server(bundle: Bundle) -> Iterator[RunningServer]:
    with server_process(bundle.path) as running:
        yield running


@pytest.fixture
def link(server: RunningServer) -> Iterator[ShapedLink]:
    host, port = server.url.removeprefix("http://").split(":")
    with shaped((host, int(port)), FAST) as shaped_link:
        yield shaped_link
    gc.collect()  # an open socket would warn now, and warnings are errors


def is_right(outputs: object, seed: int) -> None:
    np.testing.assert_allclose(outputs["logits"], logits_of(image(seed)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("mode", OutageMode)
def test_every_answer_is_in_time_before_during_and_after_an_outage(
    bundle: Bundle, link: ShapedLink, mode: OutageMode
) -> None:
    answers = []
    with connect(bundle, link.url, options=PATIENT) as session:
        for seed in range(12):
            if seed in (4, 8):
                link.set_outage(seed == 4, mode=mode)
            answers.append(session.run(image(seed), deadline_s=DEADLINE_S))
        status = session.status()
    assert [one.deadline_met for one in answers] == [True] * 12
    for seed, one in enumerate(answers):
        is_right(one.outputs, seed)
    assert {one.inference_source.kind for one in answers[4:8]} == {"local"}
    assert status.local_p99_s is not None
    assert status.local_p99_s < DEADLINE_S


def test_an_outage_from_the_very_first_request_is_answered_in_time(
    bundle: Bundle, link: ShapedLink
) -> None:
    with connect(bundle, link.url, options=PATIENT) as session:
        link.set_outage(True)
        first = session.run(image(1), deadline_s=DEADLINE_S)
        reasons = [session.run(image(1), deadline_s=DEADLINE_S) for _ in range(3)]
        status = session.status()
    assert first.deadline_met
    assert first.inference_source.reason.startswith("the device was first (no answer within ")
    assert reasons[-1].inference_source.reason.startswith("the cloud is slow (no answer within ")
    assert status.health == "slow"
    assert "next try in" in status.words


def test_a_cloud_that_is_quick_enough_answers(bundle: Bundle, server: RunningServer) -> None:
    with connect(bundle, server.url) as session:
        session.run(image(), route="local")  # now it is known how long the device takes
        answers = [session.run(image(i), deadline_s=30, route="split-fp32") for i in range(10)]
        status = session.status()
    assert all(one.deadline_met for one in answers)
    assert any(one.inference_source.kind == "split" for one in answers)
    assert status.measured
    assert status.words.startswith(("online; link estimated from ", "slow ("))


def test_after_hedged_requests_the_session_closes_and_nobody_else_is_harmed(
    bundle: Bundle, link: ShapedLink
) -> None:
    with (
        connect(bundle, link.url, options=PATIENT) as session,
        ThreadPoolExecutor(4) as pool,
    ):
        waiting = [pool.submit(session.run, image(i), deadline_s=30) for i in range(16)]
        waiting[0].result(60)
        link.set_outage(True)
        for seed, one in enumerate(waiting):
            is_right(one.result(60).outputs, seed)
    assert not any(t.name == "edgewise-local" and t.is_alive() for t in threading.enumerate())


def test_an_infeasible_deadline_is_refused_at_once_with_the_soonest(bundle: Bundle) -> None:
    with connect(bundle, None) as session:
        for _ in range(3):  # one slow start says nothing of the runs after it
            session.run(image())
        with pytest.raises(BadInput, match=r"a deadline of at least .* s, the soonest possible"):
            session.run(image(), deadline_s=1e-9)
        assert session.run(image(), deadline_s=DEADLINE_S).deadline_met
    with connect(bundle, None, options=Options(refuse_late=False)) as session:
        for _ in range(3):
            session.run(image())
        late = session.run(image(), deadline_s=1e-9)
    assert late.deadline_met is False
    assert "no answer can be there within 0.00 s, at best" in late.inference_source.reason


def test_the_host_tells_of_its_battery(bundle: Bundle) -> None:
    with connect(bundle, None) as session:
        session.host_state(battery_share=0.05)
        low = session.status()
        session.host_state(battery_share=0.05, on_charger=True)
        charging = session.status()
        with pytest.raises(BadInput, match="battery share from 0 to 1, found 80"):
            session.host_state(battery_share=80)
        assert session.run(image()).inference_source.kind == "local"
    assert (low.battery_low, charging.battery_low) == (True, False)
    assert "the battery is low" in low.words


def test_one_refused_input_does_not_rest_the_cloud_and_three_in_a_row_do(bundle: Bundle) -> None:
    lying = LyingServer(greet=greet_as(bundle), infer=answer(reply()))
    with lying.running(), connect(bundle, lying.url) as session:
        kinds, reasons = [], []
        for refuses in (True, False, True, True, True, True):
            raw = error("400 Bad Request", "odd") if refuses else reply()
            lying.infer = answer(raw)
            source = session.run(image()).inference_source
            kinds.append(source.kind)
            reasons.append(source.reason)
    assert kinds == ["local", "split", "local", "local", "local", "local"]
    assert reasons[0] == "the cloud refused this input (the server answered 400: odd)"
    assert reasons[4] == "the cloud failed (the server answered 400: odd)"
    assert reasons[5].startswith("the cloud is offline (the server answered 400: odd); next try")


NO_SOCKETS = """
import sys
import numpy as np
from edgewise.running import Options, Policy, connect

def refuse(event, args):
    if event.startswith("socket."):
        raise SystemExit(f"{event} was called")

sys.addaudithook(refuse)
options = Options(policy=Policy(sys.argv[2]))
with connect(sys.argv[1], "http://127.0.0.1:9", options=options) as session:
    value = np.load(sys.argv[3])
    print(session.run(value, deadline_s=60).inference_source.kind, session.status().health)
"""


def test_only_on_device_opens_no_socket(bundle: Bundle, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", image())

    def run(policy: Policy) -> subprocess.CompletedProcess[str]:
        code = [sys.executable, "-c", NO_SOCKETS, str(bundle.path), policy]
        return subprocess.run(
            [*code, str(tmp_path / "x.npy")], capture_output=True, text=True, check=False
        )

    alone = run(Policy.ONLY_ON_DEVICE)
    assert (alone.returncode, alone.stdout) == (0, "local on the device alone\n"), alone.stderr
    assert "socket." in run(Policy.AUTO).stderr  # the watch does see sockets


def test_a_link_that_collapses_is_noticed(link: ShapedLink, bundle: Bundle) -> None:
    slow = LinkSpec(name="slow", up_bytes_per_s=2_000, rtt_s=0.3, provenance=FAST.provenance)
    with connect(bundle, link.url, options=Options(link=FAST, timeout_s=20)) as session:
        before = session.status().rtt_s
        session.run(image())
        link.set_link(slow)
        for seed in range(3):
            session.run(image(seed), route="split-fp32")
        after = session.status()
    assert after.measured
    assert after.rtt_s > 0.3 > before
