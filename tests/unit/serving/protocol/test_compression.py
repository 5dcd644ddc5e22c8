"""Streams of every kind that clients send, and those that would fill the memory."""

from __future__ import annotations

import gzip
import tracemalloc
import zlib
from collections.abc import Callable

import pytest
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException

from edgewise.serving.protocol.compression import (
    accepted_encoding,
    deflate,
    inflate,
    request_encoding,
)

BODY = bytes(range(256)) * 100


def _bare(body: bytes) -> bytes:
    stream = zlib.compressobj(wbits=-15)
    return stream.compress(body) + stream.flush()


def _inflate(packed: bytes, encoding: str, limit: int = len(BODY), head: int = 10) -> bytes:
    return bytes(inflate(memoryview(packed), encoding, head_bytes=head, limit_of=lambda _: limit))


def _refused(call: Callable[[], object]) -> tuple[int, str]:
    with pytest.raises(HTTPException) as caught:
        call()
    return caught.value.status_code, caught.value.detail


@pytest.mark.parametrize(
    ("encoding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress), ("deflate", _bare)]
)
@pytest.mark.parametrize("body", [BODY, b"", b"x"])
def test_whole_streams_are_inflated(
    encoding: str, pack: Callable[[bytes], bytes], body: bytes
) -> None:
    assert _inflate(pack(body), encoding) == body
    assert _inflate(pack(body), encoding, limit=len(body), head=1) == body


def test_the_limit_follows_from_the_head() -> None:
    heads: list[bytes] = []

    def limit_of(head: bytes) -> int:
        heads.append(head)
        return len(BODY)

    inflate(memoryview(gzip.compress(BODY)), "gzip", head_bytes=300, limit_of=limit_of)
    assert heads == [BODY[:300]]


@pytest.mark.parametrize(
    ("encoding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress), ("deflate", _bare)]
)
def test_a_bomb_is_refused_and_never_unfolds(
    encoding: str, pack: Callable[[bytes], bytes]
) -> None:
    bomb = pack(bytes(64_000_000))
    tracemalloc.start()
    try:
        status, text = _refused(lambda: _inflate(bomb, encoding, limit=1000))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert status == 413
    assert text == (
        "expected a body of at most 1000 bytes once it is inflated, found more; send what a route"
        " of this bundle sends"
    )
    assert peak < 10 * len(bomb) + 100_000


def test_one_byte_too_many_is_refused() -> None:
    assert _refused(lambda: _inflate(gzip.compress(BODY), "gzip", limit=len(BODY) - 1))[0] == 413


@pytest.mark.parametrize(
    ("encoding", "packed", "found"),
    [
        ("gzip", zlib.compress(BODY), "another stream"),
        ("gzip", b"", "one that breaks off"),
        ("gzip", gzip.compress(BODY)[:-1], "one that breaks off"),
        ("gzip", gzip.compress(BODY)[:-8] + b"\0" * 8, "another stream"),
        ("gzip", gzip.compress(BODY) * 2, "more bytes behind it"),
        ("deflate", zlib.compress(BODY)[:20], "one that breaks off"),
        ("deflate", zlib.compress(BODY) + b"x", "more bytes behind it"),
        ("deflate", b"\xff\xff\xff", "another stream"),
    ],
)
def test_broken_streams_are_refused(encoding: str, packed: bytes, found: str) -> None:
    assert _refused(lambda: _inflate(packed, encoding)) == (
        400,
        f"expected one whole {encoding} stream as body, found {found}; send it again, or as it is",
    )


@pytest.mark.parametrize(
    ("value", "found"), [("", None), ("Identity", None), ("GZIP", "gzip"), ("deflate", "deflate")]
)
def test_the_encoding_of_a_request_is_read(value: str, found: str | None) -> None:
    assert request_encoding(Headers({"content-encoding": value})) == found


def test_other_encodings_are_refused_with_the_known_ones() -> None:
    with pytest.raises(HTTPException) as caught:
        request_encoding(Headers({"content-encoding": "zstd"}))
    assert caught.value.status_code == 415
    assert caught.value.headers == {"Accept-Encoding": "gzip, deflate"}


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("", None),
        ("identity", None),
        ("br", None),
        ("gzip", "gzip"),
        ("deflate", "deflate"),
        ("gzip, deflate, br", "gzip"),
        ("gzip;q=0", None),
        ("gzip;q=0, *", "deflate"),
        ("*", "gzip"),
        ("gzip;q=0.5, identity", None),
        ("gzip;q=nonsense", None),
        (",;,", None),
    ],
)
def test_the_encoding_of_a_reply_is_chosen(value: str, found: str | None) -> None:
    assert accepted_encoding(Headers({"accept-encoding": value})) == found


def test_replies_are_what_their_names_say() -> None:
    assert gzip.decompress(deflate(BODY, "gzip")) == BODY
    assert zlib.decompress(deflate(BODY, "deflate")) == BODY
