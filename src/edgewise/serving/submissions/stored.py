"""What the store of submissions gives and raises; whoever has no store loads no database."""

from __future__ import annotations

import datetime
from dataclasses import dataclass

from edgewise.errors import BadInput, EdgewiseError


class StoreFailed(EdgewiseError):  # noqa: N818 - as its siblings
    """The database did not take or give what it was asked to."""


class KeyTaken(BadInput):
    """The key stands for other content already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """One submission in the database.

    Args:
        model: that it was sent to.
        key: under which it counts once.
        digest: of its content.
        bundle: digest of what the device runs; empty when it did not say.
        stored_s: seconds since 1970 by this server's clock.
        nbytes: of its frame.
    """

    model: str
    key: str
    digest: str
    bundle: str
    stored_s: float
    nbytes: int

    @property
    def stored_at(self) -> str:
        """When, as RFC 3339 writes it, in UTC, to the millisecond.

        >>> Stored(model="m", key="a", digest="", bundle="", stored_s=0.25, nbytes=1).stored_at
        '1970-01-01T00:00:00.250Z'
        """
        moment = datetime.datetime.fromtimestamp(self.stored_s, datetime.UTC)
        return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
