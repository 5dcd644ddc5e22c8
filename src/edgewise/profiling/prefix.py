"""How much of a network lies before a cut."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from edgewise.profiling.profile import NodeProfile, Profile

# One byte moved takes about as long as this many MACs on one AVX-512 core: Lite0 by segments on
# an AMD EPYC (Zen 4), 2026-11. It only places cuts between measured ones, so a rough figure does.
MACS_PER_BYTE = 4.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Prefix:
    """What the device half of a cut does.

    Args:
        macs: its multiply-accumulate operations.
        weight_bytes: the weights it holds.
        effort: MACs with moved bytes counted in; a scale along which times grow evenly.
    """

    macs: int
    weight_bytes: int
    effort: float


def prefix_of(profile: Profile, tensors: Collection[str]) -> Prefix:
    """Everything that must run before ``tensors`` are known.

    Args:
        profile: of the whole network.
        tensors: names of the cut's tensors.

    >>> profile = Profile(nodes=(NodeProfile(name="a", macs=5), NodeProfile(name="b", macs=7)),
    ...                   edges=())
    >>> prefix_of(profile, ["x"]).macs
    0
    """
    nodes = _ancestors(profile, tensors)
    inside = [node for node in profile.nodes if node.name in nodes]
    return Prefix(
        macs=sum(node.macs for node in inside),
        weight_bytes=sum(node.weight_bytes for node in inside),
        effort=sum(map(_effort, inside)),
    )


def _effort(node: NodeProfile) -> float:
    moved_bytes = node.read_bytes + node.written_bytes + node.weight_bytes
    return node.macs + MACS_PER_BYTE * moved_bytes


def _ancestors(profile: Profile, tensors: Iterable[str]) -> set[str]:
    producers = {edge.name: edge.producer for edge in profile.edges}
    reads: dict[str, list[str]] = {}
    for edge in profile.edges:
        for consumer in edge.consumers:
            reads.setdefault(consumer, []).append(edge.name)
    found: set[str] = set()
    waiting = list(tensors)
    while waiting:
        node = producers.get(waiting.pop())
        if node is not None and node not in found:
            found.add(node)
            waiting += reads.get(node, [])
    return found
