"""The device half: a session that answers, with the cloud's help when that pays.

What speaks HTTP is loaded when first used: a device that answers alone opens no socket.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgewise.running.answer import Answer, InferenceSource
from edgewise.running.cancelling import Cancellation, GivenUp
from edgewise.running.choice import Choice, Policy, choose, predict_s
from edgewise.running.connecting import connect
from edgewise.running.content import Input
from edgewise.running.exchange import Link, Reply, Request
from edgewise.running.options import Options, ShadowOptions
from edgewise.running.outbox import Outbox
from edgewise.running.outbox_file import NotStored
from edgewise.running.outbox_items import Entry, OutboxLimits, Receipt
from edgewise.running.session import Session
from edgewise.running.shadow_report import ShadowReport
from edgewise.running.status import Status
from edgewise.running.submitting import Flushed

if TYPE_CHECKING:
    from edgewise.running.link import HttpLink

__all__ = [
    "Answer",
    "Cancellation",
    "Choice",
    "Entry",
    "Flushed",
    "GivenUp",
    "HttpLink",
    "InferenceSource",
    "Input",
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
    "choose",
    "connect",
    "predict_s",
]


def __getattr__(name: str) -> Any:
    if name != "HttpLink":
        raise AttributeError(f"module 'edgewise.running' has no attribute {name!r}")
    from edgewise.running.link import HttpLink

    return HttpLink
