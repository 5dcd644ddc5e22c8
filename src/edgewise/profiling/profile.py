"""What every node of a network costs and what every edge carries."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeProfile:
    """One node of a network, at batch 1.

    Args:
        name: unique within the network.
        op: operator type, such as ``Conv``; empty when only times are known.
        macs: multiply-accumulate operations.
        weight_bytes: bytes of the initialisers it reads.
        read_bytes: bytes of the activations it reads.
        written_bytes: bytes of the activations it writes.
        device_s: time on the device, when known.
        cloud_s: time in the cloud, when known.
    """

    name: str
    op: str = ""
    macs: int = 0
    weight_bytes: int = 0
    read_bytes: int = 0
    written_bytes: int = 0
    device_s: float | None = None
    cloud_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeProfile:
    """One tensor: who makes it (``None`` for an input of the network), who reads it, its bytes."""

    name: str
    producer: str | None
    consumers: tuple[str, ...]
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsized:
    """A tensor whose bytes only a run tells, and why."""

    name: str
    reason: str

    def __str__(self) -> str:
        return f"{self.name!r}, {self.reason}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """A network as planner and cost models see it; nodes in an order in which they can run.

    Args:
        nodes: every node, producers before consumers.
        edges: every activation tensor, network inputs included.
        peak_activation_bytes: the most activation bytes alive at one time in that order.
        uncounted: names of nodes whose MACs or bytes are not all known, such as a Loop without a
            fixed count; what is not known stands with 0.
        unsized: tensors whose bytes are not known, with the reason; they stand with 0.
    """

    nodes: tuple[NodeProfile, ...]
    edges: tuple[EdgeProfile, ...]
    peak_activation_bytes: int = 0
    uncounted: tuple[str, ...] = ()
    unsized: tuple[Unsized, ...] = ()

    @property
    def macs(self) -> int:
        """Multiply-accumulate operations of one run."""
        return sum(node.macs for node in self.nodes)
