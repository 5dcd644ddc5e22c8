"""Requests are checked before anything is kept, and every refusal says what to do."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

import pytest
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import Request

from edgewise.serving.access.access import Access, Admission
from edgewise.serving.protocol.fields import only
from edgewise.serving.protocol.refusals import Gone
from edgewise.serving.protocol.requests import (
    declared_bytes,
    header_bytes,
    read_body,
)

NAME = "Inference-Header-Content-Length"


def _refused(call: Callable[[], object]) -> tuple[int, str]:
    with pytest.raises(HTTPException) as caught:
        call()
    return caught.value.status_code, caught.value.detail


def _body(pieces: list[bytes], *, body_bytes: int, end: bool = True) -> bytes:
    """Read a body that arrives in ``pieces``, and then ends or breaks off."""

    def messages() -> Iterator[dict[str, object]]:
        for i, piece in enumerate(pieces):
            more = not (end and i + 1 == len(pieces))
            yield {"type": "http.request", "body": piece, "more_body": more}
        yield {"type": "http.disconnect"}

    left = messages()

    async def receive() -> dict[str, object]:
        return next(left)

    request = Request({"type": "http", "method": "POST", "headers": []}, receive)
    return bytes(asyncio.run(read_body(request, body_bytes, timeout_s=30.0)))


def test_a_length_up_to_the_limit_is_taken() -> None:
    assert declared_bytes(Headers({"content-length": "9"}), limit_bytes=9) == 9


@pytest.mark.parametrize("value", [None, "", "x", "-1", "1 2", "1" * 21])
def test_other_lengths_are_refused(value: str | None) -> None:
    headers = Headers({} if value is None else {"content-length": value})
    status, text = _refused(lambda: declared_bytes(headers, limit_bytes=9))
    assert status == 411
    assert text == (
        "expected a Content-Length, found none; send the body's length ahead of it, not in chunks"
    )


@pytest.mark.parametrize("length", [10, 10**18, 2**64 - 1])
def test_longer_bodies_are_refused(length: int) -> None:
    headers = Headers({"content-length": str(length)})
    assert _refused(lambda: declared_bytes(headers, limit_bytes=9)) == (
        413,
        f"expected a body of at most 9 bytes, found {length} bytes; send what a route of this"
        " bundle sends",
    )


def test_a_repeated_field_has_no_value() -> None:
    headers = Headers(raw=[(b"a", b"1"), (b"a", b"1")])
    assert only(headers, "a") is None


@pytest.mark.parametrize(("value", "found"), [("0", "0"), ("101", "101"), ("", "none")])
def test_a_header_outside_the_body_is_refused(value: str, found: str) -> None:
    headers = Headers({NAME: value})
    status, text = _refused(lambda: header_bytes(headers, body_bytes=100))
    assert status == 400
    assert text == (
        f"expected {NAME} from 1 to 100, found {found}; send binary tensors: a JSON header, then"
        " raw little-endian bytes"
    )


def test_a_header_length_that_stands_twice_is_not_called_missing() -> None:
    headers = Headers(raw=[(NAME.lower().encode(), b"5")] * 2)
    status, text = _refused(lambda: header_bytes(headers, body_bytes=100))
    assert (status, "from 1 to 100, found several; " in text) == (400, True)


def test_no_header_fits_into_an_empty_body() -> None:
    assert _refused(lambda: header_bytes(Headers({NAME: "5"}), body_bytes=0)) == (
        400,
        "expected a body, found none; send the frame behind the header",
    )


def test_a_header_above_64_kib_is_refused() -> None:
    headers = Headers({NAME: "65537"})
    status, text = _refused(lambda: header_bytes(headers, body_bytes=10**6))
    assert (status, "from 1 to 65536" in text) == (400, True)


def test_a_body_is_put_together() -> None:
    assert _body([b"ab", b"", b"cde"], body_bytes=5) == b"abcde"


def test_a_body_in_crumbs_is_refused() -> None:
    crumbs = [b"x"] * 5000
    status, text = _refused(lambda: _body(crumbs, body_bytes=5000))
    assert status == 400
    assert text == (
        "expected a body of exactly 5000 bytes in reasonable pieces, found another one; send it"
        " again"
    )


def test_small_segments_are_no_crumbs() -> None:
    segments = [bytes(536)] * 5000
    assert len(_body(segments, body_bytes=536 * 5000)) == 536 * 5000


@pytest.mark.parametrize("pieces", [[b"abcd"], [b"abc", b"def"]])
def test_a_body_of_another_length_is_refused(pieces: list[bytes]) -> None:
    assert _refused(lambda: _body(pieces, body_bytes=5))[0] == 400


def test_a_body_that_breaks_off_has_nobody_left_to_refuse() -> None:
    with pytest.raises(Gone):
        _body([b"abc"], body_bytes=5, end=False)


def test_requests_beyond_the_limit_are_put_off() -> None:
    admission = Admission(Access(max_requests=1))
    with admission.of(10):
        with pytest.raises(HTTPException) as caught, admission.of(10):
            pass
        assert caught.value.status_code == 503
        assert caught.value.headers == {"Retry-After": "1"}
        assert caught.value.detail == (
            "expected room for one more request, found 1 under way; try again in a second, or"
            " answer on the device"
        )
    with admission.of(10):
        assert admission.requests == 1


def test_bodies_beyond_the_limit_are_put_off_unless_alone() -> None:
    admission = Admission(Access(max_body_bytes=100))
    with admission.of(1000):
        assert _refused(lambda: admission.of(1).__enter__())[0] == 503
    assert (admission.requests, admission.body_bytes) == (0, 0)


def test_a_failed_request_leaves_room() -> None:
    admission = Admission(Access())
    with pytest.raises(KeyError), admission.of(1):
        raise KeyError
    assert (admission.requests, admission.body_bytes) == (0, 0)
