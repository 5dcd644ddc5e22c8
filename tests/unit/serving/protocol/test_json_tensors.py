"""Tensors as JSON: every type both ways, and every way to lie about them."""

from __future__ import annotations

import json
import tracemalloc
from typing import Any

import numpy as np
import pytest

from edgewise.bounds import Bound
from edgewise.bundle import Coefficients, PayloadCodec, Route, RouteKind
from edgewise.errors import BadInput
from edgewise.serving.protocol.jsontensors import binary_frame, json_data, max_json_bytes
from edgewise.tensors import OIP_DATATYPES, TensorSpec
from edgewise.wire import Frame, Message, decode_request, encode_request

WHOLE = [name for name in OIP_DATATYPES if np.dtype(name).kind in "iu"]
BOUND = Bound.exactly(TensorSpec(name="x", dtype="float32", shape=(2, 3)))
VALUES = [1, 2.5, -3, 0, 5e-3, 6]


def _request(**changes: object) -> bytes:
    tensor = {"name": "x", "datatype": "FP32", "shape": [2, 3], "data": VALUES}
    return json.dumps({"id": "7", "inputs": [tensor | changes]}).encode()


def _read(raw: bytes, bound: Bound = BOUND) -> Message:
    body, start = binary_frame(memoryview(raw), header_bytes=len(raw), bounds=[bound])
    return decode_request(Frame(body=bytes(body), header_bytes=start), [bound])


def _refused(raw: bytes, bound: Bound = BOUND) -> str:
    with pytest.raises(BadInput) as caught:
        _read(raw, bound)
    return str(caught.value)


def _of(dtype: str, values: list[Any]) -> tuple[bytes, Bound]:
    spec = TensorSpec(name="x", dtype=dtype, shape=(len(values),))
    raw = _request(datatype=OIP_DATATYPES[dtype], shape=[len(values)], data=values)
    return raw, Bound.exactly(spec)


@pytest.mark.parametrize("data", [VALUES, [VALUES[:3], VALUES[3:]]])
def test_flat_and_nested_data_are_the_same(data: list[object]) -> None:
    message = _read(_request(data=data))
    assert message.id == "7"
    np.testing.assert_array_equal(message.tensors["x"], np.array(VALUES, "f4").reshape(2, 3))


@pytest.mark.parametrize("dtype", WHOLE)
def test_whole_numbers_keep_every_bit_and_stay_in_range(dtype: str) -> None:
    low, high = int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)
    raw, bound = _of(dtype, [low, high, 1])
    array = _read(raw, bound).tensors["x"]
    assert array.tolist() == [low, high, 1] == json_data("x", array)
    for beyond in (low - 1, high + 1):
        assert "beyond" in _refused(*_of(dtype, [beyond]))
    for other in (1.0, True, "1", None):
        assert "elements of the kind int" in _refused(*_of(dtype, [other]))


def test_truth_values_are_true_and_false() -> None:
    array = _read(*_of("bool", [True, False])).tensors["x"]
    assert array.tolist() == [True, False] == json_data("x", array)
    for other in (1, 0.0, "true"):
        assert "elements of the kind bool" in _refused(*_of("bool", [other]))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_floats_stay_finite_and_in_range(dtype: str) -> None:
    most = float(np.finfo(dtype).max)
    array = _read(*_of(dtype, [most, -most, 1])).tensors["x"]
    assert array.tolist() == [most, -most, 1.0] == json_data("x", array)
    for text in ("NaN", "Infinity", "-Infinity", "1e999"):
        raw, bound = _of(dtype, [0.125])
        assert "valid JSON" in _refused(raw.replace(b"0.125", text.encode()), bound)


def test_a_double_beyond_single_precision_is_refused() -> None:
    assert "float32 from -3.4" in _refused(*_of("float32", [1e39]))


