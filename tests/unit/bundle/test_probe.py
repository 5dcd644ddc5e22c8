"""A stored input with its answers: read as hostile bytes, and compared as engines differ."""

from __future__ import annotations

import shutil
import struct
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from edgewise.bundle import (
    INPUT,
    Bundle,
    describe_probe,
    encode_probe,
    largest_gap,
    open_bundle,
    probe_feeds,
    probed_parts,
    read_probe,
    why_distrusted,
)
from edgewise.engines import open_engine
from edgewise.errors import BadInput
from edgewise.wire import Message, encode_reply

AGAIN = "; copy the bundle again, or plan it anew"


@pytest.fixture
def copy(complete, tmp_path) -> Bundle:
    return open_bundle(shutil.copytree(complete, tmp_path / "b"))


def _with(bundle: Bundle, raw: bytes) -> Bundle:
    """The bundle with these bytes as a probe that is listed rightly."""
    (bundle.path / "probe.bin").write_bytes(raw)
    probe = describe_probe(raw, tolerance=1e-5)
    return replace(bundle, manifest=replace(bundle.manifest, probe=probe))


def _frame(tensor: object, *, owner: str = "", name: str = "0") -> bytes:
    frame = encode_reply(Message(tensors={name: np.asarray(tensor)}, model=owner))
    return struct.pack("<IQ", frame.header_bytes, len(frame.body)) + frame.body


def test_the_golden_probe_holds_what_its_readme_says(copy) -> None:
    stored = read_probe(copy)
    assert stored.tolerance == 1e-5
    assert list(stored.tensors) == [INPUT, "head", "tail", "whole"]
    x = np.array([[1, -2, 0.5, 0]], np.float32)
    np.testing.assert_array_equal(stored.tensors[INPUT]["x"], x)
    np.testing.assert_array_equal(stored.tensors["head"]["h"], x * 2)
    np.testing.assert_array_equal(stored.tensors["tail"]["y"], x * 2 + 2)
    raw = (copy.path / "probe.bin").read_bytes()
    assert encode_probe(copy.manifest, stored.tensors) == raw


@pytest.mark.engine
def test_the_golden_networks_give_the_stored_answers(copy) -> None:
    stored = read_probe(copy)
    for part in probed_parts(copy.manifest):
        with open_engine(copy.read_part(part.name)) as engine:
            assert why_distrusted(stored, copy.manifest, part, engine.run) == ""


def test_a_bundle_without_a_probe_has_none(copy) -> None:
    assert read_probe(replace(copy, manifest=replace(copy.manifest, probe=None))) is None


def test_a_tail_gets_what_the_head_before_it_gave(copy) -> None:
    tensors = {INPUT: {"x": np.zeros(1)}, "head": {"h": np.ones(1)}, "whole": {}}
    tail, whole = copy.manifest.part("tail"), copy.manifest.part("whole")
    assert probe_feeds(copy.manifest, tail, tensors) == {"h": np.ones(1)}
    assert probe_feeds(copy.manifest, whole, tensors) == {"x": np.zeros(1)}
    lonely = replace(tail, inputs=(replace(tail.inputs[0], name="nothing"),))
    with pytest.raises(BadInput) as refusal:
        probe_feeds(copy.manifest, lonely, tensors)
    assert str(refusal.value) == (
        "expected something that gives the inputs of the part 'tail', "
        "found nothing before it in the bundle; plan the bundle anew"
    )


def test_a_probe_with_one_bit_changed_is_refused(copy) -> None:
    raw = bytearray((copy.path / "probe.bin").read_bytes())
    raw[-1] ^= 1
    (copy.path / "probe.bin").write_bytes(raw)
    with pytest.raises(BadInput, match=r"expected probe\.bin as the manifest of .*, found anoth"):
        read_probe(copy)


def test_a_missing_probe_is_refused(copy) -> None:
    (copy.path / "probe.bin").unlink()
    with pytest.raises(BadInput, match=r"expected a regular file probe\.bin in .*, found No such"):
        read_probe(copy)


