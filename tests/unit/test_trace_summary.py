from edgewise.trace import Span, SpanKind, Trace
from edgewise.trace_summary import summarise


def trace(route: str, total_s: float, *spans: tuple[SpanKind, float], **fields: float) -> Trace:
    return Trace(
        request_id="1",
        bundle_digest="d",
        route=route,
        reason="",
        total_s=total_s,
        spans=tuple(Span(kind=kind, start_s=0.0, duration_s=s) for kind, s in spans),
        **fields,
    )


def test_nothing_has_no_routes():
    assert summarise([]) == ()


def test_the_busiest_route_comes_first():
    traces = [trace(route, 1.0) for route in ("rare", "busy", "also", "busy")]
    assert [(one.route, one.requests) for one in summarise(traces)] == [
        ("busy", 2),
        ("also", 1),
        ("rare", 1),
    ]


def test_a_part_counts_once_in_each_request_that_had_it():
    (one,) = summarise(
        [
            trace("split", 4.0, (SpanKind.UPLOAD, 1.0), (SpanKind.UPLOAD, 2.0)),
            trace("split", 2.0, (SpanKind.UPLOAD, 1.0), (SpanKind.DEVICE, 0.5)),
            trace("split", 3.0),
        ]
    )
    assert one.total.p50_s == 3.0
    assert list(one.spans) == ["device", "upload"]
    assert (one.spans["upload"].p50_s, one.spans["device"].p95_s) == (2.0, 0.5)


def test_only_requests_with_a_deadline_are_in_time_or_late():
    (one,) = summarise(
        [
            trace("local", 1.0, deadline_s=1.0),
            trace("local", 2.0, deadline_s=1.0),
            trace("local", 9.0),
        ]
    )
    assert (one.requests, one.deadlines, one.deadlines_met) == (3, 2, 1)