def test_half_precision_is_binary_only() -> None:
    message = (
        "expected FP16 as binary data for 'x', found JSON; send and ask for half precision as raw"
        " bytes; the protocol has no other form"
    )
    assert _refused(*_of("float16", [1.0])) == message
    with pytest.raises(BadInput) as caught:
        json_data("x", np.zeros(1, np.float16))
    assert str(caught.value) == message


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_json_has_no_word_for_what_is_no_number(value: float) -> None:
    with pytest.raises(BadInput) as caught:
        json_data("y", np.array([1, value]))
    assert str(caught.value) == (
        "expected finite numbers in the output 'y' to write as JSON, found NaN or infinity; ask"
        " for the output as binary data"
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "z"}, "expected one of the inputs x FP32, found z FP32"),
        ({"datatype": "BYTES"}, "expected one of the inputs x FP32, found x BYTES"),
        ({"datatype": 3}, "expected a name and a datatype for each input"),
        ({"shape": [2, 4]}, "expected at most 24 bytes for 'x', found 32 bytes"),
        ({"shape": [2**30] * 16}, "expected at most 24 bytes for 'x'"),
        ({"shape": [-2, -3]}, "expected a shape of sizes from 1"),
        ({"shape": [True, 6]}, "expected a shape of sizes from 1"),
        ({"shape": [1] * 17}, "expected a shape of at most 16 axes"),
        ({"shape": "23"}, "expected a shape of at most 16 axes"),
        ({"data": VALUES[:5]}, "expected 6 numbers for 'x', flat or nested as [2, 3]"),
        ({"data": [*VALUES, 1]}, "expected 6 numbers for 'x'"),
        ({"data": [VALUES[:2], VALUES[2:]]}, "expected 6 numbers for 'x'"),
        ({"data": [[VALUES[:3]], [VALUES[3:]]]}, "expected 6 numbers for 'x'"),
        ({"data": {}}, "expected 6 numbers for 'x'"),
        ({"data": [*VALUES[:5], [1]]}, "expected 6 numbers for 'x'"),
        ({"data": [*VALUES[:5], {}]}, "expected elements of the kind float or int"),
        ({"parameters": {"binary_data_size": 24}}, "expected one form of data for 'x'"),
        ({"parameters": 5}, "expected one form of data for 'x'"),
    ],
)
def test_lying_tensors_are_refused(changes: dict[str, object], message: str) -> None:
    assert _refused(_request(**changes)).startswith(message)


@pytest.mark.parametrize(
    "raw",
    [
        b"[]",
        b"{}",
        b'{"inputs": {}}',
        b'{"inputs": [{"data": [1]}, 5]}',
        b'{"inputs": ["data"]}',
        b"[" * 100_000,
        json.dumps({"inputs": [{"data": []}] * 65}).encode(),
    ],
)
def test_other_requests_are_refused(raw: bytes) -> None:
    assert _refused(raw).startswith("expected ")


def test_a_huge_shape_allocates_nothing() -> None:
    raw = _request(shape=[2**31 - 1, 2**31 - 1])
    tracemalloc.start()
    try:
        _refused(raw)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_raw_and_json_tensors_mix_in_any_order() -> None:
    bounds = [Bound.exactly(TensorSpec(name=name, dtype="float32", shape=(2,))) for name in "abc"]
    arrays = {name: np.array([i, i + 0.5], "f4") for i, name in enumerate("abc")}
    frame = encode_request(Message(tensors=arrays))
    header = json.loads(frame.body[: frame.header_bytes])
    header["inputs"][1] = {"name": "b", "datatype": "FP32", "shape": [2], "data": [1, 1.5]}
    raw = json.dumps(header).encode()
    tail = arrays["a"].tobytes() + arrays["c"].tobytes()
    for extra in (b"", b"x"):
        body, start = binary_frame(
            memoryview(raw + tail + extra), header_bytes=len(raw), bounds=bounds
        )
        again = Frame(body=bytes(body), header_bytes=start)
        if extra:
            with pytest.raises(BadInput):
                decode_request(again, bounds)
            continue
        for name, array in decode_request(again, bounds).tensors.items():
            np.testing.assert_array_equal(array, arrays[name])


def test_a_frame_of_raw_tensors_is_left_alone() -> None:
    frame = encode_request(Message(tensors={"x": np.zeros((2, 3), np.float32)}))
    body = memoryview(frame.body)
    assert binary_frame(body, header_bytes=frame.header_bytes, bounds=[BOUND])[0] is body


def test_json_may_be_as_long_as_its_numbers_need() -> None:
    route = Route(
        name="cloud",
        kind=RouteKind.CLOUD,
        codec=PayloadCodec.FP32,
        server_part="full",
        boundary=(BOUND,),
        coefficients=Coefficients(),
    )
    assert max_json_bytes([route]) == 65_536 + 32 * 6
