"""Submissions: what they hold, how they are told apart, and what is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest

from edgewise.errors import BadInput
from edgewise.submission import MAX_RECORD_BYTES, Submission, check_key, read_submission
from edgewise.wire import Message, encode_request

LOGITS = np.array([[1.5, -2.0]], np.float32)


def again(submission: Submission, *, key: str = "") -> Submission:
    frame = submission.frame()
    return read_submission(frame.body, header_bytes=frame.header_bytes, key=key)


def test_what_is_written_is_read() -> None:
    first = Submission(
        key="k-1",
        tensors={"logits": LOGITS, "one": np.array(3, np.int64)},
        record={"seen": "Katze ä", "n": [1, {"x": None}], "ok": True},
        bundle="b" * 64,
    )
    second = again(first)
    assert (second.key, second.record, second.bundle) == (first.key, first.record, first.bundle)
    assert second.digest == first.digest
    np.testing.assert_array_equal(second.tensors["logits"], LOGITS)
    assert second.tensors["one"].shape == ()


def test_a_record_alone_and_arrays_alone_travel() -> None:
    assert again(Submission(key="k", record={"a": 1})).tensors == {}
    assert again(Submission(key="k", tensors={"a": LOGITS})).record == {}


def test_the_digest_is_of_the_content_alone() -> None:
    base = Submission(key="k", tensors={"a": LOGITS, "b": LOGITS + 1}, record={"x": 1, "y": 2})
    same = Submission(
        key="other",
        tensors={"b": LOGITS + 1, "a": LOGITS.astype(">f4")},
        record={"y": 2, "x": 1},
        bundle="c",
    )
    assert same.digest == base.digest
    for other in (
        Submission(key="k", tensors={"a": LOGITS, "b": LOGITS + 1}, record={"x": 1, "y": 3}),
        Submission(key="k", tensors={"a": LOGITS + 1, "b": LOGITS}, record={"x": 1, "y": 2}),
        Submission(key="k", tensors={"a": LOGITS.T, "b": LOGITS + 1}, record={"x": 1, "y": 2}),
        Submission(key="k", tensors={"a": LOGITS.view(np.int32), "b": LOGITS + 1}),
    ):
        assert other.digest != base.digest


@pytest.mark.parametrize("key", ["", "a b", "a" * 129, "../x", "é", 7, None])
def test_keys_that_are_none(key: object) -> None:
    with pytest.raises(BadInput, match=r"expected a key of 1 to 128 letters, digits and _ \. : -"):
        check_key(key)


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"a": object()}, "expected a record that JSON can hold, found Object of type object"),
        ({"a": float("nan")}, "expected a record that JSON can hold, found Out of range"),
        ({"a": "x" * MAX_RECORD_BYTES}, "expected a record of at most 65536 bytes of JSON"),
        ({1: "x"}, "expected a record that JSON gives back as it was"),
        ({"a": (1, 2)}, "expected a record that JSON gives back as it was"),
        ({"a": 2**60}, "expected valid JSON in the record"),
    ],
)
def test_records_that_cannot_be_sent(record: dict[str, object], message: str) -> None:
    with pytest.raises(BadInput) as caught:
        Submission(key="k", record=record)
    assert str(caught.value).startswith(message)


def test_nothing_to_send_and_a_name_that_is_taken() -> None:
    with pytest.raises(BadInput, match="expected arrays or a record to submit, found neither"):
        Submission(key="k")
    with pytest.raises(BadInput, match="expected arrays of other names than 'record'"):
        Submission(key="k", tensors={"record": LOGITS})


@pytest.mark.parametrize(
    "array", [np.array(["text"]), np.zeros(2, np.complex64), np.zeros((0, 3), np.float32)]
)
def test_arrays_that_the_protocol_does_not_know(array: np.ndarray) -> None:
    with pytest.raises(
        BadInput,
        match=r"expected an array for 'a' that the protocol knows.*send at least one element of",
    ):
        Submission(key="k", tensors={"a": array}).frame()


def test_the_key_may_stand_beside_the_frame_but_not_twice() -> None:
    frame = encode_request(Message(tensors={"a": LOGITS}))
    read = read_submission(frame.body, header_bytes=frame.header_bytes, key="beside")
    assert read.key == "beside"
    with pytest.raises(BadInput, match="expected a key of 1 to 128"):
        read_submission(frame.body, header_bytes=frame.header_bytes)
    with pytest.raises(BadInput, match="expected one key, found another in the frame"):
        again(Submission(key="inside", tensors={"a": LOGITS}), key="beside")


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (np.zeros(2, np.float32), "expected the tensor 'record' as a row of UINT8"),
        (np.frombuffer(b"[1]", np.uint8), "expected a JSON object as record, found list"),
        (np.frombuffer(b"{", np.uint8), "expected valid JSON in the record"),
        (np.frombuffer(b'{"a":1,"a":2}', np.uint8), "expected valid JSON in the record"),
    ],
)
def test_frames_whose_record_is_none(record: np.ndarray, message: str) -> None:
    frame = encode_request(Message(tensors={"record": record}, parameters={"key": "k"}))
    with pytest.raises(BadInput) as caught:
        read_submission(frame.body, header_bytes=frame.header_bytes)
    assert str(caught.value).startswith(message)


def test_frames_whose_parameters_lie() -> None:
    frame = encode_request(Message(tensors={"a": LOGITS}, parameters={"key": 7}))
    with pytest.raises(BadInput, match="expected the parameter 'key' as text"):
        read_submission(frame.body, header_bytes=frame.header_bytes)


def test_the_frame_is_an_ordinary_request() -> None:
    frame = Submission(key="k", record={"a": 1}).frame()
    header = json.loads(frame.body[: frame.header_bytes])
    assert header["parameters"]["key"] == "k"
    assert [tensor["name"] for tensor in header["inputs"]] == ["record"]
    assert frame.body[frame.header_bytes :] == b'{"a":1}'
