"""Examples from ``.npz``: sizes checked against the file before anything is allocated."""

from __future__ import annotations

import hashlib
import math
import sys
import zipfile
import zlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TypeAlias

import numpy as np

from edgewise.errors import BadInput
from edgewise.examples.example_set import MAX_EXAMPLES, Examples, Label
from edgewise.examples.matching import Form, check_inputs
from edgewise.preparation import (
    ImagePreparation,
    Pixels,
    open_pixels,
    prepare,
    write_preparation,
)
from edgewise.tensors import Array, TensorSpec

MAX_ARRAY_BYTES = 2_000_000_000
_LABELS = "y"
_KINDS = "biufU"
_REMEDY = "write it anew with numpy.savez"

_Header: TypeAlias = tuple[tuple[int, ...], bool, np.dtype[np.generic]]
_HEADERS: Mapping[tuple[int, int], Callable[[IO[bytes]], _Header]] = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ArraySource:
    """Rows of arrays; pixels are prepared when asked for.

    Args:
        arrays: one per input, one row per example.
        preparations: for the inputs whose rows are uint8 pixels.
        whole: inputs whose rows have every axis of the input, such as a scalar; other rows lack
            the batch.
    """

    arrays: Mapping[str, Array]
    preparations: Mapping[str, ImagePreparation] = field(default_factory=dict)
    whole: frozenset[str] = frozenset()

    def feeds(self, row: int) -> dict[str, Array]:
        """Every input by name, batch 1."""
        return {name: self._feed(name, array, row) for name, array in self.arrays.items()}

    def _feed(self, name: str, array: Array, row: int) -> Array:
        if name in self.preparations:
            return prepare(np.asarray(array[row], np.uint8), self.preparations[name])
        return np.asarray(array[row]) if name in self.whole else array[row : row + 1]

    def pixels(self, row: int) -> Pixels | None:
        """The prepared pixels of the row when it is a picture and nothing else."""
        if len(self.arrays) != 1 or not self.preparations:
            return None
        ((name, preparation),) = self.preparations.items()
        return open_pixels(np.asarray(self.arrays[name][row], np.uint8), preparation)


def array_examples(
    path: Path,
    preparation: ImagePreparation | None,
    *,
    input_name: str | None = None,
    inputs: Sequence[TensorSpec] = (),
) -> Examples:
    """Examples from a ``.npz`` with one array per input and, if known, the labels ``y``.

    An array of uint8 for the input that ``preparation`` names holds pixels (NxHxW or NxHxWxC)
    and is prepared; everything else goes to the network as it is.

    Raises:
        BadInput: on anything but finite numbers, as many rows everywhere, within the limits, or
            not what the model takes.
    """
    arrays = _read_npz(path)
    known = [spec.name for spec in inputs]
    labels = None if _LABELS in known else arrays.pop(_LABELS, None)
    named = _named(arrays, input_name or (known[0] if len(known) == 1 else None), path)
    count = _count(named, labels, path)
    for name, array in named.items():
        _check_numbers(array, name, path)
    preparations = _pixel_inputs(named, preparation, input_name)
    source = ArraySource(
        arrays=named, preparations=preparations, whole=_whole_rows(named, inputs, preparations)
    )
    check_inputs(
        {name: _form(source, name) for name in named}, inputs, where=f"the arrays of {path}"
    )
    return Examples(
        names=tuple(f"{path.name}[{row}]" for row in range(count)),
        labels=_labels(labels, count, path),
        keys=tuple(_row_key(named, row) for row in range(count)),
        rows=tuple(range(count)),
        source=source,
        recipe="".join(map(write_preparation, preparations.values())),
    )


def _whole_rows(
    arrays: Mapping[str, Array], inputs: Sequence[TensorSpec], prepared: Collection[str]
) -> frozenset[str]:
    """Inputs of which each row has all axes: scalars, and states whose batch is not first."""
    shapes = {spec.name: spec.shape for spec in inputs if spec.name not in prepared}
    return frozenset(
        name
        for name, array in arrays.items()
        if name in shapes and _is_whole(array.shape[1:], shapes[name])
    )


def _is_whole(row: tuple[int, ...], shape: tuple[int | str, ...]) -> bool:
    """Whether rows have the axes of the input, and are no batches of several examples."""
    return len(row) == len(shape) and (not row or isinstance(shape[0], int) or row[0] == 1)


def _form(source: ArraySource, name: str) -> Form:
    if name in source.preparations:
        return Form(dtype="float32", shape=source.preparations[name].shape)
    array = source.arrays[name]
    rest = array.shape[1:]
    return Form(dtype=array.dtype.name, shape=rest if name in source.whole else (1, *rest))


def _read_npz(path: Path) -> dict[str, Array]:
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            _check_total(sum(member.file_size for member in members), path)
            arrays: dict[str, Array] = {}
            for member in members:
                name = member.filename.removesuffix(".npy")
                if name in arrays:
                    raise _refuse(path, f"the array {name[:60]!r} twice")
                arrays[name] = _read_member(archive, member, path)
            return arrays
    except OSError as error:
        raise BadInput(
            expected=f"a readable file at {path}",
            found=error.strerror or "an error",
            remedy="check the path",
        ) from None
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, RuntimeError) as error:
        raise _refuse(path, (str(error).splitlines() or ["a damaged archive"])[0][:120]) from None


