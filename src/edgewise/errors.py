"""What can go wrong, and what to do about it.

* EdgewiseError
    * BadInput        something handed to us cannot be used (exit code 2)
        * MissingExtra    an optional part is not installed (exit code 2)
    * LimitNotMet     the work was done, a limit of the user's was not met (exit code 1)
    * ProofFailed     a changed graph does not compute what the original computes
    * LinkFailed      the cloud half gave no usable answer
    * GivenUp         the caller gave the request up (in running)
"""

from __future__ import annotations


class EdgewiseError(Exception):
    """Every error that edgewise raises on purpose."""

    exit_code = 2


class BadInput(EdgewiseError):  # noqa: N818 - it names the cause, not the mechanism
    """Something handed to us cannot be used.

    The message always has three parts: what was expected, what was found, what to do.

    >>> print(BadInput(expected="a folder", found="the file a.txt", remedy="pass --data DIR"))
    expected a folder, found the file a.txt; pass --data DIR
    """

    def __init__(self, *, expected: str, found: str, remedy: str) -> None:
        super().__init__(f"expected {expected}, found {found}; {remedy}")
        self.expected = expected
        self.found = found
        self.remedy = remedy


class MissingExtra(BadInput):
    """An optional part of edgewise is needed and not installed.

    >>> print(MissingExtra(extra="image", purpose="to decode photos"))
    expected the optional part 'image' to decode photos, found it not installed; \
run: pip install 'edgewise[image]'
    """

    def __init__(self, *, extra: str, purpose: str) -> None:
        super().__init__(
            expected=f"the optional part {extra!r} {purpose}",
            found="it not installed",
            remedy=f"run: pip install 'edgewise[{extra}]'",
        )
        self.extra = extra


class LimitNotMet(EdgewiseError):  # noqa: N818
    """The work was done, and the result breaks a limit that the user set."""

    exit_code = 1


class ProofFailed(EdgewiseError):  # noqa: N818
    """A changed graph does not compute what the original computes."""


class LinkFailed(EdgewiseError):  # noqa: N818
    """The cloud half gave no usable answer: too slow, wrong or gone.

    Args:
        reason: one short clause that a person reads, such as ``no answer in 0.5 s``.
        remedy: what to do about it, where waiting will not help.

    >>> print(LinkFailed("the certificate has expired", remedy="ask for a new one"))
    the certificate has expired; ask for a new one
    """

    def __init__(self, reason: str, *, remedy: str = "") -> None:
        super().__init__("; ".join(filter(None, (reason, remedy))))
        self.reason = reason
        self.remedy = remedy
