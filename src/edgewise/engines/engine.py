"""What every engine is: one method, and what it takes and gives."""

from __future__ import annotations

import enum
from typing import Protocol

from edgewise.tensors import Array, Feeds, TensorSpec


class Optimisation(enum.StrEnum):
    """How far an engine may rewrite a graph before it runs it.

    EXTENDED keeps every tensor's layout, so that halves equal the whole bit for bit;
    ALL adds layout changes: faster, equal within 1e-5 relative.
    """

    NONE = "none"
    BASIC = "basic"
    EXTENDED = "extended"
    ALL = "all"


class Engine(Protocol):
    """A network that is ready to run."""

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """What :meth:`run` takes."""

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """What :meth:`run` gives."""

    def run(self, feeds: Feeds) -> dict[str, Array]:
        """Outputs by name, for inputs by name."""

    def close(self) -> None:
        """Free the network's memory."""
