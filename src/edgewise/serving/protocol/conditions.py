"""How the OpenAPI description words files, and requests for less than all of one.

Source: RFC 9110, sections 13 (conditional requests) and 14 (ranges).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

FILE_ANSWER: Mapping[str, Any] = {
    "description": "The file",
    "content": {"application/octet-stream": {}},
    "headers": {
        "ETag": {
            "description": "The file's SHA-256",
            "schema": {"type": "string", "pattern": '^"[0-9a-f]{64}"$'},
            "required": True,
        }
    },
}


def header_parameter(name: str) -> dict[str, Any]:
    """A header field that a client may send.

    >>> header_parameter("Range")["in"]
    'header'
    """
    return {"name": name, "in": "header", "schema": {"type": "string"}}


def conditional_answers(conditions: Sequence[str]) -> dict[str, Any]:
    """The good answers beside 200 to whoever sends one of these header fields.

    >>> sorted(conditional_answers(["If-None-Match", "Range"]))
    ['206', '304']
    """
    answers: dict[str, Any] = {}
    if "If-None-Match" in conditions:
        answers["304"] = {"description": "The client has it"}
    if "Range" in conditions:
        answers["206"] = {**FILE_ANSWER, "description": "The range"}
    return answers
