"""Photos that people and strangers hand in."""

from __future__ import annotations

import builtins
import contextlib
import dataclasses
import io
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from edgewise.errors import BadInput, MissingExtra
from edgewise.preparation import ImagePreparation, open_pixels, prepare, read_photo_header
from edgewise.preparation import decoding as decoding_module

SHARED = Path(__file__).resolve().parents[4] / "shared"
RGB = ImagePreparation(input="image", height=8, width=8, mean=(0, 0, 0), scale=(1, 1, 1))
GREY = dataclasses.replace(RGB, mode="L", mean=(0,), scale=(1,))


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def picture(width: int = 16, height: int = 16) -> Image.Image:
    """Smooth, different in every corner and channel."""
    y, x = np.mgrid[0:height, 0:width]
    channels = (255 * x / (width - 1), 255 * y / (height - 1), 255 * (x + y) / (width + height))
    return Image.fromarray(np.stack(channels, axis=-1).astype(np.uint8))


@pytest.mark.parametrize("network", ["lite0", "lite1"])
def test_the_crop_and_resize_are_those_of_the_golden_logits(network: str) -> None:
    golden = SHARED / "models" / f"efficientnet-{network}-golden.npz"
    if not golden.exists():
        pytest.skip("needs ../shared, which is absent")
    side = {"lite0": 224, "lite1": 240}[network]
    preparation = ImagePreparation(
        input="image",
        height=side,
        width=side,
        crop_fraction=side / (side + 32),
        mean=(127.0,) * 3,
        scale=(128.0,) * 3,
    )
    with np.load(golden, allow_pickle=False) as data:
        files, sums = data["files"], data["inputs_sum"]
    for file, wanted in zip(files, sums, strict=True):
        tensor = prepare(SHARED / "data" / "imagenet-500" / str(file), preparation)
        # One pixel off by one in one channel would change the sum by 1/128; the sums were
        # taken in float32, whose rounding is below that.
        assert tensor.astype(np.float64).sum() == pytest.approx(float(wanted), abs=1 / 256)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF"])
def test_every_format_is_read_from_files_and_bytes(kind: str, tmp_path: Path) -> None:
    data = encoded(picture(), kind)
    file = tmp_path / "photo"
    file.write_bytes(data)
    pixels = open_pixels(data, RGB)
    assert pixels.dtype == np.uint8
    np.testing.assert_array_equal(open_pixels(file, RGB), pixels)
    exact = open_pixels(np.asarray(picture()), RGB)
    assert np.abs(pixels.astype(int) - exact).mean() < 10


def test_an_array_is_taken_as_pixels() -> None:
    array = np.asarray(picture(8, 8))
    np.testing.assert_array_equal(open_pixels(array, RGB), array)
    np.testing.assert_array_equal(open_pixels(array[:, :, 0], GREY)[:, :, 0], array[:, :, 0])
    np.testing.assert_array_equal(open_pixels(array[:, :, :1], GREY), array[:, :, :1])


def test_exif_orientation_turns_the_photo_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = encoded(picture().transpose(Image.Transpose.ROTATE_90), "PNG", exif=exif)
    np.testing.assert_array_equal(
        open_pixels(turned, RGB), open_pixels(encoded(picture(), "PNG"), RGB)
    )


def test_the_first_frame_of_an_animation_is_taken() -> None:
    frames = [Image.new("RGB", (8, 8), "red"), Image.new("RGB", (8, 8), "blue")]
    for kind in ("GIF", "WEBP", "PNG"):
        data = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
        red, _, blue = open_pixels(data, RGB)[0, 0]
        assert red > 240 > 20 > blue


def test_alpha_is_dropped() -> None:
    image = picture()
    image.putalpha(77)
    np.testing.assert_array_equal(
        open_pixels(encoded(image, "PNG"), RGB), open_pixels(np.asarray(picture()), RGB)
    )


def test_a_palette_with_transparency_is_resolved() -> None:
    image = Image.new("P", (8, 8), 1)
    image.putpalette([0, 0, 0, 10, 200, 30])
    data = encoded(image, "PNG", transparency=b"\x00\x80")
    assert open_pixels(data, RGB)[0, 0].tolist() == [10, 200, 30]


def test_cmyk_becomes_rgb() -> None:
    image = Image.new("CMYK", (8, 8), (0, 255, 255, 0))
    red, green, blue = open_pixels(encoded(image, "JPEG", quality=95), RGB)[0, 0]
    assert red > 240
    assert max(green, blue) < 20


def test_16_bit_grey_is_scaled_not_clipped() -> None:
    image = Image.fromarray(np.full((8, 8), 0x8123, np.uint16))
    assert open_pixels(encoded(image, "PNG"), GREY)[0, 0, 0] == 0x81


def test_both_resamplings_differ() -> None:
    # Halving weighs the neighbourhood: bilinear never leaves the range, bicubic overshoots.
    edge = np.full((16, 16), 100, np.uint8)
    edge[:, 6:] = 200
    bilinear = dataclasses.replace(GREY, resample="bilinear")
    assert open_pixels(edge, bilinear).max() == 200
    assert open_pixels(edge, GREY).max() > 200


def png_header(width: int, height: int) -> bytes:
    ihdr = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + ihdr + struct.pack(">I", zlib.crc32(ihdr))
    return b"\x89PNG\r\n\x1a\n" + chunk


