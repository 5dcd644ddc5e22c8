"""The device half: a session that answers, with the cloud's help when that pays.

What speaks HTTP is loaded when first used: a device that answers alone opens no socket.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from edgewise.running.answer import Answer, InferenceSource
from edgewise.running.cancelling import Cancellation, GivenUp
from edgewise.running.connecting import connect
from edgewise.running.content import Input
from edgewise.running.deciding.choice import Policy, named_route, predict_s
from edgewise.running.linking.exchange import Link, Reply, Request
from edgewise.running.options import Options, ShadowOptions
from edgewise.running.session import Session
from edgewise.running.shadowing.shadow_report import ShadowReport
from edgewise.running.status import Status
from edgewise.running.streaming.stream import FrameResult, Stream, StreamSummary, stream
from edgewise.running.submitting.outbox import Outbox
from edgewise.running.submitting.outbox_file import NotStored
from edgewise.running.submitting.outbox_items import Entry, LeftWaiting, OutboxLimits, Receipt
from edgewise.running.submitting.submitter import Flushed

if TYPE_CHECKING:
    from edgewise.running.downloading.download import Download, Fetched, download_bundle, roll_back
    from edgewise.running.linking.link import HttpLink

__all__ = [
    "Answer",
    "Cancellation",
    "Download",
    "Entry",
    "Fetched",
    "Flushed",
    "FrameResult",
    "GivenUp",
    "HttpLink",
    "InferenceSource",
    "Input",
    "LeftWaiting",
    "Link",
    "NotStored",
    "Options",
    "Outbox",
    "OutboxLimits",
    "Policy",
    "Receipt",
    "Reply",
    "Request",
    "Session",
    "ShadowOptions",
    "ShadowReport",
    "Status",
    "Stream",
    "StreamSummary",
    "connect",
    "download_bundle",
    "named_route",
    "predict_s",
    "roll_back",
    "stream",
]


_SPEAKS_HTTP = {
    "Download": "downloading.download",
    "Fetched": "downloading.download",
    "HttpLink": "linking.link",
    "download_bundle": "downloading.download",
    "roll_back": "downloading.download",
}


def __getattr__(name: str) -> Any:
    if name not in _SPEAKS_HTTP:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_SPEAKS_HTTP[name]}"), name)
