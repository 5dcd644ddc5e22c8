"""A stored input with its answer: does an engine compute here what it computed at planning?

The file holds one wire frame for each tensor, the lengths of its header and of all of it before
it as little-endian unsigned integers of 4 and 8 bytes: first the network's inputs, in the
manifest's order, then for each part that the routes and the fallback use, in the manifest's
order, its outputs. Tensors are named by their place, ``0`` and so on.

A network that runs on the device gets the inputs; one that runs behind another gets that one's
stored outputs, so that each part is judged by itself.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from edgewise.bounds import Bound
from edgewise.bundle.folder import Bundle
from edgewise.bundle.manifest import Manifest, Part
from edgewise.errors import BadInput
from edgewise.tensors import Array, Feeds, TensorSpec
from edgewise.wire import Frame, Message, decode_reply, encode_reply

_LENGTHS = struct.Struct("<IQ")
_REMEDY = "copy the bundle again, or plan it anew"
INPUT = ""
"""What the inputs of the whole network are filed under, among the names of parts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredAnswers:
    """What a probe holds.

    Args:
        tensors: by part the outputs, by name; under ``INPUT`` the inputs of the whole network.
        tolerance: the largest gap that still is engine noise; see :func:`largest_gap`.
    """

    tensors: Mapping[str, Feeds]
    tolerance: float


def probed_parts(manifest: Manifest) -> tuple[Part, ...]:
    """The parts that a probe has answers of: those that the routes and the fallback use."""
    used = {manifest.fallback.part}
    for route in manifest.routes:
        used |= {route.device_part, route.server_part}
    return tuple(part for part in manifest.parts if part.name in used)


def probe_feeds(manifest: Manifest, part: Part, tensors: Mapping[str, Feeds]) -> dict[str, Array]:
    """What a part takes when the whole network gets the stored input.

    Args:
        manifest: says which part runs behind which.
        part: one of :func:`probed_parts`.
        tensors: as in :class:`StoredAnswers`, at least as far as the part needs them.

    Raises:
        BadInput: when nothing before the part gives what it takes.
    """
    before = [
        route.device_part
        for route in manifest.routes
        if route.server_part == part.name and route.device_part is not None
    ]
    for name in (*before, INPUT):
        known = {**tensors[INPUT], **tensors[name]}
        if all(spec.name in known for spec in part.inputs):
            return {spec.name: known[spec.name] for spec in part.inputs}
    raise BadInput(
        expected=f"something that gives the inputs of the part {part.name[:80]!r}",
        found="nothing before it in the bundle",
        remedy="plan the bundle anew",
    )


def encode_probe(manifest: Manifest, tensors: Mapping[str, Feeds]) -> bytes:
    """The bytes of a probe.

    Args:
        manifest: of the bundle that it is for; its own ``probe`` does not matter.
        tensors: as in :class:`StoredAnswers`.

    Raises:
        BadInput: when a tensor is empty, or of a type that the wire does not know.
    """
    pieces: list[bytes] = []
    for part, place, spec in _contents(manifest):
        message = Message(tensors={place: tensors[part][spec.name]}, model=part)
        frame = encode_reply(message)
        pieces += (_LENGTHS.pack(frame.header_bytes, len(frame.body)), frame.body)
    return b"".join(pieces)


def read_probe(bundle: Bundle) -> StoredAnswers | None:
    """The probe of a bundle, if it has one; size and digest are checked before it is read.

    Raises:
        BadInput: when the file is missing, or not what the manifest describes.
    """
    probe = bundle.manifest.probe
    if probe is None:
        return None
    raw = bundle.read_file(probe)
    owners = [INPUT, *(part.name for part in probed_parts(bundle.manifest))]
    tensors: dict[str, dict[str, Array]] = {owner: {} for owner in owners}
    rest = memoryview(raw)
    for part, place, spec in _contents(bundle.manifest):
        frame, rest = _next_frame(rest, bundle)
        message = decode_reply(frame, [_bound(spec, place, len(raw))])
        if message.model != part:
            raise _unsound(bundle, f"the answer of {part!r}", f"one of {message.model!r}")
        tensors[part][spec.name] = message.tensors[place]
    if rest:
        raise _unsound(bundle, "nothing behind its last tensor", f"{len(rest)} bytes more")
    return StoredAnswers(tensors=tensors, tolerance=probe.tolerance)


