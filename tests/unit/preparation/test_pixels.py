"""Prepared pixels on their way to the server."""

from __future__ import annotations

import contextlib
import dataclasses
import io
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from edgewise.errors import BadInput
from edgewise.preparation import (
    ImagePreparation,
    PixelCodec,
    decode_pixels,
    encode_pixels,
    max_encoded_bytes,
)

RGB = ImagePreparation(input="image", height=32, width=48, mean=(0, 0, 0), scale=(1, 1, 1))
GREY = dataclasses.replace(RGB, mode="L", mean=(0,), scale=(1,))
BOTH = pytest.mark.parametrize("preparation", [RGB, GREY], ids=["RGB", "L"])
EVERY = pytest.mark.parametrize("codec", list(PixelCodec))


def smooth(preparation: ImagePreparation) -> np.ndarray[Any, np.dtype[np.uint8]]:
    height, width, channels = preparation.pixels_shape
    y, x, c = np.mgrid[0:height, 0:width, 0:channels]
    return (128 + 60 * np.sin(x / 9 + c) + 60 * np.cos(y / 7)).astype(np.uint8)


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


@BOTH
def test_png_loses_nothing(preparation: ImagePreparation) -> None:
    noise = np.random.default_rng(0).integers(0, 256, preparation.pixels_shape, np.uint8)
    data = encode_pixels(noise, PixelCodec.PNG)
    np.testing.assert_array_equal(decode_pixels(data, preparation, PixelCodec.PNG), noise)


@BOTH
@pytest.mark.parametrize("codec", [PixelCodec.JPEG, PixelCodec.WEBP])
def test_higher_quality_is_closer_and_larger(
    preparation: ImagePreparation, codec: PixelCodec
) -> None:
    pixels = smooth(preparation)
    sizes, errors = [], []
    for quality in (10, 50, 95):
        data = encode_pixels(pixels, codec, quality)
        decoded = decode_pixels(data, preparation, codec)
        assert decoded.shape == pixels.shape
        sizes.append(len(data))
        errors.append(np.abs(decoded.astype(int) - pixels).mean())
    assert sizes == sorted(sizes)
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 3


@EVERY
@settings(max_examples=30, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.booleans(), st.integers(0, 2**32 - 1))
def test_the_bound_holds_for_the_worst_pictures(
    codec: PixelCodec, height: int, width: int, grey: bool, seed: int
) -> None:
    base = GREY if grey else RGB
    preparation = dataclasses.replace(base, height=height, width=width)
    bits = np.random.default_rng(seed).integers(0, 2, preparation.pixels_shape, np.uint8)
    data = encode_pixels(bits * np.uint8(255), codec, 100)
    assert len(data) <= max_encoded_bytes(preparation, codec)
    assert decode_pixels(data, preparation, codec).shape == preparation.pixels_shape


@EVERY
def test_the_bound_holds_for_noise_at_full_size(codec: PixelCodec) -> None:
    preparation = dataclasses.replace(GREY, height=224, width=224)
    bits = np.random.default_rng(1).integers(0, 2, preparation.pixels_shape, np.uint8)
    noise = np.random.default_rng(1).integers(0, 256, preparation.pixels_shape, np.uint8)
    sizes = [len(encode_pixels(pixels, codec, 100)) for pixels in (bits * np.uint8(255), noise)]
    # Safe, and not so loose that it says nothing.
    assert 0.3 < max(sizes) / max_encoded_bytes(preparation, codec) <= 1


@EVERY
def test_more_bytes_than_the_bound_are_refused_unread(codec: PixelCodec) -> None:
    limit = max_encoded_bytes(RGB, codec)
    with pytest.raises(BadInput, match=f"at most {limit} bytes of encoded pixels"):
        decode_pixels(bytes(limit + 1), RGB, codec)


@EVERY
def test_another_format_is_refused_by_its_signature(codec: PixelCodec) -> None:
    for other in set(PixelCodec) - {codec}:
        data = encode_pixels(smooth(RGB), other)
        with pytest.raises(BadInput, match=f"a {codec} of 48 x 32 .* found {other} of 48 x 32"):
            decode_pixels(data, RGB, codec)


@EVERY
def test_another_size_is_refused_before_decoding(
    codec: PixelCodec, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = encode_pixels(np.zeros((32, 49, 3), np.uint8), codec)
    monkeypatch.setattr(Image, "open", lambda *_, **__: pytest.fail("a decoder was opened"))
    with pytest.raises(BadInput, match=r"found \w+ of 49 x 32"):
        decode_pixels(data, RGB, codec)


@pytest.mark.parametrize("codec", [PixelCodec.PNG, PixelCodec.JPEG])
def test_another_mode_is_refused(codec: PixelCodec) -> None:
    grey, colour = encode_pixels(smooth(GREY), codec), encode_pixels(smooth(RGB), codec)
    with pytest.raises(BadInput, match="of mode RGB"):
        decode_pixels(grey, RGB, codec)
    with pytest.raises(BadInput, match="of mode L"):
        decode_pixels(colour, GREY, codec)


@pytest.mark.parametrize("codec", [PixelCodec.PNG, PixelCodec.WEBP])
def test_alpha_is_refused(codec: PixelCodec) -> None:
    image = Image.fromarray(smooth(RGB)).convert("RGBA")
    image.putalpha(9)
    with pytest.raises(BadInput, match="found mode RGBA"):
        decode_pixels(saved(image, codec.upper()), RGB, codec)


@pytest.mark.parametrize("codec", [PixelCodec.PNG, PixelCodec.WEBP])
def test_animations_are_refused(codec: PixelCodec) -> None:
    frames = [Image.new("RGB", (48, 32), colour) for colour in ("red", "blue")]
    data = saved(frames[0], codec.upper(), save_all=True, append_images=frames[1:])
    with pytest.raises(BadInput, match="animat"):
        decode_pixels(data, RGB, codec)


def test_progressive_jpeg_is_refused() -> None:
    data = saved(Image.fromarray(smooth(RGB)), "JPEG", progressive=True)
    with pytest.raises(BadInput, match="progressive"):
        decode_pixels(data, RGB, PixelCodec.JPEG)


@EVERY
def test_truncated_bytes_are_refused(codec: PixelCodec) -> None:
    noise = np.random.default_rng(0).integers(0, 256, RGB.pixels_shape, np.uint8)
    data = encode_pixels(noise, codec)
    with pytest.raises(BadInput, match="the encoded pixels"):
        decode_pixels(data[: len(data) // 2], RGB, codec)


@EVERY
@settings(max_examples=120, deadline=None)
@given(st.data())
def test_mutated_bytes_give_pixels_or_one_clear_refusal(
    codec: PixelCodec, data: st.DataObject
) -> None:
    raw = bytearray(encode_pixels(smooth(RGB), codec))
    for _ in range(data.draw(st.integers(1, 6))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(BadInput):  # anything else fails the test
        assert decode_pixels(bytes(raw), RGB, codec).shape == RGB.pixels_shape


@pytest.mark.parametrize("quality", [0, 101])
def test_a_quality_outside_1_to_100_is_refused(quality: int) -> None:
    with pytest.raises(BadInput, match="a quality from 1 to 100"):
        encode_pixels(smooth(RGB), PixelCodec.JPEG, quality)


@pytest.mark.parametrize(
    "pixels", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 2), np.uint8), np.zeros((4, 4, 3))]
)
def test_other_pixels_are_refused(pixels: Any) -> None:
    with pytest.raises(BadInput, match="uint8 pixels of shape HxWx1 or HxWx3"):
        encode_pixels(pixels, PixelCodec.PNG)
