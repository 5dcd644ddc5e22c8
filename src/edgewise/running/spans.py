"""Note what a request spends its time on, while it runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from edgewise.running.answer import InferenceSource
from edgewise.running.linking.exchange import Reply
from edgewise.trace import Span, SpanKind, Trace

T = TypeVar("T")
_WORK_STAGES = ("decode", "compute")


class Recorder:
    """Collects the spans of one request.

    Args:
        clock: seconds that only go forward.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._start_s = clock()
        self._spans: list[Span] = []
        self._up_bytes = 0
        self._down_bytes = 0

    @property
    def elapsed_s(self) -> float:
        """Seconds since the request came in."""
        return self._clock() - self._start_s

    def timed(self, kind: SpanKind, work: Callable[[], T]) -> T:
        """The result of ``work``, its time noted."""
        start_s = self.elapsed_s
        result = work()
        self._add(kind, start_s, self.elapsed_s - start_s)
        return result

    def sent(self, reply: Reply, *, start_s: float) -> None:
        """Note a reply's journey: what the server did not spend is upload and waiting."""
        # The server's word counts only as far as our own clock lets it.
        queue_s = min(reply.server_s.get("queue", 0.0), reply.waited_s)
        work_s = sum(reply.server_s.get(stage, 0.0) for stage in _WORK_STAGES)
        cloud_s = min(work_s, reply.waited_s - queue_s)
        upload_s = reply.waited_s - queue_s - cloud_s
        self._add(SpanKind.UPLOAD, start_s, upload_s)
        self._add(SpanKind.QUEUE, start_s + upload_s, queue_s)
        self._add(SpanKind.CLOUD, start_s + upload_s + queue_s, cloud_s)
        self._add(SpanKind.DOWNLOAD, start_s + reply.waited_s, reply.read_s)
        self._up_bytes += reply.up_bytes
        self._down_bytes += reply.down_bytes

    def lost(self, up_bytes: int, *, start_s: float) -> None:
        """Note a try that brought no answer, and what it sent at most."""
        self._add(SpanKind.UPLOAD, start_s, self.elapsed_s - start_s)
        self._up_bytes += up_bytes

    def ran(self, kind: SpanKind, *, start_s: float, duration_s: float) -> None:
        """Note work that went on beside."""
        self._add(kind, start_s, duration_s)

    def trace(
        self,
        *,
        request_id: str,
        bundle_digest: str,
        source: InferenceSource,
        deadline_s: float | None,
    ) -> Trace:
        """Everything noted so far."""
        return Trace(
            request_id=request_id,
            bundle_digest=bundle_digest,
            route=source.route,
            kind=source.kind,
            reason=source.reason,
            deadline_s=deadline_s,
            total_s=self.elapsed_s,
            spans=tuple(sorted(self._spans, key=lambda span: span.start_s)),
            up_bytes=self._up_bytes,
            down_bytes=self._down_bytes,
        )

    def _add(self, kind: SpanKind, start_s: float, duration_s: float) -> None:
        self._spans.append(Span(kind=kind, start_s=start_s, duration_s=max(0.0, duration_s)))
