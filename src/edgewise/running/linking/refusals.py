"""What a server says when it does not answer as it was asked to."""

from __future__ import annotations

import contextlib

from edgewise.errors import BadInput
from edgewise.records import parse_json

_MAX_WORDS = 300
# Too slow, too early, too many: RFC 9110 15.5.9, RFC 8470 5.2, RFC 6585 4.
_BUSY = (408, 425, 429)


def may_pass(status: int) -> bool:
    """Whether another attempt may fare better.

    >>> may_pass(503), may_pass(429), may_pass(404)
    (True, True, False)
    """
    return status >= 500 or status in _BUSY


def refusal_words(status: int, raw: bytes) -> str:
    """What a server that refused says, on one line."""
    return f"the server answered {answered_words(status, raw)}"


def answered_words(status: int, raw: bytes) -> str:
    """The status, and what the server says beside it."""
    if 300 <= status < 400:
        return f"{status}: it sends us elsewhere"
    return f"{status}: {one_line(json_field(raw, 'error'))}".rstrip(": ")


def read_object(raw: bytes) -> dict[str, object]:
    """The JSON object that a reply is; empty when it is none.

    >>> read_object(b'{"error": "full"}'), read_object(b"<html>")
    ({'error': 'full'}, {})
    """
    with contextlib.suppress(BadInput):
        data = parse_json(raw, where="the reply")
        if isinstance(data, dict):
            return data
    return {}


def json_field(raw: bytes, key: str) -> str:
    """A text in the JSON object that a reply is; empty when there is none."""
    value = read_object(raw).get(key, "")
    return value if isinstance(value, str) else ""


def one_line(text: str) -> str:
    """What a server says, fit to be shown: cut to 300 characters, without control characters."""
    # An escape sequence would command the terminal it is shown on.
    return "".join(c if c.isprintable() else " " for c in text[:_MAX_WORDS])
