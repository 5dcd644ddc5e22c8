"""Shadow mode with a real server: what differs is found, and nobody waits for it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from command_line import refused, serving, type_command
from edgewise.bundle import Bundle
from edgewise.running import Options, Policy, Session, ShadowOptions, ShadowReport, connect
from edgewise.serving import RunningServer, server_process
from session_bundles import differing_bundle, image, logits_of, photo, session_bundle
from session_servers import LyingServer, answer, greet_as

pytestmark = [pytest.mark.net, pytest.mark.engine]
LONG_S = 60.0
BOTH = pytest.mark.parametrize("policy", [Policy.PREFER_ON_DEVICE, Policy.PREFER_IN_CLOUD])


def shadowing(
    policy: Policy = Policy.PREFER_ON_DEVICE,
    *,
    share: float = 1.0,
    timeout_s: float = LONG_S,
    raw_input_stays: bool = False,
) -> Options:
    return Options(
        policy=policy,
        timeout_s=timeout_s,
        raw_input_stays=raw_input_stays,
        shadow=ShadowOptions(share=share, rng=np.random.default_rng(7)),
    )


def compare_all(session: Session, count: int) -> ShadowReport:
    """Ask so often, each time after the former comparison."""
    for seed in range(count):
        session.run(image(seed))
        session.shadow_report(timeout_s=LONG_S)
    return session.shadow_report()


@contextlib.contextmanager
def stopped(server: RunningServer) -> Iterator[None]:
    os.kill(server.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(server.pid, signal.SIGCONT)


@pytest.fixture(scope="module")
def same(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("same") / "bundle"
    return session_bundle(folder, "cloud-raw", "split-fp32", "local")


@pytest.fixture(scope="module")
def server(same: Bundle) -> Iterator[RunningServer]:
    with server_process(same.path) as running:
        yield running


# What is found


@BOTH
def test_the_same_network_on_both_sides_agrees(
    same: Bundle, server: RunningServer, policy: Policy
) -> None:
    with connect(same, server.url, options=shadowing(policy)) as session:
        report = compare_all(session, 12)
    (pair,) = report.pairs
    assert (pair.device, pair.cloud) == ("local", "cloud-raw")
    assert (report.asked, report.sampled, report.compared, pair.compared) == (12, 12, 12, 12)
    assert pair.disagreement == 0
    assert pair.largest_difference < 1e-5
    assert not report.drifted
    assert report.words.startswith(
        "12 of 12 answers compared; local against cloud-raw: 0 of 12 decided otherwise"
    )


@BOTH
def test_another_network_on_the_device_is_found_out(tmp_path: Path, policy: Policy) -> None:
    other = differing_bundle(tmp_path / "bundle", "cloud-raw", "local")
    expected = [
        logits_of(image(seed)).argmax() != logits_of(image(seed), seed=9).argmax()
        for seed in range(12)
    ]
    with (
        server_process(other.path) as running,
        connect(other, running.url, options=shadowing(policy)) as session,
    ):
        report = compare_all(session, 12)
    (pair,) = report.pairs
    assert pair.compared == 12
    assert pair.disagreement == pytest.approx(np.mean(expected))
    assert pair.disagreement > 0.5
    assert pair.largest_difference > 0.1
    assert f"{sum(expected)} of 12 decided otherwise" in report.words


def test_a_route_that_answers_is_compared_with_the_device_by_its_own_name(
    same: Bundle, server: RunningServer
) -> None:
    with connect(same, server.url, options=shadowing(Policy.AUTO)) as session:
        session.run(image(), route="split-fp32")
        (pair,) = session.shadow_report(timeout_s=LONG_S).pairs
    assert (pair.device, pair.cloud, pair.disagreement) == ("local", "split-fp32", 0)


def test_what_the_caller_does_to_its_arrays_changes_nothing(
    same: Bundle, server: RunningServer
) -> None:
    with connect(same, server.url, options=shadowing()) as session:
        frame = image()
        for seed in range(5):
            frame[:] = image(seed)
            one = session.run(frame)
            frame[:] = 1e6
            one.outputs["logits"][:] = -1
            report = session.shadow_report(timeout_s=LONG_S)
    assert report.compared == 5
    assert report.pairs[0].largest_difference < 1e-5


def test_the_share_is_drawn_by_the_generator_that_was_passed_in(
    same: Bundle, server: RunningServer
) -> None:
    with connect(same, server.url, options=shadowing(share=0.3)) as session:
        report = compare_all(session, 40)
    drawn = int((np.random.default_rng(7).random(40) < 0.3).sum())
    assert 0 < drawn < 40
    assert (report.asked, report.sampled, report.compared) == (40, drawn, drawn)


# What it never does


def test_nobody_waits_for_a_server_that_hangs(same: Bundle, server: RunningServer) -> None:
    with connect(same, server.url, options=shadowing()) as session:
        with stopped(server):
            answers = [session.run(image(seed)) for seed in range(6)]
            during = session.shadow_report()
        after = session.shadow_report(timeout_s=LONG_S)
    for seed, one in enumerate(answers):
        np.testing.assert_allclose(one.outputs["logits"], logits_of(image(seed)), rtol=1e-4)
        assert one.trace.up_bytes == 0
    assert (during.asked, during.compared) == (6, 0)
    assert during.skipped in (4, 5)  # one under way and one waiting, once the first was taken up
    assert after.compared == 6 - during.skipped
    assert "skipped while busy" in after.words


def test_a_comparison_that_fails_is_counted_and_costs_nothing_else(same: Bundle) -> None:
    refusing = answer(b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n")
    with (
        LyingServer(greet_as(same), refusing).running() as lying,
        connect(same, lying.url, options=shadowing()) as session,
    ):
        report = compare_all(session, 3)
        again = session.run(image())
        health = session.status().health
    assert (report.failed, report.compared, report.pairs) == (3, 0, ())
    assert report.words == "0 of 3 answers compared, 3 without the other answer"
    assert again.inference_source.route == "local"
    assert health == "online"


def test_nothing_is_compared_while_the_cloud_is_offline(same: Bundle) -> None:
    breaking = answer(b"")
    with LyingServer(greet_as(same), breaking).running() as lying:
        session = connect(same, lying.url, options=shadowing(Policy.PREFER_IN_CLOUD))
    with session:
        for seed in range(3):
            assert session.run(image(seed)).inference_source.kind == "local"
        report = session.shadow_report(timeout_s=LONG_S)
    assert (report.sampled, report.unfit, report.compared, report.failed) == (3, 3, 0, 0)
    assert "3 at an unfit time" in report.words


def test_a_battery_is_spared(same: Bundle, server: RunningServer) -> None:
    with connect(same, server.url, options=shadowing()) as session:
        session.host_state(battery_share=0.9)
        session.run(image(1))
        session.host_state(battery_share=0.9, on_charger=True)
        session.run(image(2))
        report = session.shadow_report(timeout_s=LONG_S)
    assert (report.sampled, report.unfit, report.compared) == (2, 1, 1)


def test_the_input_stays_when_it_has_to(same: Bundle, server: RunningServer) -> None:
    with connect(same, server.url, options=shadowing(raw_input_stays=True)) as session:
        (pair,) = compare_all(session, 2).pairs
    assert pair.cloud == "split-fp32"


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (
            shadowing(Policy.ONLY_ON_DEVICE),
            "the policy only_on_device leaves no route of the cloud",
        ),
        (
            shadowing(Policy.ONLY_IN_CLOUD),
            "the policy only_in_cloud leaves no route of the device",
        ),
    ],
)
def test_a_policy_of_one_side_leaves_nothing_to_compare(
    same: Bundle, server: RunningServer, options: Options, why: str
) -> None:
    with connect(same, server.url, options=options) as session:
        session.run(image())
        report = session.shadow_report()
    assert report.idle == why
    assert report.words == f"nothing to compare: {why}"
    assert report.asked == 0


def test_only_on_device_asks_no_server(same: Bundle) -> None:
    with LyingServer(greet_as(same), answer(b"")).running() as lying:
        with connect(same, lying.url, options=shadowing(Policy.ONLY_ON_DEVICE)) as session:
            compare_all(session, 3)
        assert lying.connections == 0


def test_raw_input_that_stays_may_leave_nothing_to_compare(tmp_path: Path) -> None:
    sends = session_bundle(tmp_path / "bundle", "cloud-raw", "local")
    with LyingServer(greet_as(sends), answer(b"")).running() as lying:
        options = shadowing(raw_input_stays=True)
        with connect(sends, lying.url, options=options) as session:
            report = compare_all(session, 2)
        assert lying.connections == 0
    assert report.idle == (
        "the policy prefer_on_device with raw_input_stays leaves no route of the cloud"
    )


def test_an_array_that_no_photo_route_takes_is_counted(tmp_path: Path) -> None:
    photos = session_bundle(tmp_path / "bundle", "cloud-png", "local")
    with (
        server_process(photos.path) as running,
        connect(photos, running.url, options=shadowing()) as session,
    ):
        session.run(image())
        session.run(photo())
        report = session.shadow_report(timeout_s=LONG_S)
    assert (report.unfit, report.compared) == (1, 1)
    assert report.pairs[0].disagreement == 0


def test_closing_while_a_comparison_hangs(same: Bundle, server: RunningServer) -> None:
    with stopped(server):
        session = connect(same, server.url, options=shadowing(timeout_s=3600))
        session.run(image(1))
        session.run(image(2))
        session.close()
        report = session.shadow_report(timeout_s=LONG_S)
    assert report.compared == 0


# On the command line


def test_run_prints_what_was_found(same: Bundle, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", image())
    with serving(same.path) as (url, _):
        words = ["run", same.path, tmp_path / "x.npy", "--server", url, "--shadow", "1"]
        shown = type_command(*words, "--policy", "prefer_on_device")
        told = type_command(*words, "--json")
    assert shown.code == told.code == 0, shown.err + told.err
    assert shown.out.splitlines()[-1].startswith(
        "shadow: 1 of 1 answers compared; local against cloud-raw: 0 of 1 decided otherwise"
    )
    shadow = json.loads(told.out)["shadow"]
    assert (shadow["share"], shadow["asked"], shadow["compared"]) == (1.0, 1, 1)
    assert shadow["pairs"][0]["disagreement"] == 0
    assert shadow["trend"]["name"] == "mean largest probability"


def test_run_says_why_there_is_nothing_to_compare(same: Bundle, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", image())
    shown = type_command("run", same.path, tmp_path / "x.npy", "--shadow", "0.05")
    assert shown.out.splitlines()[-1] == "shadow: nothing to compare: no server was named"


@pytest.mark.parametrize("share", ["0", "-0.1", "1.5", "nan"])
def test_a_share_that_is_none_is_refused(same: Bundle, tmp_path: Path, share: str) -> None:
    np.save(tmp_path / "x.npy", image())
    refused(
        type_command("run", same.path, tmp_path / "x.npy", f"--shadow={share}"),
        said=r"expected a share of the requests above 0 and up to 1 to shadow, found",
    )
