"""Prepared pixels as PNG, JPEG or WebP: what the cloud route sends instead of a raw tensor."""

from __future__ import annotations

import enum
import io
from collections.abc import Mapping

import numpy as np

from edgewise.errors import BadInput
from edgewise.preparation.decoding import decode_frame, import_pillow
from edgewise.preparation.headers import PhotoFormat, PhotoHeader, read_photo_header
from edgewise.preparation.image import ImagePreparation
from edgewise.preparation.photos import Pixels

_NAME = "the encoded pixels"
_HEADER_BYTES = 4096


class PixelCodec(enum.StrEnum):
    """How the prepared pixels travel: PNG without loss, JPEG and WebP at a stated quality."""

    PNG = "png"
    JPEG = "jpeg"
    WEBP = "webp"


# 4:2:0 and WebP's method 4 are what browsers' canvases use.
_OPTIONS: Mapping[PixelCodec, Mapping[str, object]] = {
    PixelCodec.PNG: {"compress_level": 6},
    PixelCodec.JPEG: {"optimize": True, "subsampling": "4:2:0"},
    PixelCodec.WEBP: {"method": 4},
}
# WebP has no grey; three equal channels come back.
_MODES: Mapping[tuple[PixelCodec, str], str] = {(PixelCodec.WEBP, "L"): "RGB"}


def encode_pixels(pixels: Pixels, codec: PixelCodec, quality: int = 90) -> bytes:
    """Compress prepared pixels.

    Args:
        pixels: uint8, height x width x 3 or 1, as ``open_pixels`` gives them.
        codec: PNG, JPEG or WebP.
        quality: 1 to 100; PNG, which loses nothing, ignores it.

    Raises:
        BadInput: on other pixels or another quality.
        MissingExtra: when Pillow is not installed.

    >>> grey = np.zeros((2, 3, 1), np.uint8)
    >>> encode_pixels(grey, PixelCodec.PNG)[1:4]
    b'PNG'
    """
    if not 1 <= quality <= 100:
        raise BadInput(
            expected="a quality from 1 to 100", found=str(quality), remedy="90 suits most photos"
        )
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] not in (1, 3):
        raise BadInput(
            expected="uint8 pixels of shape HxWx1 or HxWx3",
            found=f"{pixels.dtype.name} of shape {list(pixels.shape)}",
            remedy="prepare the photo with open_pixels first",
        )
    flat = pixels[:, :, 0] if pixels.shape[2] == 1 else pixels
    out = io.BytesIO()
    image = import_pillow().fromarray(np.ascontiguousarray(flat))
    options = dict(_OPTIONS[codec]) | ({} if codec is PixelCodec.PNG else {"quality": quality})
    image.save(out, codec.upper(), **options)
    _check_bytes(out.getbuffer().nbytes, _bound(codec, *pixels.shape))
    return out.getvalue()


def decode_pixels(data: bytes, preparation: ImagePreparation, codec: PixelCodec) -> Pixels:
    """Prepared pixels from bytes that nobody vouches for.

    Length, signature and size are checked before the one decoder of ``codec`` sees a byte, so
    that memory and time stay within what the model's own input needs.

    Args:
        data: one encoded image.
        preparation: says the exact height, width and mode.
        codec: the one format that is taken.

    Returns:
        uint8, height x width x channels.

    Raises:
        BadInput: on any other length, format, size, mode, or number of frames.
    """
    _check_bytes(len(data), max_encoded_bytes(preparation, codec))
    header = read_photo_header(data, name=_NAME)
    _check_header(header, preparation, codec)
    image = decode_frame(data, header.format, name=_NAME, any_frame=False)
    wanted = _MODES.get((codec, preparation.mode), preparation.mode)
    if image.mode != wanted or image.size != (preparation.width, preparation.height):
        raise BadInput(
            expected=f"a {codec} of mode {wanted} in {_NAME}",
            found=f"mode {image.mode}, {image.width} x {image.height}",
            remedy="encode exactly the prepared pixels",
        )
    pixels = np.asarray(image.convert(preparation.mode), dtype=np.uint8)
    return pixels.reshape(preparation.pixels_shape)


def max_encoded_bytes(preparation: ImagePreparation, codec: PixelCodec) -> int:
    """The most bytes that an encoding of the prepared pixels may have.

    PNG: deflate stores what it cannot compress, 5 bytes per block of 16 KiB and 12 per chunk.
    JPEG and WebP: 3 bytes a sample, chroma at full size; the worst picture found, binary grey
    noise at quality 100, took 1.9. The encoder gives no more, and the decoder takes no more.

    >>> p = ImagePreparation(input="x", height=224, width=224, mean=(0, 0, 0), scale=(1, 1, 1))
    >>> max_encoded_bytes(p, PixelCodec.JPEG)
    455680
    """
    return _bound(codec, *preparation.pixels_shape)


def _bound(codec: PixelCodec, height: int, width: int, channels: int) -> int:
    if codec is PixelCodec.PNG:
        samples = height * (width * channels + 1)  # one filter byte a row
        return samples + samples // 128 + _HEADER_BYTES
    rows, columns = -(-height // 16) * 16, -(-width // 16) * 16  # whole 16x16 macroblocks
    return 3 * rows * columns * channels + _HEADER_BYTES


def _check_bytes(found_bytes: int, limit_bytes: int) -> None:
    if found_bytes > limit_bytes:
        raise BadInput(
            expected=f"at most {limit_bytes} bytes of {_NAME.removeprefix('the ')}",
            found=str(found_bytes),
            remedy="encode exactly the prepared pixels, without metadata",
        )


def _check_header(header: PhotoHeader, wanted: ImagePreparation, codec: PixelCodec) -> None:
    found = f"{header.format} of {header.width} x {header.height}"
    if not header.simple:
        found = f"a progressive or animated {header.format}"
    elif header.format == PhotoFormat(codec) and _same_size(header, wanted):
        return
    raise BadInput(
        expected=f"a {codec} of {wanted.width} x {wanted.height} in {_NAME}",
        found=found,
        remedy="encode exactly the prepared pixels, in one pass and one frame",
    )


def _same_size(header: PhotoHeader, wanted: ImagePreparation) -> bool:
    return (header.width, header.height) == (wanted.width, wanted.height)
