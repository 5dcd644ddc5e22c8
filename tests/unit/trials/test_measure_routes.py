"""A real server, a real shaped link, every route of a small bundle."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
from pathlib import Path

import pytest

from edgewise.bundle import Coefficients, RouteKind, write_bundle
from edgewise.cost import Evidence
from edgewise.errors import BadInput, EdgewiseError
from edgewise.specs import LinkSpec, Provenance
from edgewise.trials import answer_seconds, measure_routes
from plans import answer
from session_bundles import image, photo, session_bundle
from unit.trials.made_trials import trial

pytestmark = [pytest.mark.net, pytest.mark.engine]

SLOW = LinkSpec(
    name="slow",
    up_bytes_per_s=50_000.0,
    down_bytes_per_s=50_000.0,
    rtt_s=0.03,
    provenance=Provenance(source="user-supplied", date="2026-11-21"),
)
PAYLOAD_BYTES = {"split-fp32": 4096, "split-int8": 1024, "cloud-raw": 3072}


def test_no_route_is_faster_than_its_bytes_and_the_round_trip(tmp_path: Path) -> None:
    bundle = session_bundle(tmp_path / "bundle", "local", "split-fp32", "split-int8", "cloud-raw")
    told: list[tuple[str, int, int]] = []
    trials = measure_routes(
        bundle,
        [SLOW],
        [image(1), image(2)],
        repeats=2,
        progress=lambda text, done, total: told.append((text, done, total)),
    )
    assert [trial.route for trial in trials] == ["local", *PAYLOAD_BYTES]
    local, *remote = trials
    assert local.up_bytes == 0
    assert local.kind == "local"
    for result in trials:
        assert result.runs == 2
        assert result.link == "slow"
        assert result.measured.evidence is Evidence.MEASURED
        assert result.predicted.evidence is Evidence.PREDICTED
    for result in remote:
        payload_bytes = PAYLOAD_BYTES[result.route]
        assert payload_bytes < result.up_bytes < payload_bytes + 1000
        # The shaped link holds its rate within 3 %.
        least_s = 0.97 * (payload_bytes / SLOW.up_bytes_per_s + SLOW.rtt_s)
        assert result.measured.low.latency_s >= least_s
    assert remote[0].measured.mid.latency_s > remote[1].measured.mid.latency_s
    assert told == [("running 4 routes on slow", turn, 2) for turn in (1, 2)]


def test_predictions_come_from_the_bundle_and_the_link(tmp_path: Path) -> None:
    made = session_bundle(tmp_path / "made", "local", "split-int8")
    told = Coefficients(device_s=0.5, cloud_s=0.25, up_bytes=5000, down_bytes=500, rtts=2)
    routes = tuple(
        dataclasses.replace(
            route, coefficients=told if route.kind is RouteKind.SPLIT else Coefficients()
        )
        for route in made.manifest.routes
    )
    manifest = dataclasses.replace(made.manifest, routes=routes)
    raw = {part.name: made.read_part(part.name) for part in manifest.parts}
    path = write_bundle(tmp_path / "bundle", manifest, raw).path
    local, split = measure_routes(path, [SLOW], [photo()], repeats=1)
    assert local.predicted.mid.latency_s == 0
    assert split.predicted.mid.latency_s == pytest.approx(0.75 + 0.1 + 0.01 + 0.06)


def test_a_bundle_that_needs_no_server_gets_none(tmp_path: Path) -> None:
    bundle = session_bundle(tmp_path / "bundle", "local")
    # Were a server started, it would refuse a bundle without a part for it.
    (local,) = measure_routes(bundle, [SLOW], [image()], repeats=1)
    assert local.route == "local"
    assert local.measured.mid.latency_s > 0


def test_the_slower_device_takes_longer(tmp_path: Path) -> None:
    bundle = session_bundle(tmp_path / "bundle", "local")
    (normal,) = measure_routes(bundle, [SLOW], [image()], repeats=5)
    (slow,) = measure_routes(bundle, [SLOW], [image()], repeats=5, slowdown=100.0)
    assert slow.measured.low.latency_s > normal.measured.low.latency_s


def _kill_servers() -> None:
    """Kill every server process that this process started."""
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            pid = int(entry.name)
            parent = (entry / "stat").read_text().rpartition(")")[2].split()[1]
            if (
                int(parent) == os.getpid()
                and b"edgewise.serving" in (entry / "cmdline").read_bytes()
            ):
                os.kill(pid, signal.SIGKILL)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds processes in /proc")
def test_a_route_that_does_not_answer_is_named(tmp_path: Path) -> None:
    bundle = session_bundle(tmp_path / "bundle", "local", "split-fp32")
    with pytest.raises(EdgewiseError, match="the route split-fp32 did not answer: the cloud"):
        measure_routes(
            bundle, [SLOW], [image()], repeats=3, progress=lambda *told: _kill_servers()
        )


@pytest.mark.parametrize(
    ("links", "inputs", "repeats", "found"),
    [
        ([], [image()], 1, "0 links, 1 inputs, 1 runs"),
        ([SLOW], [], 1, "1 links, 0 inputs, 1 runs"),
        ([SLOW], [image()], 0, "1 links, 1 inputs, 0 runs"),
    ],
)
def test_nothing_to_try(
    tmp_path: Path, links: list[LinkSpec], inputs: list[object], repeats: int, found: str
) -> None:
    bundle = session_bundle(tmp_path / "bundle", "local")
    with pytest.raises(BadInput, match=f"found {found}; pass some"):
        measure_routes(bundle, links, inputs, repeats=repeats)  # type: ignore[arg-type]


def test_an_input_that_does_not_fit(tmp_path: Path) -> None:
    bundle = session_bundle(tmp_path / "bundle", "local")
    with pytest.raises(BadInput, match="image"):
        measure_routes(bundle, [SLOW], [image()[:, :, :8]], repeats=1)


def test_a_bundle_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="expected a bundle folder at"):
        measure_routes(tmp_path / "nope", [SLOW], [image()])


def test_preparing_the_input_does_not_count() -> None:
    assert answer().trace.total_s == pytest.approx(1.1)
    assert answer_seconds(answer()) == pytest.approx(0.1)


def test_the_error_is_above_0_when_the_prediction_was_too_high() -> None:
    assert trial(predicted_s=0.3, measured_s=0.2).error == pytest.approx(0.5)
    assert trial(predicted_s=0.1, measured_s=0.2).error == pytest.approx(-0.5)
