"""Photos and texts to tensors, exactly as the model's metadata says."""

from edgewise.preparation.decoding import check_photo
from edgewise.preparation.form import (
    read_image_preparation,
    read_preparation,
    write_preparation,
)
from edgewise.preparation.headers import PhotoFormat, PhotoHeader, read_photo_header
from edgewise.preparation.image import ImagePreparation
from edgewise.preparation.photos import Pixels, normalise, open_pixels, prepare, read_photo_file
from edgewise.preparation.pixels import (
    PixelCodec,
    decode_pixels,
    encode_pixels,
    max_encoded_bytes,
)
from edgewise.preparation.text import (
    TextPreparation,
    check_text,
    fixed_length,
    prepare_text,
    read_tokens,
    text_feeds,
)
from edgewise.preparation.tokenizer import TOKENIZER_KEY, Tokenizer, Tokens, open_tokenizer
from edgewise.preparation.tokenizer_form import MAX_TOKENIZER_BYTES

__all__ = [
    "MAX_TOKENIZER_BYTES",
    "TOKENIZER_KEY",
    "ImagePreparation",
    "PhotoFormat",
    "PhotoHeader",
    "PixelCodec",
    "Pixels",
    "TextPreparation",
    "Tokenizer",
    "Tokens",
    "check_photo",
    "check_text",
    "decode_pixels",
    "encode_pixels",
    "fixed_length",
    "max_encoded_bytes",
    "normalise",
    "open_pixels",
    "open_tokenizer",
    "prepare",
    "prepare_text",
    "read_image_preparation",
    "read_photo_file",
    "read_photo_header",
    "read_preparation",
    "read_tokens",
    "text_feeds",
    "write_preparation",
]
