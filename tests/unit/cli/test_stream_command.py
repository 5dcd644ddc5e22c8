"""``edgewise run --fps`` and ``edgewise traces`` without a server."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from edgewise.bundle import Bundle
from edgewise.cli import main
from edgewise.trace import Span, SpanKind, Trace
from edgewise.trace_log import TraceLog, read_traces
from session_bundles import image, session_bundle

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return session_bundle(tmp_path_factory.mktemp("bundles") / "bundle", "local", "split-fp32")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "inputs"
    folder.mkdir()
    for i in range(3):
        np.save(folder / f"{i}.npy", image(i))
    return folder


def run(bundle: Bundle, *words: object) -> int:
    return main(["run", str(bundle.path), *map(str, words)])


def refusal(capsys: pytest.CaptureFixture[str]) -> str:
    said = capsys.readouterr()
    assert said.err.startswith("edgewise: ")
    assert said.err.count("\n") == 1
    assert said.out == ""
    return said.err


def test_json_has_every_result_and_a_summary(
    bundle: Bundle, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--fps", 200, "--for", "50ms", "--max-age", "1h", "--deadline", "2h", "--json")
    assert run(bundle, folder, *words) == 0
    said = capsys.readouterr()
    assert said.err == ""
    report = json.loads(said.out)
    assert report["bundle"] == bundle.digest
    summary, results = report["summary"], report["results"]
    assert summary["offered"] == 10
    assert summary["offered"] == summary["answered"] + summary["dropped"]
    assert summary["routes"] == {"local": len(results)}
    assert summary["delay"]["p50_s"] <= summary["delay"]["p95_s"] <= summary["delay"]["p99_s"]
    numbers = [result["frame"] for result in results]
    assert numbers == sorted(set(numbers))
    for result in results:
        assert result["input"] == str(folder / f"{result['frame'] % 3}.npy")
        assert 0 <= result["age_s"] <= result["delay_s"]
        assert result["deadline_met"] is True
        assert result["error"] is None
        assert {"outputs", "inference_source", "spans", "total_s"} <= set(result)


def test_a_table_at_the_end(
    bundle: Bundle, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(bundle, folder, "--fps", 20, "--max-age", "1h", "--slowdown", 2) == 0
    out = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in out] == ["frames", "rate", "delay", "routes"]
    assert out[0].startswith("frames  3 offered, ")
    assert "answers a second of 20 frames" in out[1]
    assert out[3].endswith("by local")


def test_a_missed_deadline_is_told(
    bundle: Bundle, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--fps", 1, "--for", "1s", "--max-age", "1h", "--deadline", "0.2s")
    assert run(bundle, folder, *words, "--slowdown", 5000) == 0
    assert "late    1 of 1 answers missed the deadline" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--repeat",), "expected --fps beside --max-age, --repeat or --for, found none; try"),
        (("--max-age", "1s"), "expected --fps beside"),
        (("--for", "1s"), "expected --fps beside"),
        (("--fps", "0"), "expected a rate above 0 and up to 1000 frames a second, found 0"),
        (("--fps", "nan"), "expected a rate above 0"),
        (("--fps", "30", "--for", "0"), "expected --for a time above 0, found 0; try --for 10s"),
        (("--fps", "30", "--max-age", "0"), "expected max_age_s above 0 and finite, found 0"),
        (
            ("--fps", "1", "--max-age", "1h", "--route", "teleport"),
            "found 'teleport'; choose one of them",
        ),
    ],
)
def test_options_that_do_not_fit(
    bundle: Bundle,
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
    said: str,
) -> None:
    assert run(bundle, folder, *words) == 2
    assert said in refusal(capsys)


def test_an_input_that_does_not_fit_ends_a_stream_that_answered_nothing(
    bundle: Bundle, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(folder / "0.npy", np.zeros((2, 2), np.float32))
    assert run(bundle, folder, "--fps", 2, "--max-age", "1h") == 2
    assert "expected in " in (said := refusal(capsys))
    assert "0.npy" in said


def test_an_input_that_does_not_fit_later_is_told_at_the_end(
    bundle: Bundle, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(folder / "2.npy", np.zeros((2, 2), np.float32))
    assert run(bundle, folder, "--fps", 2, "--max-age", "1h") == 0
    assert "failed  1 frames, the last because: expected " in capsys.readouterr().out


# Traces


def test_run_keeps_traces_and_traces_shows_them(
    bundle: Bundle, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "traces.db"
    for words in (("--deadline", "1h"), ("--fps", 20, "--max-age", "1h")):
        assert run(bundle, folder, "--traces", file, *words) == 0
        assert capsys.readouterr().err == f"next: edgewise traces {file}\n"
    kept = list(read_traces(file))
    assert {trace.bundle_digest for trace in kept} == {bundle.digest}
    assert {trace.kind for trace in kept} == {"local"}
    assert main(["traces", str(file)]) == 0
    said = capsys.readouterr()
    lines = [line.split() for line in said.out.splitlines()]
    assert lines[1] == ["local", str(len(kept)), "100.0", "%", "0", "B", "0", "B"]
    assert [line[:2] for line in lines[4:]] == [
        ["local", "total"],
        ["local", "prepare"],
        ["local", "local"],
    ]
    assert said.err.startswith("next: edgewise plan MODEL ")


def test_traces_as_json_since_a_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "traces.db"
    with TraceLog(file, clock=lambda: 50.0) as log:
        for at_s, total_s in ((10.0, 9.0), (20.0, 0.25), (30.0, 0.75)):
            span = Span(kind=SpanKind.CLOUD, start_s=0.0, duration_s=total_s / 2)
            log.append(
                Trace(
                    request_id="1",
                    bundle_digest="d",
                    route="cloud-jpeg",
                    kind="cloud",
                    reason="",
                    total_s=total_s,
                    spans=(span, span),
                    up_bytes=int(at_s),
                    deadline_s=0.5,
                    at_s=at_s,
                )
            )
    assert main(["traces", str(file), "--json", "--since", "1970-01-01T00:00:20"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["requests"] == 2
    (route,) = report["routes"]
    assert (route["route"], route["kind"], route["requests"]) == ("cloud-jpeg", "cloud", 2)
    assert route["total"]["p50_s"] == 0.5
    assert route["spans"]["cloud"]["p50_s"] == 0.5
    assert (route["up_bytes"], route["deadlines"], route["deadlines_met"]) == (25.0, 2, 1)


def test_no_traces(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    TraceLog(tmp_path / "empty.db").close()
    assert main(["traces", str(tmp_path / "empty.db")]) == 0
    assert capsys.readouterr().err.startswith("no traces there; next: edgewise run BUNDLE INPUT")
    assert main(["traces", str(tmp_path / "nowhere.db")]) == 2
    assert "found nothing; write one: edgewise run BUNDLE INPUT --traces" in refusal(capsys)


def test_traces_that_cannot_be_kept(
    bundle: Bundle, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(bundle, folder, "--traces", folder / "nowhere" / "traces.db") == 2
    assert "expected a place for the trace log at " in refusal(capsys)
