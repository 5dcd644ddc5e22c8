"""Bodies as gzip or deflate: requests inflated under a running cap, replies when asked for.

Source: RFC 9110, sections 8.4 and 12.5.3. ``deflate`` means the zlib format; what some clients
send under that name is the bare stream, and both are taken.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException

from edgewise.serving.protocol.refusals import refusal

ENCODINGS = ("gzip", "deflate")
_GZIP_BITS, _ZLIB_BITS, _BARE_BITS = 31, 15, -15
_LEVEL = 1  # tensors hardly shrink further, and every level costs time


def request_encoding(headers: Headers) -> str | None:
    """How the body is compressed; ``None`` when it is not.

    Raises:
        HTTPException: 415 for any other way, or for several.

    >>> request_encoding(Headers({"content-encoding": "gzip"}))
    'gzip'
    """
    asked = ", ".join(headers.getlist("content-encoding")).strip().lower()
    if asked in ("", "identity"):
        return None
    if asked not in ENCODINGS:
        raise refusal(
            415,
            expected="a body as it is, or one of gzip or deflate",
            found="another Content-Encoding",
            remedy="send the frame as it is",
            headers={"Accept-Encoding": ", ".join(ENCODINGS)},
        )
    return asked


def refuse_compression(headers: Headers) -> None:
    """Let a body pass as it is alone.

    Raises:
        HTTPException: 415 when it is compressed in any way.

    >>> refuse_compression(Headers({"content-encoding": "identity"}))
    """
    if request_encoding(headers) is not None:
        raise refusal(
            415,
            expected="a body as it is",
            found="a compressed one",
            remedy="send it without Content-Encoding",
        )


def inflate(
    body: memoryview, encoding: str, *, head_bytes: int, limit_of: Callable[[bytes], int]
) -> memoryview:
    """The body that ``body`` stands for; never more than the limit is held.

    Args:
        body: what came.
        encoding: one of :data:`ENCODINGS`.
        head_bytes: how much to inflate before ``limit_of`` is asked.
        limit_of: the most bytes that the whole may have, from its first ``head_bytes``.

    Raises:
        HTTPException: 400 when the stream is broken, cut off or followed by more, 413 when it
            stands for more than the limit.

    >>> packed = memoryview(zlib.compress(b"abc"))
    >>> bytes(inflate(packed, "deflate", head_bytes=1, limit_of=lambda head: 3))
    b'abc'
    """
    stream = zlib.decompressobj(_window_bits(body, encoding))
    try:
        head = stream.decompress(body, head_bytes)
        limit = limit_of(head)
        # One byte more than allowed is asked for, so that a longer stream shows.
        rest = stream.decompress(stream.unconsumed_tail, max(0, limit - len(head)) + 1)
    except zlib.error:
        raise _broken(encoding, "another stream") from None
    if len(head) + len(rest) > limit:
        raise refusal(
            413,
            expected=f"a body of at most {limit} bytes once it is inflated",
            found="more",
            remedy="send what a route of this bundle sends",
        )
    if not stream.eof:
        raise _broken(encoding, "one that breaks off")
    if stream.unused_data:
        raise _broken(encoding, "more bytes behind it")
    return memoryview(head + rest)


def accepted_encoding(headers: Headers) -> str | None:
    """The compression that the client wants for the reply; ``None`` when it wants none.

    >>> accepted_encoding(Headers({"accept-encoding": "br, gzip;q=0.5, deflate"}))
    'deflate'
    """
    asked = headers.getlist("accept-encoding")
    if not asked:
        return None
    wishes: dict[str, float] = {}
    for wish in ",".join(asked).lower().split(","):
        name, _, weight = wish.partition(";")
        wishes[name.strip()] = _weight(weight.strip())
    others = wishes.get("*", 0.0)
    best = max(ENCODINGS, key=lambda name: wishes.get(name, others))
    wanted = wishes.get(best, others)
    return best if wanted > 0 and wanted >= wishes.get("identity", 0.0) else None


def deflate(body: bytes, encoding: str) -> bytes:
    """``body`` as a stream of that encoding.

    >>> zlib.decompress(deflate(b"abc", "deflate"))
    b'abc'
    """
    bits = _GZIP_BITS if encoding == "gzip" else _ZLIB_BITS
    stream = zlib.compressobj(_LEVEL, zlib.DEFLATED, bits)
    return stream.compress(body) + stream.flush()


def _window_bits(body: memoryview, encoding: str) -> int:
    if encoding == "gzip":
        return _GZIP_BITS
    # RFC 1950, section 2.2: method 8, and a check that makes the first two bytes divisible by 31.
    start = bytes(body[:2])
    is_zlib = len(start) == 2 and start[0] & 15 == 8 and int.from_bytes(start, "big") % 31 == 0
    return _ZLIB_BITS if is_zlib else _BARE_BITS


def _weight(text: str) -> float:
    if not text:
        return 1.0
    try:
        return min(1.0, max(0.0, float(text.removeprefix("q="))))
    except ValueError:
        return 0.0


def _broken(encoding: str, found: str) -> HTTPException:
    return refusal(
        400,
        expected=f"one whole {encoding} stream as body",
        found=found,
        remedy="send it again, or as it is",
    )
