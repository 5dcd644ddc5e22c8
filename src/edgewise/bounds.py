"""What a bundle allows each tensor on the wire to be."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import numpy as np

from edgewise.errors import BadInput
from edgewise.tensors import Role, TensorSpec

TENSOR_NAME = re.compile(r"[A-Za-z0-9_./:\-]{1,256}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """What one tensor on the wire may be: its type, its shape, and its bytes.

    Args:
        name: as in the frame.
        dtype: a numpy name.
        shape: sizes; a symbolic axis is its name and takes what the bytes allow.
        role: content or structure.
        min_bytes: the fewest raw bytes.
        max_bytes: the most raw bytes.
    """

    name: str
    dtype: str
    shape: tuple[int | str, ...]
    role: Role = Role.CONTENT
    min_bytes: int
    max_bytes: int

    def __post_init__(self) -> None:
        if not TENSOR_NAME.fullmatch(self.name):
            raise BadInput(
                expected="a tensor name of 1 to 256 letters, digits and _ . / : -",
                found=repr(self.name[:80]),
                remedy="rename the tensor",
            )
        TensorSpec(name=self.name, dtype=self.dtype, shape=self.shape, role=self.role)
        if not 0 < self.min_bytes <= self.max_bytes:
            raise BadInput(
                expected=f"0 < min_bytes <= max_bytes for {self.name!r}",
                found=f"{self.min_bytes} and {self.max_bytes}",
                remedy="write the bundle anew",
            )
        self._check_shape()

    def _check_shape(self) -> None:
        if any(isinstance(size, str) for size in self.shape):
            return
        size = math.prod(map(int, self.shape)) * np.dtype(self.dtype).itemsize
        if not self.min_bytes <= size <= self.max_bytes:
            raise BadInput(
                expected=f"bounds around the {size} bytes of {self.name!r}",
                found=f"{self.min_bytes} and {self.max_bytes}",
                remedy="write the bundle anew",
            )

    @staticmethod
    def exactly(spec: TensorSpec, *, batch: int = 1) -> Bound:
        """The bound of a tensor whose every size is known.

        >>> Bound.exactly(TensorSpec(name="x", dtype="float16", shape=("N", 8))).max_bytes
        16
        """
        size = spec.nbytes(batch)
        return Bound(
            name=spec.name,
            dtype=spec.dtype,
            shape=spec.concrete(batch),
            role=spec.role,
            min_bytes=size,
            max_bytes=size,
        )
