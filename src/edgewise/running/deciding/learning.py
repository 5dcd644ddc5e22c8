"""What a session learns from the events of its requests, as pure functions of the outlook."""

from __future__ import annotations

from dataclasses import replace

from edgewise.bundle import Route
from edgewise.running.deciding.estimating import Transfer
from edgewise.running.deciding.events import ReplyArrived
from edgewise.running.deciding.outlook import Outlook

_FAR_OFF = 2.0


def with_head(outlook: Outlook, route: Route, device_s: float, now_s: float) -> Outlook:
    """The outlook after the route's part on the device took that long."""
    device = outlook.device.observed(
        now_s=now_s, measured_s=device_s, planned_s=route.coefficients.device_s
    )
    return replace(outlook, device=device)


def with_local(outlook: Outlook, took_s: float) -> Outlook:
    """The outlook after the network that answers alone took that long."""
    return replace(outlook, local_s=outlook.local_s.added(took_s)) if took_s >= 0 else outlook


def with_reply(outlook: Outlook, reply: ReplyArrived, route: Route) -> Outlook:
    """The outlook after a reply: the link without the server, the server without the link."""
    server_s = min(reply.server_s, reply.waited_s)
    transfer = Transfer(
        now_s=reply.now_s,
        up_bytes=reply.up_bytes,
        up_s=reply.waited_s - server_s,
        down_bytes=reply.down_bytes,
        down_s=reply.read_s,
    )
    waited_s = min(reply.queue_s, server_s)
    server = outlook.server.observed(
        now_s=reply.now_s,
        measured_s=server_s - waited_s,
        planned_s=route.coefficients.cloud_s,
    )
    queue = outlook.queue.observed(now_s=reply.now_s, waited_s=waited_s)
    return replace(outlook, link=outlook.link.observed(transfer), server=server, queue=queue)


def without_reply(outlook: Outlook, up_bytes: int, waited_s: float, now_s: float) -> Outlook:
    """The outlook after waiting in vain: the link needs at least that long."""
    transfer = Transfer(now_s=now_s, up_bytes=up_bytes, up_s=waited_s, at_least=True)
    return replace(outlook, link=outlook.link.observed(transfer))


def with_remote(outlook: Outlook, remote_s: float, predicted_s: float) -> Outlook:
    """The outlook after an answer of the cloud, on a link that the prediction counted.

    One that took more than twice as long lets the route be left at once.
    """
    if predicted_s <= 0 or remote_s < 0:
        return outlook
    ratio = remote_s / predicted_s
    learnt = replace(outlook, remote=outlook.remote.added(ratio))
    return learnt.missed() if ratio > _FAR_OFF else learnt
