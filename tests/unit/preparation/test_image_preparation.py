"""The recipe and its JSON form."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewise.errors import BadInput
from edgewise.preparation import (
    ImagePreparation,
    normalise,
    read_preparation,
    write_preparation,
)
from edgewise.preparation.image import crop_box

RGB = ImagePreparation(
    input="image",
    height=4,
    width=6,
    crop_fraction=0.875,
    mean=(127.0, 126.0, 125.0),
    scale=(128.0, 64.0, 32.0),
)
BRIEF = (
    '{"schema":1,"kind":"image","input":"image","height":224,"width":224,"mode":"RGB",'
    '"crop_fraction":0.875,"resample":"bicubic","mean":[127,127,127],"scale":[128,128,128],'
    '"layout":"CHW"}'
)


def test_the_json_of_the_model_zoo_is_read() -> None:
    read = read_preparation(BRIEF)
    assert (read.height, read.width, read.mode, read.crop_fraction) == (224, 224, "RGB", 0.875)
    assert read.mean == (127.0,) * 3
    assert read.scale == (128.0,) * 3
    assert (read.resample, read.layout, read.shape) == ("bicubic", "CHW", (1, 3, 224, 224))


@given(
    st.sampled_from(["RGB", "L"]),
    st.integers(1, 4096),
    st.floats(0, 1, exclude_min=True),
    st.sampled_from(["bicubic", "bilinear"]),
    st.sampled_from(["CHW", "HWC"]),
    st.floats(1e-3, 1e3),
)
def test_writing_and_reading_give_the_same(
    mode: str, side: int, crop: float, resample: str, layout: str, scale: float
) -> None:
    channels = 3 if mode == "RGB" else 1
    preparation = ImagePreparation(
        input="é x",
        height=side,
        width=1,
        mode=mode,
        crop_fraction=crop,
        resample=resample,
        mean=(scale,) * channels,
        scale=(scale,) * channels,
        layout=layout,
    )
    assert read_preparation(write_preparation(preparation)) == preparation


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"height": 0}, "height from 1 to 4096"),
        ({"width": 4097}, "width from 1 to 4096"),
        ({"mode": "CMYK"}, "mode RGB or L"),
        ({"resample": "nearest"}, "resample bicubic or bilinear"),
        ({"layout": "WHC"}, "layout CHW or HWC"),
        ({"crop_fraction": 0.0}, "crop_fraction above 0"),
        ({"crop_fraction": 1.01}, "crop_fraction above 0"),
        ({"crop_fraction": float("nan")}, "crop_fraction above 0"),
        ({"mean": (1.0,)}, "3 finite values of mean"),
        ({"scale": (1.0, 1.0, float("inf"))}, "3 finite values of scale"),
        ({"scale": (1.0, 1.0, 0.0)}, "scale above 0"),
        ({"mode": "L"}, "1 finite values of mean"),
        ({"input": ""}, "the name of the network's input"),
    ],
)
def test_a_field_outside_its_limits_is_refused(change: dict[str, Any], words: str) -> None:
    with pytest.raises(BadInput, match=words):
        dataclasses.replace(RGB, **change)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"schema": 2}, "schema '2'"),
        ({"schema": True}, "schema 'True'"),
        ({"schema": None}, "no schema"),
        ({"kind": "audio"}, "kind 'audio'"),
        ({"kind": None}, "no kind"),
        ({"gamma": 2.2}, "'gamma'"),
        ({"height": 4.5}, "type int"),
        ({"mean": "127"}, "a list"),
    ],
)
def test_another_schema_kind_or_field_is_refused_by_name(
    change: dict[str, Any], words: str
) -> None:
    fields = json.loads(BRIEF) | change
    with pytest.raises(BadInput, match=words):
        read_preparation(json.dumps(fields))


@pytest.mark.parametrize(
    ("text", "words"), [("[]", "a table"), ("{", "valid JSON"), (" " * 20_000, "at most 16384")]
)
def test_what_is_no_table_is_refused(text: str, words: str) -> None:
    with pytest.raises(BadInput, match=words):
        read_preparation(text)


@given(st.integers(1, 5000), st.integers(1, 5000), st.floats(1e-4, 1))
def test_the_crop_is_a_centred_square_inside_the_photo(w: int, h: int, fraction: float) -> None:
    left, top, right, bottom = crop_box(w, h, fraction)
    assert right - left == bottom - top >= 1
    assert 0 <= left <= w - right <= left + 1
    assert 0 <= top <= h - bottom <= top + 1
    assert abs((right - left) - fraction * min(w, h)) <= 1


def test_a_fraction_that_is_not_binary_keeps_its_whole_square() -> None:
    for size in range(32, 600):
        assert crop_box(size + 32, size + 32, size / (size + 32))[2] - 16 == size


def test_normalising_subtracts_the_mean_and_divides_by_the_scale() -> None:
    pixels = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
    tensor = normalise(pixels, RGB)
    assert tensor.dtype == np.float32
    assert tensor.shape == (1, 3, 4, 6)
    assert tensor.flags["C_CONTIGUOUS"]
    for channel, (mean, scale) in enumerate(zip(RGB.mean, RGB.scale, strict=True)):
        expected = (pixels[:, :, channel].astype(np.float32) - mean) / scale
        np.testing.assert_array_equal(tensor[0, channel], expected)


def test_the_other_layout_holds_the_same_numbers() -> None:
    pixels = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
    last = normalise(pixels, dataclasses.replace(RGB, layout="HWC"))
    assert last.shape == (1, 4, 6, 3)
    np.testing.assert_array_equal(last.transpose(0, 3, 1, 2), normalise(pixels, RGB))


@pytest.mark.parametrize(
    "pixels", [np.zeros((4, 6, 3), np.float32), np.zeros((6, 4, 3), np.uint8)]
)
def test_pixels_of_another_type_or_shape_are_refused(pixels: Any) -> None:
    with pytest.raises(BadInput, match=r"uint8 pixels of shape \[4, 6, 3\]"):
        normalise(pixels, RGB)
