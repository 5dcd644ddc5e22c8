"""Weights that nobody trained: the same on every machine, made chunk by chunk."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_CHUNK = 1 << 20  # values; 4 MiB
_GRID = 2.0**24
"""Means are rounded to a grid: the last bits of a sum depend on the processor."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RandomWeight:
    """Evenly distributed FP32 values, decided by the name of the network and their own.

    Even and not normal: that takes no logarithm, of which machines differ in the last bit.

    Args:
        network: how the zoo calls the network.
        name: what decides the values.
        shape: its sizes; the first counts the outputs.
        deviation: standard deviation of the values.
        mean: of the values.
        centred: whether the values of each output are shifted so that their sum is 0. Then what
            a ReLU adds to all channels alike does not drown what tells two inputs apart: L. Huang
            et al., "Centered Weight Normalization", ICCV 2017, section 3.1.

    >>> weight = RandomWeight(network="demo", name="w", shape=(2, 3), deviation=0.5)
    >>> weight.nbytes, next(weight.chunks()).shape
    (24, (2, 3))
    """

    network: str
    name: str
    shape: tuple[int, ...]
    deviation: float
    mean: float = 0.0
    centred: bool = False

    @property
    def nbytes(self) -> int:
        """How many bytes the values take."""
        return 4 * math.prod(self.shape)

    def chunks(self) -> Iterator[NDArray[np.float32]]:
        """The values, row-major, whole rows, about 4 MiB at a time."""
        seed = hashlib.sha256(f"{self.network}/{self.name}".encode()).digest()
        random = np.random.Generator(np.random.PCG64(int.from_bytes(seed[:16], "little")))
        rows, width = self.shape[0], math.prod(self.shape[1:])
        step = max(1, _CHUNK // width)
        for start in range(0, rows, step):
            yield self._draw(random, (min(step, rows - start), width))

    def _draw(self, random: np.random.Generator, shape: tuple[int, int]) -> NDArray[np.float32]:
        values = random.random(shape, dtype=np.float32)
        # The standard deviation of evenly distributed values is their range over the root of 12.
        values -= np.float32(0.5)
        values *= np.float32(self.deviation * math.sqrt(12))
        if self.centred:
            means = values.mean(axis=1, keepdims=True, dtype=np.float64)
            values -= (np.round(means * _GRID) / _GRID).astype(np.float32)
        values += np.float32(self.mean)
        return values
