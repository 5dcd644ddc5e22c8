"""What goes to the cloud half and comes back, however it travels; needs no network to load."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from edgewise.bounds import Bound
from edgewise.errors import LinkFailed
from edgewise.wire import Message


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What to send, what may come back, and how long it may take.

    Args:
        message: tensors with parameters; ``route`` and ``bundle`` among them.
        model: the bundle's name.
        reply_bounds: the tensors that a sound reply holds.
        timeout_s: from now until the last byte of the reply.
    """

    message: Message
    model: str
    reply_bounds: Sequence[Bound]
    timeout_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A sound answer of the cloud half.

    Args:
        message: the output tensors.
        waited_s: from the call to the first byte of the reply.
        read_s: from there to the last byte.
        server_s: what the server says it spent, by stage (queue, decode, compute).
        up_bytes: length of the request's body.
        down_bytes: length of the reply's body.
    """

    message: Message
    waited_s: float
    read_s: float
    server_s: Mapping[str, float] = field(default_factory=dict)
    up_bytes: int
    down_bytes: int


class Link(Protocol):
    """Anything that carries requests; wrap one to add behaviour."""

    def send(self, request: Request) -> Reply:
        """The cloud half's answer.

        Raises:
            LinkFailed: when there is none, or it is not sound.
            TimeoutError: when there is none in time.
        """

    def close(self) -> None:
        """End the sends that are under way and free what they hold; a later one starts anew."""


class Unreachable(LinkFailed):
    """There was no connection, so nothing was sent."""


class Broken(LinkFailed):
    """The connection was there and broke: another one may well hold."""


class Refused(LinkFailed):
    """The server answered, and said no.

    Args:
        reason: in words a person reads.
        status: HTTP status.
    """

    def __init__(self, reason: str, status: int) -> None:
        super().__init__(reason)
        self.status = status