def why_distrusted(
    stored: StoredAnswers,
    manifest: Manifest,
    part: Part,
    run: Callable[[Feeds], Mapping[str, Array]],
) -> str:
    """Why an engine is not to be used for a part; empty when it gives the stored answer.

    Args:
        stored: what the bundle's probe holds.
        manifest: of the bundle.
        part: one of :func:`probed_parts`.
        run: the engine with the part's network.
    """
    feeds = probe_feeds(manifest, part, stored.tensors)
    # An engine may take memory that is aligned for it alone, and frames align nothing.
    aligned = {name: np.require(array, requirements=("C", "A")) for name, array in feeds.items()}
    try:
        given = run(aligned)
    except BadInput as error:
        return f"it fails on the stored input: {error.found}"
    wanted = stored.tensors[part.name]
    missing = [name for name in wanted if name not in given]
    if missing:
        return f"it does not give {missing[0]!r}"
    gaps = {name: largest_gap(wanted[name], given[name]) for name in wanted}
    worst = max(gaps, key=gaps.__getitem__, default=None)
    if worst is None or gaps[worst] <= stored.tolerance:
        return ""
    return (
        f"{worst!r} is not the stored answer: off by {gaps[worst]:.2g} of its largest value, "
        f"at most {stored.tolerance:.2g} is engine noise"
    )


def largest_gap(stored: Array, given: Array) -> float:
    """The largest difference between two answers, as a share of the largest stored value.

    Integers may be one step apart for nothing: a value in the middle between two steps may be
    rounded either way. Infinite when shape or type differ, or an answer is no number.

    >>> largest_gap(np.array([1.0, 4.0]), np.array([1.0, 4.5]))
    0.125
    >>> largest_gap(np.array([7, 100], np.int8), np.array([8, 100], np.int8))
    0.0
    """
    if stored.shape != given.shape or stored.dtype != given.dtype:
        return float("inf")
    a, b = stored.astype(np.float64), given.astype(np.float64)
    step = 1.0 if np.issubdtype(stored.dtype, np.integer) else 0.0
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        return float("inf")
    gap = float(np.max(np.abs(a - b)))
    return max(0.0, gap - step) / (float(np.max(np.abs(a))) or 1.0)


def _contents(manifest: Manifest) -> Iterator[tuple[str, str, TensorSpec]]:
    """What stands in a probe, in order: whose tensor, its place, and what it is."""
    every: Sequence[tuple[str, Sequence[TensorSpec]]] = [
        (INPUT, manifest.inputs),
        *((part.name, part.outputs) for part in probed_parts(manifest)),
    ]
    for owner, specs in every:
        for place, spec in enumerate(specs):
            yield owner, str(place), spec


def _next_frame(rest: memoryview, bundle: Bundle) -> tuple[Frame, memoryview]:
    if len(rest) < _LENGTHS.size:
        raise _unsound(bundle, "a further tensor", "its end")
    header_bytes, body_bytes = _LENGTHS.unpack(rest[: _LENGTHS.size])
    rest = rest[_LENGTHS.size :]
    if body_bytes > len(rest):
        raise _unsound(bundle, f"{body_bytes} bytes of a tensor", f"{len(rest)} bytes")
    return Frame(body=bytes(rest[:body_bytes]), header_bytes=header_bytes), rest[body_bytes:]


def _bound(spec: TensorSpec, place: str, most: int) -> Bound:
    named = replace(spec, name=place)
    if all(isinstance(size, int) for size in spec.shape):
        return Bound.exactly(named)
    return Bound(
        name=place,
        dtype=spec.dtype,
        shape=spec.shape,
        role=spec.role,
        min_bytes=1,
        max_bytes=most,
    )


def _unsound(bundle: Bundle, expected: str, found: str) -> BadInput:
    return BadInput(
        expected=f"{expected} in the probe of {bundle.path}", found=found, remedy=_REMEDY
    )
