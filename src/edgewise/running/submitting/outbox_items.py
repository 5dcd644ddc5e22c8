"""What an outbox takes, gives and lists."""

from __future__ import annotations

from dataclasses import dataclass

from edgewise.errors import LinkFailed
from edgewise.submission import MAX_SUBMISSION_BYTES
from edgewise.wire import Frame


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxLimits:
    """How much may wait, and how long.

    Args:
        max_bytes: sum over everything that waits or was set aside.
        max_items: their number.
        max_item_bytes: of one frame.
        max_age_s: older items are set aside; at most a day counts between two uses of the outbox.

    >>> OutboxLimits(max_items=2).max_items
    2
    """

    max_bytes: int = 67_108_864
    max_items: int = 10_000
    max_item_bytes: int = MAX_SUBMISSION_BYTES
    max_age_s: float = 30 * 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """Proof that something is on disk; the same for the same key and content.

    Args:
        key: under which it takes effect once.
        digest: of its content.
        nbytes: of its frame.
        accepted_s: seconds since 1970 by this device's clock.
    """

    key: str
    digest: str
    nbytes: int
    accepted_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One item as the outbox lists it.

    Args:
        key: of the item.
        model: of the server that it is for.
        state: ``waiting``, ``aside`` or ``delivered``.
        nbytes: of its frame.
        accepted_s: seconds since 1970 by this device's clock.
        attempts: deliveries that failed.
        reason: why the last one failed, or why it was set aside.
    """

    key: str
    model: str
    state: str
    nbytes: int
    accepted_s: float
    attempts: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """The item to deliver next."""

    key: str
    digest: str
    frame: Frame


class LeftWaiting(LinkFailed):
    """Nobody could answer; what would have been sent waits in the outbox.

    Args:
        reason: why nobody could.
        receipt: of what waits.
    """

    def __init__(self, reason: str, receipt: Receipt) -> None:
        super().__init__(reason, remedy=f"the request waits in the outbox as {receipt.key}")
        self.receipt = receipt
