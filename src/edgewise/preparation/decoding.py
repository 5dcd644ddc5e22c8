"""The one door to Pillow's decoders: size first, then one format, every failure a BadInput."""

from __future__ import annotations

import io
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from edgewise.errors import BadInput, MissingExtra
from edgewise.preparation.headers import PhotoFormat, PhotoHeader, read_photo_header

if TYPE_CHECKING:
    from PIL import Image

# A 50 megapixel photo takes 150 MB in RGB; phones give 12 to 50.
MAX_PIXELS = 50_000_000
MAX_FILE_BYTES = 64_000_000


def import_pillow() -> ModuleType:
    """Pillow's ``Image`` module.

    Raises:
        MissingExtra: when Pillow is not installed.
    """
    try:
        from PIL import Image
    except ImportError:
        raise MissingExtra(extra="image", purpose="to read photos") from None
    return Image


def check_photo(data: bytes, *, name: str = "the photo") -> PhotoHeader:
    """Refuse, by its first bytes, what is no photo or is too large to decode.

    Args:
        data: the file's bytes.
        name: what messages call it.

    Raises:
        BadInput: when it is no photo, or has more than 64 MB or 50 megapixels.

    >>> check_photo(b"GIF89a" + bytes([2, 0, 3, 0])).width
    2
    """
    if len(data) > MAX_FILE_BYTES:
        raise BadInput(
            expected=f"at most {MAX_FILE_BYTES // 10**6} MB in {name}",
            found="more",
            remedy="shrink the photo",
        )
    header = read_photo_header(data, name=name)
    check_area(header.width, header.height, name=name)
    return header


def check_area(width: int, height: int, *, name: str) -> None:
    """Refuse a picture without pixels or with more than 50 million.

    Raises:
        BadInput: on either.
    """
    if not 0 < width * height <= MAX_PIXELS:
        raise BadInput(
            expected=f"1 pixel to {MAX_PIXELS // 10**6} million pixels in {name}",
            found=f"{width} x {height}",
            remedy="shrink the photo",
        )


def decode_photo(data: bytes, *, name: str) -> Image.Image:
    """The first frame of a photo, upright, 8 bits a channel, in whatever mode.

    Raises:
        BadInput: when it is too large or does not decode.
    """
    header = check_photo(data, name=name)
    image = decode_frame(data, header.format, name=name)
    return _to_8_bits(image)


def decode_frame(
    data: bytes, photo_format: PhotoFormat, *, name: str, any_frame: bool = True
) -> Image.Image:
    """Decode bytes of one known format, whose size the caller checked.

    Args:
        data: the encoded image.
        photo_format: the only decoder that is tried.
        name: what messages call it.
        any_frame: take the first frame of an animation and turn it upright; without it, an
            animation is refused and orientation ignored.

    Raises:
        BadInput: when the bytes do not decode.
    """
    pillow = import_pillow()
    from PIL import ImageOps

    try:
        with pillow.open(io.BytesIO(data), formats=[photo_format.upper()]) as image:
            check_area(*image.size, name=name)
            if not any_frame:
                _check_single_frame(image, name)
            image.load()
            return ImageOps.exif_transpose(image) if any_frame else image.copy()
    except BadInput:
        raise
    except Exception as error:
        # Pillow's decoders raise a dozen unrelated types on damaged files.
        raise BadInput(
            expected=f"a {photo_format} that decodes in {name}",
            found=(str(error).splitlines() or [type(error).__name__])[0][:120],
            remedy="save or download it again",
        ) from None


def _check_single_frame(image: Image.Image, name: str) -> None:
    if getattr(image, "is_animated", False):
        raise BadInput(
            expected=f"a single frame in {name}",
            found="an animation",
            remedy="send one frame",
        )


def _to_8_bits(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):
        # Pillow's own conversion of 16-bit grey clips at 255 instead of scaling.
        grey: Image.Image = import_pillow().fromarray((np.asarray(image) >> 8).astype(np.uint8))
        return grey
    if image.mode == "P":
        return image.convert("RGBA")  # straight to RGB warns when the palette has transparency
    return image
