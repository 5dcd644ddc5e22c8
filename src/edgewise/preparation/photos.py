"""Open photos that nobody vouches for, and make them a network's input."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from edgewise.errors import BadInput
from edgewise.preparation.decoding import (
    MAX_FILE_BYTES,
    check_area,
    decode_photo,
    import_pillow,
)
from edgewise.preparation.image import CHANNELS, ImagePreparation, crop_box
from edgewise.records import read_start

if TYPE_CHECKING:
    from PIL import Image

Pixels: TypeAlias = NDArray[np.uint8]
PhotoSource: TypeAlias = Path | bytes | Pixels


def prepare(source: PhotoSource, preparation: ImagePreparation) -> NDArray[np.float32]:
    """A photo as the network's input, batch 1.

    >>> p = ImagePreparation(input="x", height=1, width=1, mode="L", mean=(127,), scale=(128,))
    >>> prepare(np.full((2, 2), 255, np.uint8), p).tolist()
    [[[[1.0]]]]
    """
    return normalise(open_pixels(source, preparation), preparation)


def open_pixels(source: PhotoSource, preparation: ImagePreparation) -> Pixels:
    """The cropped, resized 8-bit pixels of a photo.

    EXIF orientation is applied; of an animation the first frame is taken; alpha is dropped.

    Args:
        source: a file, its bytes, or pixels (uint8, HxW, HxWx1 or HxWx3).
        preparation: what the network wants.

    Returns:
        Height x width x channels.

    Raises:
        BadInput: on anything that is no photo of at most 50 megapixels and 64 MB.
        MissingExtra: when Pillow is not installed.

    >>> p = ImagePreparation(input="x", height=1, width=2, mode="L", mean=(0,), scale=(1,))
    >>> open_pixels(np.full((4, 4, 3), 9, np.uint8), p).tolist()
    [[[9], [9]]]
    """
    resampling = import_pillow().Resampling
    image = _open(source).convert(preparation.mode)
    square = image.crop(crop_box(*image.size, preparation.crop_fraction))
    small = square.resize(
        (preparation.width, preparation.height), resampling[preparation.resample.upper()]
    )
    return np.asarray(small, dtype=np.uint8).reshape(preparation.pixels_shape)


def normalise(pixels: Pixels, preparation: ImagePreparation) -> NDArray[np.float32]:
    """``(pixel - mean) / scale``, each step in float32, in the network's layout, batch 1.

    Args:
        pixels: uint8, height x width x channels, as :func:`open_pixels` gives them.
        preparation: what the network wants.

    Raises:
        BadInput: on pixels of another type or shape.

    >>> p = ImagePreparation(input="x", height=1, width=1, mode="L", mean=(1,), scale=(2,))
    >>> normalise(np.full((1, 1, 1), 9, np.uint8), p).item()
    4.0
    """
    if pixels.dtype != np.uint8 or pixels.shape != preparation.pixels_shape:
        raise BadInput(
            expected=f"uint8 pixels of shape {list(preparation.pixels_shape)}",
            found=f"{pixels.dtype.name} of shape {list(pixels.shape)}",
            remedy="crop and resize the photo with open_pixels first",
        )
    mean = np.asarray(preparation.mean, np.float32)
    scale = np.asarray(preparation.scale, np.float32)
    values = (pixels.astype(np.float32) - mean) / scale
    if preparation.layout == "CHW":
        values = values.transpose(2, 0, 1)
    return np.ascontiguousarray(values[np.newaxis], dtype=np.float32)


def read_photo_file(path: Path) -> bytes:
    """The bytes of a file that may be a photo; one byte past the limit at most is read.

    Raises:
        BadInput: when it cannot be read.
    """
    return read_start(path, what="photo", max_bytes=MAX_FILE_BYTES)


def _open(source: PhotoSource) -> Image.Image:
    if isinstance(source, np.ndarray):
        return _from_array(source)
    if isinstance(source, bytes):
        return decode_photo(source, name="the photo")
    return decode_photo(read_photo_file(source), name=f"the photo {source}")


def _from_array(pixels: Pixels) -> Image.Image:
    shape_fits = pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] in CHANNELS.values())
    if pixels.dtype != np.uint8 or not shape_fits:
        raise BadInput(
            expected="pixels as uint8 of shape HxW, HxWx1 or HxWx3",
            found=f"{pixels.dtype.name} of shape {list(pixels.shape)}",
            remedy="convert or reshape the array before the call",
        )
    check_area(pixels.shape[1], pixels.shape[0], name="the photo")
    flat = pixels[:, :, 0] if pixels.shape[2:] == (1,) else pixels
    image: Image.Image = import_pillow().fromarray(np.ascontiguousarray(flat))
    return image
