"""Photos to tensors, exactly as the model's metadata says."""

from edgewise.preparation.decoding import check_photo
from edgewise.preparation.headers import PhotoFormat, PhotoHeader, read_photo_header
from edgewise.preparation.image import ImagePreparation, read_preparation, write_preparation
from edgewise.preparation.photos import Pixels, normalise, open_pixels, prepare, read_photo_file
from edgewise.preparation.pixels import (
    PixelCodec,
    decode_pixels,
    encode_pixels,
    max_encoded_bytes,
)

__all__ = [
    "ImagePreparation",
    "PhotoFormat",
    "PhotoHeader",
    "PixelCodec",
    "Pixels",
    "check_photo",
    "decode_pixels",
    "encode_pixels",
    "max_encoded_bytes",
    "normalise",
    "open_pixels",
    "prepare",
    "read_photo_file",
    "read_photo_header",
    "read_preparation",
    "write_preparation",
]
