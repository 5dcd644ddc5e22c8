"""The trained weights that a network is built from: each is taken once, and none stays behind."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgewise.errors import BadInput

Weights = Mapping[str, NDArray[Any]]


class GivenWeights:
    """Weights by name, taken one by one.

    Args:
        weights: what the file gave; not changed.
        network: what they must be of, for messages.

    >>> given = GivenWeights({"w": np.zeros((2, 3), np.float32)}, network="a demo")
    >>> given.take("w", 2, 3).shape
    (2, 3)
    >>> given.check_all_taken()
    """

    def __init__(self, weights: Weights, *, network: str) -> None:
        self._weights = dict(weights)
        self._network = network

    def take(self, name: str, *shape: int) -> NDArray[np.float32]:
        """A weight of this shape, which is then gone.

        Raises:
            BadInput: when it is missing, no FP32, of another shape, or not finite.
        """
        if name not in self._weights:
            raise other_network(self._network, f"no weight {name!r}")
        array = self._weights.pop(name)
        if array.dtype != np.float32 or array.shape != shape:
            raise other_network(
                self._network,
                f"{name!r} as {array.dtype} {list(array.shape)} in place of float32 {list(shape)}",
            )
        if not np.isfinite(array).all():
            raise other_network(self._network, f"NaN or infinity in {name!r}")
        return array

    def check_all_taken(self, *, but: Collection[str] = ()) -> None:
        """Refuse weights that the network has no place for.

        Args:
            but: endings of names that may stay.

        Raises:
            BadInput: naming the first.
        """
        left = [key for key in self._weights if not key.endswith(tuple(but))]
        if left:
            raise other_network(self._network, f"the weight {left[0][:80]!r} too many")


def other_network(network: str, found: str) -> BadInput:
    """The error for weights of something else."""
    return BadInput(
        expected=f"the FP32 weights of {network}",
        found=found,
        remedy="fetch the file that the zoo pins",
    )
