from __future__ import annotations

import itertools

import pytest

from edgewise.running import InferenceSource, Reply
from edgewise.running.spans import Recorder
from edgewise.trace import SpanKind, Trace
from edgewise.wire import Message


def recorder() -> Recorder:
    """Every look at the clock takes a second."""
    return Recorder(itertools.count(100.0).__next__)


def reply(waited_s: float, **server_s: float) -> Reply:
    return Reply(
        message=Message(tensors={}),
        waited_s=waited_s,
        read_s=0.5,
        server_s=server_s,
        up_bytes=1000,
        down_bytes=10,
    )


def trace_of(noted: Recorder) -> Trace:
    source = InferenceSource(route="r", kind="split", reason="why", agreement=None)
    return noted.trace(request_id="1", bundle_digest="d", source=source, deadline_s=2.0)


def seconds(trace: Trace) -> dict[str, float]:
    return {span.kind.value: span.duration_s for span in trace.spans}


def test_work_is_timed_and_its_result_given_back():
    noted = recorder()
    assert noted.timed(SpanKind.PREPARE, lambda: "pixels") == "pixels"
    trace = trace_of(noted)
    (span,) = trace.spans
    assert (span.kind, span.start_s, span.duration_s) == (SpanKind.PREPARE, 1.0, 1.0)
    assert trace.total_s == 3.0
    assert (trace.route, trace.kind, trace.reason) == ("r", "split", "why")
    assert trace.deadline_met is False


def test_a_reply_is_split_into_upload_queue_cloud_and_download():
    noted = recorder()
    noted.sent(reply(2.0, queue=0.25, decode=0.125, compute=0.5), start_s=1.0)
    trace = trace_of(noted)
    assert seconds(trace) == {"upload": 1.125, "queue": 0.25, "cloud": 0.625, "download": 0.5}
    assert [span.start_s for span in trace.spans] == [1.0, 2.125, 2.375, 3.0]
    assert (trace.up_bytes, trace.down_bytes) == (1000, 10)


@pytest.mark.parametrize(
    ("server_s", "expected"),
    [
        ({}, {"upload": 2.0, "queue": 0.0, "cloud": 0.0}),
        ({"compute": 9.0}, {"upload": 0.0, "queue": 0.0, "cloud": 2.0}),
        ({"queue": 9.0, "compute": 9.0}, {"upload": 0.0, "queue": 2.0, "cloud": 0.0}),
        ({"total": 1.0, "compute": 1.0}, {"upload": 1.0, "queue": 0.0, "cloud": 1.0}),
    ],
)
def test_the_server_s_word_counts_within_the_time_that_really_passed(
    server_s: dict[str, float], expected: dict[str, float]
):
    noted = recorder()
    noted.sent(reply(2.0, **server_s), start_s=1.0)
    assert seconds(trace_of(noted)) == {**expected, "download": 0.5}


def test_a_lost_try_counts_with_its_time_and_bytes():
    noted = recorder()
    noted.lost(700, start_s=0.5)
    noted.sent(reply(2.0), start_s=2.0)
    trace = trace_of(noted)
    assert trace.spans[0].kind is SpanKind.UPLOAD
    assert (trace.spans[0].start_s, trace.spans[0].duration_s) == (0.5, 0.5)
    assert trace.up_bytes == 1700
