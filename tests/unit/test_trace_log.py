"""The trace log: what it keeps and what not, limits, damage, full disks, killed processes."""

from __future__ import annotations

import logging
import os
import random
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from edgewise.errors import BadInput
from edgewise.trace import Span, SpanKind, Trace
from edgewise.trace_log import TraceLimits, TraceLog, read_traces

DAY_S = 86_400.0
NOW_S = 1_000_000.0
TRACE = Trace(
    request_id="1",
    bundle_digest="d" * 64,
    route="split-int8",
    kind="split",
    reason="the fastest on lte",
    total_s=0.5,
    spans=(
        Span(kind=SpanKind.PREPARE, start_s=0.0, duration_s=0.125),
        Span(kind=SpanKind.UPLOAD, start_s=0.125, duration_s=0.25),
        Span(kind=SpanKind.UPLOAD, start_s=0.375, duration_s=0.0),
    ),
    up_bytes=4000,
    down_bytes=40,
    deadline_s=0.4,
    at_s=NOW_S,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "traces.db"


def open_log(path: Path, **settings: object) -> TraceLog:
    return TraceLog(path, **{"clock": lambda: NOW_S, **settings})


def numbered(count: int, *, at_s: float = NOW_S) -> list[Trace]:
    return [replace(TRACE, request_id=str(i), at_s=at_s + i) for i in range(count)]


def write(path: Path, traces: list[Trace], **settings: object) -> None:
    with open_log(path, **settings) as log:
        for trace in traces:
            log.append(trace)
        assert log.flush()
        assert log.lost == 0


def ids(path: Path) -> list[str]:
    return [trace.request_id for trace in read_traces(path)]


def test_what_is_written_is_read_again_in_order(path: Path) -> None:
    bare = replace(TRACE, request_id="2", spans=(), deadline_s=None, kind="local")
    write(path, [TRACE, bare])
    assert list(read_traces(path)) == [TRACE, bare]
    with sqlite3.connect(path) as db:
        met = [row[0] for row in db.execute("SELECT deadline_met FROM requests")]
    db.close()
    assert met == [0, None]


def test_reading_leaves_nothing_behind(path: Path) -> None:
    write(path, [TRACE])
    before = sorted(path.parent.iterdir()), path.read_bytes()
    assert ids(path) == ["1"]
    assert (sorted(path.parent.iterdir()), path.read_bytes()) == before


def test_a_trace_without_a_time_was_answered_now(path: Path) -> None:
    write(path, [replace(TRACE, at_s=None)], clock=lambda: 7.0)
    assert [trace.at_s for trace in read_traces(path)] == [7.0]


def test_only_what_was_answered_since(path: Path) -> None:
    write(path, numbered(5))
    since = [trace.request_id for trace in read_traces(path, since_s=NOW_S + 3)]
    assert since == ["3", "4"]


def test_details_in_brackets_are_not_kept(path: Path) -> None:
    """They are a server's own words, or a certificate's, and may hold anything."""
    reason = "the cloud is offline (the server answered 503: (at) db.internal\nno);"
    write(path, [replace(TRACE, reason=f"{reason} next try in 3 s")])
    (trace,) = read_traces(path)
    assert trace.reason == "the cloud is offline; next try in 3 s"
    assert b"db.internal" not in path.read_bytes()


def test_it_is_read_while_it_is_written(path: Path) -> None:
    with open_log(path) as log:
        log.append(TRACE)
        assert log.flush()
        reading = read_traces(path)
        assert next(reading) == TRACE
        log.append(TRACE)
        assert log.flush()
        assert list(reading) == []
        assert ids(path) == ["1", "1"]


def test_threads_share_a_log(path: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    with open_log(path) as log:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(log.append, numbered(400)))
        assert log.flush()
    assert sorted(map(int, ids(path))) == list(range(400))


def test_a_closed_log_takes_no_more_and_says_nothing(path: Path) -> None:
    log = TraceLog(path)
    log.close()
    log.close()
    log.append(TRACE)
    assert log.lost == 1
    assert list(read_traces(path)) == []


def test_the_oldest_go_when_it_is_large(path: Path) -> None:
    limits = TraceLimits(max_bytes=100_000)
    for round_ in range(4):
        write(path, numbered(1000, at_s=1000.0 * round_), limits=limits, clock=lambda: 5000.0)
    kept = [trace.at_s for trace in read_traces(path)]
    assert kept == [float(4000 - len(kept) + i) for i in range(len(kept))]
    assert len(kept) > 100
    assert path.stat().st_size < 2.5 * limits.max_bytes  # it grows between two looks


def test_the_oldest_go_when_they_are_old(path: Path) -> None:
    limits = TraceLimits(max_age_s=DAY_S)
    write(path, numbered(10, at_s=0.0), limits=limits, clock=lambda: 10.0)
    for _ in range(40):  # a tenth each time
        write(path, numbered(1, at_s=2 * DAY_S), limits=limits, clock=lambda: 2 * DAY_S)
    assert min(trace.at_s or 0 for trace in read_traces(path)) == 2 * DAY_S


def test_a_clock_that_jumps_does_not_empty_the_log(path: Path) -> None:
    write(path, numbered(200))
    write(path, [replace(TRACE, at_s=None)], clock=lambda: 1e12)
    assert len(ids(path)) > 150


def _garbage(path: Path) -> None:
    path.write_bytes(random.Random(1).randbytes(5000))


def _overwritten(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[4096:] = random.Random(1).randbytes(len(raw) - 4096)
    path.write_bytes(raw)


@pytest.mark.parametrize("damage", [_garbage, _overwritten])
def test_a_damaged_file_is_told_to_readers_and_set_aside_by_writers(
    path: Path, damage: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    write(path, [TRACE])
    damage(path)
    broken = path.read_bytes()
    with pytest.raises(BadInput, match=r"expected the trace log .* found a damaged file; open"):
        list(read_traces(path))
    with caplog.at_level(logging.WARNING), open_log(path) as log:
        aside = path.with_name("traces.db.damaged-1")
        assert log.damaged == aside
        log.append(replace(TRACE, request_id="2"))
    assert aside.read_bytes() == broken
    assert "the trace log traces.db is damaged: set aside as traces.db.damaged-1" in caplog.text
    assert ids(path) == ["2"]


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("UPDATE spans SET kind = 'elsewhere'", "request 1.spans"),
        ("UPDATE spans SET start_s = 9e999", "request 1.spans"),
        ("UPDATE requests SET total_s = -9e999", "request 1.total_s"),
    ],
)
def test_rows_that_nobody_of_ours_wrote_are_refused(path: Path, statement: str, said: str) -> None:
    write(path, [TRACE])
    with sqlite3.connect(path) as db:
        db.execute(statement)
    db.close()
    with pytest.raises(BadInput, match=said):
        list(read_traces(path))


def test_files_of_others_are_not_read_and_stay_as_they_are(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE requests (x)")
    db.close()
    before = path.read_bytes()
    for use in (lambda: list(read_traces(path)), lambda: TraceLog(path)):
        with pytest.raises(BadInput, match=r"found another program's database; name another fi"):
            use()
    assert path.read_bytes() == before


def test_an_outbox_is_no_trace_log(path: Path) -> None:
    from edgewise.running import Outbox

    Outbox(path).close()
    with pytest.raises(BadInput, match="expected the trace log of this edgewise at"):
        list(read_traces(path))


@pytest.mark.parametrize(
    ("make", "found"),
    [
        (lambda path: None, "found nothing; write one: edgewise run BUNDLE INPUT --traces FILE"),
        (Path.mkdir, "found no regular file"),
        (Path.touch, "found an empty file"),
    ],
)
def test_where_there_is_no_log(path: Path, make: Callable[[Path], None], found: str) -> None:
    make(path)
    before = sorted(path.parent.iterdir())
    with pytest.raises(BadInput, match=f"expected a trace log at .*{found}"):
        list(read_traces(path))
    assert sorted(path.parent.iterdir()) == before


def test_a_place_where_no_file_can_be(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"expected a place for the trace log at .*No such file"):
        TraceLog(tmp_path / "nowhere" / "traces.db")


FILLS = """
import logging, resource, sys
from dataclasses import replace
from edgewise.trace import Trace
from edgewise.trace_log import TraceLog
logging.basicConfig(format="%(message)s")
log = TraceLog(sys.argv[1])
unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, unlimited[1]))
trace = Trace(request_id="1", bundle_digest="d", route="r", reason="w" * 3000, total_s=1.0,
              spans=())
def hand_over(name):
    log.append(replace(trace, request_id=name))
    assert log.flush()
count = 0
while log.lost < 5:
    hand_over(f"before-{count}")
    count += 1
resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
lost = log.lost
hand_over("after")
assert log.lost == lost
log.close()
print(count - lost)
"""


@pytest.mark.skipif(os.name != "posix", reason="needs limits on the size of files")
def test_a_disk_that_refuses_to_write_fails_nobody_and_is_told_once(path: Path) -> None:
    done = _python(FILLS, path)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("traces are lost: expected the trace log ") == 1, done.stderr
    *before, after = ids(path)
    assert after == "after"
    assert len(before) == int(done.stdout) > 5


WRITES = """
import sys
from dataclasses import replace
from edgewise.trace import Span, SpanKind, Trace
from edgewise.trace_log import TraceLog
span = Span(kind=SpanKind.LOCAL, start_s=0.0, duration_s=1.0)
trace = Trace(request_id="", bundle_digest="d", route="r", reason="w", total_s=1.0, spans=(span,))
log = TraceLog(sys.argv[1])
"""
KILLED = f"""
{WRITES}
i = 0
while True:
    log.append(replace(trace, request_id=f"{{sys.argv[2]}}-{{i}}"))
    if not i % 7:
        assert log.flush()
        print(i, flush=True)
    i += 1
"""
SHARES = f"""
{WRITES}
for i in range(200):
    log.append(replace(trace, request_id=f"{{sys.argv[2]}}-{{i}}"))
log.close()
sys.exit(log.lost)
"""


def test_a_killed_process_leaves_a_whole_file_with_all_that_was_written(path: Path) -> None:
    for round_ in range(3):
        command = [sys.executable, "-c", KILLED, str(path), str(round_)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            told = [int(process.stdout.readline()) for _ in range(5 * round_ + 1)]
            process.kill()
            told += [int(line) for line in process.stdout.read().splitlines()]
        with TraceLog(path) as log:
            assert log.damaged is None
        found = [name for name in ids(path) if name.startswith(f"{round_}-")]
        assert found == [f"{round_}-{i}" for i in range(len(found))]
        assert len(found) > told[-1]
        assert all(len(trace.spans) == 1 for trace in read_traces(path))


def test_processes_share_a_log(path: Path) -> None:
    writers = [subprocess.Popen([sys.executable, "-c", SHARES, str(path), name]) for name in "abc"]
    assert [writer.wait(120) for writer in writers] == [0, 0, 0]
    assert sorted(ids(path)) == sorted(f"{name}-{i}" for name in "abc" for i in range(200))


def _python(script: str, *words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", script, *map(str, words)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
