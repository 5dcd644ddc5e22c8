from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgewise.bundle import Bundle, Manifest
from edgewise.engines import Pace
from edgewise.errors import BadInput
from edgewise.running.content import InputReader
from edgewise.tensors import TensorSpec
from session_bundles import REMOTE, image, photo, session_bundle
from unit.serving import tiny_bundle as tiny

VECTORS = Path(__file__).resolve().parents[3] / "vectors"
TOKENIZER = VECTORS / "preparation" / "text" / "tokenizer-wordpiece.json"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return session_bundle(tmp_path_factory.mktemp("content") / "bundle", *REMOTE, "local")


@pytest.fixture(scope="module")
def manifest(bundle: Bundle) -> Manifest:
    return bundle.manifest


def reader(manifest: Manifest) -> InputReader:
    return InputReader(manifest, Pace())


def with_inputs(manifest: Manifest, *inputs: TensorSpec) -> Manifest:
    return replace(manifest, inputs=inputs, preparation=None)


def test_a_photo_suits_every_route_and_an_array_all_but_those_for_pixels(manifest: Manifest):
    seen = {
        name: [reader(manifest).read(value).suits(route) for route in manifest.routes]
        for name, value in (("photo", photo()), ("array", image()))
    }
    pixels_only = [route.codec.value in ("png", "jpeg", "webp") for route in manifest.routes]
    assert seen == {"photo": [True] * 8, "array": [not only for only in pixels_only]}


def test_an_array_and_the_same_array_by_name_are_the_same(manifest: Manifest):
    for value in (image(), {"image": image()}):
        np.testing.assert_array_equal(reader(manifest).read(value).feeds()["image"], image())


def test_a_photo_is_normalised_once(manifest: Manifest):
    content = reader(manifest).read(photo())
    feeds = content.feeds()
    np.testing.assert_allclose(
        feeds["image"][0, 1], (photo()[:, :, 1] - np.float32(127)) / 128, rtol=1e-6
    )
    assert content.feeds() is feeds


def test_png_sends_the_pixels_and_raw_sends_the_tensor(manifest: Manifest):
    content = reader(manifest).read(photo())
    png = content.encoded(manifest.route("cloud-png"))
    assert (list(png), png["image"].dtype) == (["image"], np.uint8)
    assert png["image"][:4].tobytes() == b"\x89PNG"
    raw = content.encoded(manifest.route("cloud-raw"))
    assert raw["image"].shape == tiny.IMAGE.shape


def test_a_raw_route_of_several_inputs_sends_them_all(manifest: Manifest):
    a = TensorSpec(name="a", dtype="float32", shape=(1, 2))
    b = TensorSpec(name="b", dtype="int64", shape=(1,))
    raw = manifest.route("cloud-raw")
    bound = raw.boundary[0]
    bounds = tuple(
        replace(bound, name=s.name, dtype=s.dtype, shape=s.shape, min_bytes=8, max_bytes=8)
        for s in (a, b)
    )
    feeds = {"b": np.ones(1, np.int64), "a": np.zeros((1, 2), np.float32)}
    content = reader(with_inputs(manifest, a, b)).read(feeds)
    assert content.encoded(replace(raw, boundary=bounds)) == {"a": feeds["a"], "b": feeds["b"]}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({}, "expected the inputs image, found none; name each input as the model does"),
        ({"x": image()}, "expected the inputs image, found x; name"),
        ({"image": [1.0]}, "expected an array for the input 'image', found a value of type list"),
        (image().astype(np.float64), "expected float32[1, 3, 16, 16] for the input 'image', fou"),
        (np.full_like(image(), np.inf), "expected finite numbers in the input 'image', found NaN"),
        (None, "expected a photo (path, bytes or pixels), an array, or arrays by name, found a v"),
        ([1, 2], "expected a photo (path, bytes or pixels), an array, or arrays by name, found"),
        (Path("nowhere.png"), "expected a readable photo at nowhere.png, found No such file"),
        (b"no photo at all", "expected "),
    ],
)
def test_bad_inputs(manifest: Manifest, value: object, message: str):
    with pytest.raises(BadInput) as refused:
        reader(manifest).read(value)
    assert str(refused.value).startswith(message)


def test_a_photo_needs_a_preparation(manifest: Manifest):
    bare = replace(manifest, preparation=None)
    with pytest.raises(BadInput, match="found a bytes, and the bundle does not say how"):
        reader(bare).read(b"photo")


def text_manifest(manifest: Manifest, length: int) -> Manifest:
    inputs = [
        TensorSpec(name=name, dtype="int64", shape=("batch", length))
        for name in ("input_ids", "attention_mask")
    ]
    return replace(
        manifest,
        inputs=tuple(inputs),
        preparation={"schema": 1, "kind": "text"},
        tokenizer=TOKENIZER.read_text(encoding="utf-8"),
    )


def test_a_text_is_padded_or_cut_and_what_is_lost_is_said(manifest: Manifest):
    texts = reader(text_manifest(manifest, 5))
    short, long = texts.read("red"), texts.read("red and red and red")
    assert short.feeds()["input_ids"].tolist() == [[2, 84, 3, 0, 0]]
    assert short.feeds()["attention_mask"].tolist() == [[1, 1, 1, 0, 0]]
    assert short.note == ""
    assert long.feeds()["input_ids"].shape == (1, 5)
    assert long.note == long.kept().note == "cut to 5 tokens, 2 lost"
    arrays = {name: np.ones((1, 5), np.int64) for name in ("input_ids", "attention_mask")}
    assert texts.read(arrays).feeds() == arrays


@pytest.mark.parametrize("value", [Path("text.txt"), b"red", 7, image()])
def test_what_is_no_text_is_refused_where_texts_are_read(manifest: Manifest, value: object):
    with pytest.raises(BadInput, match=r"this network reads text|a mapping with the inputs"):
        reader(text_manifest(manifest, 5)).read(value)


def test_a_network_that_reads_text_without_a_tokenizer_takes_arrays(manifest: Manifest):
    text = replace(manifest, preparation={"schema": 1, "kind": "text", "input_ids": "image"})
    with pytest.raises(BadInput, match="found a str, and the bundle does not say how to prepare"):
        reader(text).read("a sentence")
    assert reader(text).read(image()).feeds()["image"] is not None


def test_one_array_is_not_enough_for_two_inputs(manifest: Manifest):
    a, b = (TensorSpec(name=name, dtype="float32", shape=(1,)) for name in "ab")
    with pytest.raises(BadInput, match="expected a mapping with the inputs a, b, found a single"):
        reader(with_inputs(manifest, a, b)).read(np.zeros(1, np.float32))


def test_pixels_are_a_tensor_where_nothing_is_prepared(manifest: Manifest):
    x = TensorSpec(name="x", dtype="uint8", shape=(2,))
    content = reader(with_inputs(manifest, x)).read(np.ones(2, np.uint8))
    assert content.feeds()["x"].tolist() == [1, 1]


def test_what_may_cross_the_link_is_one_example(manifest: Manifest):
    x = TensorSpec(name="x", dtype="float32", shape=("N", 2))
    many = np.zeros((3, 2), np.float32)
    with pytest.raises(BadInput, match=r"expected float32\[1, 2\] .* found float32\[3, 2\]"):
        reader(with_inputs(manifest, x)).read(many)
    local = replace(with_inputs(manifest, x), routes=(manifest.route("local"),))
    assert reader(local).read(many).feeds()["x"].shape == (3, 2)
