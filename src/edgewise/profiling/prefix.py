"""How much of a network lies before a cut."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

import numpy as np

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
        macs_after: multiply-accumulate operations of all other nodes.
    """

    macs: int
    weight_bytes: int
    effort: float
    macs_after: int = 0


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
    return prefixes_of(profile, [tensors])[0]


def prefixes_of(profile: Profile, cuts: Iterable[Collection[str]]) -> tuple[Prefix, ...]:
    """The prefix of each of many cuts.

    What leads to a tensor is one number with a bit for each node, found for all tensors in one
    walk over the network; a cut then takes the union and a sum over an array.

    Args:
        profile: of the whole network.
        cuts: names of the tensors of each.

    >>> profile = Profile(nodes=(NodeProfile(name="a", macs=5), NodeProfile(name="b", macs=7)),
    ...                   edges=())
    >>> [prefix.macs_after for prefix in prefixes_of(profile, [["x"], []])]
    [12, 12]
    """
    leading = _leading(profile)
    macs = np.array([node.macs for node in profile.nodes], np.int64)
    weights = np.array([node.weight_bytes for node in profile.nodes], np.int64)
    efforts = np.array([_effort(node) for node in profile.nodes], np.float64)
    prefixes = []
    for tensors in cuts:
        bits = 0
        for name in tensors:
            bits |= leading.get(name, 0)
        inside = _flags(bits, len(profile.nodes))
        before = int(macs[inside].sum())
        prefixes.append(
            Prefix(
                macs=before,
                weight_bytes=int(weights[inside].sum()),
                effort=float(efforts[inside].sum()),
                macs_after=int(macs.sum()) - before,
            )
        )
    return tuple(prefixes)


def _effort(node: NodeProfile) -> float:
    moved_bytes = node.read_bytes + node.written_bytes + node.weight_bytes
    return node.macs + MACS_PER_BYTE * moved_bytes


def _leading(profile: Profile) -> dict[str, int]:
    """For each tensor, the bits of the nodes that lead to it."""
    makes: dict[str, list[str]] = {}
    reads: dict[str, list[str]] = {}
    leading: dict[str, int] = {}
    for edge in profile.edges:
        if edge.producer is None:
            leading[edge.name] = 0
        else:
            makes.setdefault(edge.producer, []).append(edge.name)
        for consumer in edge.consumers:
            reads.setdefault(consumer, []).append(edge.name)
    for place, node in enumerate(profile.nodes):
        bits = 1 << place
        for name in reads.get(node.name, ()):
            bits |= leading.get(name, 0)
        leading.update(dict.fromkeys(makes.get(node.name, ()), bits))
    return leading


def _flags(bits: int, count: int) -> np.typing.NDArray[np.bool_]:
    raw = np.frombuffer(bits.to_bytes((count + 7) // 8, "little"), np.uint8)
    return np.unpackbits(raw, bitorder="little", count=count).astype(np.bool_)
