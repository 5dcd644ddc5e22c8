"""What happens to a session, and what it then does: the events and actions of its machine."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Fault(enum.StrEnum):
    """Whose fault it is that the cloud gave no answer."""

    CLOUD = "cloud"
    INPUT = "input"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request came in, and the route for it was chosen; an unfinished older one is given up.

    ``deadline_s`` is the time that the caller gave in all, and ``best_s`` the soonest that an
    answer can be there (0: nobody knows); a deadline below it is refused at once if ``refuse``
    says so.
    """

    now_s: float
    request: int
    route: str
    reason: str
    remote: bool
    timeout_s: float
    fallback: bool
    hedge_s: float | None = None
    deadline_s: float | None = None
    best_s: float = 0.0
    refuse: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadDone:
    """The device's part of the route has run."""

    now_s: float
    request: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyArrived:
    """The cloud answered, and the answer is sound.

    Args:
        now_s: when.
        request: its number.
        up_bytes: length of what was sent.
        down_bytes: length of the reply.
        waited_s: from the call to the reply's first byte.
        read_s: from there to its last byte.
        server_s: what the server says it spent itself.
        queue_s: how much of that was waiting for its turn.
    """

    now_s: float
    request: int
    up_bytes: int = 0
    down_bytes: int = 0
    waited_s: float = 0.0
    read_s: float = 0.0
    server_s: float = 0.0
    queue_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteFailed:
    """The cloud gave no usable answer; ``again``: another try at once may well succeed."""

    now_s: float
    request: int
    why: str
    fault: Fault = Fault.CLOUD
    again: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedOut:
    """The time for the cloud is up."""

    now_s: float
    request: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HedgeDue:
    """The device should start on its own, so that the deadline is kept whatever the cloud does."""

    now_s: float
    request: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalDone:
    """The fallback has run."""

    now_s: float
    request: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancelled:
    """The caller gave the request up, or its input was refused; the cloud is not to blame."""

    now_s: float
    request: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreachable:
    """No server answered when the session began."""

    now_s: float
    why: str


OfRequest = HeadDone | ReplyArrived | RemoteFailed | TimedOut | HedgeDue | LocalDone | Cancelled
Event = Asked | OfRequest | Unreachable


@dataclass(frozen=True, slots=True, kw_only=True)
class RunHead:
    """Run the device's part of the route."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Send:
    """Send what the device's part gave; report back, or time out after ``timeout_s``.

    :class:`HedgeDue` is due ``hedge_s`` from now (``None``: never).
    """

    timeout_s: float
    hedge_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFallback:
    """Run the network that answers without the cloud; a send under way goes on meanwhile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerNow:
    """Return the newest result; it came from the chosen route or from the fallback."""

    fallback: bool
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GiveUp:
    """There is no answer: the cloud failed and the device cannot answer alone."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Refuse:
    """The deadline cannot be met; the soonest answer would take ``best_s``."""

    best_s: float


Action = RunHead | Send | RunFallback | AnswerNow | GiveUp | Refuse