@pytest.mark.parametrize(
    "bomb",
    [
        png_header(50_000, 50_000),
        png_header(0, 10),
        b"GIF89a" + struct.pack("<HH", 60_000, 60_000) + bytes(3),
        b"RIFF\x00\x00\x00\x00WEBPVP8X\x0a\x00\x00\x00" + bytes(4) + b"\xff\xff\x00" * 2,
        b"\xff\xd8\xff\xc0\x00\x11\x08" + struct.pack(">HH", 65_000, 65_000) + bytes(10),
    ],
)
def test_pixel_bombs_are_refused_before_any_decoder_is_opened(
    bomb: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a decoder was opened")

    monkeypatch.setattr(Image, "open", refuse)
    with pytest.raises(BadInput, match="50 million pixels"):
        open_pixels(bomb, RGB)


def test_a_gif_whose_frame_is_larger_than_its_screen_is_refused() -> None:
    frame = b"\x2c" + struct.pack("<HHHH", 0, 0, 60_000, 60_000) + b"\x00\x02\x00\x3b"
    data = b"GIF89a" + struct.pack("<HHBBB", 8, 8, 0x80, 0, 0) + bytes(6) + frame
    with pytest.raises(BadInput, match="in the photo"):
        open_pixels(data, RGB)


def test_a_huge_file_is_refused_without_reading_all_of_it(tmp_path: Path) -> None:
    file = tmp_path / "huge.png"
    with file.open("wb") as handle:
        handle.write(png_header(8, 8))
        handle.truncate(10**10)  # sparse
    with pytest.raises(BadInput, match=r"at most 64 MB in the photo .*huge\.png"):
        open_pixels(file, RGB)


def test_the_limits_are_those_that_the_messages_state() -> None:
    assert decoding_module.MAX_PIXELS == 50_000_000
    assert decoding_module.MAX_FILE_BYTES == 64_000_000


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "an empty file"),
        (b"just some text", "none of these"),
        (png_header(8, 8)[:20], "damaged or truncated header"),
        (b"\xff\xd8\xff\xe0\x00\x10", "damaged or truncated header"),
        (b"\xff\xd8\xff\xe0\x00\x01" + bytes(40), "damaged or truncated header"),
        (b"\xff\xd8\xff\xe0\x00\x04ab" + bytes(40), "damaged or truncated header"),
        (b"RIFF\x00\x00\x00\x00WEBPJUNK" + bytes(40), "damaged or truncated header"),
        (b"RIFF\x00\x00\x00\x00WEBPVP8 " + bytes(40), "damaged or truncated header"),
        (b"RIFF\x00\x00\x00\x00WEBPVP8L" + bytes(40), "damaged or truncated header"),
        (b"RIFF\x00\x00\x00\x00WEBPVP8X" + bytes(10), "damaged or truncated header"),
        (b"\x89PNG\r\n\x1a\n" + bytes(30), "damaged or truncated header"),
        (b"GIF89a", "damaged or truncated header"),
        (png_header(8, 8), "a png that decodes"),
    ],
)
def test_what_is_no_photo_is_refused_by_name(content: bytes, words: str, tmp_path: Path) -> None:
    file = tmp_path / "holiday.jpg"
    file.write_bytes(content)
    with pytest.raises(BadInput, match=rf"holiday\.jpg.*{words}|{words}.*holiday\.jpg"):
        open_pixels(file, RGB)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_a_truncated_photo_is_refused(kind: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    data = encoded(Image.fromarray(noise), kind)
    with pytest.raises(BadInput, match=f"a {kind.lower()} that decodes in the photo"):
        open_pixels(data[: len(data) // 2], RGB)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "nowhere.jpg", tmp_path, Path("a\0b")):
        with pytest.raises(BadInput, match="a readable photo at"):
            open_pixels(path, RGB)


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((8, 8, 4), np.uint8),
        np.zeros((8,), np.uint8),
        np.zeros((8, 8, 3), np.float32),
    ],
)
def test_an_array_of_another_kind_is_refused(array: Any) -> None:
    with pytest.raises(BadInput, match="pixels as uint8"):
        open_pixels(array, RGB)


def test_an_array_without_pixels_is_refused() -> None:
    with pytest.raises(BadInput, match="1 pixel to 50 million"):
        open_pixels(np.zeros((0, 8, 3), np.uint8), RGB)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(["PNG", "JPEG", "WEBP", "GIF"]), st.data())
def test_mutated_photos_give_pixels_or_one_clear_refusal(kind: str, data: st.DataObject) -> None:
    raw = bytearray(encoded(picture(), kind))
    for _ in range(data.draw(st.integers(1, 6))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(BadInput):  # anything else fails the test
        assert open_pixels(bytes(raw), RGB).shape == (8, 8, 3)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF"])
@pytest.mark.parametrize("size", [(1, 1), (17, 5), (300, 2)])
def test_the_header_agrees_with_the_decoder(kind: str, size: tuple[int, int]) -> None:
    for options in ({}, {"lossless": True}, {"progressive": True}):
        header = read_photo_header(encoded(Image.new("RGB", size), kind, **options))
        assert (header.width, header.height, header.format) == (*size, kind.lower())


def test_a_jpeg_with_fill_bytes_is_read() -> None:
    data = encoded(Image.new("RGB", (3, 5)), "JPEG")
    header = read_photo_header(data[:2] + b"\xff\xff" + data[2:])
    assert (header.width, header.height) == (3, 5)


def test_without_pillow_the_message_gives_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    real_import = builtins.__import__

    def hide_pillow(name: str, *rest: Any) -> Any:
        if name == "PIL":
            raise ImportError(name)
        return real_import(name, *rest)

    monkeypatch.setattr(builtins, "__import__", hide_pillow)
    with pytest.raises(MissingExtra, match=r"pip install 'edgewise\[image\]'"):
        open_pixels(b"", RGB)


@pytest.mark.net  # starts a process
def test_importing_loads_no_decoder() -> None:
    code = "import sys, edgewise.preparation, edgewise.examples; sys.exit('PIL' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
