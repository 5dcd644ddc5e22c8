from dataclasses import replace

import pytest

from edgewise.records import read_record, write_record
from edgewise.trace import Span, SpanKind, Trace

TRACE = Trace(
    request_id="1",
    bundle_digest="d",
    route="split-8",
    reason="fastest",
    total_s=0.6,
    spans=(
        Span(kind=SpanKind.DEVICE, start_s=0.0, duration_s=0.25),
        Span(kind=SpanKind.UPLOAD, start_s=0.25, duration_s=0.125),
        Span(kind=SpanKind.UPLOAD, start_s=0.4, duration_s=0.125),
    ),
    up_bytes=100,
)


def test_spans_of_one_kind_add():
    assert TRACE.seconds_of(SpanKind.UPLOAD) == 0.25
    assert TRACE.seconds_of(SpanKind.CLOUD) == 0


@pytest.mark.parametrize(("deadline_s", "met"), [(None, None), (0.5, False), (0.6, True)])
def test_a_deadline_is_met_by_the_total(deadline_s, met):
    assert replace(TRACE, deadline_s=deadline_s).deadline_met is met


def test_survives_json():
    assert read_record(Trace, write_record(TRACE), where="t") == TRACE
