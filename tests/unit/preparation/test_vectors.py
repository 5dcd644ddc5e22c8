"""The vectors that every implementation of the preparation must meet.

``EDGEWISE_REGEN=1 pytest tests/unit/preparation/test_vectors.py`` writes them anew.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgewise.errors import BadInput
from edgewise.preparation import (
    ImagePreparation,
    PixelCodec,
    decode_pixels,
    normalise,
    open_pixels,
    read_preparation,
    write_preparation,
)

FOLDER = Path(__file__).resolve().parents[3] / "vectors" / "preparation"
LITE = ImagePreparation(
    input="image",
    height=14,
    width=14,
    crop_fraction=0.875,
    mean=(127.0,) * 3,
    scale=(128.0,) * 3,
)
GREY = ImagePreparation(
    input="x", height=9, width=12, mode="L", resample="bilinear", mean=(0.0,), scale=(255.0,)
)
LAST = ImagePreparation(
    input="image",
    height=20,
    width=10,
    crop_fraction=0.6,
    mean=(123.675, 116.28, 103.53),
    scale=(58.395, 57.12, 57.375),
    layout="HWC",
)
# JPEG and WebP decoders may round the last bit of a sample differently; PNG may not.
CASES = {
    "downscale": ("waves.png", LITE, 0),
    "upscale-rectangle": ("waves.png", LAST, 0),
    "grey-from-colour": ("waves.png", GREY, 0),
    "odd-sides": ("odd.png", LITE, 0),
    "palette": ("palette.png", LITE, 0),
    "exif-turned": ("turned.jpg", LITE, 2),
}
ENCODED = {
    "waves.png-codec": ("encoded.png", PixelCodec.PNG, 0),
    "waves.jpeg-codec": ("encoded.jpg", PixelCodec.JPEG, 2),
    "waves.webp-codec": ("encoded.webp", PixelCodec.WEBP, 2),
}
REFUSED = {
    "schema": {"schema": 2},
    "kind": {"kind": "audio"},
    "mode": {"mode": "CMYK"},
    "height": {"height": 0},
    "width": {"width": 4097},
    "crop_fraction": {"crop_fraction": 1.5},
    "resample": {"resample": "nearest"},
    "mean": {"mean": [127]},
    "scale": {"scale": [128, 128, 0]},
    "layout": {"layout": "WHC"},
    "unknown field": {"gamma": 2.2},
}


def _waves(width: int, height: int) -> Image.Image:
    y, x = np.mgrid[0:height, 0:width]
    channels = [128 + 100 * np.sin(x / (2 + c) + y / (5 - c)) for c in range(3)]
    return Image.fromarray(np.stack(channels, axis=-1).astype(np.uint8))


def _write_photos() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    _waves(48, 36).save(FOLDER / "waves.png")
    _waves(33, 41).save(FOLDER / "odd.png")
    _waves(40, 30).quantize(16).save(FOLDER / "palette.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = _waves(40, 30).transpose(Image.Transpose.ROTATE_90)
    turned.save(FOLDER / "turned.jpg", quality=95, subsampling=0, exif=exif)
    _waves(14, 14).save(FOLDER / "encoded.png")
    _waves(14, 14).save(FOLDER / "encoded.jpg", quality=90)
    _waves(14, 14).save(FOLDER / "encoded.webp", quality=90)


def _case(file: str, preparation: ImagePreparation, pixels: Any, tolerance: int) -> dict[str, Any]:
    values = normalise(pixels, preparation)
    return {
        "schema": 1,
        "file": file,
        "file_sha256": hashlib.sha256((FOLDER / file).read_bytes()).hexdigest(),
        "preparation": json.loads(write_preparation(preparation)),
        "pixels_shape": list(pixels.shape),
        "pixels": pixels.ravel().tolist(),
        "pixels_tolerance": tolerance,
        "tensor_shape": list(values.shape),
        "tensor_first": [float(value) for value in values.ravel()[:12]],
        "tensor_sha256": hashlib.sha256(values.astype("<f4").tobytes()).hexdigest(),
    }


def _made() -> Iterator[tuple[str, dict[str, Any]]]:
    for name, (file, preparation, tolerance) in CASES.items():
        pixels = open_pixels(FOLDER / file, preparation)
        yield name, _case(file, preparation, pixels, tolerance)
    for name, (file, codec, tolerance) in ENCODED.items():
        pixels = decode_pixels((FOLDER / file).read_bytes(), LITE, codec)
        yield name, _case(file, LITE, pixels, tolerance) | {"codec": codec.value}


def _refused() -> list[dict[str, Any]]:
    good = json.loads(write_preparation(LITE))
    return [{"reason": name, "preparation": good | change} for name, change in REFUSED.items()]


def _regenerate() -> None:
    _write_photos()
    written = dict(_made()) | {"refused": _refused()}
    for name, value in written.items():
        (FOLDER / f"{name}.json").write_text(json.dumps(value) + "\n", encoding="utf-8")


if os.environ.get("EDGEWISE_REGEN") == "1":
    _regenerate()


def _read(name: str) -> Any:
    return json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))


def test_every_vector_is_one_of_ours() -> None:
    names = {path.stem for path in FOLDER.glob("*.json")}
    assert names == {*CASES, *ENCODED, "refused"}


@pytest.mark.parametrize("name", [*CASES, *ENCODED])
def test_pixels_and_tensor_are_those_of_the_vector(name: str) -> None:
    case = _read(name)
    data = (FOLDER / case["file"]).read_bytes()
    assert hashlib.sha256(data).hexdigest() == case["file_sha256"]
    preparation = read_preparation(json.dumps(case["preparation"]))
    wanted = np.array(case["pixels"], np.uint8).reshape(case["pixels_shape"])
    if "codec" in case:
        pixels = decode_pixels(data, preparation, PixelCodec(case["codec"]))
    else:
        pixels = open_pixels(data, preparation)
    assert np.abs(pixels.astype(int) - wanted).max() <= case["pixels_tolerance"]
    tensor = normalise(wanted, preparation)
    assert list(tensor.shape) == case["tensor_shape"]
    assert hashlib.sha256(tensor.astype("<f4").tobytes()).hexdigest() == case["tensor_sha256"]
    np.testing.assert_array_equal(tensor.ravel()[:12], np.array(case["tensor_first"], np.float32))


@pytest.mark.parametrize("case", _read("refused"), ids=lambda case: case["reason"])
def test_what_the_vectors_refuse_is_refused(case: dict[str, Any]) -> None:
    with pytest.raises(BadInput):
        read_preparation(json.dumps(case["preparation"]))
