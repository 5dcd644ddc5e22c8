"""Examples from .npz files, honest and hostile."""

from __future__ import annotations

import contextlib
import io
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgewise.errors import BadInput
from edgewise.examples import load_examples
from edgewise.preparation import ImagePreparation, prepare

GREY = ImagePreparation(input="x", height=4, width=4, mode="L", mean=(0,), scale=(255,))
ROWS = np.arange(3 * 2 * 2, dtype=np.float32).reshape(3, 2, 2)


def saved(path: Path, **arrays: Any) -> Path:
    np.savez(path / "data.npz", **arrays)
    return path / "data.npz"


def test_each_array_is_an_input_and_y_the_labels(tmp_path: Path) -> None:
    mask = np.ones((3, 2), np.int64)
    examples = load_examples(saved(tmp_path, a=ROWS, mask=mask, y=np.array([4, 5, 6])))
    assert examples.labels == (4, 5, 6)
    assert examples.names[1] == "data.npz[1]"
    feeds = examples.feeds(1)
    assert sorted(feeds) == ["a", "mask"]
    np.testing.assert_array_equal(feeds["a"], ROWS[1:2])
    assert feeds["mask"].shape == (1, 2)
    assert feeds["mask"].dtype == np.int64


def test_labels_may_be_names_or_missing(tmp_path: Path) -> None:
    named = load_examples(saved(tmp_path, a=ROWS, y=np.array(["cat", "dog", "cat"])))
    assert named.labels == ("cat", "dog", "cat")
    assert load_examples(saved(tmp_path, a=ROWS)).labels == (None,) * 3


def test_compressed_fortran_and_big_endian_arrays_are_read(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "c.npz", a=np.asfortranarray(ROWS), b=ROWS.astype(">f4"))
    feeds = load_examples(tmp_path / "c.npz").feeds(2)
    for name in ("a", "b"):
        np.testing.assert_array_equal(feeds[name], ROWS[2:3])
        assert feeds[name].dtype == np.float32
        assert feeds[name].dtype.isnative


def test_a_single_array_takes_the_name_of_the_input(tmp_path: Path) -> None:
    assert list(load_examples(saved(tmp_path, a=ROWS), input_name="z").feeds(0)) == ["z"]
    two = saved(tmp_path, a=ROWS, b=ROWS)
    with pytest.raises(BadInput, match=r"an array 'z' in .* found a, b"):
        load_examples(two, input_name="z")


def test_uint8_rows_of_the_prepared_input_are_pixels(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 8, 8), np.uint8)
    path = saved(tmp_path, x=pixels)
    examples = load_examples(path, GREY)
    np.testing.assert_array_equal(examples.feeds(1)["x"], prepare(pixels[1], GREY))
    raw = load_examples(path)
    np.testing.assert_array_equal(raw.feeds(1)["x"], pixels[1:2])
    assert raw.digest != examples.digest


def test_floats_are_not_prepared_again(tmp_path: Path) -> None:
    values = np.ones((3, 1, 4, 4), np.float32)
    feeds = load_examples(saved(tmp_path, x=values), GREY).feeds(0)
    np.testing.assert_array_equal(feeds["x"], values[:1])


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"y": np.array([1])}, "no array but 'y'"),
        ({"a": ROWS, "y": np.array([1])}, "as many rows .* found a 3, y 1"),
        ({"a": ROWS, "b": ROWS[:2]}, "as many rows"),
        ({"a": ROWS[:0]}, "as many rows"),
        ({"a": np.float32(3)}, "as many rows"),
        ({"a": ROWS, "y": np.array([1.0, np.nan, 3.0])}, "array .y. .* in row 1"),
        ({"a": ROWS, "y": np.ones((3, 2), int)}, "one class index, name or number per row"),
        ({"a": np.array(["x", "y", "z"])}, "text in the array 'a'"),
        ({"a": ROWS.astype(np.complex64)}, "'a.npy' of type complex64"),
        ({"a": np.array([object()])}, "'a.npy' of type object"),
        ({"a": np.zeros((1_000_000_000, 0), np.float32)}, "1 to 200000"),
    ],
)
def test_arrays_that_are_no_examples_are_refused(
    tmp_path: Path, arrays: dict[str, Any], words: str
) -> None:
    with pytest.raises(BadInput, match=words):
        load_examples(saved(tmp_path, **arrays))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_numbers_that_are_not_finite_are_refused_with_their_row(
    tmp_path: Path, bad: float
) -> None:
    rows = ROWS.copy()
    rows[2, 0, 1] = bad
    with pytest.raises(BadInput, match=r"finite numbers in the array 'a' .* in row 2"):
        load_examples(saved(tmp_path, a=rows))


