"""What a device hands in once and for all: named arrays and a small JSON record, under a key.

On the wire and at rest a submission is a frame of :mod:`edgewise.wire`: ``key`` and ``bundle``
are its parameters, each array is a tensor, and the record is one more tensor of UTF-8 bytes,
named ``record``. So whoever reads frames reads submissions, and no other format exists.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from edgewise.errors import BadInput
from edgewise.records import parse_json
from edgewise.tensors import OIP_DATATYPES, Array
from edgewise.wire import Frame, Header, Message, encode_request, read_header, read_message

RECORD = "record"
MAX_RECORD_BYTES = 65_536
MAX_SUBMISSION_BYTES = 16_777_216
_KEY = re.compile(r"[A-Za-z0-9_.:\-]{1,128}")

Record = Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """One thing handed in.

    Args:
        key: chosen by the device; whatever comes twice under one key counts once.
        tensors: arrays by name.
        record: what JSON can hold.
        bundle: digest of the bundle that the device runs; empty when it does not say.

    Raises:
        BadInput: when key, record or names cannot be sent, or there is nothing to send.

    >>> Submission(key="a", record={"seen": 3}).digest[:12]
    '6cf34fd73d0f'
    """

    key: str
    tensors: Mapping[str, Array] = field(default_factory=dict)
    record: Record = field(default_factory=dict)
    bundle: str = ""

    def __post_init__(self) -> None:
        check_key(self.key)
        if RECORD in self.tensors:
            raise BadInput(
                expected=f"arrays of other names than {RECORD!r}",
                found="one of that name",
                remedy="rename it: that name belongs to the JSON record",
            )
        if not self.tensors and not self.record:
            raise BadInput(
                expected="arrays or a record to submit",
                found="neither",
                remedy="pass a mapping with at least one entry",
            )
        _write_record(self.record)

    @property
    def digest(self) -> str:
        """SHA-256 of the content: names, types, shapes and values, in whatever order they came."""
        tensors = self._all()
        names = sorted(tensors)
        heads = [[name, tensors[name].dtype.name, list(tensors[name].shape)] for name in names]
        content = hashlib.sha256(json.dumps(heads, separators=(",", ":")).encode())
        for name in names:
            little = tensors[name].dtype.newbyteorder("<")
            content.update(np.ascontiguousarray(tensors[name], little).tobytes())
        return content.hexdigest()

    def frame(self) -> Frame:
        """The bytes that are kept and sent.

        Raises:
            BadInput: when an array is of a type or shape that the protocol does not know.
        """
        for name, array in self.tensors.items():
            if array.dtype.name not in OIP_DATATYPES or not array.size:
                raise BadInput(
                    expected=f"an array for {name!r} that the protocol knows and is not empty",
                    found=f"{array.dtype} of the shape {list(array.shape)}",
                    remedy=f"send at least one element of one of {', '.join(OIP_DATATYPES)}",
                )
        parameters = {"key": self.key} | ({"bundle": self.bundle} if self.bundle else {})
        return encode_request(Message(tensors=self._all(), id=self.key, parameters=parameters))

    def _all(self) -> dict[str, Array]:
        if not self.record:
            return dict(self.tensors)
        return {**self.tensors, RECORD: np.frombuffer(_write_record(self.record), np.uint8)}


def read_submission(body: bytes | memoryview, *, header_bytes: int, key: str = "") -> Submission:
    """Read a frame that nobody vouches for.

    Args:
        body: header and tensors.
        header_bytes: length of the JSON header.
        key: what the sender says beside the frame; the frame may leave it out then.

    Raises:
        BadInput: when it is no frame, or names no key, or two.
    """
    view = memoryview(body)
    header = read_header(view[:header_bytes], body_bytes=len(view), key="inputs")
    tensors = dict(read_message(view, header, header_bytes=header_bytes).tensors)
    record = tensors.pop(RECORD, None)
    return Submission(
        key=_only_key(header, key),
        tensors=tensors,
        record={} if record is None else _read_record(record),
        bundle=_text(header, "bundle"),
    )


def check_key(key: object) -> None:
    """Refuse what cannot be a key.

    Raises:
        BadInput: saying what can.

    >>> check_key("order-17")
    """
    if not isinstance(key, str) or not _KEY.fullmatch(key):
        raise BadInput(
            expected="a key of 1 to 128 letters, digits and _ . : -",
            found=repr(key)[:80],
            remedy="leave it out to get a random one, or use for example a UUID",
        )


def _only_key(header: Header, beside: str) -> str:
    inside = _text(header, "key")
    if inside and beside and inside != beside:
        raise BadInput(
            expected="one key", found="another in the frame than beside it", remedy="send one"
        )
    check_key(inside or beside)
    return inside or beside


def _text(header: Header, name: str) -> str:
    value = header.parameters.get(name, "")
    if not isinstance(value, str) or len(value) > 256:
        raise BadInput(
            expected=f"the parameter {name!r} as text of at most 256 characters",
            found=type(value).__name__,
            remedy="send frames as edgewise.submission describes them",
        )
    return value


def _write_record(record: Record) -> bytes:
    remedy = "pass names with texts, numbers, truth values, lists and objects of them"
    try:
        raw = json.dumps(record, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        found = str(error)[:120]
        raise BadInput(
            expected="a record that JSON can hold", found=found, remedy=remedy
        ) from None
    if len(raw) > MAX_RECORD_BYTES:
        raise BadInput(
            expected=f"a record of at most {MAX_RECORD_BYTES} bytes of JSON",
            found=f"{len(raw)} bytes",
            remedy="submit numbers as arrays",
        )
    if parse_json(raw, where="the record") != record:
        raise BadInput(
            expected="a record that JSON gives back as it was",
            found="tuples, or names that are no texts",
            remedy=remedy,
        )
    return raw


def _read_record(array: Array) -> Record:
    if array.dtype != np.uint8 or array.ndim != 1:
        raise BadInput(
            expected=f"the tensor {RECORD!r} as a row of UINT8",
            found=f"{array.dtype}{list(array.shape)}",
            remedy="send the record's JSON as UTF-8 bytes",
        )
    record = parse_json(array.tobytes(), where="the record", max_bytes=MAX_RECORD_BYTES)
    if not isinstance(record, dict):
        raise BadInput(
            expected="a JSON object as record", found=type(record).__name__, remedy="send one"
        )
    return record
