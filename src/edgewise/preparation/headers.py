"""Kind and size of a photo from its first bytes, before any decoder sees it.

Sources: PNG (W3C, 11.2.2 IHDR), JPEG (ITU-T T.81, B.2.2 frame header), WebP (RFC 9649, 2.5-2.7),
GIF89a (logical screen descriptor).
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from edgewise.errors import BadInput

# T.81, table B.1: every SOF marker; 0xC4, 0xC8 and 0xCC in that range are other markers.
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_SEQUENTIAL_FRAMES = (0xC0, 0xC1)
_BARE_MARKERS = frozenset({0x01, *range(0xD0, 0xD8)})


class PhotoFormat(enum.StrEnum):
    """The kinds of photo that are read."""

    PNG = "png"
    JPEG = "jpeg"
    WEBP = "webp"
    GIF = "gif"


@dataclass(frozen=True, slots=True, kw_only=True)
class PhotoHeader:
    """What a photo says of itself.

    Args:
        format: its kind.
        width: columns, before any rotation by EXIF.
        height: rows, likewise.
        simple: whether decoding it is one pass over one frame: no progressive JPEG, no WebP that
            declares an animation.
    """

    format: PhotoFormat
    width: int
    height: int
    simple: bool = True


def read_photo_header(data: bytes, *, name: str = "the photo") -> PhotoHeader:
    """Kind and size of an encoded photo, without decoding it.

    Args:
        data: the file's bytes.
        name: what messages call it.

    Raises:
        BadInput: when it is no JPEG, PNG, WebP or GIF, or ends within its header.

    >>> read_photo_header(b"GIF89a" + bytes([2, 0, 3, 0])).height
    3
    """
    for matches, read in _READERS:
        if matches(data):
            try:
                return read(data)
            except (struct.error, LookupError, ValueError):
                raise BadInput(
                    expected=f"a complete photo in {name}",
                    found="a damaged or truncated header",
                    remedy="save or download it again",
                ) from None
    raise BadInput(
        expected=f"a JPEG, PNG, WebP or GIF photo in {name}",
        found="an empty file" if not data else "none of these",
        remedy="convert it to JPEG or PNG",
    )


def _is_png(data: bytes) -> bool:
    return data.startswith(b"\x89PNG\r\n\x1a\n")


def _is_jpeg(data: bytes) -> bool:
    return data.startswith(b"\xff\xd8\xff")


def _is_webp(data: bytes) -> bool:
    return data.startswith(b"RIFF") and data[8:12] == b"WEBP"


def _is_gif(data: bytes) -> bool:
    return data.startswith((b"GIF87a", b"GIF89a"))


def _read_png(data: bytes) -> PhotoHeader:
    _length, kind, width, height = struct.unpack(">I4sII", data[8:24])
    if kind != b"IHDR":
        raise ValueError("no IHDR")
    return PhotoHeader(format=PhotoFormat.PNG, width=width, height=height)


def _read_gif(data: bytes) -> PhotoHeader:
    width, height = struct.unpack("<HH", data[6:10])
    return PhotoHeader(format=PhotoFormat.GIF, width=width, height=height)


def _read_jpeg(data: bytes) -> PhotoHeader:
    at = 2
    while True:
        while data[at] == 0xFF and data[at + 1] == 0xFF:
            at += 1  # fill bytes
        marker = data[at + 1]
        if data[at] != 0xFF:
            raise ValueError("no marker")
        if marker in _FRAMES:
            height, width = struct.unpack(">HH", data[at + 5 : at + 9])
            simple = marker in _SEQUENTIAL_FRAMES
            return PhotoHeader(format=PhotoFormat.JPEG, width=width, height=height, simple=simple)
        at += 2 if marker in _BARE_MARKERS else 2 + _segment_bytes(data, at + 2)


def _segment_bytes(data: bytes, at: int) -> int:
    (length,) = struct.unpack(">H", data[at : at + 2])
    if length < 2:
        raise ValueError("a segment shorter than its length")
    return int(length)


def _read_webp(data: bytes) -> PhotoHeader:
    width, height, simple = _WEBP_SIZES[data[12:16]](data[20:30])
    return PhotoHeader(format=PhotoFormat.WEBP, width=width, height=height, simple=simple)


def _lossy_size(chunk: bytes) -> tuple[int, int, bool]:
    start, width, height = struct.unpack("<3sHH", chunk[3:10])
    if start != b"\x9d\x01\x2a":
        raise ValueError("no VP8 key frame")
    return width & 0x3FFF, height & 0x3FFF, True


def _lossless_size(chunk: bytes) -> tuple[int, int, bool]:
    signature, bits = struct.unpack("<BI", chunk[:5])
    if signature != 0x2F:
        raise ValueError("no VP8L stream")
    return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1, True


def _extended_size(chunk: bytes) -> tuple[int, int, bool]:
    if len(chunk) < 10:
        raise ValueError("no canvas")
    width = int.from_bytes(chunk[4:7], "little") + 1
    height = int.from_bytes(chunk[7:10], "little") + 1
    return width, height, not chunk[0] & 0x02


_WEBP_SIZES: Mapping[bytes, Callable[[bytes], tuple[int, int, bool]]] = {
    b"VP8 ": _lossy_size,
    b"VP8L": _lossless_size,
    b"VP8X": _extended_size,
}
_READERS: tuple[tuple[Callable[[bytes], bool], Callable[[bytes], PhotoHeader]], ...] = (
    (_is_jpeg, _read_jpeg),
    (_is_png, _read_png),
    (_is_webp, _read_webp),
    (_is_gif, _read_gif),
)
