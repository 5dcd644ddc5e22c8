"""A share of the requests for a new version, before it answers all of them."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from edgewise.errors import BadInput

_TEXT = re.compile(r"([A-Za-z0-9_.\-]{1,64}):([0-9]{1,10})=([0-9]{1,3}(?:\.[0-9]{1,6})?)(%?)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Canary:
    """One version on trial.

    Args:
        name: of the model.
        version: that is tried.
        share: of the requests that ask for no version and for no bundle; between 0 and 1.

    Raises:
        BadInput: when the share is none.
    """

    name: str
    version: int
    share: float

    def __post_init__(self) -> None:
        if not 0 < self.share < 1:
            raise _bad_canary(f"the share {self.share:g}")

    def takes(self, identity: str) -> bool:
        """Whether a request goes to the new version; of one identity, all do or none.

        >>> canary = Canary(name="cats", version=2, share=0.5)
        >>> [canary.takes(name) for name in ("anna", "carla", "anna")]
        [False, True, False]
        """
        text = f"{self.name}:{self.version}:{identity}"
        digest = hashlib.sha256(text.encode(errors="replace")).digest()
        return int.from_bytes(digest[:8], "big") < self.share * 2**64


def read_canary(text: str) -> Canary:
    """A canary as somebody types it.

    Raises:
        BadInput: when it is none.

    >>> read_canary("cats:2=5%")
    Canary(name='cats', version=2, share=0.05)
    """
    match = _TEXT.fullmatch(text)
    if match is None:
        raise _bad_canary(repr(text[:80]))
    name, version, share, percent = match.groups()
    return Canary(name=name, version=int(version), share=float(share) / (100 if percent else 1))


def _bad_canary(found: str) -> BadInput:
    return BadInput(
        expected="a model's version with a share of requests between 0 and 1",
        found=found,
        remedy="try NAME:2=5%; a version for all requests needs no share",
    )