X = np.zeros((1, 4), np.float32)
GOOD = (_frame(X), _frame(X, owner="head"), _frame(X, owner="tail"), _frame(X, owner="whole"))
LONG = struct.pack("<IQ", 10, 2**63) + b"x"
HOSTILE: dict[str, tuple[bytes, str]] = {
    "too few tensors": (b"".join(GOOD[:3]), "a further tensor in the probe of {}, found its end"),
    "half a length": (GOOD[0] + b"\1\2", "a further tensor in the probe of {}, found its end"),
    "more bytes": (
        b"".join(GOOD) + b"!",
        "nothing behind its last tensor in the probe of {}, found 1 bytes more",
    ),
    "an endless tensor": (LONG, f"{2**63} bytes of a tensor in the probe of {{}}, found 1 bytes"),
    "other parts": (
        GOOD[0] + GOOD[2] + GOOD[1] + GOOD[3],
        "the answer of 'head' in the probe of {}, found one of 'tail'",
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_probe_is_refused(copy, name: str) -> None:
    raw, message = HOSTILE[name]
    with pytest.raises(BadInput) as refusal:
        read_probe(_with(copy, raw))
    assert str(refusal.value) == f"expected {message.format(copy.path)}{AGAIN}"


@pytest.mark.parametrize(
    "first",
    [
        _frame(X, name="1"),
        _frame(X.astype(np.float64)),
        _frame(np.zeros((1, 5), np.float32)),
        struct.pack("<IQ", 99, 3) + b"abc",
        struct.pack("<IQ", 3, 3) + b"\xff\0\0",
        struct.pack("<IQ", 0, 0),
    ],
)
def test_a_frame_of_another_tensor_is_refused(copy, first: bytes) -> None:
    with pytest.raises(BadInput):
        read_probe(_with(copy, first + b"".join(GOOD[1:])))


Run = Callable[[object], dict[str, np.ndarray]]


@pytest.mark.parametrize(
    ("run", "why"),
    [
        (lambda feeds: {"y": feeds["x"] * 2 + 2}, ""),
        (lambda feeds: {"y": feeds["x"] * 2 + np.float32(2.00001)}, ""),
        (
            lambda feeds: {"y": feeds["x"] * 2 + 3},
            "'y' is not the stored answer: off by 0.25 of its largest value, "
            "at most 1e-05 is engine noise",
        ),
        (
            lambda feeds: {"y": feeds["x"] * np.float32("nan")},
            "'y' is not the stored answer: off by inf of its largest value, "
            "at most 1e-05 is engine noise",
        ),
        (lambda feeds: {"z": feeds["x"]}, "it does not give 'y'"),
    ],
)
def test_a_part_that_gives_something_else_is_distrusted(copy, run: Run, why: str) -> None:
    part = copy.manifest.part("whole")
    assert why_distrusted(read_probe(copy), copy.manifest, part, run) == why


def test_a_part_that_is_said_to_give_nothing_has_nothing_to_prove(copy) -> None:
    parts = tuple(replace(part, outputs=()) for part in copy.manifest.parts)
    idle = replace(copy, manifest=replace(copy.manifest, parts=parts))
    stored = read_probe(_with(idle, GOOD[0]))
    assert why_distrusted(stored, idle.manifest, parts[2], lambda feeds: {}) == ""


def test_a_part_that_fails_is_distrusted(copy) -> None:
    def fail(feeds: object) -> dict[str, np.ndarray]:
        raise BadInput(expected="a kernel", found="no such instruction", remedy="none")

    part = copy.manifest.part("whole")
    why = why_distrusted(read_probe(copy), copy.manifest, part, fail)
    assert why == "it fails on the stored input: no such instruction"


@pytest.mark.parametrize(
    ("stored", "given", "gap"),
    [
        (np.array([0.0, 0.0]), np.array([0.0, 0.5]), 0.5),
        (np.array([-8.0, 1.0]), np.array([-8.0, 3.0]), 0.25),
        (np.array([4, 0], np.uint8), np.array([4, 255], np.uint8), 254 / 4),
        (np.array([True, False]), np.array([True, True]), 1.0),
        (np.array([1.0]), np.array([[1.0]]), np.inf),
        (np.array([1.0]), np.array([1.0], np.float32), np.inf),
        (np.array([1.0]), np.array([np.inf]), np.inf),
        (np.array([np.inf]), np.array([np.inf]), np.inf),
    ],
)
def test_gaps(stored: np.ndarray, given: np.ndarray, gap: float) -> None:
    assert largest_gap(stored, given) == gap