def array_file(shape: str, values: bytes = b"", version: int = 1) -> bytes:
    text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}}}\n".encode()
    return b"\x93NUMPY" + bytes([version, 0]) + struct.pack("<H", len(text)) + text + values


@pytest.mark.parametrize(
    ("member", "words"),
    [
        (array_file("(1000000000000,)"), "with 0 bytes for"),
        (array_file("(-1, -4)", bytes(16)), "found"),
        (array_file("('a',)"), "found"),
        (array_file("(4,)", bytes(12)), "with 12 bytes"),
        (array_file("(4,)", bytes(16), version=9), "format"),
        (array_file("(True,)", bytes(4)), "shape"),
        (array_file("(-4,)", bytes(16)), "shape"),
        (array_file("(((("), "damaged header"),  # tokenize.TokenError in numpy
        (array_file("-" * 9000 + "1"), "damaged header"),  # MemoryError in Python's parser
        (b"not an array", "magic"),
        (b"", "EOF|found"),
    ],
)
def test_a_hostile_array_is_refused_before_it_is_allocated(
    tmp_path: Path, member: bytes, words: str
) -> None:
    path = tmp_path / "data.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.npy", member)
    with pytest.raises(BadInput, match=words):
        load_examples(path)


def test_one_name_for_two_arrays_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.npy", array_file("(1,)", bytes(4)))
        archive.writestr("a", array_file("(1,)", bytes(4)))
    with pytest.raises(BadInput, match="the array 'a' twice"):
        load_examples(path)


@pytest.mark.parametrize(
    ("code", "shown"), [(0xFFFFFFFF, "0xffffffff"), (0x110000, "0x110000"), (0xD800, "0xd800")]
)
def test_labels_that_are_no_unicode_are_refused(tmp_path: Path, code: int, shown: str) -> None:
    labels = np.array([65, code, 66], np.uint32).view("<U1")
    with pytest.raises(BadInput, match=f"the character {shown} in the labels 'y'"):
        load_examples(saved(tmp_path, a=ROWS, y=labels))


def test_an_archive_that_declares_too_much_is_refused_unread(tmp_path: Path) -> None:
    path = saved(tmp_path, a=ROWS)
    raw = bytearray(path.read_bytes())
    at = raw.index(b"PK\x01\x02") + 24  # the central directory's uncompressed size
    raw[at : at + 4] = struct.pack("<I", 0xFFFFFFF0)
    path.write_bytes(raw)
    with pytest.raises(BadInput, match="at most 2 GB"):
        load_examples(path)


def test_unusual_compression_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("a.npy", array_file("(1,)", bytes(4)))
    with pytest.raises(BadInput, match="compression 14"):
        load_examples(path)


def test_what_is_no_archive_or_missing_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data.npz").write_bytes(b"hello")
    with pytest.raises(BadInput, match="not a zip file"):
        load_examples(tmp_path / "data.npz")
    with pytest.raises(BadInput, match="a readable file at"):
        load_examples(tmp_path / "nowhere.npz")


@settings(
    max_examples=200,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.data())
def test_mutated_archives_give_examples_or_one_clear_refusal(
    tmp_path: Path, data: st.DataObject
) -> None:
    out = io.BytesIO()
    np.savez_compressed(out, a=ROWS, y=np.array([1, 2, 3]))
    raw = bytearray(out.getvalue())
    for _ in range(data.draw(st.integers(1, 5))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "data.npz"
    path.write_bytes(raw)
    with contextlib.suppress(BadInput):  # anything else fails the test
        assert len(load_examples(path)) >= 1
