"""Streams and traces with a real bundle and a real server process."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from command_line import COMMAND, serving, type_command
from edgewise.bundle import Bundle
from edgewise.errors import BadInput
from edgewise.running import Options, connect, stream
from edgewise.serving import RunningServer, server_process
from edgewise.trace import SpanKind
from edgewise.trace_log import TraceLog, read_traces
from session_bundles import image, logits_of, session_bundle

pytestmark = [pytest.mark.net, pytest.mark.engine]

SLOW = Options(slowdown=300)  # tens of milliseconds for the device's part


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("stream") / "bundle"
    return session_bundle(folder, "split-fp32", "local")


@pytest.fixture(scope="module")
def server(bundle: Bundle) -> Iterator[RunningServer]:
    with server_process(bundle.path) as running:
        yield running


def test_a_stream_too_fast_for_the_device_is_answered_in_order_and_accounted_for(
    bundle: Bundle, server: RunningServer
) -> None:
    values = [image(i) for i in range(150)]
    with connect(bundle, server.url, options=SLOW) as session:
        frames = stream(session, values, fps=200, max_age_s=60.0)
        results = list(frames)
    summary = frames.summary()
    assert summary.offered == len(values) == summary.answered + summary.dropped
    assert summary.answered == len(results) > 1
    assert summary.superseded > 0
    assert summary.routes["split-fp32"] > 0
    numbers = [result.number for result in results]
    assert numbers == sorted(set(numbers))
    assert numbers[-1] == len(values) - 1  # the newest always has its turn
    for result in results:
        assert result.answer is not None
        assert 0 <= result.age_s < 60.0
        assert result.answer.trace.total_s <= result.delay_s
        wanted = logits_of(values[result.number])
        np.testing.assert_allclose(result.answer.outputs["logits"], wanted, rtol=1e-3, atol=1e-4)


def test_a_camera_is_never_made_to_wait(bundle: Bundle, server: RunningServer) -> None:
    """Each frame comes as soon as the one before was taken from the camera, not answered."""
    seen = threading.Event()

    def camera() -> Iterator[np.ndarray]:
        yield image(0)
        for i in range(1, 40):
            yield image(i)
        seen.set()
        raise OSError("unplugged")

    with (
        connect(bundle, server.url, options=SLOW) as session,
        stream(session, camera(), max_age_s=60.0) as frames,
    ):
        first = next(frames)
        assert seen.wait(60)
        rest = list(frames)
        summary = frames.summary()
    assert [first.number, *(result.number for result in rest)][-1] == 39
    assert summary.offered == 40 == summary.answered + summary.dropped
    assert summary.error == "OSError: unplugged"


def test_a_stream_goes_on_from_the_device_when_the_server_is_killed(bundle: Bundle) -> None:
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(contextlib.ExitStack())
        url = server.enter_context(server_process(bundle.path)).url
        session = stack.enter_context(connect(bundle, url))
        frames = stack.enter_context(
            stream(session, (image(i) for i in range(60)), fps=100, max_age_s=60.0)
        )
        assert next(frames).answer is not None
        server.close()
        rest = list(frames)
    assert all(result.answer is not None for result in rest)
    assert set(frames.summary().routes) == {"split-fp32", "local"}
    assert rest[-1].number == 59


def test_a_closed_session_is_told_frame_by_frame(bundle: Bundle) -> None:
    session = connect(bundle, None)
    session.close()
    (result,) = stream(session, [image()], fps=30, max_age_s=60.0)
    assert isinstance(result.error, BadInput)


# Traces


def test_traces_hold_where_the_time_went_and_no_data_at_all(
    bundle: Bundle, server: RunningServer, tmp_path: Path
) -> None:
    values = [image(i) for i in range(10)]
    path = tmp_path / "traces.db"
    with connect(bundle, server.url, traces=TraceLog(path)) as session:
        answers = [session.run(value, deadline_s=60) for value in values]
        answers.append(session.run(values[0], route="local"))
        everything = b"".join(file.read_bytes() for file in sorted(tmp_path.iterdir()))
    everything += b"".join(file.read_bytes() for file in sorted(tmp_path.iterdir()))

    kept = list(read_traces(path))
    assert [trace.request_id for trace in kept] == [a.trace.request_id for a in answers]
    for trace, one in zip(kept, answers, strict=True):
        assert trace.spans == one.trace.spans
        assert (trace.route, trace.kind) == (one.trace.route, one.inference_source.kind)
        assert (trace.total_s, trace.up_bytes) == (one.trace.total_s, one.trace.up_bytes)
        assert trace.deadline_met is one.deadline_met
    assert any(trace.seconds_of(SpanKind.UPLOAD) > 0 for trace in kept)
    assert kept[-1].seconds_of(SpanKind.LOCAL) > 0

    arrays = [*values, *(array for one in answers for array in one.outputs.values())]
    assert path.stat().st_size > 0
    for array in arrays:
        raw = array.tobytes()
        pieces = {raw[at : at + 8] for at in range(0, len(raw), 8)} - {bytes(8)}
        assert not any(piece in everything for piece in pieces if len(piece) == 8)
    host, port = server.url.removeprefix("http://").split(":")
    for word in (host, f":{port}", str(bundle.path), "localhost"):
        assert word.encode() not in everything


def test_run_fps_against_a_server_and_what_its_traces_say(bundle: Bundle, tmp_path: Path) -> None:
    for i in range(3):
        np.save(tmp_path / f"{i}.npy", image(i))
    file = tmp_path / "traces.db"
    with serving(bundle.path) as (url, _):
        typed = type_command(
            *("run", bundle.path, tmp_path, "--server", url, "--traces", file),
            *("--fps", 50, "--for", "1s", "--max-age", "1h", "--json"),
        )
    assert typed.code == 0, typed.err
    report = json.loads(typed.out)
    assert report["distrusted"] == {}
    assert report["status"]["health"] == "online"
    assert report["status"]["samples"] > 0
    summary = report["summary"]
    assert summary["offered"] == 50 == summary["answered"] + summary["dropped"]
    assert sum(summary["routes"].values()) == summary["answered"] == len(report["results"])
    assert summary["answers_per_s"] > 0
    shown = json.loads(type_command("traces", file, "--json").out)
    assert shown["requests"] == summary["answered"]
    assert {route["route"]: route["requests"] for route in shown["routes"]} == summary["routes"]


def test_run_fps_says_at_the_end_how_the_session_was_doing(bundle: Bundle, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", image())
    with serving(bundle.path) as (url, _):
        typed = type_command(
            *("run", bundle.path, tmp_path / "x.npy", "--server", url, "--shadow", "1"),
            *("--fps", 20, "--for", "1s", "--max-age", "1h"),
        )
    assert typed.code == 0, typed.err
    status, shadow = typed.out.splitlines()[-2:]
    assert status.startswith("status: online; link ")
    assert shadow.startswith("shadow: ")
    assert " answers compared" in shadow


def test_a_disk_that_takes_no_more_traces_stops_no_stream(bundle: Bundle, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", image())
    file = tmp_path / "traces.db"
    typed = type_command(
        *("run", bundle.path, tmp_path / "x.npy", "--traces", file),
        *("--fps", 200, "--for", "2s", "--max-age", "1h"),
        file_bytes=140_000,
    )
    assert typed.code == 0, typed.err
    assert typed.out.startswith("frames  400 offered, ")
    lost, count, after = typed.err.splitlines()
    assert lost.startswith(f"traces are lost: expected the trace log {file} to be usable, found ")
    assert count.endswith(" traces could not be kept")
    assert after == f"next: edgewise traces {file}"


def test_nothing_answered_is_an_error(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", image())
    alone = session_bundle(tmp_path / "bundle", "split-fp32", fallback=False)
    with serving(alone.path) as (url, process):
        process.kill()
        process.wait()
        typed = type_command(
            *("run", alone.path, tmp_path / "x.npy", "--server", url),
            *("--fps", 20, "--for", "150ms", "--max-age", "1h"),
        )
    assert typed.code == 2
    assert typed.out == ""
    assert typed.err.startswith("edgewise: ")
    assert typed.err.count("\n") == 1


def test_ctrl_c_ends_a_stream_with_its_table(bundle: Bundle, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", image())
    file = tmp_path / "traces.db"
    command = [*COMMAND, "run", bundle.path, tmp_path, "--fps", "50", "--repeat"]
    with subprocess.Popen(
        [*map(str, command), "--traces", str(file)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        _wait_for_traces(file)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert out.startswith("frames  ")
    assert err == f"next: edgewise traces {file}\n"


def _wait_for_traces(file: Path) -> None:
    deadline_s = time.monotonic() + 60
    while time.monotonic() < deadline_s:
        with contextlib.suppress(BadInput):
            if next(read_traces(file), None) is not None:
                return
        time.sleep(0.05)
    raise AssertionError("no trace was written")
