"""Names, element types and shapes of the tensors that models take and give."""

from __future__ import annotations

import enum
import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgewise.errors import BadInput

Array = NDArray[np.generic]
Feeds = Mapping[str, Array]
Axes = Mapping[str, int]  # sizes of symbolic axes by their name

# Open Inference Protocol v2, "Tensor Data Types"; BYTES is left to the text routes.
OIP_DATATYPES: Mapping[str, str] = {
    "bool": "BOOL",
    "uint8": "UINT8",
    "uint16": "UINT16",
    "uint32": "UINT32",
    "uint64": "UINT64",
    "int8": "INT8",
    "int16": "INT16",
    "int32": "INT32",
    "int64": "INT64",
    "float16": "FP16",
    "float32": "FP32",
    "float64": "FP64",
}
NUMPY_DTYPES: Mapping[str, str] = {oip: name for name, oip in OIP_DATATYPES.items()}


class Role(enum.StrEnum):
    """What a tensor is for: content, or the structure (masks, lengths, positions) around it."""

    CONTENT = "content"
    STRUCTURE = "structure"


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorSpec:
    """One tensor that crosses a boundary.

    Args:
        name: the tensor's name in the graph.
        dtype: a numpy name, such as ``float32``.
        shape: sizes; a symbolic axis is its name.
        role: content or structure.

    >>> TensorSpec(name="x", dtype="float32", shape=("N", 3, 2)).nbytes(batch=4)
    96
    """

    name: str
    dtype: str
    shape: tuple[int | str, ...]
    role: Role = Role.CONTENT

    def __post_init__(self) -> None:
        if self.dtype not in OIP_DATATYPES:
            raise BadInput(
                expected=f"tensor {self.name!r} of one of the types {', '.join(OIP_DATATYPES)}",
                found=repr(self.dtype)[:80],
                remedy="convert the tensor in the model (Cast)",
            )
        for axis, size in enumerate(self.shape):
            if isinstance(size, int) and size < 1:
                raise BadInput(
                    expected=f"tensor {self.name!r} with axes of at least 1",
                    found=f"axis {axis} of size {size}",
                    remedy="export the model with a real or a symbolic size",
                )

    @property
    def itemsize_bytes(self) -> int:
        """Bytes of one element."""
        return np.dtype(self.dtype).itemsize

    def concrete(self, batch: int = 1, axes: Axes | None = None) -> tuple[int, ...]:
        """The shape with each symbolic axis as ``axes`` says, the others set to ``batch``.

        >>> TensorSpec(name="x", dtype="int64", shape=("N", "words")).concrete(2, {"words": 7})
        (2, 7)
        """
        known = axes or {}
        return tuple(
            size if isinstance(size, int) else known.get(size, batch) for size in self.shape
        )

    def nbytes(self, batch: int = 1, axes: Axes | None = None) -> int:
        """Bytes of the raw tensor at the sizes of :meth:`concrete`."""
        return math.prod(self.concrete(batch, axes)) * self.itemsize_bytes

    def __str__(self) -> str:
        return f"{self.name} {self.dtype}[{', '.join(map(str, self.shape))}]"


@functools.lru_cache(maxsize=256)
def dtype_name(dtype: np.dtype[np.generic]) -> str:
    """What numpy calls an element type; numpy makes the name up anew each time it is asked.

    >>> dtype_name(np.dtype(np.float32))
    'float32'
    """
    return str(dtype.name)


def check_array(array: Array, spec: TensorSpec, *, may_be_empty: bool = False) -> None:
    """Refuse an array that is not what ``spec`` says.

    Symbolic axes take any size of at least 1; floats must be finite.

    Args:
        array: what came.
        spec: what is wanted.
        may_be_empty: whether symbolic axes but the first may also have size 0, as the cache of a
            decoder has before its first token.

    Raises:
        BadInput: on another dtype or shape, or on NaN or infinity.

    >>> check_array(np.zeros((1, 2), np.float32), TensorSpec(name="x", dtype="float32",
    ...                                                      shape=("N", 2)))
    """
    if dtype_name(array.dtype) != spec.dtype or not _fits(
        array.shape, spec.shape, may_be_empty=may_be_empty
    ):
        raise BadInput(
            expected=f"{spec.dtype}[{_listed(spec.shape)}] for the input {spec.name!r}",
            found=f"{array.dtype.name}[{_listed(array.shape)}]",
            remedy="convert or reshape the array before the call",
        )
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise BadInput(
            expected=f"finite numbers in the input {spec.name!r}",
            found="NaN or infinity",
            remedy="clean the data before the call",
        )


def _fits(shape: tuple[int, ...], wanted: tuple[int | str, ...], *, may_be_empty: bool) -> bool:
    return len(shape) == len(wanted) and all(
        size >= (0 if axis and may_be_empty else 1) if isinstance(want, str) else size == want
        for axis, (size, want) in enumerate(zip(shape, wanted, strict=True))
    )


def _listed(shape: tuple[int | str, ...]) -> str:
    return ", ".join(map(str, shape))
