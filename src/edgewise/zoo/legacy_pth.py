"""Read tensors from a ``.pth`` file as torch wrote them before version 1.6, without torch.

The file is five pickles (magic number, protocol, system, the state dict with persistent ids in
place of storages, the storage keys), then for each key a 64-bit element count and the raw
elements. Source of the layout: ``_legacy_save`` and ``_legacy_load`` in torch/serialization.py.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from edgewise.errors import BadInput
from edgewise.zoo.restricted_pickle import Name, Vocabulary, read_pickle

_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001
_COUNT_BYTES = 8
_MAX_RANK = 8

_DTYPES: Mapping[str, str] = {
    "torch DoubleStorage": "<f8",
    "torch FloatStorage": "<f4",
    "torch HalfStorage": "<f2",
    "torch LongStorage": "<i8",
    "torch IntStorage": "<i4",
    "torch ShortStorage": "<i2",
    "torch CharStorage": "|i1",
    "torch ByteStorage": "|u1",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Storage:
    """A run of elements that tensors look into."""

    key: str
    dtype: str
    elements: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layout:
    """How a tensor lies in its storage, counted in elements; checked to lie inside."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def read_state_dict(data: bytes, *, where: str) -> dict[str, NDArray[Any]]:
    """The tensors of a legacy ``.pth`` file, by name.

    No code of the file runs and nothing is allocated for a tensor: each array is a read-only
    view of ``data`` with the strides that the file states, checked to lie inside its storage.

    Args:
        data: the bytes of the file.
        where: the name of the file, for messages.

    Raises:
        BadInput: when the file holds anything but tensors in a dict, or lies about a size.

    >>> read_state_dict(b"PK", where="new.pth")
    Traceback (most recent call last):
    edgewise.errors.BadInput: expected a state dict of tensors in the legacy .pth format in \
new.pth, found the zip format of torch 1.6 and later; fetch the file that the zoo pins
    """
    try:
        return _read(data)
    except ValueError as error:
        raise BadInput(
            expected=f"a state dict of tensors in the legacy .pth format in {where}",
            found=str(error)[:200],
            remedy="fetch the file that the zoo pins",
        ) from None


def _read(data: bytes) -> dict[str, NDArray[Any]]:
    if data[:2] == b"PK":
        raise ValueError("the zip format of torch 1.6 and later")
    stream = io.BytesIO(data)
    _check_preamble(stream)
    storages: dict[str, _Storage] = {}
    layouts = _read_layouts(stream, storages)
    keys = _read_keys(stream, storages)
    buffers = _read_storages(data, stream.tell(), [storages[key] for key in keys])
    return {name: _view(buffers[each.storage.key], each) for name, each in layouts.items()}


def _check_preamble(stream: io.BytesIO) -> None:
    if not _equals(read_pickle(stream), _MAGIC):
        raise ValueError("another magic number")
    if not _equals(read_pickle(stream), _PROTOCOL):
        raise ValueError("another protocol version")
    system = read_pickle(stream)
    if type(system) is not dict or system.get("little_endian") is not True:
        raise ValueError("a file that is not little-endian")


def _equals(value: object, number: int) -> bool:
    return type(value) is int and value == number


def _read_layouts(stream: io.BytesIO, storages: dict[str, _Storage]) -> dict[str, _Layout]:
    def storage(reference: object) -> _Storage:
        found = _storage(reference)
        if storages.setdefault(found.key, found) != found:
            raise ValueError(f"two descriptions of the storage {found.key[:40]!r}")
        return found

    vocabulary = Vocabulary(
        names=frozenset(_DTYPES),
        calls={"collections OrderedDict": _dict, "torch._utils _rebuild_tensor_v2": _layout},
        persistent=storage,
    )
    value = read_pickle(stream, vocabulary)
    if type(value) is not dict:
        raise ValueError(f"a {type(value).__name__} where the state dict should be")
    for name, each in value.items():
        if type(each) is not _Layout:
            raise ValueError(f"a {type(each).__name__} where the tensor {name[:80]!r} should be")
    return value


def _dict(arguments: tuple[object, ...]) -> dict[str, object]:
    if arguments:
        raise ValueError("an OrderedDict built from arguments")
    return {}


def _storage(reference: object) -> _Storage:
    if type(reference) is not tuple or len(reference) != 6:
        raise ValueError("a persistent id that names no storage")
    kind, dtype, key, _, elements, view = reference
    if type(kind) is not str or kind != "storage" or type(dtype) is not Name:
        raise ValueError("a persistent id that names no storage")
    if type(key) is not str or not _is_count(elements) or view is not None:
        raise ValueError("a storage without a key and a plain size")
    if dtype.text not in _DTYPES:
        raise ValueError(f"a storage of {dtype.text}")
    return _Storage(key=key, dtype=_DTYPES[dtype.text], elements=elements)


def _layout(arguments: tuple[object, ...]) -> _Layout:
    if len(arguments) != 6:
        raise ValueError(f"a tensor described by {len(arguments)} values in place of 6")
    storage, offset, shape, strides = arguments[:4]
    if type(storage) is not _Storage or not _is_count(offset):
        raise ValueError("a tensor without a storage and an offset")
    if not _are_counts(shape) or not _are_counts(strides) or len(shape) != len(strides):
        raise ValueError("a tensor whose shape and strides do not fit together")
    if len(shape) > _MAX_RANK or 0 in shape:
        raise ValueError(f"a tensor of more than {_MAX_RANK} axes, or with an empty one")
    steps = ((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
    if offset + sum(steps) >= storage.elements or math.prod(shape) > storage.elements:
        raise ValueError(f"a tensor that reaches out of its storage {storage.key[:40]!r}")
    return _Layout(storage=storage, offset=offset, shape=shape, strides=strides)


def _is_count(value: object) -> TypeGuard[int]:
    return type(value) is int and value >= 0


def _are_counts(values: object) -> TypeGuard[tuple[int, ...]]:
    return type(values) is tuple and all(map(_is_count, values))


def _read_keys(stream: io.BytesIO, storages: Mapping[str, _Storage]) -> list[str]:
    keys = read_pickle(stream)
    if type(keys) is not list or not all(type(key) is str for key in keys):
        raise ValueError("no list of storage keys")
    if len(keys) != len(storages) or set(keys) != set(storages):
        raise ValueError("storages other than those the tensors name")
    return keys


def _read_storages(data: bytes, start: int, storages: list[_Storage]) -> dict[str, NDArray[Any]]:
    buffers = {}
    for storage in storages:
        end = start + _COUNT_BYTES + storage.elements * np.dtype(storage.dtype).itemsize
        if end > len(data):
            raise ValueError(f"{len(data)} bytes where the storages take {end} or more")
        count = int.from_bytes(data[start : start + _COUNT_BYTES], "little")
        if count != storage.elements:
            raise ValueError(f"a storage of {count} elements in place of {storage.elements}")
        buffers[storage.key] = np.frombuffer(
            data, storage.dtype, count=count, offset=start + _COUNT_BYTES
        )
        start = end
    if start != len(data):
        raise ValueError(f"{len(data) - start} bytes behind the last storage")
    return buffers


def _view(buffer: NDArray[Any], layout: _Layout) -> NDArray[Any]:
    # A stride along an axis of one element is never taken; it may be too large for numpy.
    strides = (
        stride * buffer.itemsize if size > 1 else 0
        for size, stride in zip(layout.shape, layout.strides, strict=True)
    )
    return np.lib.stride_tricks.as_strided(
        buffer[layout.offset :], layout.shape, tuple(strides), writeable=False
    )
