"""Header fields of requests, which anybody may repeat."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.datastructures import Headers


def only(headers: Headers, name: str) -> str | None:
    """The one value of a header; ``None`` when it is missing or there are several.

    >>> only(Headers({"a": "1"}), "a")
    '1'
    """
    values: Sequence[str] = headers.getlist(name)
    return values[0] if len(values) == 1 else None