def _read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path) -> Array:
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"compression {member.compress_type}")
    with archive.open(member) as file:
        shape, fortran, dtype = _read_array_header(file)
        name = member.filename[:60]
        if dtype.kind not in _KINDS:
            raise _refuse(path, f"the array {name!r} of type {dtype}")
        values_bytes = member.file_size - file.tell()
        if math.prod(shape) * dtype.itemsize != values_bytes:
            raise _refuse(path, f"the array {name!r} with {values_bytes} bytes for {list(shape)}")
        flat = np.frombuffer(file.read(values_bytes), dtype=dtype)
    native = flat.astype(dtype.newbyteorder("="), copy=False)
    return native.reshape(shape, order="F" if fortran else "C")


def _read_array_header(file: IO[bytes]) -> _Header:
    version = np.lib.format.read_magic(file)
    if version not in _HEADERS:
        raise ValueError(f"an array of format {version}")
    try:
        shape, fortran, dtype = _HEADERS[version](file)
    except Exception:
        # Python's own parser reads it: TokenError, MemoryError and more on what is no header.
        raise ValueError("an array with a damaged header") from None
    if not all(type(size) is int and size >= 0 for size in shape):
        raise ValueError(f"an array of shape {shape}")
    return shape, fortran, dtype


def _check_total(total_bytes: int, path: Path) -> None:
    if total_bytes > MAX_ARRAY_BYTES:
        raise BadInput(
            expected=f"at most {MAX_ARRAY_BYTES // 10**9} GB of arrays in {path}",
            found=f"{total_bytes} bytes",
            remedy="use fewer examples",
        )


def _named(arrays: dict[str, Array], input_name: str | None, path: Path) -> dict[str, Array]:
    if not arrays:
        raise _refuse(path, f"no array but {_LABELS!r}")
    if input_name is None or input_name in arrays:
        return arrays
    if len(arrays) > 1:
        raise BadInput(
            expected=f"an array {input_name!r} in {path}",
            found=", ".join(sorted(arrays))[:120],
            remedy="name each array as the model names its input",
        )
    (array,) = arrays.values()
    return {input_name: array}


def _count(inputs: Mapping[str, Array], labels: Array | None, path: Path) -> int:
    arrays = dict(inputs) if labels is None else {**inputs, _LABELS: labels}
    rows = {name: array.shape[0] if array.ndim else 0 for name, array in arrays.items()}
    if len(set(rows.values())) != 1 or not 1 <= min(rows.values()) <= MAX_EXAMPLES:
        found = ", ".join(f"{name} {count}" for name, count in rows.items())
        raise BadInput(
            expected=f"as many rows in every array of {path}, 1 to {MAX_EXAMPLES}",
            found=found[:120],
            remedy="give every array one row per example",
        )
    return next(iter(rows.values()))


def _check_numbers(array: Array, name: str, path: Path) -> None:
    if array.dtype.kind == "U":
        raise _refuse(path, f"text in the array {name!r}")
    if array.dtype.kind != "f":
        return
    good = np.isfinite(array).reshape(len(array), -1).all(axis=1)
    if not good.all():
        raise BadInput(
            expected=f"finite numbers in the array {name!r} of {path}",
            found=f"NaN or infinity in row {int(good.argmin())}",
            remedy="clean the data or leave the row out",
        )


def _labels(labels: Array | None, count: int, path: Path) -> tuple[Label | None, ...]:
    if labels is None:
        return (None,) * count
    if labels.ndim != 1:
        raise BadInput(
            expected=f"labels {_LABELS!r} in {path} as one class index, name or number per row",
            found=f"{labels.dtype} of shape {list(labels.shape)}",
            remedy="convert them to integers",
        )
    if labels.dtype.kind == "U":
        _check_characters(labels, path)
    else:
        _check_numbers(labels, _LABELS, path)
    return tuple((labels.astype(np.int64) if labels.dtype.kind == "b" else labels).tolist())


def _check_characters(labels: Array, path: Path) -> None:
    """Refuse what is no Unicode before Python makes strings of it, 4 bytes a character."""
    codes = np.frombuffer(labels.tobytes(), np.uint32)
    wrong = codes[(codes > sys.maxunicode) | ((codes >= 0xD800) & (codes < 0xE000))]
    if len(wrong):
        raise _refuse(path, f"the character 0x{wrong[0]:x} in the labels {_LABELS!r}")


def _pixel_inputs(
    inputs: Mapping[str, Array], preparation: ImagePreparation | None, input_name: str | None
) -> dict[str, ImagePreparation]:
    if preparation is None:
        return {}
    name = input_name or preparation.input
    is_pixels = name in inputs and inputs[name].dtype == np.uint8
    return {name: preparation} if is_pixels else {}


def _row_key(inputs: Mapping[str, Array], row: int) -> str:
    whole = hashlib.sha256()
    for name in sorted(inputs):
        array = inputs[name]
        whole.update(f"{name} {array.dtype.str} {array.shape[1:]}\n".encode())
        whole.update(np.ascontiguousarray(array[row]).tobytes())
    return whole.hexdigest()


def _refuse(path: Path, found: str) -> BadInput:
    return BadInput(
        expected=f"arrays of numbers, one per input, in {path}", found=found, remedy=_REMEDY
    )
