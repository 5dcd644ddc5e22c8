"""Examples from ``.npz``: sizes checked against the file before anything is allocated."""

from __future__ import annotations

import hashlib
import math
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import numpy as np

from edgewise.errors import BadInput
from edgewise.examples.example_set import MAX_EXAMPLES, Examples, Label
from edgewise.preparation import (
    ImagePreparation,
    Pixels,
    open_pixels,
    prepare,
    write_preparation,
)
from edgewise.tensors import Array

MAX_ARRAY_BYTES = 2_000_000_000
_LABELS = "y"
_KINDS = "biufU"
_REMEDY = "write it anew with numpy.savez"


@dataclass(frozen=True, slots=True, kw_only=True)
class ArraySource:
    """Rows of arrays; pixels are prepared when asked for.

    Args:
        arrays: one per input, one row per example.
        preparations: for the inputs whose rows are uint8 pixels.
    """

    arrays: Mapping[str, Array]
    preparations: Mapping[str, ImagePreparation] = field(default_factory=dict)

    def feeds(self, row: int) -> dict[str, Array]:
        """Every input by name, batch 1."""
        return {
            name: prepare(np.asarray(array[row], np.uint8), self.preparations[name])
            if name in self.preparations
            else array[row : row + 1]
            for name, array in self.arrays.items()
        }

    def pixels(self, row: int) -> Pixels | None:
        """The prepared pixels of the row when it is a picture and nothing else."""
        if len(self.arrays) != 1 or not self.preparations:
            return None
        ((name, preparation),) = self.preparations.items()
        return open_pixels(np.asarray(self.arrays[name][row], np.uint8), preparation)


def array_examples(
    path: Path, preparation: ImagePreparation | None, input_name: str | None
) -> Examples:
    """Examples from a ``.npz`` with one array per input and, if known, the labels ``y``.

    An array of uint8 for the input that ``preparation`` names holds pixels (NxHxW or NxHxWxC)
    and is prepared; everything else goes to the network as it is.

    Raises:
        BadInput: on anything but finite numbers, as many rows everywhere, within the limits.
    """
    arrays = _read_npz(path)
    labels = arrays.pop(_LABELS, None)
    inputs = _named(arrays, input_name, path)
    count = _count(inputs, labels, path)
    for name, array in inputs.items():
        _check_numbers(array, name, path)
    preparations = _pixel_inputs(inputs, preparation, input_name)
    return Examples(
        names=tuple(f"{path.name}[{row}]" for row in range(count)),
        labels=_labels(labels, count, path),
        keys=tuple(_row_key(inputs, row) for row in range(count)),
        rows=tuple(range(count)),
        source=ArraySource(arrays=inputs, preparations=preparations),
        recipe="".join(map(write_preparation, preparations.values())),
    )


def _read_npz(path: Path) -> dict[str, Array]:
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            _check_total(sum(member.file_size for member in members), path)
            return {
                member.filename.removesuffix(".npy"): _read_member(archive, member, path)
                for member in members
            }
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


def _read_array_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[np.generic]]:
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        return np.lib.format.read_array_header_1_0(file)
    if version == (2, 0):
        return np.lib.format.read_array_header_2_0(file)
    raise ValueError(f"an array of format {version}")


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
    if labels.ndim != 1 or labels.dtype.kind not in "iuU":
        raise BadInput(
            expected=f"labels {_LABELS!r} in {path} as one class index or name per row",
            found=f"{labels.dtype} of shape {list(labels.shape)}",
            remedy="convert them to integers",
        )
    return tuple(labels.tolist())


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
