"""What is sent to the cloud half for one request."""

from __future__ import annotations

from collections.abc import Mapping

from edgewise.bounds import Bound
from edgewise.bundle import Bundle, Route
from edgewise.running.linking.exchange import Request
from edgewise.tensors import Array
from edgewise.wire import Message


def route_request(
    bundle: Bundle, route: Route, payload: Mapping[str, Array], *, id: str, timeout_s: float
) -> Request:
    """The request that asks the cloud half for its part of a route.

    Args:
        bundle: its outputs are what a sound reply holds.
        route: which the server takes.
        payload: what the route sends, by name.
        id: the reply repeats it.
        timeout_s: how long the cloud may take.
    """
    message = Message(
        tensors=payload, id=id, parameters={"route": route.name, "bundle": bundle.digest}
    )
    return Request(
        message=message,
        model=bundle.manifest.name,
        reply_bounds=tuple(Bound.exactly(spec) for spec in bundle.manifest.outputs),
        timeout_s=timeout_s,
    )
