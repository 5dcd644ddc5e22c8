"""What happened to one request, span by span."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class SpanKind(enum.StrEnum):
    """The parts that a request's time falls into."""

    PREPARE = "prepare"
    DEVICE = "device"
    ENCODE = "encode"
    UPLOAD = "upload"
    QUEUE = "queue"
    CLOUD = "cloud"
    DOWNLOAD = "download"
    LOCAL = "local"


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """One part of a request's time; ``start_s`` counts from the start of the request."""

    kind: SpanKind
    start_s: float
    duration_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """What happened to one request.

    Args:
        request_id: unique within a session.
        bundle_digest: the bundle that answered.
        route: the name of the route whose answer was returned.
        reason: why that route, in words a person reads.
        total_s: from the call to the answer.
        spans: the parts, in order of their start.
        up_bytes: body bytes sent to the cloud, failed tries included.
        down_bytes: body bytes received.
        kind: of that route: ``local``, ``split``, ``cloud`` …; empty when nobody noted it.
        deadline_s: that the caller set, from the call on.
        at_s: when it was answered, seconds since 1970 by the device's clock.

    >>> Trace(request_id="1", bundle_digest="d", route="local", reason="fastest", total_s=1.0,
    ...       spans=(Span(kind=SpanKind.LOCAL, start_s=0.0, duration_s=1.0),)).seconds_of(
    ...     SpanKind.LOCAL)
    1.0
    """

    request_id: str
    bundle_digest: str
    route: str
    reason: str
    total_s: float
    spans: tuple[Span, ...]
    up_bytes: int = 0
    down_bytes: int = 0
    kind: str = ""
    deadline_s: float | None = None
    at_s: float | None = None

    @property
    def deadline_met(self) -> bool | None:
        """Whether the answer came in time; ``None`` without a deadline."""
        return None if self.deadline_s is None else self.total_s <= self.deadline_s

    def seconds_of(self, kind: SpanKind) -> float:
        """Total duration of the spans of one kind."""
        return sum(span.duration_s for span in self.spans if span.kind is kind)
