"""What a session learns from a request that has ended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from edgewise.bundle import Route
from edgewise.running.estimating import Drift, Transfer
from edgewise.running.link import Reply
from edgewise.running.outlook import Outlook
from edgewise.running.spans import Recorder
from edgewise.trace import SpanKind

_FAR_OFF = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesson:
    """One request that has ended.

    Args:
        now_s: when.
        route: that was tried.
        predicted_s: for that route.
        linked: whether that prediction counts the link.
        begun: whether the route's device part ran to its end.
        remote_s: from the choice to the cloud's answer; ``None`` when there was none.
        failed: whether the route failed, missed its deadline or lost against the device.
    """

    now_s: float
    route: Route
    predicted_s: float
    linked: bool
    begun: bool
    remote_s: float | None
    failed: bool


def learnt(
    outlook: Outlook, lesson: Lesson, recorder: Recorder, local_s: Sequence[float]
) -> Outlook:
    """The outlook after one more request.

    Args:
        outlook: before it.
        lesson: how it ended.
        recorder: what it spent its time on.
        local_s: what answers on the device took that ended meanwhile.
    """
    for seconds in local_s:
        outlook = replace(outlook, local_s=outlook.local_s.added(seconds))
    if lesson.begun:
        outlook = replace(outlook, device=_device(outlook, lesson, recorder))
    far_off = False
    if lesson.remote_s is not None and lesson.linked and lesson.predicted_s > 0:
        ratio = lesson.remote_s / lesson.predicted_s
        outlook = replace(outlook, remote=outlook.remote.added(ratio))
        far_off = ratio > _FAR_OFF
    return outlook.missed() if lesson.failed or far_off else outlook


def _device(outlook: Outlook, lesson: Lesson, recorder: Recorder) -> Drift:
    remote = lesson.route.server_part is not None
    kinds = (SpanKind.ENCODE, SpanKind.DEVICE) if remote else (SpanKind.LOCAL,)
    return outlook.device.observed(
        now_s=lesson.now_s,
        measured_s=sum(recorder.seconds_of(kind) for kind in kinds),
        planned_s=lesson.route.coefficients.device_s,
    )


def with_reply(outlook: Outlook, reply: Reply, route: Route, now_s: float) -> Outlook:
    """The outlook after a reply: the link without the server, the server without the link."""
    server_s = min(sum(reply.server_s.values()), reply.waited_s)
    transfer = Transfer(
        now_s=now_s,
        up_bytes=reply.up_bytes,
        up_s=reply.waited_s - server_s,
        down_bytes=reply.down_bytes,
        down_s=reply.read_s,
    )
    server = outlook.server.observed(
        now_s=now_s, measured_s=server_s, planned_s=route.coefficients.cloud_s
    )
    return replace(outlook, link=outlook.link.observed(transfer), server=server)


def without_reply(outlook: Outlook, up_bytes: int, waited_s: float, now_s: float) -> Outlook:
    """The outlook after waiting in vain: the link needs at least that long."""
    transfer = Transfer(now_s=now_s, up_bytes=up_bytes, up_s=waited_s, at_least=True)
    return replace(outlook, link=outlook.link.observed(transfer))
