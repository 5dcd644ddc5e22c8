"""Refusals in words, as the Open Inference Protocol sends them."""

from __future__ import annotations

from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from edgewise.errors import BadInput, EdgewiseError


class Gone(EdgewiseError):  # noqa: N818 - nobody's error
    """The client hung up before it was answered."""


def error_reply(status: int, text: str, headers: dict[str, str] | None = None) -> JSONResponse:
    """An error as the Open Inference Protocol words it."""
    return JSONResponse({"error": text}, status_code=status, headers=headers)


def refusal(
    status: int, *, expected: str, found: str, remedy: str, headers: dict[str, str] | None = None
) -> HTTPException:
    """A refusal to raise: the usual three-part message under an HTTP status.

    >>> refusal(411, expected="a length", found="none", remedy="send one").status_code
    411
    """
    text = str(BadInput(expected=expected, found=found, remedy=remedy))
    return HTTPException(status, detail=text, headers=headers)
