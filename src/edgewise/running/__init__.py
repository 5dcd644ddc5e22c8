"""The device half: a session that answers, with the cloud's help when that pays."""

from edgewise.running.answer import Answer, InferenceSource
from edgewise.running.choice import Choice, Policy, choose, predict_s
from edgewise.running.content import Input
from edgewise.running.link import HttpLink, Link, Reply, Request
from edgewise.running.options import Options
from edgewise.running.session import Session, connect
from edgewise.running.status import Status

__all__ = [
    "Answer",
    "Choice",
    "HttpLink",
    "InferenceSource",
    "Input",
    "Link",
    "Options",
    "Policy",
    "Reply",
    "Request",
    "Session",
    "Status",
    "choose",
    "connect",
    "predict_s",
]
